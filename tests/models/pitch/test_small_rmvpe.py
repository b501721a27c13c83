"""The pitch network that ships: what it makes of speech, and of sound that is none, over whole signals."""

from __future__ import annotations

from collections.abc import Callable

import bad_pitch_input as bad
import numpy as np
import pytest
import torch
from altervox.models.base_models import small_pitch_network
from altervox.models.pitch.rmvpe import RMVPE
from altervox.tools.bench.accuracy.world_f0 import world_f0

MOST_VOICED_OF_NO_VOICE = 0.02  # of the frames


@pytest.fixture(scope="module")
def model() -> RMVPE:
    return small_pitch_network(torch.device("cpu"))


def f0_of(model: RMVPE, audio: np.ndarray) -> np.ndarray:
    found = model.f0(audio)
    assert len(found) == len(audio) // 160 + 1
    return found


def assert_sane(f0_hz: np.ndarray) -> None:
    assert np.isfinite(f0_hz).all()
    voiced = f0_hz[f0_hz > 0]
    assert ((voiced >= 30.0) & (voiced <= 1200.0)).all(), (voiced.min(), voiced.max())
    assert (f0_hz >= 0).all()


def test_it_is_small(model: RMVPE) -> None:
    assert sum(p.numel() for p in model.parameters()) < 1_000_000
    assert not any(p.isnan().any() for p in model.parameters())


@pytest.mark.parametrize("speaker", ["man", "woman"])
def test_it_agrees_with_harvest_on_clean_speech(model: RMVPE, speaker: str) -> None:
    """Where both find a voice. Their ideas of where a voice ends differ."""
    audio = getattr(bad, speaker)()
    found, expected = f0_of(model, audio), world_f0(audio, bad.RATE, "harvest")
    assert_sane(found)
    both = (found > 0) & (expected > 0)
    assert 0.35 < np.mean(found > 0) < 0.85
    assert both.sum() > 0.7 * (found > 0).sum()
    cents = np.abs(1200.0 * np.log2(found[both] / expected[both]))
    assert np.median(cents) < 30.0
    assert np.mean(cents > 600.0) < 0.04


@pytest.mark.parametrize("name", bad.NO_VOICE)
def test_what_is_no_voice_has_no_pitch(model: RMVPE, name: str) -> None:
    found = f0_of(model, bad.NO_VOICE[name]())
    assert_sane(found)
    assert np.mean(found > 0) <= MOST_VOICED_OF_NO_VOICE


@pytest.mark.parametrize("name", bad.OTHERS)
def test_whatever_comes_in_f0_is_a_number_in_range(model: RMVPE, name: str) -> None:
    assert_sane(f0_of(model, bad.OTHERS[name]()))


def noisy(audio: np.ndarray) -> np.ndarray:
    """White noise 20 dB below."""
    noise = np.random.default_rng(2).standard_normal(len(audio), dtype=np.float32)
    return np.asarray(audio + np.float32(0.1 * np.std(audio)) * noise)


def overdriven(audio: np.ndarray) -> np.ndarray:
    """Clipped 12 dB below the peak."""
    return np.asarray(np.clip(audio * np.float32(4.0 / np.abs(audio).max()), -1.0, 1.0))


def quiet(audio: np.ndarray) -> np.ndarray:
    """30 dB down."""
    return np.asarray(audio * np.float32(10.0**-1.5))


@pytest.mark.parametrize("speaker", ["man", "woman"])
@pytest.mark.parametrize("damage", [bad.telephone, overdriven, noisy, quiet])
def test_damage_leaves_the_pitch(model: RMVPE, damage: Callable[[np.ndarray], np.ndarray], speaker: str) -> None:
    """F0 of damaged speech is that of the clean one."""
    clean = getattr(bad, speaker)()
    damaged = damage(clean)
    before, after = f0_of(model, clean), f0_of(model, damaged)
    assert_sane(after)
    both = (before > 0) & (after > 0)
    assert both.sum() > 0.7 * (before > 0).sum()
    cents = np.abs(1200.0 * np.log2(after[both] / before[both]))
    assert np.median(cents) < 20.0
    assert np.mean(cents > 50.0) < 0.2


def test_of_two_speakers_it_follows_one_or_the_other(model: RMVPE) -> None:
    mixed = f0_of(model, bad.two_speakers())
    alone = [f0_of(model, bad.man())[: len(mixed)], f0_of(model, bad.woman())[: len(mixed)]]
    voiced = (mixed > 0) & ((alone[0] > 0) | (alone[1] > 0))
    away = [np.abs(1200.0 * np.log2(mixed[voiced] / np.where(f0[voiced] > 0, f0[voiced], 1e-3))) for f0 in alone]
    assert voiced.mean() > 0.3
    assert np.mean(np.minimum(*away) < 100.0) > 0.7
