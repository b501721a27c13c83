"""Median and spread of the speaker's F0 as a stream makes them known: found in 0.1 s, forgotten over seconds.

Only voiced frames count, for time too: pauses forget nothing. What lies far below the speech does not count either: the
hum of mains or a fan is voiced, and lasts through all pauses. Where hum was heard before the first word, speech soon
outweighs it, because frames weigh by their level. Only ratios of levels matter, so a quiet speaker is learnt alike.

Both are taken from a histogram of pitch that decays exponentially, so another person at the microphone is followed, and
the intonation of one person is averaged over about twice the time constant. After that long the estimate is held, and
for one speaker it stands still. It follows the median again once the two are more than `HELD_SEMITONES` apart: after
6 s of voiced speech by somebody an octave higher, and as loud.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from .types import Float64Array, FloatArray

KNOWN_FRAMES = 20  # voiced frames, 0.1 s: with fewer there is no estimate
MEMORY_FRAMES = 1600  # voiced frames, 8 s: the time constant
FOLLOWED_FRAMES = 2 * MEMORY_FRAMES
HELD_SEMITONES = 2.0
LOWEST_HZ = 30.0
FAINT = 10.0 ** (-30.0 / 20.0)  # of the speech's level: what is softer is not the speaker
_FULL = 10.0 ** (-12.0 / 20.0)  # of that level: from there on frames count alike, as vowels and nasals do
_LOUDEST = 0.2  # as of loud speech: a howl at full scale is not remembered for longer
_ATTACK = 0.1  # of the level per voiced frame: it is there within 0.1 s, but not for the sake of a click
_RELEASE = 10.0 ** (-2.0 / 20.0 / 200.0)  # of the level per voiced frame: 2 dB/s, and a loud moment is forgotten
_BINS_PER_SEMITONE = 10
_BINS = 72 * _BINS_PER_SEMITONE  # 6 octaves, to 1920 Hz
_DECAY = math.exp(-1.0 / MEMORY_FRAMES)
_ONE_SIGMA = 0.3413  # of a normal distribution between its median and one standard deviation above it


@dataclass(slots=True)
class SpeakerState:
    """What is known of the speaker. The same for every voice, so a new voice can go on from it.

    Attributes:
        weight_mem: Voiced frames by their pitch, times the level when they came, decayed by their age [bins].
        voiced_frames: Voiced frames since the estimate began to follow the median.
        median_mem: The estimate in semitones above `LOWEST_HZ`; NaN while there is none.
        spread_mem: Standard deviation of pitch in semitones, without the octave errors of a tracker; NaN likewise.
        level_mem: Running level of the speech, an RMS.
    """

    weight_mem: Float64Array = field(default_factory=lambda: np.zeros(_BINS), repr=False)
    voiced_frames: int = 0
    median_mem: float = math.nan
    spread_mem: float = math.nan
    level_mem: float = 0.0

    def reset(self) -> None:
        """Forget the speaker."""
        self.weight_mem[:] = 0.0
        self.voiced_frames = 0
        self.median_mem = self.spread_mem = math.nan
        self.level_mem = 0.0

    def adopt(self, other: SpeakerState) -> None:
        """Go on from what another stage knows of the same speaker. Nothing is shared afterwards.

        May be called while another thread advances `other`: that leaves a copy whose weights are a block apart.
        """
        np.copyto(self.weight_mem, other.weight_mem)
        self.voiced_frames = other.voiced_frames
        self.median_mem, self.spread_mem = other.median_mem, other.spread_mem
        self.level_mem = other.level_mem

    @property
    def median_hz(self) -> float:
        """The speaker's median F0; NaN while it is not known."""
        return float(LOWEST_HZ * 2.0 ** (self.median_mem / 12.0))

    def note(self, f0_hz: Float64Array, loudness: Float64Array) -> None:
        """Take note of the next frames. How they are grouped makes no difference.

        Args:
            f0_hz: 0 where unvoiced [frames].
            loudness: As of `loudness_into` [frames].
        """
        self.voiced_frames, self.median_mem, self.spread_mem, self.level_mem = note_f0(
            *(self.weight_mem, self.voiced_frames, self.median_mem, self.spread_mem, self.level_mem),
            *(f0_hz, loudness),
        )


@njit(nogil=True, cache=True)
def loudness_into(audio: FloatArray | Float64Array, first: int, hop: int, width: int, out: Float64Array) -> None:
    """RMS of frames without their DC, which microphones have and nobody hears, and no more than `_LOUDEST`.

    All stages measure it over 10 ms, for what one knows of the speaker goes on to another.

    Args:
        audio: [N], N at least `first + (frames - 1) * hop + width`.
        first: First sample of the first frame.
        hop: Samples from frame to frame.
        width: Samples of a frame.
        out: Filled [frames].
    """
    for i in range(len(out)):
        total = power = 0.0
        for k in range(first + i * hop, first + i * hop + width):
            x = float(audio[k])
            total += x
            power += x * x
        out[i] = min(np.sqrt(max(power / width - (total / width) ** 2, 0.0)), _LOUDEST)


@njit(nogil=True, cache=True)
def note_f0(
    weight_mem: Float64Array,
    voiced_frames: int,
    median: float,
    spread: float,
    level: float,
    f0_hz: Float64Array,
    loudness: Float64Array,
) -> tuple[int, float, float, float]:
    """`SpeakerState.note`: takes its attributes, changes the first in place and returns what becomes of the others."""
    for i in range(len(f0_hz)):
        if f0_hz[i] <= 0.0:
            continue
        level = max(level * _RELEASE, level + _ATTACK * (loudness[i] - level))
        if loudness[i] <= FAINT * level:
            continue
        place = int(12.0 * _BINS_PER_SEMITONE * np.log2(f0_hz[i] / LOWEST_HZ))
        part = min(loudness[i] / (_FULL * level), 1.0)
        weight_mem *= _DECAY**part
        weight_mem[min(max(place, 0), _BINS - 1)] += part * level
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
    return voiced_frames, median, spread, level


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
