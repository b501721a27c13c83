"""F0 of single frames by normalised cross-correlation (Talkin 1995, RAPT), for the newest audio of a stream.

It looks at 21 ms on both sides of a frame, where contour trackers want more than 60, and knows nothing of neighbours:
good enough for the first frames of a voice, until a tracker has heard enough of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.signal
from numba import njit
from numpy.typing import NDArray

_DECIMATION = 4
_SEGMENT_S = 0.025  # compared with the same length one lag later
_VOICED = 0.6  # correlation from which a frame has an F0
_SHORTER_LAG = 0.9  # of the best correlation: a shorter lag that reaches it wins, against sub-octaves


def correlation_f0(
    audio: NDArray[np.floating[Any]],
    sample_rate: int,
    centres: NDArray[np.int64],
    floor_hz: float,
    ceiling_hz: float,
) -> NDArray[np.float64]:
    """F0 around some samples.

    Args:
        audio: Mono [N].
        sample_rate: In Hz.
        centres: Sample indices [frames].
        floor_hz: Lowest F0 that is looked for.
        ceiling_hz: Highest, below a sixteenth of the rate.

    Returns:
        [frames] in Hz, 0 where nothing repeats.
    """
    low_rate = sample_rate / _DECIMATION
    low = scipy.signal.resample_poly(audio, 1, _DECIMATION).astype(np.float64)
    shortest, longest = int(low_rate / ceiling_hz), int(np.ceil(low_rate / floor_hz))
    out = np.zeros(len(centres))
    _correlate(low, centres // _DECIMATION, shortest, longest, int(_SEGMENT_S * low_rate), low_rate, out)
    return out


@njit(nogil=True, cache=True)
def _correlate(
    x: NDArray[np.float64],
    centres: NDArray[np.int64],
    shortest: int,
    longest: int,
    length: int,
    rate: float,
    out: NDArray[np.float64],
) -> None:
    scores = np.zeros(longest + 2)
    for i in range(len(centres)):
        best = 0.0
        for lag in range(shortest - 1, longest + 2):
            start = centres[i] - (length + lag) // 2
            cross = one = two = 1e-9
            if start >= 0 and start + lag + length <= len(x):
                for n in range(start, start + length):
                    cross += x[n] * x[n + lag]
                    one += x[n] * x[n]
                    two += x[n + lag] * x[n + lag]
            scores[lag] = cross / np.sqrt(one * two)
            if shortest <= lag <= longest and scores[lag] > best:
                best = scores[lag]
        if best < _VOICED:
            continue
        for lag in range(shortest, longest + 1):
            before, here, after = scores[lag - 1], scores[lag], scores[lag + 1]
            if here >= _SHORTER_LAG * best and here >= before and here >= after:
                bend = before - 2.0 * here + after
                out[i] = rate / (lag + (0.5 * (before - after) / bend if bend < 0.0 else 0.0))
                break
