"""Callbacks: what is played, faded, discarded and counted at an underrun."""

import numpy as np
import pytest
from altervox.kernels.callbacks import CaptureState, PlayoutState, capture_from, play_into
from altervox.kernels.ring import RingBuffer

RATE = 48000
RAMP = RATE * 4 // 1000


def playout(capacity: int = 8192) -> PlayoutState:
    state = PlayoutState.allocate(RingBuffer.allocate(capacity), RATE)
    state.started[0] = 1
    return state


def play(state: PlayoutState, frames: int, channels: int = 2) -> np.ndarray:
    out = np.full((frames, channels), 9.0, dtype=np.float32)
    play_into(state, out)
    for channel in range(channels):
        np.testing.assert_array_equal(out[:, channel], out[:, 0])
    return out[:, 0]


def ramp_in(state: PlayoutState) -> None:
    """Get the first fade-in over with."""
    state.ring.write(np.ones(RAMP, dtype=np.float32))
    play(state, RAMP)


def test_silence_before_it_is_started() -> None:
    state = playout()
    state.started[0] = 0
    state.ring.write(np.ones(100, dtype=np.float32))
    assert not play(state, 64).any()
    assert state.ring.available == 100
    assert state.counters.underruns == state.counters.underrun_samples == 0
    assert state.counters.played == 64


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_plays_what_was_written_sample_for_sample(channels: int) -> None:
    state = playout(capacity=1000)
    ramp_in(state)
    x = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    heard = []
    for at in range(0, 5000, 250):  # wraps several times
        assert state.ring.write(x[at : at + 250]) == 250
        heard.append(play(state, 250, channels))
    np.testing.assert_array_equal(np.concatenate(heard), x)
    assert state.counters.underruns == 0


def test_an_underrun_fades_what_is_left_and_silence_follows() -> None:
    state = playout()
    ramp_in(state)
    state.ring.write(np.ones(300, dtype=np.float32))
    out = play(state, 480)
    np.testing.assert_array_equal(out[: 300 - RAMP], 1.0)
    assert np.all(np.diff(out[300 - RAMP : 300]) < 0)
    assert out[299] < 0.05
    assert not out[300:].any()
    assert (state.counters.underruns, state.counters.underrun_samples) == (1, 180)


@pytest.mark.parametrize("left", [0, 1, 50])
def test_an_underrun_with_nothing_left_to_fade_slides_to_zero(left: int) -> None:
    state = playout()
    ramp_in(state)
    state.ring.write(np.ones(left, dtype=np.float32))
    out = np.concatenate(([1.0], play(state, 480)))
    assert np.abs(np.diff(out)).max() < 0.05
    assert not out[left + RAMP + 1 :].any()


def test_what_comes_too_late_is_discarded_so_that_the_delay_stays() -> None:
    """Sample k of the input is heard at output sample k, or not at all."""
    state = playout()
    ramp_in(state)
    x = np.arange(1, 4801, dtype=np.float32)
    heard = []
    written = 0
    for call in range(10):
        # The third and fourth callback find nothing; it all comes at the fifth.
        due = (call + 1) * 480 if call not in (2, 3) else written
        state.ring.write(x[written:due])
        written = due
        heard.append(play(state, 480))
    out = np.concatenate(heard)
    kept = np.flatnonzero(np.isin(out, x))
    kept = kept[(kept < 960) | (kept >= 960 + RAMP)]  # the last sample slides to 0
    np.testing.assert_array_equal(out[kept], x[kept])
    assert len(kept) >= 4800 - 2 * 480 - 2 * RAMP
    assert not out[2 * 480 + RAMP : 4 * 480].any()
    assert state.counters.underruns == 1
    assert state.counters.underrun_samples == state.counters.discarded == 960
    assert state.counters.to_discard == 0


def test_sound_comes_back_by_a_ramp() -> None:
    state = playout()
    ramp_in(state)
    play(state, 100)
    state.ring.write(np.ones(1100, dtype=np.float32))
    out = play(state, 1000)
    assert out[0] == 0.0
    assert np.all(np.diff(out[:RAMP]) > 0)
    np.testing.assert_array_equal(out[RAMP:], 1.0)


@pytest.mark.parametrize(("allowance", "added"), [(0, 0), (100, 100), (480, 480), (2000, 960)])
def test_an_underrun_lengthens_the_delay_by_no_more_than_the_allowance(allowance: int, added: int) -> None:
    state = playout()
    ramp_in(state)
    state.allowance[0] = allowance
    play(state, 480)
    play(state, 480)
    assert state.counters.added == added
    assert state.counters.to_discard == 960 - added
    state.ring.write(np.ones(2000, dtype=np.float32))
    play(state, 480)
    assert state.counters.discarded == 960 - added


def test_more_to_discard_than_has_come_is_discarded_bit_by_bit() -> None:
    state = playout()
    ramp_in(state)
    play(state, 1000)
    state.ring.write(np.ones(300, dtype=np.float32))
    play(state, 100)
    assert state.counters.to_discard == 1000 - 300 + 100
    assert state.counters.underruns == 1  # one underrun, however many callbacks it lasts
    state.ring.write(np.ones(5000, dtype=np.float32))
    play(state, 1000)
    assert (state.counters.to_discard, state.ring.available) == (0, 5000 - 800 - 1000)


@pytest.mark.parametrize("channel", [0, 1])
def test_capture_takes_one_channel_and_counts_what_finds_no_room(channel: int) -> None:
    state = CaptureState.allocate(RingBuffer.allocate(100), channel)
    frames = np.random.default_rng(0).uniform(-1, 1, (80, 2)).astype(np.float32)
    capture_from(state, frames)
    capture_from(state, frames)
    out = np.zeros(100, dtype=np.float32)
    assert state.ring.read_into(out) == 100
    np.testing.assert_array_equal(out, np.concatenate((frames[:, channel], frames[:20, channel])))
    assert (state.callbacks, state.overrun_samples) == (2, 60)


@pytest.mark.parametrize("frames", [32, 480])
@pytest.mark.parametrize("trim", [1, 700, 3000])
def test_a_trim_leaves_samples_out_without_a_click(trim: int, frames: int) -> None:
    state = playout()
    ramp_in(state)
    x = np.sin(np.arange(6000) / 40.0).astype(np.float32)
    state.ring.write(x)
    before = play(state, 480)
    state.trim[0] += trim
    after = np.concatenate([play(state, frames) for _ in range(960 // frames)])
    np.testing.assert_allclose(after[RAMP:], x[480 + trim + RAMP : 480 + trim + 960], atol=1e-6)
    assert np.abs(np.diff(np.concatenate((before, after)))).max() < 0.06
    assert state.counters.underruns == 0
    assert state.counters.discarded == trim


def test_every_sample_is_accounted_for() -> None:
    rng = np.random.default_rng(5)
    state = playout(capacity=4000)
    state.allowance[0] = 700
    written = played = 0
    for _ in range(2000):
        written += state.ring.write(rng.uniform(-1, 1, int(rng.integers(0, 600))).astype(np.float32))
        frames = int(rng.integers(1, 600))
        play(state, frames)
        played += frames
        c = state.counters
        assert c.played == played
        assert state.ring.available == written - (played - c.underrun_samples) - c.discarded
        assert c.to_discard == c.underrun_samples - c.discarded - c.added
        assert c.to_discard >= 0
