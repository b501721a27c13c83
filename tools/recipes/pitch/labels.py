"""F0 labels that can be trusted: an estimate that the waveform bears out, in contours without impossible jumps.

DIO (Morise, Kawahara & Katayose 2009, AES 35th conference) estimates, the normalised cross-correlation of the waveform
with itself one period later (Talkin 1995, RAPT) checks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyworld
import scipy.ndimage
import soxr
from numpy.typing import NDArray

from ....kernels.types import FloatArray
from .sources import SAMPLE_RATE

FRAME_MS = 5.0
FLOOR_HZ, CEILING_HZ = 60.0, 560.0  # of the voices that speak here
VOICED_FROM = 0.75  # cross-correlation one period later, for a voiced frame to be known
UNVOICED_BELOW = 0.5  # at any lag, for an unvoiced frame to be known
_SHORTER_LAG = 0.95  # of it: half the period repeats as well, so that the octave is in doubt
STEADY_CENTS = 120.0  # from one frame of 5 ms to the next; fast glides of speech stay below 100
_CHECK_RATE = 8000
_SHORTEST_LAG, _LAGS = _CHECK_RATE // 700, _CHECK_RATE // 55 - _CHECK_RATE // 700  # 700 to 55 Hz
_SHORTEST_RUN = 8  # frames of a voiced stretch that is kept
_TRUSTED_SHARE = 0.5  # of a voiced stretch, or it counts as unvoiced
_EDGE = 2  # frames around a change of voicing where estimators cannot be held to the label
_FLOOR_DB = -55.0  # below the clip's loudest frame nothing is known about voicing


@dataclass(frozen=True, slots=True)
class Track:
    """F0 every 5 ms.

    Attributes:
        f0_hz: [frames], 0 where unvoiced.
        known: Whether the value can be trusted [frames].
    """

    f0_hz: NDArray[np.float64]
    known: NDArray[np.bool_]


def cents_between(f0_hz: NDArray[np.float64], other_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance in cents, infinite where only one of them is voiced, 0 where none is."""
    both, one = (f0_hz > 0) & (other_hz > 0), (f0_hz > 0) != (other_hz > 0)
    ratio = np.divide(f0_hz, other_hz, out=np.ones_like(f0_hz), where=both)
    return np.where(one, np.inf, np.abs(1200.0 * np.log2(ratio)))


def measured_track(speech: FloatArray) -> Track:
    """F0 of speech at 24 kHz by DIO, known where the waveform repeats after that period and the contour is steady.

    Creaky voices make estimators jump between periods and their multiples; such frames are not known.
    """
    x = np.ascontiguousarray(speech, dtype=np.float64)
    coarse, times = pyworld.dio(x, SAMPLE_RATE, f0_floor=FLOOR_HZ, f0_ceil=CEILING_HZ, frame_period=FRAME_MS)
    f0 = pyworld.stonemask(x, coarse, times, SAMPLE_RATE)
    correlation = _correlation(x, len(f0))
    lags = np.rint(_CHECK_RATE / np.maximum(f0, FLOOR_HZ)).astype(int) - _SHORTEST_LAG
    at_period = _best_near(correlation, lags)
    at_half = _best_near(correlation, lags // 2 - (_SHORTEST_LAG + 1) // 2)
    repeats = (at_period > VOICED_FROM) & (at_half < _SHORTER_LAG * at_period)
    borne_out = np.where(f0 > 0, repeats, correlation.max(axis=1) < UNVOICED_BELOW)
    return Track(f0, borne_out & _steady(f0) & _loud_enough(x, len(f0)))


def smooth_contour(track: Track) -> NDArray[np.float64]:
    """A contour to speak with [frames]: stretches that can be trusted, their gaps bridged in log F0.

    It need not be the F0 of the speech it came from, for that will be said again with this one.
    """
    contour = np.zeros_like(track.f0_hz)
    for run in voiced_runs(track.f0_hz):
        good = np.flatnonzero(track.known[run])
        if run.stop - run.start < _SHORTEST_RUN or len(good) < _TRUSTED_SHARE * (run.stop - run.start):
            continue
        log_f0 = np.interp(np.arange(run.stop - run.start), good, np.log(track.f0_hz[run][good]))
        contour[run] = np.exp(scipy.ndimage.median_filter(log_f0, size=5, mode="nearest"))
    return contour


def voiced_runs(f0_hz: NDArray[np.float64]) -> list[slice]:
    """The stretches in which F0 is not 0."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], f0_hz > 0, [False])).astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _correlation(x: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """Normalised cross-correlation of 25 ms with the same length `lag` later [frames, lags], on a copy at 8 kHz."""
    low = soxr.resample(x, SAMPLE_RATE, _CHECK_RATE)
    hop, segment, longest = int(_CHECK_RATE * FRAME_MS / 1000.0), _CHECK_RATE // 40, _SHORTEST_LAG + _LAGS
    reach = segment + longest
    padded = np.pad(low, (reach // 2, reach + frames * hop))
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach)[: frames * hop : hop]
    size = 1 << (reach + segment).bit_length()
    product = np.fft.rfft(windows, size) * np.conj(np.fft.rfft(windows[:, :segment], size))
    dot = np.fft.irfft(product, size)[:, _SHORTEST_LAG:longest]
    sums = np.pad(np.cumsum(np.square(windows), axis=1), ((0, 0), (1, 0)))
    energy = (sums[:, segment:] - sums[:, :-segment])[:, :longest]
    return np.asarray(dot / np.sqrt(energy[:, :1] * energy[:, _SHORTEST_LAG:] + 1e-12))


def _best_near(correlation: NDArray[np.float64], lags: NDArray[np.int_]) -> NDArray[np.float64]:
    """The best correlation within one sample of a lag [frames], 0 where the lag is out of range."""
    wide = np.pad(correlation, ((0, 0), (1, 1)))
    rows, at = np.arange(len(lags)), lags.clip(0, correlation.shape[1] - 1)
    best = np.maximum(np.maximum(wide[rows, at], wide[rows, at + 1]), wide[rows, at + 2])
    return np.where((lags >= 0) & (lags < correlation.shape[1]), best, 0.0)


def _steady(f0_hz: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where F0 does not jump to the next frame or from the last, and voicing does not change nearby [frames]."""
    step = cents_between(f0_hz[1:], f0_hz[:-1])
    jumps = np.concatenate(([False], step > STEADY_CENTS)) | np.concatenate((step > STEADY_CENTS, [False]))
    return np.asarray(~scipy.ndimage.binary_dilation(jumps, iterations=_EDGE - 1))


def _loud_enough(x: NDArray[np.float64], frames: int) -> NDArray[np.bool_]:
    """Where the level over 20 ms is less than `_FLOOR_DB` below the loudest [frames]."""
    hop = round(SAMPLE_RATE * FRAME_MS / 1000.0)
    power = scipy.ndimage.uniform_filter1d(np.square(x), 4 * hop, mode="constant")[::hop]
    power = np.pad(power, (0, max(frames - len(power), 0)))[:frames]
    return np.asarray(power > power.max() * 10.0 ** (_FLOOR_DB / 10.0))
