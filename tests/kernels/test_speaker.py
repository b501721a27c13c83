"""The speaker's median F0: soon known, steady for one speaker, and following another one."""

import numpy as np
import pytest
from altervox.kernels.speaker import SpeakerState, loudness_into
from numpy.typing import NDArray


def talk(median_hz: float, voiced_s: float, seed: int = 0) -> NDArray[np.float64]:
    """F0 of frames of 5 ms with an intonation of 2.5 semitones, half of them unvoiced."""
    rng = np.random.default_rng(seed)
    semitones = np.zeros(round(200 * voiced_s))
    for i in range(1, len(semitones)):
        semitones[i] = 0.98 * semitones[i - 1] + 2.5 * np.sqrt(1 - 0.98**2) * rng.standard_normal()
    frames = np.zeros((len(semitones), 2))
    frames[:, 0] = median_hz * 2.0 ** (semitones / 12.0)
    return frames.ravel()


def note(state: SpeakerState, f0_hz: NDArray[np.float64], loudness: float = 0.1) -> None:
    state.note(f0_hz, np.full(len(f0_hz), loudness))


def semitones_off(state: SpeakerState, median_hz: float) -> float:
    return float(12.0 * np.log2(state.median_hz / median_hz))


@pytest.mark.parametrize("hz", [31.0, 84.3, 205.0, 800.0, 1900.0])
def test_a_constant_pitch_is_known_after_a_tenth_of_a_second(hz: float) -> None:
    state = SpeakerState()
    note(state, np.full(19, hz))
    assert np.isnan(state.median_hz)
    note(state, np.full(1, hz))
    assert abs(semitones_off(state, hz)) <= 0.051


@pytest.mark.parametrize("hz", [1.0, 10000.0])
def test_pitch_beyond_the_histogram_counts_at_its_end(hz: float) -> None:
    state = SpeakerState()
    note(state, np.full(100, hz))
    assert 29.0 < state.median_hz < 1930.0


def test_unvoiced_frames_change_nothing() -> None:
    state, same = SpeakerState(), SpeakerState()
    for one in (state, same):
        note(one, talk(120.0, 3.0))
    note(state, np.zeros(100_000))
    np.testing.assert_array_equal(state.weight_mem, same.weight_mem)
    assert state.median_hz == same.median_hz


@pytest.mark.parametrize("speech_rms", [0.1, 0.003])
@pytest.mark.parametrize(("hum_db", "pause_s"), [(-35.0, 10.0), (-45.0, 4.0), (-60.0, 300.0)])
def test_hum_in_pauses_is_not_the_speaker(speech_rms: float, hum_db: float, pause_s: float) -> None:
    """Heard before the first word, it is outweighed within a second, and as soon after the longest pause."""
    state, hum = SpeakerState(), np.full(round(200 * pause_s), 100.0)
    for seed in range(3):
        note(state, hum, speech_rms * 10.0 ** (hum_db / 20.0))
        note(state, talk(190.0, 1.0, seed), speech_rms)
        assert abs(semitones_off(state, 190.0)) < 3.0, "of a second's intonation"
        note(state, talk(190.0, 5.0, seed + 10), speech_rms)
        assert abs(semitones_off(state, 190.0)) < 1.5
    note(state, hum[:2000], speech_rms * 10.0 ** (hum_db / 20.0))
    assert abs(semitones_off(state, 190.0)) < 1.5


def test_speech_after_a_far_louder_sound_is_learnt() -> None:
    state = SpeakerState()
    note(state, np.full(60, 1000.0), 0.2)
    note(state, talk(110.0, 20.0), 0.01)
    assert abs(semitones_off(state, 110.0)) < 1.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loudness_is_the_rms_about_the_mean_and_no_more_than_of_loud_speech(dtype: type[np.floating]) -> None:
    audio = (0.25 + 0.05 * np.sin(2 * np.pi * np.arange(960) / 48)).astype(dtype)
    audio[720:] *= 1e6
    out = np.zeros(3)
    loudness_into(audio, 240, 240, 240, out)
    np.testing.assert_allclose(out, [0.05 / np.sqrt(2.0), 0.05 / np.sqrt(2.0), 0.2], rtol=1e-5)


def test_grouping_of_frames_makes_no_difference() -> None:
    f0 = np.concatenate((talk(110.0, 20.0), talk(190.0, 10.0)))
    whole, pieces = SpeakerState(), SpeakerState()
    note(whole, f0)
    for at in range(0, len(f0), 7):
        note(pieces, f0[at : at + 7])
    np.testing.assert_array_equal(pieces.weight_mem, whole.weight_mem)
    assert pieces.median_hz == whole.median_hz


@pytest.mark.parametrize(("before_hz", "after_hz"), [(110.0, 210.0), (210.0, 110.0), (110.0, 140.0), (120.0, 400.0)])
def test_another_speaker_is_followed_within_16_seconds_of_voiced_speech(before_hz: float, after_hz: float) -> None:
    state = SpeakerState()
    note(state, talk(before_hz, 60.0))
    note(state, talk(after_hz, 16.0, seed=1))
    assert abs(semitones_off(state, after_hz)) < 1.2
    note(state, talk(after_hz, 16.0, seed=2))
    assert abs(semitones_off(state, after_hz)) < 1.0


@pytest.mark.parametrize("seed", range(5))
def test_for_one_speaker_the_estimate_stands_still(seed: int) -> None:
    """Two minutes of voiced speech move it at most once, when the first seconds were not typical of the speaker."""
    state = SpeakerState()
    note(state, talk(120.0, 16.5, seed))
    rest = talk(120.0, 120.0, seed + 100)
    estimates = []
    for at in range(0, len(rest), 400):
        note(state, rest[at : at + 400])
        estimates.append(semitones_off(state, 120.0))
    moving = np.abs(np.diff(estimates)) > 0.0
    assert moving.sum() <= 17  # one period of following
    assert np.abs(estimates).max() < 1.5


def test_an_adopted_estimate_goes_on_by_itself() -> None:
    known, new = SpeakerState(), SpeakerState()
    note(known, talk(120.0, 20.0))
    new.adopt(known)
    assert new.median_hz == known.median_hz
    note(new, talk(240.0, 30.0))
    assert abs(semitones_off(known, 120.0)) < 1.0
    assert abs(semitones_off(new, 240.0)) < 1.0


def test_reset_forgets_the_speaker() -> None:
    state = SpeakerState()
    note(state, talk(120.0, 5.0))
    state.reset()
    assert np.isnan(state.median_hz)
    assert not state.weight_mem.any()
