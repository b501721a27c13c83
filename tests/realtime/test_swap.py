"""Another engine in a running stream, and the bypass: no click, no echo, nothing skipped or repeated."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from altervox.kernels.delay import DelayState, delay_into
from altervox.kernels.errors import ParameterError, VoiceError
from altervox.models import load_voice
from altervox.realtime import Engine, StreamConfig, VoiceParams
from altervox.realtime.engine import FADE_IN_MS
from altervox.realtime.swap import FADE_MS, SwappableEngine

DATA = Path(__file__).parents[1] / "data"
RATE = 16000
CONFIG = StreamConfig(sample_rate=RATE, block_ms=20)
SIZE = CONFIG.block_size
FADE = RATE * FADE_MS // 1000
MakeLate = Callable[[int], Engine]


class Late:
    """A stage that gives its input back later, at the engine's own rate."""

    input_rate = output_rate = RATE
    speaker = None

    def __init__(self, latency_samples: int) -> None:
        self.latency_samples = latency_samples
        self.state = DelayState.allocate(latency_samples)

    def process(self, block: np.ndarray, params: VoiceParams, out: np.ndarray) -> None:
        delay_into(block, self.state, out)

    def advance(self, block: np.ndarray, params: VoiceParams) -> None:
        delay_into(block, self.state, np.empty_like(block))

    def reset(self) -> None:
        self.state.reset()


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> MakeLate:
    """Makes engines that only delay, each by its own number of samples."""

    def make(samples: int) -> Engine:
        with monkeypatch.context() as patch:
            patch.setattr("altervox.realtime.engine.make_stage", lambda *_: Late(samples))
            engine = Engine(load_voice("off"), CONFIG)
        assert engine.latency_samples == samples
        return engine

    return make


def voice(name: str, block_ms: int = 20) -> Engine:
    return Engine(load_voice(name), StreamConfig(sample_rate=RATE, block_ms=block_ms))


def run(engine: SwappableEngine | Engine, audio: np.ndarray) -> np.ndarray:
    size = engine.block_size
    out = np.full(len(audio) // size * size, np.nan, dtype=np.float32)
    for start in range(0, len(out), size):
        engine.process(audio[start : start + size], out[start : start + size])
    return out


def chirp(seconds: float = 2.0) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return np.asarray(0.3 * scipy.signal.chirp(t, 100, seconds, 7000), dtype=np.float32)


def delayed(audio: np.ndarray, samples: int) -> np.ndarray:
    return np.concatenate((np.zeros(samples, dtype=np.float32), audio))[: len(audio)]


def vowel(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    harmonics = sum((np.sin(2 * np.pi * 125 * k * t) / k for k in range(1, 20)), np.zeros(len(t)))
    return np.asarray(harmonics * 0.05, dtype=np.float32)


def speech() -> np.ndarray:
    audio, original = soundfile.read(DATA / "librivox_male.wav", dtype="float32")
    return np.asarray(scipy.signal.resample_poly(audio, RATE // 100, original // 100), dtype=np.float32)


def test_alone_it_is_the_engine() -> None:
    audio = speech()[:RATE]
    np.testing.assert_array_equal(run(SwappableEngine(voice("robot")), audio), run(voice("robot"), audio))


@pytest.mark.parametrize("samples", [0, 37, 1000])
def test_to_an_engine_of_smaller_delay_the_chirp_runs_through(late: MakeLate, samples: int) -> None:
    """Both show the same instant at every moment of the fade: nothing is heard of it."""
    engine = SwappableEngine(late(1000))
    audio, half = chirp(), RATE
    first = run(engine, audio[:half])
    engine.swap_to(late(samples))
    assert engine.is_swapping
    out = np.concatenate((first, run(engine, audio[half:])))
    assert not engine.is_swapping
    assert engine.latency_samples == 1000
    assert engine.engine.latency_samples == samples
    np.testing.assert_allclose(out, delayed(audio, 1000)[: len(out)], atol=1e-7)


def test_an_engine_offered_during_a_swap_waits_and_makes_up_for_it(late: MakeLate) -> None:
    engine = SwappableEngine(late(100))
    audio = chirp()
    run(engine, audio[: 20 * SIZE])
    engine.swap_to(late(2000))
    run(engine, audio[20 * SIZE : 21 * SIZE])
    last = late(700)
    engine.swap_to(last)
    out = run(engine, audio[21 * SIZE :])
    assert engine.engine is last
    assert engine.latency_samples == 2000
    assert not out[FADE - SIZE :][:1900].any()  # the first swap's pause is whole
    settled = slice(20 * SIZE, None)
    np.testing.assert_allclose(out[settled], delayed(audio, 2000)[21 * SIZE :][: len(out)][settled], atol=1e-7)


@pytest.mark.parametrize("is_bypassed", [False, True])
@pytest.mark.parametrize("grows_by", [1, 500, 2345])
def test_to_an_engine_of_greater_delay_nothing_is_lost_or_heard_twice(
    late: MakeLate, grows_by: int, is_bypassed: bool
) -> None:
    """A pause as long as the delay grows by: before it the old delay, after it the new one, where the old one ended."""
    engine = SwappableEngine(late(100))
    engine.bypass = is_bypassed
    audio, swap = chirp(), 50 * SIZE
    first = run(engine, audio[:swap])
    engine.swap_to(late(100 + grows_by))
    out = np.concatenate((first, run(engine, audio[swap:])))
    assert engine.latency_samples == 100 + grows_by
    old, new = delayed(audio, 100), delayed(audio, 100 + grows_by)
    start = FADE if is_bypassed else 0  # the bypass itself fades in
    np.testing.assert_allclose(out[start:swap], old[start:swap], atol=1e-7)
    gap = swap + FADE
    assert not out[gap : gap + grows_by].any()
    resumed = gap + grows_by
    np.testing.assert_allclose(out[resumed + FADE :], new[resumed + FADE : len(out)], atol=1e-7)
    # In the fades: the same signals under weights from 0 to 1, and the instants of the two do not overlap.
    assert np.all(np.abs(out[swap:gap]) <= np.abs(old[swap:gap]) + 1e-7)
    assert np.all(np.abs(out[resumed : resumed + FADE]) <= np.abs(new[resumed : resumed + FADE]) + 1e-7)
    assert gap - 100 == resumed - (100 + grows_by)


def test_no_echo_remains_after_swaps_there_and_back(late: MakeLate) -> None:
    """White noise has one peak in its correlation with the input, at the stated delay; an echo would be a second."""
    audio = np.asarray(np.random.default_rng(1).standard_normal(3 * RATE) * 0.1, dtype=np.float32)
    engine = SwappableEngine(late(200), least_latency=900)
    parts = []
    for i, samples in enumerate((900, 0, 450)):
        parts.append(run(engine, audio[i * RATE : i * RATE + RATE // 2]))
        engine.swap_to(late(samples))
        parts.append(run(engine, audio[i * RATE + RATE // 2 : (i + 1) * RATE]))
    assert engine.latency_samples == 900
    correlation = np.abs(scipy.signal.correlate(np.concatenate(parts), audio, "full"))
    peak = int(correlation.argmax())
    assert peak - (len(audio) - 1) == 900
    correlation[peak] = 0.0
    assert correlation.max() < 0.05 * float(np.sum(audio**2))


@pytest.mark.parametrize(("before", "after"), [("woman", "robot"), ("robot", "off"), ("off", "whisper")])
def test_voices_change_without_a_click(before: str, after: str) -> None:
    audio, swap = vowel(4.0), 100 * SIZE
    steady = max(np.abs(np.diff(run(voice(name), audio)[RATE:], 2)).max() for name in (before, after))
    engine = SwappableEngine(voice(before))
    first = run(engine, audio[:swap])
    engine.swap_to(voice(after))
    out = np.concatenate((first, run(engine, audio[swap:])))
    assert np.abs(np.diff(out[RATE:], 2)).max() < 1.5 * steady


def test_a_new_voice_knows_the_past_of_the_stream_and_the_speaker() -> None:
    """After the fade it is as loud, moment by moment, as had it run all along, and fitted to the same speaker."""
    audio, swap = speech(), 100 * SIZE
    engine, incoming, alone = SwappableEngine(voice("woman")), voice("child"), voice("child")
    first = run(engine, audio[:swap])
    wanted = [run(alone, audio[:swap])]
    engine.swap_to(incoming)
    assert incoming.stage is not None
    assert alone.stage is not None
    assert incoming.stage.speaker is not None
    assert alone.stage.speaker is not None
    assert incoming.stage.speaker.median_hz == pytest.approx(alone.stage.speaker.median_hz, rel=0.03)
    out = np.concatenate((first, run(engine, audio[swap:])))
    wanted.append(run(alone, audio[swap:]))
    level, wanted_level = (
        np.sqrt(np.mean(x[swap + FADE : swap + FADE + 2 * RATE].reshape(-1, SIZE) ** 2, axis=1))
        for x in (out, np.concatenate(wanted))
    )
    assert np.corrcoef(level, wanted_level)[0, 1] > 0.98


def test_the_bypass_is_the_input_at_the_same_delay(late: MakeLate) -> None:
    engine = SwappableEngine(late(777))
    audio, third = chirp(3.0), RATE
    parts = []
    for i, is_bypassed in enumerate((False, True, False)):
        engine.bypass = is_bypassed
        parts.append(run(engine, audio[i * third : (i + 1) * third]))
    np.testing.assert_allclose(np.concatenate(parts), delayed(audio, 777), atol=1e-7)


def test_a_bypassed_voice_is_the_input_and_no_switch_clicks() -> None:
    audio = vowel(4.0)
    engine = SwappableEngine(voice("robot"))
    delay = engine.latency_samples
    steady = np.abs(np.diff(run(voice("robot"), audio)[RATE:], 2)).max()
    first = run(engine, audio[: 2 * RATE])
    engine.bypass = True
    second = run(engine, audio[2 * RATE : 3 * RATE])
    np.testing.assert_array_equal(second[2 * SIZE :], delayed(audio, delay)[2 * RATE + 2 * SIZE : 3 * RATE])
    engine.bypass = False
    parts = [first, second]
    for i in range(3 * RATE // SIZE, 4 * RATE // SIZE):
        engine.bypass = i % 3 == 0  # also in the middle of a fade
        parts.append(run(engine, audio[i * SIZE : (i + 1) * SIZE]))
    assert np.abs(np.diff(np.concatenate(parts)[RATE:], 2)).max() < 1.5 * steady


def test_skipped_blocks_pass_through_a_swap(late: MakeLate) -> None:
    engine = SwappableEngine(late(300))
    audio = chirp()
    first = run(engine, audio[: 50 * SIZE])
    engine.swap_to(late(20))
    skipped = np.ones((3, SIZE), dtype=np.float32)
    for i in range(50, 53):
        engine.skip(audio[i * SIZE : (i + 1) * SIZE], skipped[i - 50])
    assert not engine.is_swapping
    np.testing.assert_allclose(skipped[0, 0], first[-1], rtol=0.01)  # what was heard fades out
    assert not skipped[1:].any()
    rest = run(engine, audio[53 * SIZE :])
    assert rest[0] == 0.0
    wanted = delayed(audio, 300)
    np.testing.assert_array_equal(first, wanted[: len(first)])
    np.testing.assert_allclose(rest[RATE // 100 + 20 :], wanted[53 * SIZE + RATE // 100 + 20 :][: len(rest)], atol=1e-7)


def test_the_gap_is_where_the_latency_grows(late: MakeLate) -> None:
    engine = SwappableEngine(late(20))
    audio = chirp()
    out, gaps = np.zeros(SIZE, dtype=np.float32), []
    kept = []
    for i in range(len(audio) // SIZE):
        if i == 20:
            engine.swap_to(late(3 * SIZE // 2))
        engine.process(audio[i * SIZE : (i + 1) * SIZE], out)
        gaps.append(engine.gap[1] - engine.gap[0])
        assert not out[slice(*engine.gap)].any()
        kept += [out[: engine.gap[0]].copy(), out[engine.gap[1] :].copy()]
    assert sum(gaps) == 3 * SIZE // 2 - 20
    steady = slice(40 * SIZE, 50 * SIZE)
    np.testing.assert_array_equal(np.concatenate(kept)[steady], delayed(audio, 20)[steady])


def test_parameters_reach_the_engine_that_comes() -> None:
    engine, incoming = SwappableEngine(voice("off")), voice("off")
    engine.params = VoiceParams(pitch_semitones=3.0)  # changed while the next engine was built
    engine.swap_to(incoming)
    run(engine, np.ones(10 * SIZE, dtype=np.float32))
    assert engine.engine is incoming
    assert incoming.params.pitch_semitones == 3.0


def test_the_engine_after_a_reset_is_the_newest_from_the_start() -> None:
    audio = speech()[:RATE]
    engine = SwappableEngine(voice("woman"), least_latency=3000)
    run(engine, audio)
    engine.swap_to(voice("robot"))
    engine.reset()
    assert engine.latency_samples == voice("robot").latency_samples
    np.testing.assert_array_equal(run(engine, audio), run(voice("robot"), audio))


def test_a_swap_and_a_bypass_leave_no_memory_behind() -> None:
    """What NumPy allocates in a block is seen by tracemalloc; the bound is below a block of booleans."""
    config = StreamConfig(sample_rate=RATE, block_ms=200)
    engine = SwappableEngine(Engine(load_voice("off"), config), least_latency=1000)
    block = np.random.default_rng(1).standard_normal(config.block_size).astype(np.float32)
    out = np.empty_like(block)

    def feed(blocks: int) -> None:
        for i in range(blocks):
            engine.bypass = i % 4 < 2
            engine.process(block, out)

    engine.swap_to(Engine(load_voice("off"), config))
    feed(10)
    engine.swap_to(Engine(load_voice("off"), config))
    tracemalloc.start()
    try:
        feed(1)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        feed(2000)
        now, peak = tracemalloc.get_traced_memory()
        assert now - before < 2048
        assert peak - before < config.block_size
    finally:
        tracemalloc.stop()


def test_an_engine_is_prepared_beside_the_running_stream() -> None:
    """In real time: blocks go on while another thread catches up with them."""
    audio = speech()
    engine = SwappableEngine(voice("off"), least_latency=2000)
    out = np.zeros(SIZE, dtype=np.float32)
    heard: list[np.ndarray] = []
    failures: list[Exception] = []

    def prepare() -> None:
        try:
            engine.swap_to(voice("robot"))
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=prepare)
    blocks = audio[: len(audio) // SIZE * SIZE].reshape(-1, SIZE)
    assert len(blocks) > 100
    end = time.monotonic() + 120
    for i in itertools.count():
        if i == 100:
            thread.start()
        if i > 100:
            time.sleep(0.02)
        engine.process(blocks[i % len(blocks)], out)
        heard.append(out.copy())
        if i > 100 and not thread.is_alive() and not engine.is_swapping:
            break
        assert time.monotonic() < end, "the swap does not take place"
    thread.join()
    assert not failures
    assert engine.latency_samples == 2000
    assert np.isfinite(np.concatenate(heard)).all()
    np.testing.assert_array_equal(np.concatenate(heard)[: 100 * SIZE], delayed(audio, 2000)[: 100 * SIZE])


class Costly(Late):
    """A stage whose blocks take so much processor time."""

    cost_s = 0.0

    def process(self, block: np.ndarray, params: VoiceParams, out: np.ndarray) -> None:
        end_s = time.thread_time() + self.cost_s
        while time.thread_time() < end_s:
            pass
        super().process(block, params, out)


def test_an_engine_that_the_machine_cannot_afford_is_refused_with_what_it_costs_and_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, costly = SwappableEngine(voice("off")), Costly(10)
    run(running, np.zeros(40 * SIZE, dtype=np.float32))
    monkeypatch.setattr("altervox.realtime.engine.make_stage", lambda *_: costly)
    costly.cost_s = 0.025
    with pytest.raises(VoiceError, match=r"takes \d\d ms of processor time on this computer and lasts 20 ms: choose"):
        running.swap_to(Engine(load_voice("off"), CONFIG))
    assert not running.is_swapping
    costly.cost_s = 0.002
    running.swap_to(engine := Engine(load_voice("off"), CONFIG))
    run(running, np.zeros(10 * SIZE, dtype=np.float32))
    assert running.engine is engine


def test_an_engine_that_is_built_while_others_keep_the_processor_busy_is_swapped_to_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stream goes on by twenty blocks while the engine takes in one: the rest it gets from the stream itself."""
    running, silence = SwappableEngine(voice("off"), least_latency=500), np.zeros(20 * SIZE, dtype=np.float32)
    run(running, silence)
    is_built = False

    class Starved(Late):
        def advance(self, block: np.ndarray, params: VoiceParams) -> None:
            if not is_built:
                run(running, silence)
            super().advance(block, params)

        def process(self, block: np.ndarray, params: VoiceParams, out: np.ndarray) -> None:
            if not is_built:
                run(running, silence)
            super().process(block, params, out)

    with monkeypatch.context() as patch:
        patch.setattr("altervox.realtime.engine.make_stage", lambda *_: Starved(10))
        starved = Engine(load_voice("off"), CONFIG)
    running.swap_to(starved)
    is_built = True
    audio = chirp()
    out = run(running, audio)
    assert running.engine is starved
    settled = 20 * SIZE
    np.testing.assert_allclose(out[settled:], delayed(audio, 500)[settled : len(out)], atol=1e-6)


def test_a_replaced_engine_is_freed_without_another_swap() -> None:
    first = voice("robot")
    running, alive = SwappableEngine(first), weakref.ref(first)
    del first
    running.swap_to(voice("off"))
    run(running, np.zeros(20 * SIZE, dtype=np.float32))
    running.release()
    gc.collect()
    assert alive() is None


class Failing(Late):
    """A stage that raises while it is told to."""

    error: Exception | None = None
    calls = 0

    def process(self, block: np.ndarray, params: VoiceParams, out: np.ndarray) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error
        super().process(block, params, out)


@pytest.mark.parametrize("error", [TypeError("odd"), RuntimeError("CUDA error"), MemoryError(), KeyError("x")])
@pytest.mark.parametrize("bad", [range(30, 31), range(30, 32), range(30, 130)])
def test_a_failure_leaves_delay_voice_and_bypass_as_they_were(
    monkeypatch: pytest.MonkeyPatch, bad: range, error: Exception
) -> None:
    stage = Failing(200)
    monkeypatch.setattr("altervox.realtime.engine.make_stage", lambda *_: stage)
    running = SwappableEngine(Engine(load_voice("off"), CONFIG), least_latency=700)
    audio = chirp(6.0)
    parts = [run(running, audio[: bad.start * SIZE])]
    stage.error = error
    parts.append(run(running, audio[bad.start * SIZE : bad.stop * SIZE]))
    assert running.cause == (str(error) or "MemoryError")
    stage.error = None
    parts.append(run(running, audio[bad.stop * SIZE :]))
    out = np.concatenate(parts)
    assert running.failed_blocks >= 1
    assert running.cause == ""
    assert stage.calls < len(audio) // SIZE - len(bad) + 60  # left alone while it fails, but for a try every second
    start, fade = bad.start * SIZE, RATE * FADE_IN_MS // 1000
    assert abs(out[start - 1]) > 0.02
    assert out[start] == pytest.approx(out[start - 1], rel=0.05)  # what was heard fades out from where it was
    assert np.all(np.diff(np.abs(out[start : start + fade])) <= 0.0)
    assert not out[start + fade : start + SIZE].any()
    # Two seconds later everything is where it was.
    settled = (bad.stop + 2 * 50) * SIZE
    np.testing.assert_allclose(out[settled:], delayed(audio, 700)[settled : len(out)], atol=1e-6)
    running.bypass = True
    rest = run(running, audio)[50 * SIZE :]
    np.testing.assert_allclose(rest, delayed(audio, 700)[50 * SIZE : 50 * SIZE + len(rest)], atol=1e-6)


@pytest.mark.parametrize(("rate", "block_ms"), [(RATE, 40), (48000, 20)])
def test_an_engine_of_other_blocks_is_refused(rate: int, block_ms: int) -> None:
    engine = SwappableEngine(voice("off"))
    with pytest.raises(ParameterError, match="do not fit a running stream of 320 at 16000 Hz"):
        engine.swap_to(Engine(load_voice("off"), StreamConfig(sample_rate=rate, block_ms=block_ms)))


def test_a_delay_beyond_the_memory_is_refused() -> None:
    with pytest.raises(ParameterError, match="too long"):
        SwappableEngine(voice("off"), least_latency=4 * RATE)
