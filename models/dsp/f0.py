"""F0 of the windows that DSP voices analyse: 24 kHz, frames of 5 ms, by any of the F0 methods."""

from __future__ import annotations

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from ...kernels import world
from ...kernels.f0_world import hold_f0, refined_f0, world_f0
from ...kernels.salience import halfway_f0
from ..base_models import f0_network
from ..pitch import mel
from ..pitch.rmvpe import RMVPE
from ..pitch.tracker import CONTEXT_FRAMES, PitchState, window_f0
from ..windows import Window
from .presets import F0Tracker

F0_FLOOR_HZ, F0_CEILING_HZ = 60.0, 800.0  # of WORLD's estimators
FRAME_MS = 1000.0 * world.HOP / world.SAMPLE_RATE
EXTENSION_FRAMES = 4
_WORLD_CONTEXT_FRAMES = 200  # the reach of F0 contour tracking, in practice; envelope and aperiodicity need 9


def dsp_f0_tracker(method: str) -> tuple[F0Tracker, int]:
    """What finds F0 by one of `voice.F0_METHODS`, and how many frames of context on both sides it wants.

    Raises:
        BaseModelError: the method is rmvpe, whose network cannot be had.
    """
    model = f0_network(method, torch.device("cpu"))
    if model is None:
        return lambda window: _world_f0(window, method), _WORLD_CONTEXT_FRAMES
    state = PitchState.allocate(model)
    return lambda window: network_f0(model, window, state), 2 * CONTEXT_FRAMES


def network_f0(model: RMVPE, window: Window, state: PitchState) -> NDArray[np.float64]:
    """F0 in Hz from a window's core on, by a network that has frames of 10 ms: those between start from the mean pitch.

    Args:
        model: The network.
        window: At 24 kHz, its bounds multiples of 10 ms except at the stream's end.
        state: Carried from window to window, changed in place.
    """
    low = soxr.resample(window.samples, world.SAMPLE_RATE, mel.SAMPLE_RATE)

    def at_low_rate(sample: int) -> int:
        return sample * mel.SAMPLE_RATE // world.SAMPLE_RATE

    start, core_start, core_end = map(at_low_rate, (window.start, window.core_start, window.core_end))
    found = window_f0(model, Window(low, start, core_start, core_end, window.is_last), state)
    f0 = np.empty(2 * len(found), dtype=np.float32)
    f0[::2] = found
    f0[1::2] = halfway_f0(found, np.append(found[1:], found[-1:]))
    first = (window.core_start - window.start) // world.HOP
    return refined_f0(window.samples, world.SAMPLE_RATE, f0, first, FRAME_MS)


def _world_f0(window: Window, method: str) -> NDArray[np.float64]:
    found = world_f0(window.samples, world.SAMPLE_RATE, method, FRAME_MS, F0_FLOOR_HZ, F0_CEILING_HZ)
    # F0 is held on both sides of a voiced stretch: DIO ends them early, and D4C takes back what is too much.
    return hold_f0(found, EXTENSION_FRAMES, EXTENSION_FRAMES)[(window.core_start - window.start) // world.HOP :]
