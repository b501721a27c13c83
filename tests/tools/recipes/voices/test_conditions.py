"""What happens to clips before a voice hears them: levels, noise, the telephone band."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.kernels.errors import ParameterError
from altervox.kernels.types import FloatArray
from altervox.tools.recipes.voices.conditions import (
    CONDITIONS,
    RATE,
    active_rms,
    at_usual_level,
    chosen_conditions,
    noise_for,
)
from altervox.tools.recipes.voices.manifest import read_audio
from cli_runner import MALE


def tone(hz: float = 1000.0, amplitude: float = 0.1, seconds: float = 0.5) -> FloatArray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(RATE * seconds)) / RATE)).astype(np.float32)


def with_pauses() -> FloatArray:
    return np.concatenate((tone(), np.zeros(3 * RATE, dtype=np.float32), tone()))


NOISE = np.random.default_rng(0).standard_normal(RATE // 3).astype(np.float32)


def db(ratio: float) -> float:
    return 20.0 * float(np.log10(ratio))


def test_pauses_do_not_count() -> None:
    assert active_rms(with_pauses()) == pytest.approx(0.1 / np.sqrt(2), rel=1e-3)
    assert active_rms(np.zeros(100, dtype=np.float32)) == 0.0
    assert active_rms(np.zeros(0, dtype=np.float32)) == 0.0


@pytest.mark.parametrize("amplitude", [1e-4, 0.05, 3.0])
def test_whatever_is_measured_has_one_level(amplitude: float) -> None:
    assert db(active_rms(at_usual_level(tone(amplitude=amplitude)))) == pytest.approx(-26.0, abs=0.01)


def test_the_usual_level_never_exceeds_full_scale() -> None:
    clicks = np.zeros(RATE, dtype=np.float32)
    clicks[::4800] = 0.01
    assert float(np.abs(at_usual_level(clicks)).max()) == pytest.approx(1.0)
    assert not at_usual_level(np.zeros(RATE, dtype=np.float32)).any()


@pytest.mark.parametrize(("name", "snr_db"), [("noise-20db", 20.0), ("noise-10db", 10.0)])
def test_noise_is_that_much_below_the_speech(name: str, snr_db: float) -> None:
    clip = with_pauses()
    added = CONDITIONS[name].apply(clip, NOISE) - clip
    assert db(active_rms(clip) / float(np.sqrt(np.mean(added**2)))) == pytest.approx(snr_db, abs=0.1)


def test_a_clip_always_gets_the_same_noise() -> None:
    noises = [np.full(4, k, dtype=np.float32) for k in range(5)]
    drawn = {name: noise_for(name, noises)[0] for name in map(str, range(20))}
    assert drawn == {name: noise_for(name, noises)[0] for name in drawn}
    assert len(set(drawn.values())) > 2


@pytest.mark.parametrize(("hz", "loss_db"), [(100.0, 20.0), (1000.0, -0.1), (6000.0, 20.0)])
def test_the_telephone_keeps_its_band(hz: float, loss_db: float) -> None:
    through = CONDITIONS["telephone"].apply(tone(hz), NOISE)
    middle = slice(RATE // 8, -RATE // 8)
    loss = -db(float(np.std(through[middle]) / np.std(tone(hz)[middle])))
    assert loss > loss_db
    assert loss > 20.0 or loss < 0.1


def test_quiet_and_loud() -> None:
    clip = tone()
    assert db(float(np.abs(CONDITIONS["quiet"].apply(clip, NOISE)).max()) / 0.1) == pytest.approx(-20.0, abs=0.01)
    loud = CONDITIONS["loud"].apply(clip, NOISE)
    assert float(np.abs(loud).max()) == 1.0
    assert float(np.mean(np.abs(loud) == 1.0)) > 0.5  # half of the sine's height is cut off


def test_suppressed_noise_is_quieter_and_speech_stays_in_its_place() -> None:
    clip = read_audio(MALE, RATE)
    noisy, quieter = (CONDITIONS[name].apply(clip, NOISE) for name in ("noise-10db", "denoised-10db"))
    assert len(quieter) == len(clip)
    wrong = {shift: np.square(np.roll(quieter, shift) - clip).mean() for shift in (-1, 0, 1)}
    assert wrong[0] == min(wrong.values())
    assert wrong[0] < 0.9 * np.square(noisy - clip).mean()


@pytest.mark.parametrize("name", ["clean", "held-out", "blocks-40ms", "one-block"])
def test_other_conditions_leave_the_audio_alone(name: str) -> None:
    np.testing.assert_array_equal(CONDITIONS[name].apply(tone(), NOISE), tone())


def test_conditions_that_differ_in_blocks_alone_are_heard_alike() -> None:
    assert CONDITIONS["clean"].sound == CONDITIONS["one-block"].sound
    sounds = {condition.sound for condition in CONDITIONS.values()}
    assert len(sounds) == 9


def test_conditions_are_chosen_by_name() -> None:
    assert [c.name for c in chosen_conditions("quiet, clean,quiet")] == ["quiet", "clean"]
    assert chosen_conditions("all") == list(CONDITIONS.values())
    with pytest.raises(ParameterError, match=r"no condition 'nois'.*noise-20db"):
        chosen_conditions("clean,nois")
