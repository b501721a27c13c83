"""A session without devices: failures that leave no lasting damage, voices, recordings, blocks of a fitting length."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from altervox.kernels.delay import DelayState, delay_into
from altervox.kernels.errors import OutputError, ParameterError, VoiceError
from altervox.models.voice import VoiceParams
from altervox.realtime.config import StreamConfig
from altervox.realtime.session.commands import Record, Set, SetVoice, StepVoice
from altervox.realtime.session.processor import Processor
from altervox.realtime.session.settings import ChainConfig, SessionSettings
from altervox.realtime.session.state import SessionState
from altervox.realtime.session.warm_up import AUTO_BLOCKS_MS, ROOM, time_blocks, warmed_up

RATE = 48000
BLOCK = 960
LATENCY = 500  # of the stage below
LEVEL = 0.1


class Stage:
    """A stage that delays, takes so much processor time, and raises while it is told to."""

    input_rate = output_rate = RATE
    latency_samples = LATENCY
    f0_hz = 0.0
    speaker = None
    error: Exception | None = None
    cost_s = 0.0

    def __init__(self) -> None:
        self.state = DelayState.allocate(LATENCY)

    def process(self, block: np.ndarray, params: VoiceParams, out: np.ndarray) -> None:
        if self.error is not None:
            raise self.error
        end_s = time.thread_time() + self.cost_s
        while time.thread_time() < end_s:
            pass
        delay_into(block, self.state, out)

    def advance(self, block: np.ndarray, params: VoiceParams) -> None:
        delay_into(block, self.state, np.empty_like(block))

    def reset(self) -> None:
        self.state.reset()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    monkeypatch.setattr("altervox.realtime.engine.make_stage", lambda *_: stage)
    return stage


def settings(**changes: Any) -> SessionSettings:
    state = SessionState(voice="off")
    return SessionSettings(state, StreamConfig(block_ms=20), voices=("off", "robot", "whisper"), **changes)


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-LEVEL, LEVEL, int(seconds * RATE) // BLOCK * BLOCK).astype(np.float32)


def run(processor: Processor, audio: np.ndarray) -> np.ndarray:
    out = np.zeros_like(audio)
    for at in range(0, len(audio), BLOCK):
        processor.process(audio[at : at + BLOCK], out[at : at + BLOCK])
    return out


def latency_of(processor: Processor) -> int:
    """The true latency, by correlation."""
    x = noise(1.0, seed=int(time.monotonic() * 1e6))
    y = run(processor, x)
    spectrum = np.fft.rfft(y, 2 * len(x)) * np.conj(np.fft.rfft(x, 2 * len(x)))
    return int(np.argmax(np.fft.irfft(spectrum)[: len(x)]))


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def fail_in_stage(processor: Processor, stage: Stage, error: Exception, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stage, "error", error)


def fail_in_engine(processor: Processor, stage: Stage, error: Exception, patch: pytest.MonkeyPatch) -> None:
    def process(block: np.ndarray, out: np.ndarray) -> None:
        raise error

    patch.setattr(processor.engine.engine, "process", process)


def fail_in_swap(processor: Processor, stage: Stage, error: Exception, patch: pytest.MonkeyPatch) -> None:
    def process(block: np.ndarray, out: np.ndarray) -> None:
        raise error

    patch.setattr(processor.engine, "process", process)


def fail_in_chain(processor: Processor, stage: Stage, error: Exception, patch: pytest.MonkeyPatch) -> None:
    def limit(*args: Any) -> None:
        raise error

    patch.setattr("altervox.realtime.session.chain.limit_into", limit)


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), TypeError("odd"), MemoryError("none left")])
@pytest.mark.parametrize("blocks", [1, 2, 25])
@pytest.mark.parametrize("fail", [fail_in_stage, fail_in_engine, fail_in_swap, fail_in_chain])
def test_two_seconds_after_a_failure_nothing_is_left_of_it(
    fail: Callable[..., None], blocks: int, error: Exception, stage: Stage
) -> None:
    processor = Processor(settings())
    run(processor, noise(0.5))
    usual = latency_of(processor)
    assert usual == processor.latency_samples
    with pytest.MonkeyPatch.context() as patch:
        fail(processor, stage, error, patch)
        heard = run(processor, noise(blocks * 0.02))
        assert str(error) in " ".join(processor.causes)
        assert processor.failed_blocks >= 1
    assert np.isfinite(heard).all()
    run(processor, noise(2.0))
    assert processor.causes == ()
    assert latency_of(processor) == processor.latency_samples == usual
    out = run(processor, noise(0.5))
    assert np.sqrt(np.mean(out**2)) == pytest.approx(LEVEL / np.sqrt(3.0), rel=0.05)


@pytest.mark.parametrize("error", [VoiceError("alice.pth is damaged"), TypeError("odd"), MemoryError(), KeyError("x")])
def test_a_voice_that_cannot_be_built_leaves_the_one_that_sounds(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = Processor(settings())
    run(processor, noise(0.2))
    with monkeypatch.context() as patch:

        def load(name: str, device: str) -> None:
            raise error

        patch.setattr("altervox.realtime.session.processor.load_voice", load)
        processor.do(SetVoice("alice.pth"))
        until(lambda: not processor.is_loading)
        (cause,) = processor.causes
        assert cause.startswith("alice.pth: ")
    assert processor.sounding == "off"
    assert np.any(run(processor, noise(0.2)))
    processor.do(SetVoice("robot"))  # the thread that builds has survived
    until(lambda: processor.sounding == "robot")
    until(lambda: not processor.is_loading)
    run(processor, noise(0.5))
    assert processor.causes == ()


def test_a_cause_does_not_hide_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = Processor(settings())
    processor.do(SetVoice("nobody"))
    (tmp_path / "file").write_text("in the way")
    processor.do(Record(tmp_path / "file"))
    until(lambda: len(processor.causes) == 2)
    assert any("nobody" in cause for cause in processor.causes)
    assert any("cannot record to" in cause for cause in processor.causes)
    processor.close()


def test_commands_change_the_state_once_each_and_reach_the_engine() -> None:
    processor = Processor(settings())
    processor.do(Set({"pitch_semitones": 3.0, "bypass": True, "gain_db": -6.0}))
    processor.try_to(Set({"pitch_semitones": 99.0}))
    assert processor.causes == ("pitch_semitones is 99; it must lie between -36 and 36",)
    run(processor, noise(0.2))
    assert processor.engine.engine.params.pitch_semitones == 3.0
    assert processor.engine.bypass
    assert processor.state.revision == 1
    processor.try_to(StepVoice(1))
    assert not processor.causes
    assert processor.state.voice == "robot"
    until(lambda: processor.sounding == "robot")


def test_a_speaker_that_the_voice_does_not_have_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start and by command; another voice begins with its first speaker."""
    duet = SimpleNamespace(name="duet", kind="rvc", speakers=2, uses=frozenset({"speaker"}))
    monkeypatch.setattr("altervox.realtime.session.processor.load_voice", lambda name, device: duet)
    state = SessionState(voice="duet", params=VoiceParams(speaker=2))
    with pytest.raises(ParameterError, match="speaker is 2; duet has speakers 0 to 1: choose another --speaker"):
        Processor(SessionSettings(state, StreamConfig(block_ms=20)))
    processor = Processor(settings())
    with pytest.raises(ParameterError, match="speaker is 2; duet has speakers 0 to 1: choose another --speaker"):
        processor.do(Set({"speaker": 2, "gain_db": 6.0}))
    assert processor.state.revision == 0
    processor.do(Set({"speaker": 1}))
    assert processor.state.params.speaker == 1
    duet.speakers = 1
    processor.do(SetVoice("solo"))  # begins with the first speaker
    assert processor.state.params.speaker == 0
    until(lambda: processor.sounding == "solo")


def test_a_speaker_of_a_voice_that_is_not_there_yet_is_kept_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not checked against the voice that sounds until then, as at the end of a key's hold."""
    solo, duet = (
        SimpleNamespace(name=name, kind="rvc", speakers=count, uses=frozenset({"speaker"}))
        for name, count in (("solo", 1), ("duet", 4))
    )
    monkeypatch.setattr("altervox.realtime.engine.make_stage", lambda *_: Stage())
    is_there = threading.Event()

    def load(name: str, device: str) -> SimpleNamespace:
        return solo if name == "solo" or not is_there.wait(30) else duet

    monkeypatch.setattr("altervox.realtime.session.processor.load_voice", load)
    processor = Processor(SessionSettings(SessionState(voice="solo"), StreamConfig(block_ms=20)))
    processor.do(SetVoice("duet"))
    processor.do(Set({"speaker": 3}))
    is_there.set()
    until(lambda: processor.sounding == "duet")
    assert processor.state.params.speaker == 3
    with pytest.raises(ParameterError, match="speaker is 4; duet has speakers 0 to 3"):
        processor.do(Set({"speaker": 4}))
    processor.do(SetVoice("solo"), Set({"speaker": 1}))
    until(lambda: bool(processor.causes))
    assert processor.causes == ("solo: speaker is 1; solo has speaker 0 only: choose another --speaker",)
    assert processor.sounding == "duet"


def test_nonfinite_and_absurd_samples_of_the_microphone_leave_nothing_behind(tmp_path: Path) -> None:
    x = noise(1.0)
    broken = x.copy()
    broken[1000], broken[2000:2100], broken[3000] = np.inf, np.nan, -np.inf
    x[1000], x[2000:2100], x[3000] = 0.0, 0.0, 0.0
    chain = ChainConfig(suppress_noise=True, speech_level_db=-23.0)
    first, second = (Processor(settings(chain=chain, record_folder=tmp_path / name)) for name in "ab")
    np.testing.assert_array_equal(run(first, broken), run(second, x))
    assert np.isfinite(first.take_peaks()).all()
    first.close()
    (path,) = (tmp_path / "a").glob("input-*")
    np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], x)
    broken[:BLOCK] = 1e30
    run(second, broken[:BLOCK])
    out = run(second, noise(3.0))[-RATE:]
    assert np.isfinite(out).all()
    assert np.abs(out).max() > 1e-4
    second.close()


def test_muting_fades_and_gains_glide() -> None:
    processor = Processor(settings())
    ones = np.tile(np.sin(2 * np.pi * 1000 * np.arange(BLOCK) / RATE).astype(np.float32) * 0.1, 10)
    steady = run(processor, ones)[-BLOCK:]
    processor.do(Set({"muted": True}))
    run(processor, ones)
    assert not run(processor, ones).any()
    processor.do(Set({"muted": False, "gain_db": 6.0}))
    run(processor, ones)
    np.testing.assert_allclose(run(processor, ones)[-BLOCK:], 10 ** (6.0 / 20) * steady, rtol=1e-3, atol=1e-4)


def test_the_gate_acts_on_the_output_that_its_input_became(stage: Stage) -> None:
    """Half a second of speech between silences, through a voice that is late."""
    x = np.concatenate((noise(0.5) * 1e-3, noise(0.5), noise(1.0) * 1e-3))
    open_, gated = (
        run(Processor(SessionSettings(SessionState(voice="off", gate_db=db), StreamConfig(block_ms=20))), x)
        for db in (-60.0, -40.0)
    )
    late = int(0.5 * RATE) + LATENCY
    assert not gated[: late - RATE // 100].any()
    np.testing.assert_array_equal(
        gated[late + RATE // 20 : late + RATE // 2], open_[late + RATE // 20 : late + RATE // 2]
    )
    assert not gated[-RATE // 4 :].any()


def test_a_recording_begins_and_ends_by_command_and_is_what_was_heard(tmp_path: Path) -> None:
    processor = Processor(settings())
    run(processor, noise(0.1))
    processor.do(Record(tmp_path))
    until(lambda: len(processor.recording) == 2)
    x = noise(1.0)
    out = run(processor, x)
    processor.do(Record(None))
    until(lambda: not processor.recording)
    until(lambda: soundfile.info(next(tmp_path.glob("output-*"))).frames == len(out))
    for name, expected in (("input", x), ("output", out)):
        (path,) = tmp_path.glob(f"{name}-*")
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], expected)


def test_a_recording_that_fails_ends_and_the_sound_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = Processor(settings(record_folder=tmp_path))
    usual = latency_of(processor)
    with monkeypatch.context() as patch:

        def take(*blocks: np.ndarray) -> None:
            raise TypeError("odd")

        patch.setattr("altervox.realtime.session.recorder.Recorder.take", take)
        assert np.any(run(processor, noise(0.1)))
    assert processor.recording == ()
    assert processor.causes == (processor.recording_error,) == ("the recording has ended: odd",)
    assert latency_of(processor) == usual
    assert processor.failed_blocks == 0
    processor.do(Record(tmp_path / "again"))
    until(lambda: len(processor.recording) == 2)
    assert not processor.causes
    processor.close()


def test_a_recording_that_cannot_start_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot record to"):
        warmed_up(settings(record_folder=tmp_path / "file"), 20)


@pytest.mark.parametrize(("cost_s", "block_ms"), [(0.001, 20), (0.018, 40), (0.03, 60)])
def test_auto_chooses_the_shortest_block_with_room_to_spare(cost_s: float, block_ms: int, stage: Stage) -> None:
    stage.cost_s = cost_s
    processor, result = warmed_up(settings(), None)
    assert result.block_ms == processor.settings.config.block_ms == block_ms
    assert result.warning == ""
    assert 1000.0 * cost_s <= result.cost_ms <= ROOM * block_ms
    assert processor.blocks == 0


def test_auto_never_refuses(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("altervox.realtime.session.warm_up.AUTO_BLOCKS_MS", AUTO_BLOCKS_MS[:2])
    stage.cost_s = 0.06
    _, result = warmed_up(settings(), None)
    assert result.block_ms == 40
    assert "a block of 40 ms takes 6" in result.warning


def test_a_length_given_by_hand_is_kept_with_a_warning(stage: Stage) -> None:
    stage.cost_s = 0.03
    _, result = warmed_up(settings(), 20)
    assert result.block_ms == 20
    assert "a block of 20 ms takes 3" in result.warning
    assert "choose --block-ms 60 or another voice" in result.warning


def test_to_time_slow_blocks_takes_no_longer_than_it_may(stage: Stage) -> None:
    processor = Processor(settings())
    stage.cost_s = 0.05
    started_s = time.perf_counter()
    result = time_blocks(processor, float("inf"), 0.2)
    assert time.perf_counter() - started_s < 45 * stage.cost_s / 2.0
    assert result.cost_ms == pytest.approx(50.0, abs=15.0)
    stage.cost_s = 0.3
    assert time_blocks(processor, float("inf"), 0.1).cost_ms > 250.0
    assert processor.blocks < 20


def test_a_voice_that_fails_from_the_start_is_told_before_any_sound(stage: Stage) -> None:
    stage.error = RuntimeError("out of order")
    with pytest.raises(VoiceError, match="the voice off failed: out of order"):
        warmed_up(settings(), None)
