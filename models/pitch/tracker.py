"""RMVPE over audio of any length, in bounded windows whose forward GRU state is carried."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.salience import decode_salience
from ..windows import Window
from .mel import HOP, N_FFT
from .rmvpe import FRAME_MULTIPLE, RMVPE

# 480 frames of context on both sides bring the U-Net's output to 1e-3 of the one-shot result.
CONTEXT_FRAMES = 512
CORE_FRAMES = 2048


@dataclass(slots=True)
class PitchState:
    """What is carried from window to window.

    Attributes:
        h_mem: Forward GRU output at the last frame that was kept `[1, 1, gru_size]`, contiguous, updated in place. Not
            the final state of the previous window: its context frames will be computed again.
    """

    h_mem: Tensor

    @classmethod
    def allocate(cls, model: RMVPE) -> PitchState:
        """State before the first window, on the model's device."""
        return cls(model.gru.initial_state(1, model.cnn.weight))

    def reset(self) -> None:
        """Forget the past."""
        self.h_mem.zero_()


@torch.inference_mode()
def window_salience(model: RMVPE, window: Window, state: PitchState) -> Tensor:
    """Salience of a window's core and right context, advancing the state over the core.

    Args:
        model: The network.
        window: At 16 kHz, its bounds multiples of the hop of 160 samples except at the stream's end.
        state: Changed in place.

    Returns:
        `[frames, 360]` from the frame at `core_start` on. Frames are those of the stream: frame j is centred on
        sample 160 j, and the last window holds `length // 160 + 1`.
    """
    device = state.h_mem.device
    audio = torch.from_numpy(window.samples).to(device)[None]
    # Reflection needs more than half a window of audio; shorter input is continued by silence.
    audio = F.pad(audio, (0, max(N_FFT // 2 + 1 - audio.shape[1], 0)))
    mel = model.mel(audio)
    # The frame on the right edge of a window within the stream is the first one of what is not there yet.
    frames = len(window.samples) // HOP + (1 if window.is_last else 0)
    padded = F.pad(mel[..., :frames], (0, -frames % FRAME_MULTIPLE))
    x = model.features(padded)
    first = (window.core_start - window.start) // HOP
    y, forward_states = model.gru(x[:, first:], state.h_mem)
    kept = (window.core_end - window.core_start) // HOP
    if not window.is_last:
        state.h_mem.copy_(forward_states[:, kept - 1 : kept])
    return torch.sigmoid(model.fc[1](y))[0, : frames - first]


def window_f0(model: RMVPE, window: Window, state: PitchState) -> NDArray[np.float32]:
    """F0 in Hz of the frames of `window_salience`, 0 where unvoiced."""
    return decode_salience(window_salience(model, window, state).float().cpu().numpy())
