"""Features of the neural voices: the running level."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.models.neural.features import HIGHEST_LEVEL, Features, FeatureState


def test_one_absurd_sample_is_not_heard_for_longer_than_a_loud_one() -> None:
    """The level decays by 6 dB a second: without a bound, by as many seconds as the sample is absurd."""
    ends = []
    for peak in (30.0, 1e9):
        audio = np.zeros(32000, dtype=np.float32)
        audio[1000] = peak
        found, levels = Features(200), np.zeros(200, dtype=np.float32)
        found.push_into(audio, FeatureState.allocate(), np.zeros((200, 80), dtype=np.float32), levels)
        ends.append(levels[-1])
    assert ends[1] == pytest.approx(ends[0], abs=0.02)
    assert ends[1] < HIGHEST_LEVEL - 1.0
