"""Bring a speaker's F0 into the range of another voice, frame by frame: mean and spread of its logarithm.

What is known of the speaker comes into force slowly or in a pause, so that F0 never jumps where the speaker's does not.
In the first tenth of a second of a voice, its own running mean stands for the speaker's, so that a voice begins in its
range; and it never goes far beyond, whatever was taken for the speaker before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from .speaker import LOWEST_HZ, SpeakerState, note_f0
from .types import Float64Array

LEAST_STRETCH, MOST_STRETCH = 0.6, 1.6  # of the speaker's intonation
MOST_SPREADS = 4.0  # of the voice's F0, by which it may lie off the mean: no voice goes further
_GLIDE_FRAMES = 200  # voiced frames, 1 s: time constant with which an estimate comes into force
_MOST_STEP = 0.01  # octaves by which the centre moves in a frame
_PAUSE_FRAMES = 20  # 0.1 s: after as many unvoiced frames nobody hears the centre jump
_DOUBT_FRAMES = 400.0  # voiced frames, 2 s: after as many the speaker's spread is believed by half


@dataclass(slots=True)
class PitchRangeState:
    """What is carried.

    Attributes:
        speaker: Estimate of the speaker.
        frames: Voiced frames since the start of the stream.
        pause_frames: Unvoiced frames since the last voiced one.
        centre_mem: What is taken for the speaker's mean, in octaves above 1 Hz; NaN before the first voiced frame.
        stretch_mem: By what intonation is multiplied.
    """

    speaker: SpeakerState = field(default_factory=SpeakerState)
    frames: int = 0
    pause_frames: int = 0
    centre_mem: float = math.nan
    stretch_mem: float = 1.0

    def reset(self) -> None:
        """Return to the start of a stream and forget the speaker."""
        self.speaker.reset()
        self.frames = self.pause_frames = 0
        self.centre_mem, self.stretch_mem = math.nan, 1.0


def map_f0_into(
    f0_hz: Float64Array, mean: Float64Array, spread: Float64Array, state: PitchRangeState, out: Float64Array
) -> None:
    """Map the next frames, 5 ms apart. How they are grouped makes no difference.

    Args:
        f0_hz: The speaker's F0, 0 where unvoiced [frames].
        mean: Mean of the voice's F0, in octaves above 1 Hz [frames].
        spread: Standard deviation of the voice's F0, in octaves [frames].
        state: Advanced in place.
        out: Filled with F0 in Hz [frames].
    """
    s = state.speaker
    known, own = _map(
        *(s.weight_mem, s.voiced_frames, s.median_mem, s.spread_mem),
        *(state.frames, state.pause_frames, state.centre_mem, state.stretch_mem),
        *(f0_hz, mean, spread, out),
    )
    s.voiced_frames, s.median_mem, s.spread_mem = known
    state.frames, state.pause_frames, state.centre_mem, state.stretch_mem = own


@njit(nogil=True, cache=True)
def _map(
    weight_mem: Float64Array,
    known_frames: int,
    median: float,
    speaker_spread: float,
    frames: int,
    pause: int,
    centre: float,
    stretch: float,
    f0_hz: Float64Array,
    mean: Float64Array,
    spread: Float64Array,
    out: Float64Array,
) -> tuple[tuple[int, float, float], tuple[int, int, float, float]]:
    for i in range(len(f0_hz)):
        if f0_hz[i] <= 0.0:
            out[i] = 0.0
            pause += 1
            continue
        known_frames, median, speaker_spread = note_f0(
            weight_mem, known_frames, median, speaker_spread, f0_hz[i : i + 1]
        )
        here = np.log2(f0_hz[i])
        aim = here if np.isnan(median) else np.log2(LOWEST_HZ) + median / 12.0
        frames += 1
        rate = max(1.0 / frames, 1.0 / _GLIDE_FRAMES)
        if np.isnan(centre) or (pause >= _PAUSE_FRAMES and not np.isnan(median)):
            centre = aim
        pause = 0
        centre += min(max(rate * (aim - centre), -_MOST_STEP), _MOST_STEP)
        reach = MOST_SPREADS * spread[i]
        centre = min(max(centre, aim - reach), aim + reach)  # further off, the speaker is heard at the bound anyway
        wanted = 1.0
        if not np.isnan(speaker_spread):
            heard, own = weight_mem.sum(), spread[i] * spread[i]
            own_variance = (speaker_spread / 12.0) ** 2
            variance = (heard * own_variance + _DOUBT_FRAMES * own) / (heard + _DOUBT_FRAMES)
            wanted = min(max(np.sqrt(own / variance), LEAST_STRETCH), MOST_STRETCH)
        stretch += (wanted - stretch) / _GLIDE_FRAMES
        out[i] = 2.0 ** (mean[i] + min(max(stretch * (here - centre), -reach), reach))
    return (known_frames, median, speaker_spread), (frames, pause, centre, stretch)
