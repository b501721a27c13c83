"""The noise gate: when it opens and closes, how fast, and that blocks do not matter."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.kernels.errors import ParameterError
from altervox.kernels.gate import (
    ATTACK_MS,
    HOLD_MS,
    LEVEL_MS,
    RELEASE_MS,
    SPEECH_FRAME_MS,
    SPEECH_HOLD_MS,
    GateState,
    SpeechGateState,
    gate_gain_into,
    gate_into,
    speech_gate_gain_into,
)
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

RATE = 48000
MS = RATE // 1000
THRESHOLD_DB = -40.0


def gate(x: FloatArray, threshold_db: float = THRESHOLD_DB, state: GateState | None = None) -> FloatArray:
    out = np.full(len(x), np.nan, dtype=np.float32)
    gate_into(x, state or GateState.allocate(RATE), threshold_db, out)
    return out


def constant(*stretches: tuple[float, int]) -> FloatArray:
    """Stretches of constant level: dB of full scale, milliseconds. The gain can be read off every sample."""
    return np.concatenate([np.full(ms * MS, 10 ** (level_db / 20), dtype=np.float32) for level_db, ms in stretches])


def speech(seconds: float = 2.0) -> FloatArray:
    """Noise whose level goes up and down between -90 and -10 dB, four times a second."""
    generator = np.random.default_rng(1)
    level_db = -50 + 40 * np.sin(2 * np.pi * 0.8 * np.arange(int(seconds * RATE)) / RATE)
    return np.asarray(generator.standard_normal(len(level_db)) * 10 ** (level_db / 20), dtype=np.float32)


@pytest.mark.parametrize("largest", [1, 7, 480, 3000])
def test_blocks_change_nothing(largest: int) -> None:
    x = speech(2.0 if largest > 1 else 0.9)
    state, out = GateState.allocate(RATE), np.empty_like(x)
    generator = np.random.default_rng(2)
    start = 0
    while start < len(x):
        stop = start + int(generator.integers(0, largest + 1))
        gate_into(x[start:stop], state, THRESHOLD_DB, out[start:stop])
        start = stop
    np.testing.assert_array_equal(out, gate(x))
    assert (out == x).any()
    assert (out == 0).any()


def test_gain_never_steps() -> None:
    x = speech(4.0)
    x[x == 0] = 1e-9
    gain = gate(x).astype(np.float64) / x
    steps = np.diff(gain, prepend=0.0)
    assert steps.max() == pytest.approx(1 / (ATTACK_MS * MS), abs=1e-6)
    assert steps.min() == pytest.approx(-1 / (RELEASE_MS * MS), abs=1e-6)
    assert gain.min() == 0
    assert gain.max() == 1


def test_opens_as_soon_as_the_level_is_reached() -> None:
    x = constant((-20, 100))
    gain = gate(x) / x
    # 20 dB above the threshold, a hundredth of the 10 ms has the power of all of it at the threshold.
    first = int(np.flatnonzero(gain)[0])
    assert first == pytest.approx(LEVEL_MS * MS / 100, abs=1)
    assert np.flatnonzero(gain == 1)[0] == pytest.approx(first + ATTACK_MS * MS, abs=1)
    assert (gain[first + ATTACK_MS * MS :] == 1).all()


def test_holds_then_releases() -> None:
    loud_ms = 100
    x = constant((-20, loud_ms), (-70, 400))
    gain = gate(x) / x
    falls = int(np.flatnonzero(np.diff(gain) < 0)[0]) + 1
    closes = loud_ms + LEVEL_MS + HOLD_MS  # 46 dB up, hardly a sample of the loud stretch may remain in the level
    assert falls == pytest.approx(closes * MS, abs=2)
    assert np.flatnonzero(gain == 0)[-1] == len(x) - 1
    silent = int(np.flatnonzero(gain[falls:] == 0)[0])
    assert silent == pytest.approx(RELEASE_MS * MS, abs=1)


def test_a_pause_shorter_than_the_hold_is_bridged() -> None:
    x = constant((-20, 100), (-90, HOLD_MS - LEVEL_MS), (-20, 100), (-90, HOLD_MS - LEVEL_MS), (-20, 100))
    assert (gate(x)[10 * MS :] == x[10 * MS :]).all()


@pytest.mark.parametrize(("level_db", "stays"), [(-45.0, True), (-47.0, False)])
def test_stays_open_down_to_6_db_below_the_threshold(level_db: float, stays: bool) -> None:
    state = GateState.allocate(RATE)
    gate(constant((-20, 100)), state=state)
    quiet = constant((level_db, 1000))
    assert gate(quiet, state=state)[-1] == (quiet[-1] if stays else 0)


def test_does_not_open_below_the_threshold() -> None:
    assert not gate(constant((-41, 1000))).any()
    assert gate(constant((-39, 1000))).any()


def test_silence_stays_closed() -> None:
    state = GateState.allocate(RATE)
    assert not gate(np.zeros(RATE, dtype=np.float32), state=state).any()
    assert not state.is_open
    # What rounding leaves of a loud sound must not look like a level.
    gate(speech(), state=state)
    gate(np.zeros(RATE, dtype=np.float32), state=state)
    assert not state.is_open
    assert state.gain == 0
    assert abs(state.power_sum) < 1e-12


def test_off_opens_by_the_ramp_and_changes_nothing_after() -> None:
    x = constant((-90, 20))
    gain = gate(x, -60.0) / x
    np.testing.assert_allclose(gain[: ATTACK_MS * MS], np.arange(1, ATTACK_MS * MS + 1) / (ATTACK_MS * MS), rtol=1e-5)
    assert (gain[ATTACK_MS * MS :] == 1).all()


def test_switching_on_holds_first() -> None:
    state = GateState.allocate(RATE)
    gate(constant((-90, 100)), -60.0, state)
    x = constant((-90, HOLD_MS + RELEASE_MS + 1))
    gain = gate(x, THRESHOLD_DB, state) / x
    assert (gain[: HOLD_MS * MS] == 1).all()
    assert gain[-1] == 0


def test_nan_is_forgotten_within_two_windows() -> None:
    state = GateState.allocate(RATE)
    broken = constant((-20, 50))
    broken[100] = np.nan
    gate(broken, state=state)
    x = constant((-20, 50))
    assert (gate(x, state=state) == x).all()


def test_works_in_place() -> None:
    x = speech(0.5)
    expected = gate(x)
    gate_into(x, GateState.allocate(RATE), THRESHOLD_DB, x)
    np.testing.assert_array_equal(x, expected)


def test_reset_replays_exactly() -> None:
    x = speech(0.77)
    state = GateState.allocate(RATE)
    first = gate(x, state=state)
    state.reset()
    assert state.square_mem.any() == np.False_
    np.testing.assert_array_equal(gate(x, state=state), first)


@pytest.mark.parametrize("rate", [16000, 44100, 192000])
def test_times_do_not_depend_on_the_rate(rate: int) -> None:
    x = np.full(rate, 0.1, dtype=np.float32)
    out = np.empty_like(x)
    gate_into(x, GateState.allocate(rate), THRESHOLD_DB, out)
    opened_s = np.flatnonzero(out == x)[0] / rate
    assert opened_s == pytest.approx(1e-3 * (LEVEL_MS / 100 + ATTACK_MS), abs=3 / rate)


def test_lengths_and_rates_out_of_range_are_refused() -> None:
    with pytest.raises(ParameterError):
        GateState.allocate(999)
    with pytest.raises(ParameterError):
        gate_into(np.zeros(5, np.float32), GateState.allocate(RATE), THRESHOLD_DB, np.zeros(6, np.float32))


@pytest.mark.parametrize("threshold_db", [THRESHOLD_DB, -60.0])
def test_the_gains_alone_are_those_that_it_multiplies_by(threshold_db: float) -> None:
    x = speech()
    state, gain = GateState.allocate(RATE), np.full(len(x), np.nan, dtype=np.float32)
    for start in range(0, len(x), 700):
        gate_gain_into(x[start : start + 700], state, threshold_db, gain[start : start + 700])
    np.testing.assert_allclose(gate(x, threshold_db), x * gain, rtol=1e-6)
    assert gain.min() < 0.01
    assert gain.max() == 1.0


def test_a_gate_that_has_always_been_open_begins_without_a_fade() -> None:
    state = GateState.allocate(RATE)
    state.reset(is_open=True)
    x = speech()
    np.testing.assert_array_equal(gate(x, -60.0, state), x)


def speech_gains(probability: FloatArray, block_frames: int = 1000, state: SpeechGateState | None = None) -> FloatArray:
    state = state or SpeechGateState(RATE)
    parts = []
    for start in range(0, len(probability), block_frames):
        block = probability[start : start + block_frames]
        parts.append(np.full(len(block) * SPEECH_FRAME_MS * MS, np.nan, dtype=np.float32))
        speech_gate_gain_into(block, state, 0.8, parts[-1])
    return np.concatenate(parts)


def likely(*stretches: tuple[float, int]) -> FloatArray:
    """Probabilities that stay for so many frames."""
    return np.concatenate([np.full(frames, value, dtype=np.float32) for value, frames in stretches])


def test_the_speech_gate_opens_with_the_frame_holds_and_closes() -> None:
    gain = speech_gains(likely((0.79, 5), (0.8, 1), (0.0, 60)))
    opens, closes = 5 * SPEECH_FRAME_MS * MS, (6 * SPEECH_FRAME_MS + SPEECH_HOLD_MS) * MS
    assert not gain[:opens].any()
    assert gain[opens] > 0
    assert (gain[opens + ATTACK_MS * MS : closes] == 1).all()
    assert gain[closes] < 1
    assert not gain[closes + RELEASE_MS * MS :].any()
    assert np.abs(np.diff(gain)).max() == pytest.approx(1 / (ATTACK_MS * MS), abs=1e-6)


@pytest.mark.parametrize(("probability", "stays"), [(0.41, True), (0.39, False)])
def test_the_speech_gate_stays_open_down_to_half_its_threshold(probability: float, stays: bool) -> None:
    assert speech_gains(likely((0.9, 1), (probability, 100)))[-1] == stays


def test_a_flapping_detector_does_not_make_the_speech_gate_flap() -> None:
    gain = speech_gains(np.tile(likely((0.95, 1), (0.0, SPEECH_HOLD_MS // SPEECH_FRAME_MS)), 20))
    assert (gain[ATTACK_MS * MS :] == 1).all()


@pytest.mark.parametrize("block_frames", [1, 2, 7])
def test_blocks_change_nothing_for_the_speech_gate(block_frames: int) -> None:
    probability = (np.random.default_rng(3).uniform(0, 1, 400) ** 12).astype(np.float32)
    whole = speech_gains(probability)
    np.testing.assert_array_equal(speech_gains(probability, block_frames), whole)
    assert whole.min() == 0
    assert whole.max() == 1


def test_the_speech_gate_is_closed_after_a_reset_and_refuses_other_lengths() -> None:
    state = SpeechGateState(RATE)
    speech_gains(likely((1.0, 3)), state=state)
    state.reset()
    assert not speech_gains(likely((0.7, 3)), state=state).any()
    with pytest.raises(ParameterError, match="960 gains, but there is room for 959"):
        speech_gate_gain_into(likely((1.0, 2)), state, 0.8, np.zeros(959, dtype=np.float32))
