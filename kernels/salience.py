"""F0 on the way from salience to what renders it: decode, coarse bins, gaps, frames between frames.

Bins are 20 cents apart, as in CREPE (Kim et al. 2018, arXiv:1802.06182) and RMVPE (Wei et al. 2023, arXiv:2306.15412).
"""

from __future__ import annotations

import numpy as np
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
    frames = len(salience)
    if frames == 0:
        return np.zeros(0, dtype=np.float32)
    centre = salience.argmax(axis=1)
    bins = centre[:, None] + np.arange(-_NEIGHBOURS, _NEIGHBOURS + 1)
    inside = (bins >= 0) & (bins < N_BINS)
    rows = np.arange(frames)[:, None]
    weight = salience[rows, np.minimum(np.maximum(bins, 0), N_BINS - 1)] * inside
    total = weight.sum(axis=1)  # in float32 like the reference, which moves the result by up to 0.001 cent
    cents = (weight * (FIRST_BIN_CENTS + CENTS_PER_BIN * bins)).sum(axis=1) / np.where(total > 0, total, 1.0)
    voiced = salience[rows[:, 0], centre] > threshold
    return np.where(voiced, 10.0 * 2.0 ** (cents / 1200.0), 0.0).astype(np.float32)


def coarse_pitch(f0_hz: FloatArray) -> NDArray[np.int64]:
    """The 1..255 pitch embedding index of RVC: linear in mel between 50 and 1100 Hz; unvoiced is 1.

    Args:
        f0_hz: F0 in Hz of any shape, 0 where unvoiced.
    """
    mel = 1127.0 * np.log1p(np.maximum(f0_hz.astype(np.float64), 0.0) / 700.0)
    low, high = (1127.0 * np.log1p(f / 700.0) for f in (COARSE_F0_MIN_HZ, COARSE_F0_MAX_HZ))
    scaled = np.where(mel > 0, (mel - low) * 254.0 / (high - low) + 1.0, 1.0)
    return np.asarray(np.rint(scaled.clip(1.0, 255.0)), dtype=np.int64)


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
    """F0 in the middle between frames: the mean pitch, or the F0 of the one that has some.

    Args:
        before_hz: [frames] in Hz, 0 where unvoiced.
        after_hz: Of the frames 10 ms later [frames].

    Returns:
        [frames] in Hz; where the two are more than `MOST_GLIDE_CENTS` apart, the earlier one: nothing lies between.
    """
    product = before_hz * after_hz
    ratio = np.where(product > 0, after_hz, 1.0) / np.where(product > 0, before_hz, 1.0)
    glides = np.abs(np.log2(ratio)) * 1200.0 <= MOST_GLIDE_CENTS
    middle = np.where(glides, np.sqrt(product), before_hz)
    return np.where(product > 0, middle, np.maximum(before_hz, after_hz)).astype(np.float32)
