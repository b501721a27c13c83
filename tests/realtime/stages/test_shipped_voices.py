"""The neural voices that ship, whichever they are: nothing is said where nothing is said."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.models.library import load_voice, shipped_neural_voices
from altervox.models.neural.features import SAMPLE_RATE
from altervox.models.neural.voice import NeuralVoice
from altervox.models.voice import VoiceParams
from altervox.realtime import StreamConfig
from altervox.realtime.stages.neural import NeuralStage
from numpy.typing import NDArray

CONFIG = StreamConfig(block_ms=100)
SECONDS = 3
SETTLED_S = 1  # the running level rises to the noise's at once, and the networks have heard enough of it by then


def noise(kind: str, level_db: float) -> NDArray[np.float32]:
    """Steady noise at a level below full scale, or silence, at 16 kHz."""
    count = SECONDS * SAMPLE_RATE
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(count))
    if kind == "pink":
        spectrum /= np.sqrt(np.arange(len(spectrum)).clip(min=1))
    samples = np.fft.irfft(spectrum, count)
    level = 0.0 if kind == "silence" else 10.0 ** (level_db / 20.0)
    return np.asarray(level / samples.std() * samples, dtype=np.float32)


@pytest.mark.parametrize(
    ("kind", "noise_db", "most_db"),
    [
        ("silence", 0.0, -90.0),
        *((kind, *levels) for kind in ("white", "pink") for levels in ((-40.0, -70.0), (-20.0, -40.0))),
    ],
)
def test_no_voice_babbles_where_nobody_speaks(kind: str, noise_db: float, most_db: float) -> None:
    audio = noise(kind, noise_db)
    for name in shipped_neural_voices():
        voice = load_voice(name)
        assert isinstance(voice, NeuralVoice)
        stage = NeuralStage.of(voice, CONFIG)
        size = CONFIG.block_ms * SAMPLE_RATE // 1000
        out = np.zeros(len(audio) * 3 // 2, dtype=np.float32)
        for at in range(0, len(audio), size):
            stage.process(audio[at : at + size], VoiceParams(), out[at * 3 // 2 : (at + size) * 3 // 2])
        settled = out[SETTLED_S * stage.output_rate :]
        level_db = 10.0 * np.log10(np.square(settled, dtype=np.float64).mean() + 1e-20)
        assert level_db < most_db, f"{name} speaks in {kind}"
