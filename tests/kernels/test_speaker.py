"""The speaker's median F0: soon known, steady for one speaker, and following another one."""

import numpy as np
import pytest
from altervox.kernels.speaker import SpeakerState
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


def semitones_off(state: SpeakerState, median_hz: float) -> float:
    return float(12.0 * np.log2(state.median_hz / median_hz))


@pytest.mark.parametrize("hz", [31.0, 84.3, 205.0, 800.0, 1900.0])
def test_a_constant_pitch_is_known_after_a_tenth_of_a_second(hz: float) -> None:
    state = SpeakerState()
    state.note(np.full(19, hz))
    assert np.isnan(state.median_hz)
    state.note(np.full(1, hz))
    assert abs(semitones_off(state, hz)) <= 0.051


@pytest.mark.parametrize("hz", [1.0, 10000.0])
def test_pitch_beyond_the_histogram_counts_at_its_end(hz: float) -> None:
    state = SpeakerState()
    state.note(np.full(100, hz))
    assert 29.0 < state.median_hz < 1930.0


def test_unvoiced_frames_change_nothing() -> None:
    state, same = SpeakerState(), SpeakerState()
    for one in (state, same):
        one.note(talk(120.0, 3.0))
    state.note(np.zeros(100_000))
    np.testing.assert_array_equal(state.weight_mem, same.weight_mem)
    assert state.median_hz == same.median_hz


def test_grouping_of_frames_makes_no_difference() -> None:
    f0 = np.concatenate((talk(110.0, 20.0), talk(190.0, 10.0)))
    whole, pieces = SpeakerState(), SpeakerState()
    whole.note(f0)
    for at in range(0, len(f0), 7):
        pieces.note(f0[at : at + 7])
    np.testing.assert_array_equal(pieces.weight_mem, whole.weight_mem)
    assert pieces.median_hz == whole.median_hz


@pytest.mark.parametrize(("before_hz", "after_hz"), [(110.0, 210.0), (210.0, 110.0), (110.0, 140.0), (120.0, 400.0)])
def test_another_speaker_is_followed_within_16_seconds_of_voiced_speech(before_hz: float, after_hz: float) -> None:
    state = SpeakerState()
    state.note(talk(before_hz, 60.0))
    state.note(talk(after_hz, 16.0, seed=1))
    assert abs(semitones_off(state, after_hz)) < 1.2
    state.note(talk(after_hz, 16.0, seed=2))
    assert abs(semitones_off(state, after_hz)) < 1.0


@pytest.mark.parametrize("seed", range(5))
def test_for_one_speaker_the_estimate_stands_still(seed: int) -> None:
    """Two minutes of voiced speech move it at most once, when the first seconds were not typical of the speaker."""
    state = SpeakerState()
    state.note(talk(120.0, 16.5, seed))
    rest = talk(120.0, 120.0, seed + 100)
    estimates = []
    for at in range(0, len(rest), 400):
        state.note(rest[at : at + 400])
        estimates.append(semitones_off(state, 120.0))
    moving = np.abs(np.diff(estimates)) > 0.0
    assert moving.sum() <= 17  # one period of following
    assert np.abs(estimates).max() < 1.5


def test_an_adopted_estimate_goes_on_by_itself() -> None:
    known, new = SpeakerState(), SpeakerState()
    known.note(talk(120.0, 20.0))
    new.adopt(known)
    assert new.median_hz == known.median_hz
    new.note(talk(240.0, 30.0))
    assert abs(semitones_off(known, 120.0)) < 1.0
    assert abs(semitones_off(new, 240.0)) < 1.0


def test_reset_forgets_the_speaker() -> None:
    state = SpeakerState()
    state.note(talk(120.0, 5.0))
    state.reset()
    assert np.isnan(state.median_hz)
    assert not state.weight_mem.any()
