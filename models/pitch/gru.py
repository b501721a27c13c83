"""A bidirectional GRU that never meets cuDNN's limits.

cuDNN's recurrent networks refuse very long sequences (65,536 steps; reports of about 50,000) and say
"CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input". `docs/cudnn.md` tells the
story. Here each call is bounded, its tensors are contiguous and aligned with the weights' dtype, and if cuDNN refuses
all the same, the very same call is made without cuDNN.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

MAX_STEPS = 16384  # of one call to the kernel; far below every limit seen, and 164 s of audio


class BoundedGRU(nn.Module):
    """Bidirectional one-layer GRU with a carried forward state.

    The forward direction starts from a given state. The backward direction starts from zero at the right edge of what
    it is given. Sequences of any length give the result of one call: longer ones run in pieces of `MAX_STEPS`, the
    forward direction left to right and the backward one right to left, each carrying its state.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True, bidirectional=True)
        self.cudnn_refusals = 0

    def initial_state(self, batch: int, like: Tensor) -> Tensor:
        """A zero forward state `[1, batch, hidden]`."""
        return torch.zeros(1, batch, self.gru.hidden_size, dtype=like.dtype, device=like.device)

    def forward(self, x: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor]:
        """Run both directions.

        Args:
            x: `[B, T, input]`, any strides.
            h_in: Forward state before the first step `[1, B, hidden]`.

        Returns:
            Output `[B, T, 2 * hidden]` (forward half first) and its forward half `[B, T, hidden]`: the state after
            every step, of which a stream carries the last one that it will not compute again.
        """
        hidden = self.gru.hidden_size
        if x.shape[1] <= MAX_STEPS:
            y = self._call(x, torch.cat((h_in, torch.zeros_like(h_in))))[0]
            return y, y[..., :hidden]
        pieces = list(torch.split(x, MAX_STEPS, dim=1))
        forward_half, state = [], h_in
        for piece in pieces:
            y, h_out = self._call(piece, torch.cat((state, torch.zeros_like(state))))
            state = h_out[:1]
            forward_half.append(y[..., :hidden])
        backward_half, state = [], torch.zeros_like(h_in)
        for piece in reversed(pieces):
            y, h_out = self._call(piece, torch.cat((torch.zeros_like(state), state)))
            state = h_out[1:]
            backward_half.append(y[..., hidden:])
        states = torch.cat(forward_half, dim=1)
        return torch.cat((states, torch.cat(backward_half[::-1], dim=1)), dim=2), states

    def _call(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """One call of the kernel on contiguous buffers, without cuDNN if cuDNN refuses."""
        x, h = x.contiguous(), h.contiguous()
        # A call that fails spoils a CUDA graph under capture, so what was refused in its warm-up is not tried again.
        if self.cudnn_refusals and x.is_cuda and torch.cuda.is_current_stream_capturing():
            return self._without_cudnn(x, h)
        try:
            y, h_out = self.gru(x, h)
        except RuntimeError as error:
            if "CUDNN_STATUS" not in str(error):
                raise
            self.cudnn_refusals += 1
            if self.cudnn_refusals == 1:
                log.warning("cuDNN refused the pitch network's GRU; it runs without cuDNN, a little slower")
                log.debug("cuDNN said: %s", error)
            return self._without_cudnn(x, h)
        return y, h_out

    def _without_cudnn(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        with torch.backends.cudnn.flags(enabled=False):
            y, h_out = self.gru(x, h)
        return y, h_out
