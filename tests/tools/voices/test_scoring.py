"""The figures in a voice's card: right for a voice that changes nothing, and for one whose output is known."""

from __future__ import annotations

import made_up_neural
import numpy as np
import own_recordings
import pytest
import torch
from altervox.models.library import load_voice
from altervox.models.neural.network import CODE, ENVELOPE_BANDS, PAIR, PITCH
from altervox.models.neural.step import Speaking
from altervox.tools.voices.analysis import Example, analyse_recording
from altervox.tools.voices.material import hear
from altervox.tools.voices.scoring import (
    conversion_metrics,
    envelope_distance_db,
    pitch_statistics,
    with_natural_variance,
)
from altervox.tools.voices.tuning import say


@pytest.fixture(scope="module")
def example() -> Example:
    return analyse_recording(own_recordings.spoken(5.3), own_recordings.RATE)


def test_a_voice_that_changes_nothing_scores_best(example: Example) -> None:
    metrics = conversion_metrics(load_voice("off"), [example, example])
    assert metrics["f0_correlation"] > 0.99
    assert metrics["voicing_agreement"] > 0.99
    assert metrics["level_db"] == pytest.approx(0.0, abs=0.05)


def test_a_voice_without_pitch_is_seen(example: Example) -> None:
    metrics = conversion_metrics(load_voice("whisper"), [example])
    assert metrics["voicing_agreement"] < 0.8
    assert abs(metrics["f0_correlation"]) <= 1.0


def test_pitch_of_a_low_voice(example: Example) -> None:
    mean, spread = pitch_statistics([example])
    assert 80.0 < 2.0**mean < 150.0
    assert 0.05 < spread < 0.4
    silent = Example(example.audio, np.zeros_like(example.f0_hz), example.level, example.bands)
    assert all(np.isfinite(pitch_statistics([silent])))


def test_an_envelope_off_by_a_known_amount(example: Example) -> None:
    """Nothing for a decoder that says what was said, 6 dB for one that says it twice as loud."""
    voice = made_up_neural.file().speaking
    decoder = voice.decoder
    with torch.no_grad():
        decoder.leave.weight.zero_()
        decoder.leave.bias.zero_()
    codes = hear(example, made_up_neural.encoder())
    flat = np.zeros_like(example.bands)
    flat[:, :ENVELOPE_BANDS] = float(
        say(decoder, torch.zeros(1, 1, CODE), torch.zeros(1, PAIR, PITCH), voice.voice)[0, 0, 0].detach()
    )
    heard = [(codes, Example(example.audio, example.f0_hz, example.level, flat))]
    plain = Speaking(
        decoder, voice.voice, torch.full((ENVELOPE_BANDS,), -3.5), torch.zeros(ENVELOPE_BANDS, ENVELOPE_BANDS)
    )
    assert envelope_distance_db(plain, heard, True) == pytest.approx(0.0, abs=0.01)
    with torch.no_grad():
        decoder.leave.bias.add_(np.log(2.0) / 2.5)
    assert envelope_distance_db(plain, heard, True) == pytest.approx(6.02, abs=0.02)


def test_natural_variance_brings_what_is_said_nearer_to_what_varies(example: Example) -> None:
    encoder, voice = made_up_neural.encoder(), made_up_neural.file().speaking
    sharpened = with_natural_variance(voice, [(hear(example, encoder), example)], False)
    assert sharpened.sharpen.shape == (ENVELOPE_BANDS, ENVELOPE_BANDS)
    assert 0.0 < torch.linalg.eigvalsh(sharpened.sharpen).max() <= 1.501
    unchanged = with_natural_variance(voice, [(hear(example, encoder), example)], False, 0.0)
    assert not unchanged.sharpen.any()
