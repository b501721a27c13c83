"""Median and spread of the speaker's F0 as a stream makes them known: found in 0.1 s, forgotten over seconds.

Only voiced frames count, for time too: pauses forget nothing. Both are taken from a histogram of pitch that decays
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
LOWEST_HZ = 30.0
_BINS_PER_SEMITONE = 10
_BINS = 72 * _BINS_PER_SEMITONE  # 6 octaves, to 1920 Hz
_DECAY = math.exp(-1.0 / MEMORY_FRAMES)
_ONE_SIGMA = 0.3413  # of a normal distribution between its median and one standard deviation above it


@dataclass(slots=True)
class SpeakerState:
    """What is known of the speaker. The same for every voice, so a new voice can go on from it.

    Attributes:
        weight_mem: Voiced frames by their pitch, decayed by their age [bins].
        voiced_frames: Voiced frames since the estimate began to follow the median.
        median_mem: The estimate in semitones above `LOWEST_HZ`; NaN while there is none.
        spread_mem: Standard deviation of pitch in semitones, without the octave errors of a tracker; NaN likewise.
    """

    weight_mem: Float64Array = field(default_factory=lambda: np.zeros(_BINS), repr=False)
    voiced_frames: int = 0
    median_mem: float = math.nan
    spread_mem: float = math.nan

    def reset(self) -> None:
        """Forget the speaker."""
        self.weight_mem[:] = 0.0
        self.voiced_frames = 0
        self.median_mem = self.spread_mem = math.nan

    def adopt(self, other: SpeakerState) -> None:
        """Go on from what another stage knows of the same speaker. Nothing is shared afterwards.

        May be called while another thread advances `other`: that leaves a copy whose weights are a block apart.
        """
        np.copyto(self.weight_mem, other.weight_mem)
        self.voiced_frames = other.voiced_frames
        self.median_mem, self.spread_mem = other.median_mem, other.spread_mem

    @property
    def median_hz(self) -> float:
        """The speaker's median F0; NaN while it is not known."""
        return float(LOWEST_HZ * 2.0 ** (self.median_mem / 12.0))

    def note(self, f0_hz: Float64Array) -> None:
        """Take note of the next frames' F0 [frames], 0 where unvoiced. How frames are grouped makes no difference."""
        self.voiced_frames, self.median_mem, self.spread_mem = note_f0(
            self.weight_mem, self.voiced_frames, self.median_mem, self.spread_mem, f0_hz
        )


@njit(nogil=True, cache=True)
def note_f0(
    weight_mem: Float64Array, voiced_frames: int, median: float, spread: float, f0_hz: Float64Array
) -> tuple[int, float, float]:
    """`SpeakerState.note`: takes its attributes, changes the first in place and returns what becomes of the others."""
    for hz in f0_hz:
        if hz <= 0.0:
            continue
        place = int(12.0 * _BINS_PER_SEMITONE * np.log2(hz / LOWEST_HZ))
        weight_mem *= _DECAY
        weight_mem[min(max(place, 0), _BINS - 1)] += 1.0
        voiced_frames += 1
        if voiced_frames < KNOWN_FRAMES:
            continue
        newest = _quantile(weight_mem, 0.5)
        if voiced_frames > FOLLOWED_FRAMES and abs(newest - median) > HELD_SEMITONES:
            voiced_frames = KNOWN_FRAMES
        if voiced_frames <= FOLLOWED_FRAMES:
            median = newest
            high, low = _quantile(weight_mem, 0.5 + _ONE_SIGMA), _quantile(weight_mem, 0.5 - _ONE_SIGMA)
            spread = 0.5 * (high - low)
    return voiced_frames, median, spread


@njit(nogil=True, cache=True)
def _quantile(weights: Float64Array, part: float) -> float:
    """Quantile of a histogram in semitones above its first bin's lower edge, interpolated within a bin."""
    wanted = part * weights.sum()
    below = 0.0
    for k in range(len(weights)):
        if below + weights[k] >= wanted and weights[k] > 0.0:
            place: float = (k + (wanted - below) / weights[k]) / _BINS_PER_SEMITONE
            return place
        below += weights[k]
    return 0.0
