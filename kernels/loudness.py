"""A slow automatic gain: brings speech to a wanted level, and holds still while nobody speaks.

The level is a gated mean, as in EBU R128 (ITU-R BS.1770-5): the power of the frames that hold speech, over the last 3 s
of speech (the short-term window of EBU Tech 3341). A detector's probability of speech takes the place of R128's level
gates, which would let steady noise count, and there is no K-weighting: speech differs from it by a constant. The gain
follows at 3 dB a second, within 18 dB, and stays as it is in between, so that noise in pauses is not drawn up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from .errors import ParameterError
from .types import FloatArray

FRAME_MS = 10
MEMORY_S = 3.0
RANGE_DB = 18.0
RATE_DB_PER_S = 3.0
SPEECH_PROBABILITY = 0.8
_LEAST_POWER = 1e-10


@dataclass(slots=True)
class LoudnessState:
    """Memory of `level_speech_into`.

    Attributes:
        sample_rate: Hz.
        gain_db: At the end of the last frame.
        mean_square: Mean square of the speech so far, before the gain.
        speech_frames: That it is a mean of; no more than 3 s of them.
    """

    sample_rate: int
    gain_db: float = 0.0
    mean_square: float = 0.0
    speech_frames: int = 0

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.gain_db = self.mean_square = 0.0
        self.speech_frames = 0


def level_speech_into(
    x: FloatArray, probability: FloatArray, state: LoudnessState, target_db: float, out: FloatArray
) -> None:
    """Level the next frames of a stream. How it is cut into blocks of frames changes nothing, to the last bit.

    Args:
        x: Frames of 10 ms [k * 10 ms], contiguous.
        probability: Probability of speech in each frame, 0..1 [k].
        state: Advanced in place.
        target_db: RMS that speech is to have, in dB of full scale.
        out: Filled [k * 10 ms], contiguous; may be `x`.

    Raises:
        ParameterError: `x` or `out` does not have the length of the frames.
    """
    frame = state.sample_rate * FRAME_MS // 1000
    if not len(x) == len(out) == len(probability) * frame:
        raise ParameterError(
            f"{len(probability)} frames to level have {len(probability) * frame} samples, not {len(x)} and {len(out)}."
        )
    state.gain_db, state.mean_square, state.speech_frames = _level(
        x,
        probability,
        frame,
        float(target_db),
        int(MEMORY_S * 1000.0 / FRAME_MS),
        RATE_DB_PER_S * FRAME_MS / 1000.0,
        state.gain_db,
        state.mean_square,
        state.speech_frames,
        out,
    )


@njit(cache=True, nogil=True)
def _level(
    x: FloatArray,
    probability: FloatArray,
    frame: int,
    target_db: float,
    memory_frames: int,
    step_db: float,
    gain_db: float,
    mean_square: float,
    speech_frames: int,
    out: FloatArray,
) -> tuple[float, float, int]:
    for k in range(len(probability)):
        start = k * frame
        before = 10.0 ** (gain_db / 20.0)
        if probability[k] >= SPEECH_PROBABILITY:
            power = 0.0
            for i in range(start, start + frame):
                power += np.float64(x[i]) * np.float64(x[i])
            speech_frames = min(speech_frames + 1, memory_frames)
            mean_square += (power / frame - mean_square) / speech_frames
            wanted_db = target_db - 10.0 * np.log10(max(mean_square, _LEAST_POWER))
            wanted_db = min(max(wanted_db, -RANGE_DB), RANGE_DB)
            gain_db += min(max(wanted_db - gain_db, -step_db), step_db)
        slope = (10.0 ** (gain_db / 20.0) - before) / frame
        for i in range(frame):
            out[start + i] = x[start + i] * (before + slope * (i + 1))
    return gain_db, mean_square, speech_frames
