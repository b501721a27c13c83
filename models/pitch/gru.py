"""A bidirectional GRU that never meets cuDNN's limits.

cuDNN's recurrent networks refuse very long sequences (65,536 steps; reports of about 50,000) and say
"CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input". `docs/cudnn.md` tells the
story. Here each call is bounded, its tensors are contiguous and aligned with the weights' dtype, and if cuDNN refuses
all the same, the same is computed without it, by fused steps over the carried state. `ALTERVOX_GRU=fused` in the
environment asks for these from the start.
"""

from __future__ import annotations

import logging
import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.errors import ParameterError
from ...kernels.gru import gru_steps

log = logging.getLogger(__name__)

KERNELS = ("auto", "fused")
MAX_STEPS = 16384  # of one call to the kernel; far below every limit seen, and 164 s of audio


class BoundedGRU(nn.Module):
    """Bidirectional one-layer GRU with a carried forward state.

    The forward direction starts from a given state. The backward direction starts from zero at the right edge of what
    it is given. Sequences of any length give the result of one call: longer ones run in pieces of `MAX_STEPS`, the
    forward direction left to right and the backward one right to left, each carrying its state.

    Attributes:
        kernel: "auto" for torch's own, which is cuDNN's on an NVIDIA GPU, and fused steps once that refuses; "fused"
            for these always. Whatever it is, a graph that is exported holds one GRU node.
        cudnn_refusals: Calls that cuDNN refused.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True, bidirectional=True)
        self.cudnn_refusals = 0
        self.kernel = os.environ.get("ALTERVOX_GRU", "auto")
        if self.kernel not in KERNELS:
            raise ParameterError(f"ALTERVOX_GRU is {self.kernel!r}; it must be one of {', '.join(KERNELS)}")

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
        if self.kernel == "fused" and not torch.onnx.is_in_onnx_export():
            return fused_gru(self.gru, x, h)
        # A call that fails spoils a CUDA graph under capture, so what was refused in its warm-up is not tried again.
        if self.cudnn_refusals and x.is_cuda and torch.cuda.is_current_stream_capturing():
            return fused_gru(self.gru, x, h)
        try:
            y, h_out = self.gru(x, h)
        except RuntimeError as error:
            if "CUDNN_STATUS" not in str(error):
                raise
            self.cudnn_refusals += 1
            if self.cudnn_refusals == 1:
                log.warning("cuDNN refused the pitch network's GRU; it runs without cuDNN, a little slower")
                log.debug("cuDNN said: %s", error)
            return fused_gru(self.gru, x, h)
        return y, h_out


@torch.inference_mode()
def fused_gru(gru: nn.GRU, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """What a bidirectional one-layer GRU computes, in fused steps: no recurrent network of cuDNN is called.

    Args:
        gru: The layer.
        x: `[B, T, input]`.
        h: State before the first step of each direction `[2, B, hidden]`.

    Returns:
        Output `[B, T, 2 * hidden]` and the state after the last step of each direction `[2, B, hidden]`.
    """
    directions = []
    for direction, suffix in enumerate(("l0", "l0_reverse")):
        w_ih, w_hh, b_ih, b_hh = (
            getattr(gru, f"{name}_{suffix}").detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        gates = F.linear(x, w_ih, b_ih)
        steps = _steps_on_cpu if x.device.type == "cpu" and x.dtype is torch.float32 else _steps_on_device
        directions.append(steps(gates, w_hh, b_hh, h[direction], backwards=direction == 1))
    (forward, forward_state), (backward, backward_state) = directions
    return torch.cat((forward, backward), dim=2), torch.stack((forward_state, backward_state))


def _steps_on_cpu(gates: Tensor, weight: Tensor, bias: Tensor, h: Tensor, backwards: bool) -> tuple[Tensor, Tensor]:
    """One direction of `[B, T, 3 * hidden]`: its output and last state."""
    batch, frames, width = gates.shape
    out, state = torch.empty(batch, frames, width // 3), h.clone()
    transposed, work = weight.T.contiguous().numpy(), np.empty(width, dtype=np.float32)
    for stream in range(batch):
        parts = gates[stream].numpy(), transposed, bias.numpy(), state[stream].numpy()
        gru_steps(*parts, backwards, work, out[stream].numpy())
    return out, state


def _steps_on_device(gates: Tensor, weight: Tensor, bias: Tensor, h: Tensor, backwards: bool) -> tuple[Tensor, Tensor]:
    """As `_steps_on_cpu`, on a GPU: a product and torch's one kernel for all gates per step, which a graph captures."""
    frames = gates.shape[1]
    out: list[Tensor] = [h] * frames
    for t in reversed(range(frames)) if backwards else range(frames):
        if gates.is_cuda:
            h = torch.ops.aten._thnn_fused_gru_cell(gates[:, t], F.linear(h, weight), h, None, bias)[0]
        else:
            reset_in, update_in, new_in = gates[:, t].chunk(3, dim=1)
            reset_h, update_h, new_h = F.linear(h, weight, bias).chunk(3, dim=1)
            new = torch.tanh(new_in + torch.sigmoid(reset_in + reset_h) * new_h)
            h = new + torch.sigmoid(update_in + update_h) * (h - new)
        out[t] = h
    return torch.stack(out, dim=1), h
