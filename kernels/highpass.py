"""A streaming high-pass: takes rumble, plosives and a microphone's constant offset out of speech."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .types import FloatArray

CORNER_HZ = 60.0  # below the lowest voices


@dataclass(slots=True)
class HighpassState:
    """Filter and memory.

    Attributes:
        coefficients: b0, b1, b2, a1, a2 of a Butterworth high-pass of second order [5].
        memory: Memory of the transposed direct form II [2].
    """

    coefficients: NDArray[np.float64]
    memory: NDArray[np.float64]

    @classmethod
    def allocate(cls, sample_rate: int, corner_hz: float = CORNER_HZ) -> HighpassState:
        """State at the start of a stream."""
        # By the bilinear transform; scipy.signal would do it, and takes a second to import.
        k = math.tan(math.pi * corner_hz / sample_rate)
        b0 = 1.0 / (1.0 + math.sqrt(2.0) * k + k * k)
        a1, a2 = 2.0 * (k * k - 1.0) * b0, (1.0 - math.sqrt(2.0) * k + k * k) * b0
        return cls(np.array([b0, -2.0 * b0, b0, a1, a2]), np.zeros(2))

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.memory[:] = 0.0


def highpass_into(x: FloatArray, state: HighpassState, out: FloatArray) -> None:
    """Filter the next block [n] into `out` [n], which may be `x`."""
    _filter(x, state.coefficients, state.memory, out)


@njit(cache=True, nogil=True)
def _filter(x: FloatArray, coefficients: NDArray[np.float64], memory: NDArray[np.float64], out: FloatArray) -> None:
    b0, b1, b2, a1, a2 = coefficients
    first, second = memory[0], memory[1]
    for i in range(len(x)):
        value = float(x[i])
        y = b0 * value + first
        first = b1 * value - a1 * y + second
        second = b2 * value - a2 * y
        out[i] = y
    memory[0], memory[1] = first, second
