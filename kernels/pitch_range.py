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

from .speaker import FAINT, LOWEST_HZ, SpeakerState, note_f0
from .types import Float64Array

LEAST_STRETCH, MOST_STRETCH = 0.6, 1.6  # of the speaker's intonation
MOST_SPREADS = 4.0  # of the voice's F0, by which it may lie off the mean: no voice goes further
_GLIDE_FRAMES = 200  # voiced frames, 1 s: time constant with which an estimate comes into force
_MOST_STEP = 0.01  # octaves by which the centre moves in a frame
_PAUSE_FRAMES = 20  # 0.1 s: after as many frames without speech nobody hears the centre jump
_DOUBT_FRAMES = 400.0  # voiced frames, 2 s: after as many the speaker's spread is believed by half


@dataclass(slots=True)
class PitchRangeState:
    """What is carried.

    Attributes:
        speaker: Estimate of the speaker.
        pause_frames: Frames since the last one of voiced speech.
        centre_mem: What is taken for the speaker's mean, in octaves above 1 Hz; NaN before the first voiced frame.
        stretch_mem: By what intonation is multiplied.
    """

    speaker: SpeakerState = field(default_factory=SpeakerState)
    pause_frames: int = 0
    centre_mem: float = math.nan
    stretch_mem: float = 1.0

    def reset(self) -> None:
        """Return to the start of a stream and forget the speaker."""
        self.speaker.reset()
        self.pause_frames = 0
        self.centre_mem, self.stretch_mem = math.nan, 1.0


def map_f0_into(
    f0_hz: Float64Array,
    loudness: Float64Array,
    mean: Float64Array,
    spread: Float64Array,
    state: PitchRangeState,
    out: Float64Array,
) -> None:
    """Map the next frames, 5 ms apart. How they are grouped makes no difference.

    Args:
        f0_hz: The speaker's F0, 0 where unvoiced [frames].
        loudness: As of `loudness_into` [frames].
        mean: Mean of the voice's F0, in octaves above 1 Hz [frames].
        spread: Standard deviation of the voice's F0, in octaves [frames].
        state: Advanced in place.
        out: Filled with F0 in Hz [frames].
    """
    s = state.speaker
    known, own = _map(
        *(s.weight_mem, s.voiced_frames, s.median_mem, s.spread_mem, s.level_mem),
        *(state.pause_frames, state.centre_mem, state.stretch_mem),
        *(f0_hz, loudness, mean, spread, out),
    )
    s.voiced_frames, s.median_mem, s.spread_mem, s.level_mem = known
    state.pause_frames, state.centre_mem, state.stretch_mem = own


@njit(nogil=True, cache=True)
def _map(
    weight_mem: Float64Array,
    known_frames: int,
    median: float,
    speaker_spread: float,
    level: float,
    pause: int,
    centre: float,
    stretch: float,
    f0_hz: Float64Array,
    loudness: Float64Array,
    mean: Float64Array,
    spread: Float64Array,
    out: Float64Array,
) -> tuple[tuple[int, float, float, float], tuple[int, float, float]]:
    for i in range(len(f0_hz)):
        if f0_hz[i] <= 0.0:
            out[i] = 0.0
            pause += 1
            continue
        known_frames, median, speaker_spread, level = note_f0(
            weight_mem, known_frames, median, speaker_spread, level, f0_hz[i : i + 1], loudness[i : i + 1]
        )
        here, reach = np.log2(f0_hz[i]), MOST_SPREADS * spread[i]
        aim = here if np.isnan(median) else np.log2(LOWEST_HZ) + median / 12.0
        if np.isnan(centre):
            centre = aim
        if loudness[i] <= FAINT * level:
            pause += 1
        else:
            if pause >= _PAUSE_FRAMES and not np.isnan(median):
                centre = aim
            pause = 0
            heard = max(weight_mem.sum() / level, 1.0)  # frames as loud as the speech is now
            rate = max(1.0 / heard, 1.0 / _GLIDE_FRAMES)
            centre += min(max(rate * (aim - centre), -_MOST_STEP), _MOST_STEP)
            centre = min(max(centre, aim - reach), aim + reach)  # further off, it is heard at the bound anyway
            wanted = 1.0
            if not np.isnan(speaker_spread):
                own, own_variance = spread[i] * spread[i], (speaker_spread / 12.0) ** 2
                variance = (heard * own_variance + _DOUBT_FRAMES * own) / (heard + _DOUBT_FRAMES)
                wanted = min(max(np.sqrt(own / variance), LEAST_STRETCH), MOST_STRETCH)
            stretch += (wanted - stretch) / _GLIDE_FRAMES
        out[i] = 2.0 ** (mean[i] + min(max(stretch * (here - centre), -reach), reach))
    return (known_frames, median, speaker_spread, level), (pause, centre, stretch)
