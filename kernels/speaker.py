"""The median F0 of the speaker, as a stream of frames makes it known: found in 0.1 s, forgotten over seconds.

Only voiced frames count, for time too: pauses forget nothing. The median is one over a histogram of pitch that decays
exponentially, so another person at the microphone is followed, and the intonation of one person is averaged over about
twice the time constant. After that long the estimate is held, and for one speaker it stands still. It follows the
median again once the two are more than `HELD_SEMITONES` apart: after 6 s of voiced speech by somebody an octave higher.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from .types import Float64Array

KNOWN_FRAMES = 20  # voiced frames, 0.1 s: with fewer there is no estimate
MEMORY_FRAMES = 1600  # voiced frames, 8 s: the time constant
FOLLOWED_FRAMES = 2 * MEMORY_FRAMES
HELD_SEMITONES = 2.0
_LOWEST_HZ = 30.0
_BINS_PER_SEMITONE = 10
_BINS = 72 * _BINS_PER_SEMITONE  # 6 octaves, to 1920 Hz
_DECAY = math.exp(-1.0 / MEMORY_FRAMES)


@dataclass(slots=True)
class SpeakerState:
    """What is known of the speaker. The same for every voice, so a new voice can go on from it.

    Attributes:
        weight_mem: Voiced frames by their pitch, decayed by their age [bins].
        voiced_frames: Voiced frames since the estimate began to follow the median.
        median_mem: The estimate in semitones above `_LOWEST_HZ`; NaN while there is none.
    """

    weight_mem: Float64Array = field(default_factory=lambda: np.zeros(_BINS), repr=False)
    voiced_frames: int = 0
    median_mem: float = math.nan

    def reset(self) -> None:
        """Forget the speaker."""
        self.weight_mem[:] = 0.0
        self.voiced_frames = 0
        self.median_mem = math.nan

    def adopt(self, other: SpeakerState) -> None:
        """Go on from what another stage knows of the same speaker. Nothing is shared afterwards.

        May be called while another thread advances `other`: that leaves a copy whose weights are a block apart.
        """
        np.copyto(self.weight_mem, other.weight_mem)
        self.voiced_frames, self.median_mem = other.voiced_frames, other.median_mem

    @property
    def median_hz(self) -> float:
        """The speaker's median F0; NaN while it is not known."""
        return float(_LOWEST_HZ * 2.0 ** (self.median_mem / 12.0))

    def note(self, f0_hz: Float64Array) -> None:
        """Take note of the next frames' F0 [frames], 0 where unvoiced. How frames are grouped makes no difference."""
        self.voiced_frames, self.median_mem = _note(self.weight_mem, self.voiced_frames, self.median_mem, f0_hz)


@njit(nogil=True, cache=True)
def _note(weight_mem: Float64Array, voiced_frames: int, median: float, f0_hz: Float64Array) -> tuple[int, float]:
    for hz in f0_hz:
        if hz <= 0.0:
            continue
        place = int(12.0 * _BINS_PER_SEMITONE * np.log2(hz / _LOWEST_HZ))
        weight_mem *= _DECAY
        weight_mem[min(max(place, 0), _BINS - 1)] += 1.0
        voiced_frames += 1
        if voiced_frames < KNOWN_FRAMES:
            continue
        newest = _median(weight_mem)
        if voiced_frames > FOLLOWED_FRAMES and abs(newest - median) > HELD_SEMITONES:
            voiced_frames = KNOWN_FRAMES
        if voiced_frames <= FOLLOWED_FRAMES:
            median = newest
    return voiced_frames, median


@njit(nogil=True, cache=True)
def _median(weights: Float64Array) -> float:
    """Median of a histogram in semitones above its first bin's lower edge, interpolated within a bin."""
    half = 0.5 * weights.sum()
    below = 0.0
    for k in range(len(weights)):
        if below + weights[k] >= half and weights[k] > 0.0:
            median: float = (k + (half - below) / weights[k]) / _BINS_PER_SEMITONE
            return median
        below += weights[k]
    return 0.0
