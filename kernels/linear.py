"""Where the values of a resampled signal lie between those of the original, for linear interpolation."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .types import FloatArray


@njit(nogil=True, cache=True)
def linear_places_into(
    length: int, x_start: float, start: float, density: float, below: NDArray[np.int64], weight: FloatArray
) -> None:
    """Places of the values of a grid `density` times as dense as the signal's, the first of them at `start`.

    Values stand at the centres of their cells, as in `torch.nn.functional.interpolate`; the ends are held. Each value
    is `x[below] * (1 - weight) + x[below + 1] * weight`.

    Args:
        length: Values of the signal, at least 2.
        x_start: Place of its first value, in values.
        start: Place of the first value of the grid, in values of the grid.
        density: Values of the grid for each of the signal.
        below: Filled [count], at most `length - 2`.
        weight: Filled [count], 0..1.
    """
    for i in range(len(below)):
        position = min(max((start + i + 0.5) / density - 0.5 - x_start, 0.0), length - 1.0)
        below[i] = min(math.floor(position), length - 2)
        weight[i] = position - below[i]
