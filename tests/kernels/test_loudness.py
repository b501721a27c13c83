"""Levelling of speech: as an independent reference has it, whatever the blocks, slow, bounded, and still in pauses."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.kernels.errors import ParameterError
from altervox.kernels.loudness import LoudnessState, level_speech_into
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

RATE = 48000
FRAME = 480
TARGET_DB = -23.0


def levelled(
    x: FloatArray, probability: FloatArray, block_frames: int = 10_000, state: LoudnessState | None = None
) -> FloatArray:
    out = np.full(len(x), np.nan, dtype=np.float32)
    state = state or LoudnessState(RATE)
    for k in range(0, len(probability), block_frames):
        part = slice(k * FRAME, (k + block_frames) * FRAME)
        level_speech_into(x[part], probability[k : k + block_frames], state, TARGET_DB, out[part])
    return out


def noise(*stretches: tuple[float, float, float]) -> tuple[FloatArray, FloatArray]:
    """Stretches of noise: RMS in dB, seconds, probability of speech."""
    rng = np.random.default_rng(0)
    x = [10 ** (db / 20) * rng.standard_normal(round(100 * seconds) * FRAME) for db, seconds, _ in stretches]
    probability = [np.full(round(100 * seconds), p) for _, seconds, p in stretches]
    return np.concatenate(x).astype(np.float32), np.concatenate(probability).astype(np.float32)


def reference_gains(x: FloatArray, probability: FloatArray) -> NDArray[np.float64]:
    """The gain of every sample, from all of the signal at once."""
    power = np.mean(x.astype(np.float64).reshape(-1, FRAME) ** 2, axis=1)
    speech = np.flatnonzero(probability >= 0.8)
    gain_db = np.zeros(len(power) + 1)
    for k in range(len(power)):
        gain_db[k + 1] = gain_db[k]
        heard = power[speech[speech <= k]]
        if k not in speech:
            continue
        age = np.arange(len(heard))[::-1]
        weights = np.where(np.arange(len(heard)) < 300, 1 / min(len(heard), 300), 1 / 300)
        weights *= (1 - 1 / 300) ** np.where(np.arange(len(heard)) < 300, max(len(heard) - 300, 0), age)
        wanted_db = np.clip(TARGET_DB - 10 * np.log10(np.sum(weights * heard)), -18, 18)
        gain_db[k + 1] += np.clip(wanted_db - gain_db[k], -0.03, 0.03)
    points = np.arange(len(gain_db)) * FRAME - 1.0
    return np.interp(np.arange(len(x)), points, 10 ** (gain_db / 20))


def test_the_gain_is_that_of_the_reference() -> None:
    x, probability = noise((-60, 0.3, 0.0), (-33, 2.0, 0.9), (-50, 1.0, 0.1), (-15, 3.0, 1.0), (-30, 2.0, 0.8))
    np.testing.assert_allclose(levelled(x, probability), x * reference_gains(x, probability), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("block_frames", [1, 2, 7])
def test_blocks_change_nothing(block_frames: int) -> None:
    x, _ = noise((-30, 3.0, 1.0))
    probability = np.random.default_rng(1).uniform(0, 1, 300).astype(np.float32)
    np.testing.assert_array_equal(levelled(x, probability, block_frames), levelled(x, probability))


@pytest.mark.parametrize(("level_db", "gain_db"), [(-33, 10.0), (-17, -6.0), (-60, 18.0), (-23, 0.0), (0, -18.0)])
def test_speech_comes_to_the_level_within_bounds(level_db: float, gain_db: float) -> None:
    state = LoudnessState(RATE)
    levelled(*noise((level_db, 8.0, 1.0)), state=state)
    assert state.gain_db == pytest.approx(gain_db, abs=0.1)


def test_it_takes_its_time_and_makes_no_step() -> None:
    state = LoudnessState(RATE)
    x, probability = noise((-40, 2.0, 1.0))
    x[np.abs(x) < 1e-4] = 1e-4
    gain = levelled(x, probability, state=state).astype(np.float64) / x
    assert state.gain_db == pytest.approx(6.0)  # 3 dB a second
    assert np.abs(np.diff(gain)).max() < 2e-5


@pytest.mark.parametrize("probability", [0.0, 0.79])
@pytest.mark.parametrize("noise_db", [-90.0, -45.0, -10.0])
def test_the_gain_rests_while_nobody_speaks(noise_db: float, probability: float) -> None:
    state = LoudnessState(RATE)
    levelled(*noise((-33, 5.0, 1.0)), state=state)
    before, (x, silence) = state.gain_db, noise((noise_db, 20.0, probability))
    np.testing.assert_allclose(levelled(x, silence, state=state), x * 10 ** (before / 20), rtol=1e-6)
    assert state.gain_db == before


def test_a_shout_does_not_flatten_what_follows() -> None:
    """Half a second at 20 dB more moves the gain by less than what is heard as another loudness."""
    state = LoudnessState(RATE)
    levelled(*noise((-33, 5.0, 1.0)), state=state)
    levelled(*noise((-13, 0.5, 1.0)), state=state)
    assert 10.0 - state.gain_db == pytest.approx(1.5, abs=0.2)


def test_digital_silence_that_counts_as_speech_does_no_harm() -> None:
    out = levelled(np.zeros(100 * FRAME, dtype=np.float32), np.ones(100, dtype=np.float32))
    assert not out.any()


def test_in_place_after_a_reset_it_is_the_same() -> None:
    x, probability = noise((-40, 1.0, 1.0))
    state = LoudnessState(RATE)
    first = levelled(x, probability, state=state)
    state.reset()
    level_speech_into(x, probability, state, TARGET_DB, x)
    np.testing.assert_array_equal(x, first)


@pytest.mark.parametrize(("samples", "room"), [(961, 961), (960, 480), (480, 960)])
def test_other_lengths_are_refused(samples: int, room: int) -> None:
    x, out = np.zeros(samples, dtype=np.float32), np.zeros(room, dtype=np.float32)
    with pytest.raises(ParameterError, match="2 frames to level have 960 samples"):
        level_speech_into(x, np.ones(2, dtype=np.float32), LoudnessState(RATE), TARGET_DB, out)
