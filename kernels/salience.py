"""F0 on the way from salience to what renders it: decode, coarse bins, gaps, frames between frames.

Bins are 20 cents apart, as in CREPE (Kim et al. 2018, arXiv:1802.06182) and RMVPE (Wei et al. 2023, arXiv:2306.15412).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .types import FloatArray

N_BINS = 360
CENTS_PER_BIN = 20.0
FIRST_BIN_CENTS = 1997.3794084376191  # above 10 Hz: bin 0 is 31.7 Hz
VOICING_THRESHOLD = 0.03
COARSE_F0_MIN_HZ = 50.0
COARSE_F0_MAX_HZ = 1100.0

MOST_GLIDE_CENTS = 300.0  # within 10 ms; beyond, one of two neighbours is an error, or another voice
_NEIGHBOURS = 4  # bins on each side of the maximum that enter the weighted mean


def decode_salience(salience: FloatArray, threshold: float = VOICING_THRESHOLD) -> FloatArray:
    """F0 from salience: the mean in cents of the bins around the first maximum, weighted by their salience.

    Args:
        salience: [frames, 360], 0..1.
        threshold: Frames whose maximum is at most this are unvoiced.

    Returns:
        F0 in Hz [frames], 0 where unvoiced.
    """
    out = np.empty(len(salience), dtype=np.float32)
    decode_salience_into(np.ascontiguousarray(salience, dtype=np.float32), out, threshold)
    return out


def decode_salience_into(salience: FloatArray, out: FloatArray, threshold: float = VOICING_THRESHOLD) -> None:
    """As `decode_salience`, of a contiguous array, into `out` [frames]."""
    _decode(salience, threshold, out)


@njit(nogil=True, cache=True)
def _decode(salience: FloatArray, threshold: float, out: FloatArray) -> None:
    for i in range(len(out)):
        row = salience[i]
        centre = row.argmax()
        if not row[centre] > threshold:
            out[i] = 0.0
            continue
        total = np.float32(0.0)  # in float32 like the reference, which moves the result by up to 0.001 cent
        cents = 0.0
        for k in range(max(centre - _NEIGHBOURS, 0), min(centre + _NEIGHBOURS + 1, len(row))):
            total += row[k]
            cents += row[k] * (FIRST_BIN_CENTS + CENTS_PER_BIN * k)
        out[i] = 10.0 * 2.0 ** (cents / np.float64(total if total > 0.0 else 1.0) / 1200.0)


def coarse_pitch(f0_hz: FloatArray) -> NDArray[np.int64]:
    """The 1..255 pitch embedding index of RVC: linear in mel between 50 and 1100 Hz; unvoiced is 1.

    Args:
        f0_hz: F0 in Hz of any shape, 0 where unvoiced.
    """
    out = np.empty(f0_hz.shape, dtype=np.int64)
    coarse_pitch_into(f0_hz.reshape(-1), 1.0, out.reshape(-1))
    return out


@njit(nogil=True, cache=True)
def coarse_pitch_into(f0_hz: FloatArray, factor: float, out: NDArray[np.int64]) -> None:
    """As `coarse_pitch`, of `f0_hz` [frames] times a factor, into `out` [frames]."""
    low = 1127.0 * np.log1p(COARSE_F0_MIN_HZ / 700.0)
    high = 1127.0 * np.log1p(COARSE_F0_MAX_HZ / 700.0)
    for i in range(len(out)):
        hz = float(f0_hz[i]) * factor
        mel = 1127.0 * np.log1p(max(hz, 0.0) / 700.0)
        scaled = (mel - low) * 254.0 / (high - low) + 1.0 if mel > 0 else 1.0
        out[i] = np.int64(np.rint(min(max(scaled, 1.0), 255.0)))


def fill_unvoiced(f0_hz: FloatArray) -> FloatArray:
    """F0 with unvoiced frames interpolated linearly between voiced ones, held constant at the ends.

    Args:
        f0_hz: [frames] in Hz, 0 where unvoiced. A track without any voiced frame is returned as it is.
    """
    voiced = np.flatnonzero(f0_hz > 0)
    if len(voiced) == 0:
        return f0_hz
    return np.interp(np.arange(len(f0_hz)), voiced, f0_hz[voiced]).astype(np.float32)


def halfway_f0(before_hz: FloatArray, after_hz: FloatArray) -> FloatArray:
    """As `halfway_f0_into`: returns F0 [frames]."""
    out = np.empty(len(before_hz), dtype=np.float32)
    halfway_f0_into(before_hz, after_hz, out)
    return out


@njit(nogil=True, cache=True)
def halfway_f0_into(before_hz: FloatArray, after_hz: FloatArray, out: FloatArray) -> None:
    """F0 in the middle between frames: the mean pitch, or the F0 of the one that has some.

    Args:
        before_hz: [frames] in Hz, 0 where unvoiced.
        after_hz: F0 of the frames 10 ms later [frames].
        out: Filled [frames] in Hz; where the two are more than `MOST_GLIDE_CENTS` apart, with the earlier one: nothing
            lies between.
    """
    for i in range(len(out)):
        before, after = before_hz[i], after_hz[i]
        if before * after <= 0.0:
            out[i] = max(before, after)
        elif abs(np.log2(after / before)) * 1200.0 <= MOST_GLIDE_CENTS:
            out[i] = np.sqrt(before * after)
        else:
            out[i] = before
