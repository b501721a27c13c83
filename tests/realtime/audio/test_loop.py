"""The loop between two simulated devices: delay, shortages, pauses, drift, failures."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from altervox.kernels.callbacks import capture_from, play_into
from altervox.kernels.errors import ParameterError
from altervox.realtime.audio import prefill
from altervox.realtime.audio.loop import LiveLoop
from altervox.realtime.audio.paths import InputPath, OutputPath
from altervox.realtime.session.block_times import BlockTimes

RATE = 48000


class Identity:
    """A processor that changes nothing and takes no time."""

    def __init__(self, block_size: int = 960) -> None:
        self.block_size = block_size
        self.times = BlockTimes()
        self.blocks = self.skipped = 0

    def process(self, block: np.ndarray, out: np.ndarray, is_late: bool = False) -> None:
        self.blocks += 1
        self.skipped += is_late
        out[:] = 0.0 if is_late else block
        self.times.note(1e-4)


@dataclass
class Simulation:
    """Devices as generators of callbacks on a simulated clock."""

    block_ms: int = 20
    in_ppm: float = 0.0
    out_ppm: float = 0.0
    in_frames: int = 480
    out_frames: int = 480
    in_rate: int = RATE
    out_rate: int = RATE
    block_s: float = 0.003
    skipped_part: float = 1.0  # of that time, for a block that is only skipped
    processor: Identity = field(default_factory=Identity)
    prefill_ms: float | None = None

    def __post_init__(self) -> None:
        self.source = InputPath.allocate(self.in_rate, RATE, self.block_ms)
        self.path = OutputPath.allocate(RATE, self.out_rate, self.block_ms, 1e3 * self.block_s, self.prefill_ms)
        self.loop = LiveLoop(self.processor, self.source, [self.path])
        self.heard: list[np.ndarray] = []
        self.levels: list[tuple[float, float]] = []
        self.next_in = self.in_frames / self.in_rate
        self.next_out = 0.0037
        self.busy_until = 0.0
        self.sent = 0
        self.signal: Callable[[np.ndarray], np.ndarray] = lambda n: np.sin(2 * np.pi * 440.0 * n / self.in_rate)
        self.keep = True
        self.paused_out: tuple[float, float] = (0.0, 0.0)
        self.slow: tuple[float, float, float] = (0.0, 0.0, 0.0)  # from, to, seconds of a block
        self.stalled_in: tuple[float, float] = (0.0, 0.0)  # what comes meanwhile comes at its end, at once
        self.lost_in: tuple[float, float] = (0.0, 0.0)  # what comes meanwhile is lost by the device
        self.held: list[np.ndarray] = []

    def run(self, until_s: float) -> None:
        out = np.zeros((self.out_frames, 2), dtype=np.float32)
        in_period = self.in_frames / (self.in_rate * (1 + self.in_ppm * 1e-6))
        out_period = self.out_frames / (self.out_rate * (1 + self.out_ppm * 1e-6))
        while True:
            now = min(self.next_in, self.next_out)
            if now > until_s:
                return
            if now == self.next_in:
                n = self.sent + np.arange(self.in_frames)
                self.held.append(self.signal(n).astype(np.float32)[:, None])
                if self.lost_in[0] <= now < self.lost_in[1]:
                    self.held.clear()
                if not self.stalled_in[0] <= now < self.stalled_in[1]:
                    for frames in self.held:
                        capture_from(self.source.capture, frames)
                        self.source.clock.tick(now, self.in_frames)
                    self.held.clear()
                self.sent += self.in_frames
                self.next_in += in_period
            else:
                start, end = self.paused_out
                if not start <= now < end:
                    play_into(self.path.playout, out)
                    self.path.clock.tick(now, self.out_frames)
                    if self.keep:
                        self.heard.append(out[:, 0].copy())
                self.next_out += out_period
            # The engine takes a block as soon as it is free, and its output is there when it is done.
            ready = min(self.next_in, self.next_out)
            while self.busy_until <= ready:
                at, skipped = max(self.busy_until, now), self.processor.skipped
                if at > ready or not self.loop.step(at):
                    break
                slow_from, slow_to, slow_s = self.slow
                cost_s = slow_s if slow_from <= at < slow_to else self.block_s
                self.busy_until = at + cost_s * (self.skipped_part if self.processor.skipped > skipped else 1.0)
                if self.processor.blocks % 50 == 0:
                    self.levels.append((at, self.path.fill(self.source, at)))

    @property
    def output(self) -> np.ndarray:
        return np.concatenate(self.heard)


def ramp(n: np.ndarray) -> np.ndarray:
    """A signal that tells the time: exact in float32 for a minute."""
    return (n % (1 << 22)) / (1 << 22)


@pytest.mark.parametrize(("in_frames", "out_frames"), [(480, 480), (128, 441), (1024, 240)])
@pytest.mark.parametrize("wanted_ms", [None, 55.0])
def test_prefill_is_what_callbacks_and_blocks_need(in_frames: int, out_frames: int, wanted_ms: float | None) -> None:
    sim = Simulation(in_frames=in_frames, out_frames=out_frames, prefill_ms=wanted_ms)
    assert sim.path.delay.prefill.ms == 0.0
    sim.run(2.0)
    callbacks_ms = (in_frames + out_frames) / 48.0
    assert sim.path.delay.prefill.floor_ms == pytest.approx(callbacks_ms + 5.0)
    assert sim.path.delay.prefill.ms == pytest.approx(wanted_ms or callbacks_ms + 5.0 + 1.5 * 3.0)
    assert sim.path.delay.prefill.first_ms == sim.path.delay.prefill.ms


@pytest.mark.parametrize("block_ms", [20, 40, 100])
@pytest.mark.parametrize(("in_frames", "out_frames"), [(480, 480), (128, 441), (1024, 240)])
def test_steady_devices_lose_nothing(block_ms: int, in_frames: int, out_frames: int) -> None:
    sim = Simulation(block_ms, in_frames=in_frames, out_frames=out_frames, processor=Identity(48 * block_ms))
    sim.run(20.0)
    counters = sim.path.playout.counters
    assert counters.underruns == counters.discarded == sim.source.capture.overrun_samples == 0
    y = sim.output[RATE:]
    assert np.abs(np.diff(y, 2)).max() < 1.2 * (2 * np.pi * 440 / RATE) ** 2  # no step anywhere


def test_the_delay_is_what_is_accounted_for() -> None:
    """What is heard was said when level and resamplers say."""
    sim = Simulation()
    sim.signal = ramp
    sim.run(15.0)
    said = sim.output[-1] * (1 << 22)
    delay = sim.sent - said
    level = sim.path.fill(sim.source, sim.next_out) + sim.path.latency_ms * RATE / 1000
    assert delay == pytest.approx(level, abs=600)  # the callbacks' own grain
    assert delay < (20 + sim.path.delay.prefill.ms + 10 + 5) * RATE / 1000


def test_input_that_came_before_the_output_opened_adds_no_delay() -> None:
    late = Simulation()
    late.next_out = 0.3037
    late.run(5.0)
    prompt = Simulation()
    prompt.run(5.0)
    assert late.path.fill(late.source, 5.0) == pytest.approx(prompt.path.fill(prompt.source, 5.0), abs=500)


def test_a_pause_while_the_output_opens_does_not_stay_as_delay() -> None:
    sim = Simulation()
    sim.signal = ramp
    sim.paused_out = (0.7, 1.7)
    sim.run(12.0)
    delay = sim.sent - sim.output[-1] * (1 << 22)
    assert delay < (20 + sim.path.delay.prefill.ms + 20 + 10 + 5) * RATE / 1000
    assert sim.output[-5 * RATE :].min() > 0


@pytest.mark.parametrize("pause", [{"paused_out": (0.2, 0.45)}, {"stalled_in": (0.2, 0.45)}])
def test_a_pause_while_devices_open_is_not_taken_for_their_interval(pause: dict[str, tuple[float, float]]) -> None:
    calm, paused = Simulation(), Simulation()
    for name, when in pause.items():
        setattr(paused, name, when)
    for simulation in (calm, paused):
        simulation.run(3.0)
    assert paused.path.is_started
    assert paused.path.delay.prefill.ms == pytest.approx(calm.path.delay.prefill.ms, abs=1.0)


def test_a_device_of_long_intervals_starts_all_the_same() -> None:
    slow = Simulation(out_frames=7200)  # 150 ms
    slow.run(4.0)
    assert slow.path.is_started
    assert slow.path.delay.prefill.floor_ms == pytest.approx(165.0, abs=1.0)


def test_devices_with_a_common_clock_change_no_sample() -> None:
    sim = Simulation()
    sim.signal = ramp
    sim.run(30.0)
    y = sim.output[4 * RATE :] * (1 << 22)
    assert np.array_equal(np.unique(np.rint(np.diff(y))), [1.0])


@pytest.mark.parametrize(("in_rate", "out_rate"), [(44100, 48000), (48000, 44100), (16000, 48000)])
def test_devices_of_different_rates(in_rate: int, out_rate: int) -> None:
    sim = Simulation(in_rate=in_rate, out_rate=out_rate, in_frames=in_rate // 100, out_frames=out_rate // 100)
    sim.run(10.0)
    assert sim.path.playout.counters.underruns == 0
    y = sim.output[out_rate * 2 :]
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    assert np.argmax(spectrum) * out_rate / len(y) == pytest.approx(440.0, abs=0.3)


@pytest.mark.parametrize("ppm", [-200.0, 200.0])
def test_ten_minutes_of_drift(ppm: float) -> None:
    """Fill bounded, nothing dropped or doubled, the pitch off by no more than can be heard."""
    sim = Simulation(40, in_ppm=ppm, processor=Identity(1920), prefill_ms=27.0)  # of which nothing is given back
    sim.keep = False
    ratios: list[float] = []
    for until_s in range(20, 601, 20):
        sim.run(until_s)
        ratios.append(sim.path.delay.lock.ratio)
    counters = sim.path.playout.counters
    assert counters.underruns == counters.discarded == sim.source.capture.overrun_samples == 0
    levels = np.array([level for at, level in sim.levels if at > 45.0])  # the drift is found
    assert np.ptp(levels) < 0.003 * RATE
    cents = 1200 * np.log2(np.array(ratios))
    assert np.abs(cents).max() < 2.0
    assert sim.path.delay.lock.drift_ppm == pytest.approx(ppm, abs=20.0)


def test_drift_leaves_no_step() -> None:
    sim = Simulation(in_ppm=-200.0, out_ppm=100.0)
    sim.run(60.0)
    y = sim.output[RATE:]
    assert np.abs(np.diff(y, 2)).max() < 1.2 * (2 * np.pi * 440 / RATE) ** 2


def test_blocks_of_half_a_second_that_take_most_of_it_lose_nothing() -> None:
    sim = Simulation(500, block_s=0.35, processor=Identity(24000))
    sim.run(30.0)
    counters = sim.path.playout.counters
    assert sim.path.delay.prefill.ms == 500.0
    assert counters.underruns == counters.discarded == sim.source.capture.overrun_samples == 0


@pytest.mark.parametrize("block_ms", [20, 500])
def test_a_machine_that_is_too_slow_is_heard_and_seen_to_be(block_ms: int) -> None:
    sim = Simulation(block_ms, block_s=1.25e-3 * block_ms, skipped_part=0.2, processor=Identity(48 * block_ms))
    sim.slow = (0.0, 4.0, 5e-3 * block_ms)  # the input overruns before the output has started
    sim.run(30.0)
    assert sim.path.is_started
    assert np.abs(sim.output[10 * RATE :]).max() > 0.9
    # The backlog that was there when the output began does not stay as latency.
    assert sim.path.fill(sim.source, 30.0) < (sim.path.delay.prefill.ms + 2.5 * block_ms) * RATE / 1000
    assert sim.path.playout.counters.underruns > 10
    assert sim.processor.skipped > 10


def test_a_late_block_costs_sound_but_no_delay_beyond_the_step() -> None:
    """Half a second of slow blocks: afterwards what is heard is as old as before, plus the displayed step."""
    sim = Simulation()
    sim.signal = ramp
    sim.run(10.0)
    first_ms = sim.path.delay.prefill.ms
    before = sim.sent - sim.output[-1] * (1 << 22)
    sim.slow = (10.0, 10.5, 0.12)
    sim.run(20.0)
    after = sim.sent - sim.output[-1] * (1 << 22)
    grown = sim.path.playout.counters.added
    assert sim.path.playout.counters.underruns >= 1
    assert after - before == pytest.approx(grown, abs=500)
    assert grown <= 0.005 * RATE * sim.path.playout.counters.underruns
    assert sim.path.delay.prefill.ms == pytest.approx(first_ms + grown * 1000 / RATE, abs=0.1)
    assert sim.processor.skipped > 0
    y = sim.output
    heard = y[(y > 0) & (y < 1)]
    assert len(np.unique(heard)) > 0.99 * len(heard)  # nothing is replayed


@pytest.mark.parametrize("pause_s", [0.05, 0.09, 1.0])
def test_a_pause_of_the_output_device_adds_no_delay(pause_s: float) -> None:
    sim = Simulation()
    sim.signal = ramp
    sim.run(10.0)
    before = sim.sent - sim.output[-1] * (1 << 22)
    sim.paused_out = (10.0, 10.0 + pause_s)
    sim.run(14.0 + pause_s)
    after = sim.sent - sim.output[-1] * (1 << 22)
    assert after - before == pytest.approx(0, abs=0.012 * RATE)


@pytest.mark.parametrize("pause_s", [0.03, 0.1, 0.7])
def test_input_that_comes_late_and_at_once_adds_no_delay(pause_s: float) -> None:
    sim = Simulation()
    sim.signal = ramp
    sim.run(15.0)
    before = sim.sent - sim.output[-1] * (1 << 22)
    sim.stalled_in = (15.0, 15.0 + pause_s)
    sim.run(30.0)
    after = sim.sent - sim.output[-1] * (1 << 22)
    assert after - before == pytest.approx(sim.path.playout.counters.added, abs=500)
    assert abs(sim.path.delay.lock.ratio - 1) < 1e-4
    assert sim.output[-4 * RATE :].min() > 0  # and nothing is missing any more


@pytest.mark.parametrize("pause_s", [0.03, 0.1, 0.7, 3.0])
def test_input_that_the_device_loses_does_not_starve_the_output_for_ever(pause_s: float) -> None:
    sim = Simulation()
    sim.signal = ramp
    sim.run(15.0)
    before = sim.sent - sim.output[-1] * (1 << 22)
    sim.lost_in = (15.0, 15.0 + pause_s)
    sim.run(35.0)
    after = sim.sent - sim.output[-1] * (1 << 22)
    assert sim.output[-10 * RATE :].min() > 0
    assert (
        abs(after - before) < sim.path.delay.prefill.floor_ms * RATE / 1000
    )  # a callback of each device, and the margin


def test_lost_input_is_made_up_for_by_silence() -> None:
    """An engine that stands still for longer than the input ring holds."""
    sim = Simulation()
    sim.signal = ramp
    sim.run(6.0)
    before = sim.sent - sim.output[-1] * (1 << 22)
    sim.slow = (6.0, 6.02, 4.0)
    sim.run(25.0)
    assert sim.source.capture.overrun_samples > 0
    after = sim.sent - sim.output[-1] * (1 << 22)
    grown = sim.path.playout.counters.added
    assert after - before == pytest.approx(grown, abs=0.015 * RATE)


def test_unused_prefill_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefill, "_QUIET_S", 0.1 * prefill._QUIET_S)
    sim = Simulation(prefill_ms=80.0)
    sim.keep = False
    sim.run(10.0)
    first = sim.path.fill(sim.source, sim.next_in)
    sim.run(150.0)
    assert sim.path.playout.counters.underruns == 0
    assert sim.path.delay.prefill.ms <= 60.0
    assert first - sim.path.fill(sim.source, sim.next_in) == pytest.approx(
        (80.0 - sim.path.delay.prefill.ms) * 48, abs=300
    )


def test_switching_an_output_off_and_on_makes_no_step() -> None:
    """By the gain of one output, as a monitor has: over a block of 960 samples, and not faster."""
    sim = Simulation()
    sim.signal = lambda n: np.full(len(n), 0.5)
    sim.run(2.0)
    for is_on in (False, True):
        sim.path.gain.target = float(is_on)
        sim.run(2.5 + 0.5 * is_on)
        np.testing.assert_array_equal(sim.output[-4800:], 0.5 * is_on)
    assert np.abs(np.diff(sim.output[RATE:])).max() < 1.01 * 0.5 / 960


def test_digital_silence_is_seen_after_three_seconds() -> None:
    sim = Simulation()
    sim.run(2.0)
    assert not sim.source.is_silent
    sim.signal = lambda n: np.zeros(len(n))
    sim.run(4.5)
    assert not sim.source.is_silent
    sim.run(5.5)
    assert sim.source.is_silent


@pytest.mark.parametrize("path", [InputPath, OutputPath])
def test_a_rate_of_which_blocks_are_no_whole_samples_is_refused(path: type[InputPath | OutputPath]) -> None:
    rates = (11025, 48000) if path is InputPath else (48000, 11025)
    with pytest.raises(ParameterError, match="multiple of 50 Hz"):
        path.allocate(*rates, 20, 0)
