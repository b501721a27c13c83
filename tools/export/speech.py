"""The recording that exports are compared with, which ships with altervox."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ... import models
from ...kernels.types import FloatArray
from ...models.pitch.mel import SAMPLE_RATE

RECORDING = Path(models.__path__[0]) / "data" / "speech.flac"
_BEGINS_S = 0.2  # before that it is silent
_ROW_SHARE = 0.618  # of the recording, from where one row begins to where the next one does


def recorded_speech(seconds: float, row: int = 0) -> FloatArray:
    """A man reading, repeated as often as needed; each row of a batch begins elsewhere. 16 kHz mono [N]."""
    import soundfile

    samples, rate = soundfile.read(RECORDING, dtype="float32")
    assert rate == SAMPLE_RATE
    first = round(_BEGINS_S * rate + row * _ROW_SHARE * len(samples))
    places = (first + np.arange(round(seconds * rate))) % len(samples)
    return np.asarray(samples[places])
