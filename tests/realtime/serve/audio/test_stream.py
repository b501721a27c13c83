"""A session inside its worker: every output sample at the position of its input sample, whatever happens between."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.kernels.types import FloatArray
from altervox.realtime.config import StreamConfig
from altervox.realtime.serve.audio.frames import (
    DISCONTINUITY,
    LAST,
    LATE,
    MUTED,
    OUTPUT,
    Frame,
    data_of,
    most_samples,
    samples_of,
    unpack,
)
from altervox.realtime.serve.audio.spec import AudioSpec
from altervox.realtime.serve.audio.stream import AudioStream
from altervox.realtime.session.commands import Set, SetVoice
from altervox.realtime.session.processor import Processor
from altervox.realtime.session.settings import SessionSettings
from altervox.realtime.session.state import SessionState
from altervox.realtime.synthetic import speech_like
from audio_client import directly

RATE, SIZE = 16000, 320


class Fed:
    """A stream, and what has come out of it."""

    def __init__(self, voice: str = "off", rate: int = RATE, is_live: bool = False, block_ms: int = 20) -> None:
        spec = AudioSpec(3, rate, "f32", block_ms, is_live)
        config = StreamConfig(sample_rate=spec.engine_rate, block_ms=block_ms)
        processor = Processor(SessionSettings(state=SessionState(voice=voice), config=config))
        self.stream = AudioStream(spec, processor)
        self.frames: list[Frame] = []

    def take(self, samples: FloatArray, position: int, flags: int = 0, runs: bool = True) -> None:
        self.stream.take(Frame("f32", flags, 3, 0, position, data_of(samples, "f32")))
        if runs:
            self.run()

    def run(self) -> None:
        while self.stream.has_block:
            self.stream.step()
            self.frames += [unpack(packed, OUTPUT) for packed in self.stream.take_outputs()]

    def all(self, x: FloatArray, size: int = SIZE) -> FloatArray:
        for at in range(0, len(x), size):
            self.take(x[at : at + size], at, LAST if at + size >= len(x) else 0)
        return self.output()

    def output(self) -> FloatArray:
        position = 0
        for frame in self.frames:
            assert frame.position == position
            position += frame.samples
        return np.concatenate([samples_of(frame) for frame in self.frames])


def speech(seconds: float, rate: int = RATE) -> FloatArray:
    return speech_like(seconds + 0.1, rate).astype(np.float32)[: int(seconds * rate)]


@pytest.mark.parametrize("size", [1, 77, SIZE, 5000])
def test_frames_of_any_size_give_the_same(size: int) -> None:
    x = speech(0.2 if size == 1 else 0.6)
    fed = Fed("robot")
    np.testing.assert_array_equal(fed.all(x, size), directly(x, RATE, "robot"))
    assert fed.stream.is_finished
    assert [bool(frame.flags & LAST) for frame in fed.frames].index(True) == len(fed.frames) - 1
    assert fed.stream.fed == len(x)


@pytest.mark.parametrize("rate", [11025, 22049, 47999])
def test_rates_off_the_grid_are_resampled(rate: int) -> None:
    x = speech(0.5, rate)
    out = Fed("off", rate).all(x)
    assert len(out) == len(x)
    fits = [float(np.corrcoef(x[100:-100], out[100 + lag : len(out) - 100 + lag])[0, 1]) for lag in range(-20, 21)]
    assert abs(int(np.argmax(fits)) - 20) <= 1
    assert max(fits) > 0.85  # the high-pass filter turns the phase of low tones


def test_nothing_gives_nothing() -> None:
    fed = Fed()
    fed.take(np.zeros(0, dtype=np.float32), 0, LAST)
    assert [(frame.samples, frame.flags) for frame in fed.frames] == [(0, LAST)]
    assert fed.stream.is_finished


def test_a_short_gap_is_silence_at_its_place() -> None:
    x, gap = speech(1.0), slice(4000, 9000)
    fed = Fed("robot")
    fed.take(x[: gap.start], 0)
    fed.take(x[gap.stop :], gap.stop, DISCONTINUITY | LAST)
    silent = x.copy()
    silent[gap] = 0.0
    np.testing.assert_array_equal(fed.output(), directly(silent, RATE, "robot"))
    for frame in fed.frames:
        overlaps = frame.position < gap.stop and frame.position + frame.samples > gap.start
        assert bool(frame.flags & LATE) == overlaps
    assert fed.stream.dropped_samples == 5000


def test_frames_for_which_there_is_no_room_are_limited() -> None:
    fed = Fed(is_live=True)
    for number in range(5_000):
        fed.take(speech(0.01)[:1], number * 8_000, DISCONTINUITY, runs=False)
    assert len(fed.stream._waiting) <= 2048
    fed.take(speech(0.01)[:1], 5_000 * 8_000, DISCONTINUITY | LAST)
    assert fed.stream.is_finished


def test_after_a_long_gap_the_voice_starts_anew() -> None:
    x, later = speech(0.5), 10_000_000
    fed = Fed("robot")
    fed.take(x, 0)
    fed.take(x, later, DISCONTINUITY | LAST)
    jump = next(i for i, frame in enumerate(fed.frames) if frame.position == later)
    assert fed.frames[jump].flags == DISCONTINUITY | LATE
    before, after = (np.concatenate([samples_of(f) for f in part]) for part in (fed.frames[:jump], fed.frames[jump:]))
    wanted = directly(x, RATE, "robot")
    np.testing.assert_array_equal(before, wanted)
    np.testing.assert_array_equal(after, wanted)


def test_a_voice_of_greater_latency_only_comes_later() -> None:
    x = speech(3.0)
    fed = Fed("off")
    for at in range(0, len(x), SIZE):
        if at == RATE // SIZE * SIZE:
            before_ms = fed.stream.latency_ms
            fed.stream.processor.do(SetVoice("robot"))
            while fed.stream.processor.is_loading:
                pass
        fed.take(x[at : at + SIZE], at, LAST if at + SIZE >= len(x) else 0)
    out = fed.output()
    assert len(out) == len(x)
    assert fed.stream.latency_ms > before_ms + 20.0
    settled = slice(2 * RATE, None)
    # Another phase of its carrier, but the same loudness at the same instants.
    assert level_correlation(out[settled], directly(x, RATE, "robot")[settled]) > 0.98


def level_correlation(one: FloatArray, other: FloatArray) -> float:
    levels = [np.sqrt(np.mean(x[: len(x) // 80 * 80].reshape(-1, 80) ** 2, axis=1)) for x in (one, other)]
    return float(np.corrcoef(*levels)[0, 1])


def test_a_queue_that_grows_too_long_loses_its_oldest() -> None:
    x = speech(1.0)
    fed = Fed("robot", is_live=True)
    fed.take(x[: 10 * SIZE], 0)
    for at in range(10 * SIZE, 17 * SIZE, SIZE):
        fed.take(x[at : at + SIZE], at, runs=False)
    fed.run()
    assert fed.stream.processor.late_blocks == 3  # 3 blocks and the newest frame may wait
    for at in range(17 * SIZE, len(x), SIZE):
        fed.take(x[at : at + SIZE], at, LAST if at + SIZE >= len(x) else 0)
    out = fed.output()
    assert len(out) == len(x)
    assert sum(bool(frame.flags & LATE) for frame in fed.frames) == 3
    np.testing.assert_array_equal(out[-RATE // 4 :], directly(x, RATE, "robot")[-RATE // 4 :])
    late = np.concatenate([samples_of(frame) for frame in fed.frames if frame.flags & LATE])
    assert not late[SIZE:].any()
    assert np.abs(np.diff(out)).max() < 2.0 * np.abs(np.diff(directly(x, RATE, "robot"))).max()


@pytest.mark.parametrize("rate", [RATE, 11025])
def test_a_queue_that_is_hopeless_is_dropped(rate: int) -> None:
    size, x = rate // 50, speech(4.0, rate)
    fed = Fed("off", rate, is_live=True)
    for at in range(0, 10 * size, size):
        fed.take(x[at : at + size], at)
    for at in range(10 * size, 110 * size, size):
        fed.take(x[at : at + size], at, runs=False)
    before = fed.stream.processor.blocks
    fed.run()
    assert fed.stream.processor.blocks - before <= 20  # instead of 100
    dropped = fed.stream.dropped_samples
    assert dropped >= 80 * size
    for at in range(110 * size, len(x), size):
        fed.take(x[at : at + size], at, LAST if at + size >= len(x) else 0)
    out = fed.output()
    assert len(out) == len(x)
    silent = np.concatenate([samples_of(frame) for frame in fed.frames if frame.flags & LATE])
    assert np.count_nonzero(silent == 0.0) >= dropped
    # Before and after, each sample is where it was said; the filters forget.
    np.testing.assert_array_equal(out[: 8 * size], Fed("off", rate).all(x)[: 8 * size])
    np.testing.assert_allclose(out[-rate // 2 :], Fed("off", rate).all(x)[-rate // 2 :], atol=1e-3)


def test_large_frames_are_not_late_because_they_are_large() -> None:
    x = speech(2.0)
    fed = Fed("off", is_live=True)
    fed.all(x, most_samples("f32"))
    assert fed.stream.processor.late_blocks == 0


def test_a_mute_is_told() -> None:
    fed = Fed()
    fed.take(speech(0.2), 0)
    fed.stream.processor.do(Set({"muted": True}))
    fed.take(speech(0.2), 3200, LAST)
    assert [bool(frame.flags & MUTED) for frame in fed.frames][::19] == [False, True]
