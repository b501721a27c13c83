"""Device clocks from jittery callbacks, and resampling by a ratio near 1."""

import sys
import threading

import numpy as np
import pytest
from altervox.kernels.callbacks import PlayoutState, play_into
from altervox.kernels.clock import DeviceClock, buffer_fill
from altervox.kernels.drift import DELAY_SAMPLES, DriftState, resample_near_one
from altervox.kernels.errors import ParameterError
from altervox.kernels.ring import RingBuffer

RATE = 48000


def run_clock(ppm: float, seconds: float, jitter_s: float, seed: int = 0) -> tuple[DeviceClock, float]:
    """A clock after callbacks of 480 samples, and the true number of samples at its last callback."""
    rng = np.random.default_rng(seed)
    clock = DeviceClock.allocate(RATE)
    rate = RATE * (1 + ppm * 1e-6)
    count = int(seconds * rate / 480)
    for k in range(1, count + 1):
        clock.tick(k * 480 / rate + rng.exponential(jitter_s), 480)
    return clock, count * 480


def deviation_ppm(clock: DeviceClock) -> float:
    """How much faster than nominal a clock runs."""
    return (clock.total_at(1000.0) - clock.total_at(0.0)) / (1000.0 * RATE) * 1e6 - 1e6


@pytest.mark.parametrize("ppm", [-200.0, 0.0, 35.0, 200.0])
def test_a_clock_finds_the_rate_through_jitter(ppm: float) -> None:
    clock, total = run_clock(ppm, 120.0, 0.002)
    assert deviation_ppm(clock) == pytest.approx(ppm, abs=25.0)
    now = total / (RATE * (1 + ppm * 1e-6))
    # Late by the mean of the jitter, 2 ms, and smooth to a tenth of its spread.
    assert clock.total_at(now) == pytest.approx(total - 0.002 * RATE, abs=0.001 * RATE)


def test_a_clock_is_linear_between_callbacks() -> None:
    clock, _ = run_clock(0.0, 30.0, 0.001)
    assert clock.total_at(31.0) - clock.total_at(30.0) == pytest.approx(RATE, rel=1e-3)


def test_a_restarted_clock_forgets_a_burst_and_keeps_the_count() -> None:
    clock = DeviceClock.allocate(RATE)
    for k in range(50):  # half a second 15 ms early, which is no outlier
        clock.tick(0.01 * k - 0.015 * (k < 3), 480)
    clock.restart()
    for k in range(50, 60):
        clock.tick(0.01 * k, 480)
    assert clock.total_at(0.59) == pytest.approx(60 * 480, abs=1)
    assert deviation_ppm(clock) == pytest.approx(0.0, abs=1.0)


def test_a_pause_starts_the_clock_anew_and_keeps_the_count() -> None:
    clock, total = run_clock(0.0, 10.0, 0.0)
    for k in range(200):
        clock.tick(20.0 + 0.01 * k, 480)
    assert clock.total_at(20.0 + 0.01 * 199) == pytest.approx(total + 200 * 480, abs=1)
    assert deviation_ppm(clock) == pytest.approx(0.0, abs=1.0)


def test_a_stall_made_up_for_by_a_burst_leaves_the_clock_alone() -> None:
    clock, total = run_clock(0.0, 10.0, 0.0)
    for k in range(1, 101):
        clock.tick(10.0 + max(0.01 * k, 0.4), 480)  # the first forty all come at once
    assert clock.total_at(11.0) == pytest.approx(total + 100 * 480, abs=100)
    assert deviation_ppm(clock) == pytest.approx(0.0, abs=20.0)


@pytest.mark.parametrize(
    ("times_s", "interval_s"),
    [
        (np.arange(300) * 0.004, 0.004),  # more than are remembered
        (np.repeat(np.arange(30) * 0.021, 5), 0.021),  # five at once
        (np.append(np.arange(100) * 0.004, 0.42 + np.arange(20) * 0.004), 0.004),  # a single pause
        (np.array([0.9]), 0.0),
        (np.zeros(0), 0.0),
    ],
)
def test_how_often_a_device_calls(times_s: np.ndarray, interval_s: float) -> None:
    clock = DeviceClock.allocate(RATE)
    for at in times_s:
        clock.tick(at, 192)
    assert clock.interval_s(0.0) == pytest.approx(interval_s)
    assert clock.interval_s(times_s.max(initial=0.0) + 0.1) == 0.0


def test_buffer_fill_counts_what_lies_between_the_clocks() -> None:
    source, output = DeviceClock.allocate(RATE), DeviceClock.allocate(2 * RATE)
    playout = PlayoutState.allocate(RingBuffer.allocate(8192), 2 * RATE)
    playout.ring.write(np.zeros(5000, dtype=np.float32))
    playout.started[0] = 1
    for k in range(10):
        source.tick(0.01 * (k + 1), 480)
        play_into(playout, np.zeros((100, 1), dtype=np.float32))
        output.tick(0.01 * (k + 1), 960)
    # 5000 in the ring, 1000 of them played by callbacks that took 960 each on the clock; 1440 samples came and were
    # not taken; 5 ms later both clocks have gone on by 5 ms.
    fill = 5000 - 1000 + (1000 - 9600) + 2 * 1440
    for now_s, more in ((0.1, 0), (0.105, 2 * 240 - 480)):
        assert buffer_fill(source, 4800 - 1440, playout, output, now_s) == pytest.approx(fill + more, abs=1e-3)
    playout.trim[0] = 300
    assert buffer_fill(source, 4800 - 1440, playout, output, 0.1) == pytest.approx(fill - 300, abs=1e-3)


def test_buffer_fill_is_never_read_in_the_middle_of_a_callback() -> None:
    """Callbacks of a device without jitter leave it what it is, however they fall between the readings."""
    callbacks, frames, written = 100_000, 32, 3_200_000
    source, output = DeviceClock.allocate(RATE), DeviceClock.allocate(RATE)
    playout = PlayoutState.allocate(RingBuffer.allocate(written), RATE)
    playout.ring.write(np.zeros(written, dtype=np.float32))
    playout.started[0] = 1
    period_s = frames / RATE

    def call_back() -> None:
        out = np.zeros((frames, 2), dtype=np.float32)
        for k in range(1, callbacks):
            play_into(playout, out)
            output.tick(k * period_s, frames)

    output.tick(0.0, 0)
    source.tick(0.0, 0)
    device = threading.Thread(target=call_back, daemon=True)
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        device.start()
        fills = []
        while device.is_alive():
            fills.append(buffer_fill(source, 0, playout, output, 1.0))
    finally:
        sys.setswitchinterval(interval_s)
    assert len(fills) > 1000
    assert np.ptp(fills) < 1.0


def sine(seconds: float, hz: float = 997.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def resampled(x: np.ndarray, ratio: float, sizes: list[int]) -> np.ndarray:
    state = DriftState.allocate(max(sizes))
    out, parts, at, k = np.zeros(int(max(sizes) * 1.02) + 2, dtype=np.float32), [], 0, 0
    while at < len(x):
        block = x[at : at + sizes[k % len(sizes)]]
        parts.append(out[: resample_near_one(block, state, ratio, out)].copy())
        at, k = at + len(block), k + 1
    return np.concatenate(parts)


@pytest.mark.parametrize("ratio", [1.0, 1.0002, 0.9998, 1.007, 0.991])
@pytest.mark.parametrize("hz", [997.0, 9000.0, 17000.0])
def test_a_tone_comes_out_as_the_tone_at_the_stated_delay(ratio: float, hz: float) -> None:
    x = sine(0.5, hz)
    y = resampled(x, ratio, [960])
    k = np.arange(200, len(y) - 200)
    expected = np.sin(2 * np.pi * hz * (k / ratio - DELAY_SAMPLES) / RATE)
    error = np.sqrt(np.mean((y[k] - expected) ** 2) / np.mean(expected**2))
    assert error < (1e-4 if hz < 10000 else 6e-3)
    assert abs(len(y) - len(x) * ratio) < 1.01


@pytest.mark.parametrize("sizes", [[1], [7, 480, 1, 33], [4800]])
def test_blocks_make_no_difference(sizes: list[int]) -> None:
    x = np.random.default_rng(1).uniform(-1, 1, 9600).astype(np.float32)
    np.testing.assert_allclose(resampled(x, 1.0003, sizes), resampled(x, 1.0003, [960]), atol=1e-6)


def test_a_changing_ratio_leaves_no_step() -> None:
    x, state = sine(1.0, 400.0), DriftState.allocate(480)
    out, parts = np.zeros(500, dtype=np.float32), []
    for k in range(100):
        ratio = 1.0 + 1e-3 * np.sin(k)
        parts.append(out[: resample_near_one(x[k * 480 : (k + 1) * 480], state, ratio, out)].copy())
    y = np.concatenate(parts)[100:]
    assert np.abs(np.diff(y, 2)).max() < 1.1 * (2 * np.pi * 400 / RATE) ** 2


def test_a_constant_stays_constant() -> None:
    y = resampled(np.ones(4800, dtype=np.float32), 1.0001, [480])
    np.testing.assert_allclose(y[64:], 1.0, atol=1e-6)


def test_refuses_what_it_cannot_do() -> None:
    state = DriftState.allocate(10)
    with pytest.raises(ParameterError, match=r"ratio is 1\.5"):
        resample_near_one(np.zeros(4, dtype=np.float32), state, 1.5, np.zeros(20, dtype=np.float32))
    with pytest.raises(ParameterError, match="takes 10 at most"):
        resample_near_one(np.zeros(11, dtype=np.float32), state, 1.0, np.zeros(20, dtype=np.float32))
