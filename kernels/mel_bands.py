"""Logarithms of the magnitudes in mel bands, from spectra, reading only the bins that a band has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .types import FloatArray

ComplexArray = NDArray[np.complexfloating[Any, Any]]


@dataclass(frozen=True, slots=True)
class MelBands:
    """A filterbank without its zeros.

    Attributes:
        first_bins: First bin of each band [bands].
        weights: Weights of the bins from there on, zero beyond a band's last one [bands, most bins of a band].
    """

    first_bins: NDArray[np.int64]
    weights: FloatArray

    @classmethod
    def of(cls, filterbank: FloatArray) -> MelBands:
        """Of a filterbank [bands, bins] whose bands have their bins in a row."""
        first_bins = (filterbank > 0).argmax(axis=1)
        width = int((filterbank > 0).sum(axis=1).max())
        padded = np.pad(filterbank, ((0, 0), (0, width)))
        weights = np.take_along_axis(padded, first_bins[:, None] + np.arange(width), axis=1)
        return cls(first_bins, np.ascontiguousarray(weights, dtype=np.float32))


@njit(nogil=True, cache=True)
def log_bands(
    spectra: ComplexArray,
    first_bins: NDArray[np.int64],
    weights: FloatArray,
    floor: float,
    magnitude: FloatArray,
    out: FloatArray,
) -> None:
    """Fill `out` [bands, frames] with natural logarithms of what the bands have, at least `floor`.

    Args:
        spectra: [frames, bins].
        first_bins: See `MelBands`, as for the next.
        weights: See there.
        floor: Lower limit of the magnitudes.
        magnitude: Scratch [bins].
        out: [bands, frames].
    """
    bins = spectra.shape[1]
    for i in range(len(spectra)):
        for k in range(bins):
            magnitude[k] = np.abs(spectra[i, k])
        for band in range(len(weights)):
            first = first_bins[band]
            total = np.float32(0.0)
            for k in range(min(weights.shape[1], bins - first)):
                total += weights[band, k] * magnitude[first + k]
            out[band, i] = np.log(max(float(total), floor))
