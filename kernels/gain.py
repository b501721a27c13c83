"""A gain that may be changed at any time and never jumps: it glides to its new value over the next block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .errors import ParameterError
from .types import FloatArray


@dataclass(slots=True)
class GainState:
    """Memory of `gain_into`.

    Attributes:
        target: Linear gain at the end of the next block; assign it between any two.
        gain: Linear gain at the end of the last block.
    """

    target: float = 1.0
    gain: float = 1.0

    def reset(self, target: float) -> None:
        """Return to the start of a stream that has this gain from its first sample on."""
        self.target = self.gain = target


def gain_into(x: FloatArray, state: GainState, out: FloatArray) -> None:
    """Multiply the next block of a stream. The gain moves in equal steps, and reaches its target with the last sample.

    Args:
        x: [n], contiguous; n is 1 or more.
        state: Advanced in place.
        out: Filled [n], contiguous; may be `x`.

    Raises:
        ParameterError: `out` is of another length than `x`.
    """
    if len(out) != len(x):
        raise ParameterError(f"a gain turns {len(x)} samples into as many, but there is room for {len(out)}.")
    _glide(x, state.gain, state.target, out)
    state.gain = state.target


def linear(gain_db: float) -> float:
    """The factor of a gain in dB."""
    return float(10.0 ** (gain_db / 20.0))


def decibels(factor: float) -> float:
    """The dB of a gain or a level 0 or more; -100 at the least."""
    return float(20.0 * np.log10(max(factor, 1e-5)))


@njit(nogil=True, cache=True)
def _glide(x: FloatArray, gain: float, target: float, out: FloatArray) -> None:
    step = (target - gain) / len(x)
    for i in range(len(x)):
        out[i] = x[i] * np.float32(gain + step * (i + 1))
