"""Values of a signal between its samples, by windowed sinc (J. O. Smith, Digital Audio Resampling)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .types import FloatArray

_ZERO_CROSSINGS = 16


@njit(cache=True, nogil=True)
def _sample(x: FloatArray, first: float, step: float, cutoff: float, half: int, out: FloatArray) -> None:
    for j in range(len(out)):
        position = first + j * step
        below = math.floor(position)
        total = 0.0
        weights = 0.0
        for i in range(below - half + 1, below + half + 1):
            distance = position - i
            angle = math.pi * cutoff * distance
            sinc = 1.0 if abs(angle) < 1e-9 else math.sin(angle) / angle
            weight = sinc * (0.5 + 0.5 * math.cos(math.pi * distance / half))
            weights += weight
            if 0 <= i < len(x):
                total += weight * x[i]
        out[j] = total / weights


def sample_evenly(x: FloatArray, first: float, step: float, count: int) -> FloatArray:
    """`count` values of `x` at the positions `first + j * step`, in samples; zero beyond its ends.

    A step above 1 filters out what the coarser grid could not hold.
    """
    out = np.empty(count, dtype=np.float32)
    sample_evenly_into(np.ascontiguousarray(x, dtype=np.float32), first, step, out)
    return out


def sample_evenly_into(x: FloatArray, first: float, step: float, out: FloatArray) -> None:
    """As `sample_evenly`, into `out` [count]; `x` is contiguous."""
    cutoff = 1.0 if step <= 1.0 else 0.97 / step
    half = math.ceil(_ZERO_CROSSINGS / cutoff)
    _sample(x, first, step, cutoff, half, out)
