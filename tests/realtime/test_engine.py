"""The engine with built-in voices: delay, blocks, hot parameters, state, and what must not get through."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
import soundfile
from altervox.kernels.errors import ParameterError
from altervox.models import load_voice
from altervox.models.dsp.presets import DSP_VOICES
from altervox.realtime import Engine, StreamConfig, VoiceParams
from altervox.realtime.files import OFFLINE, convert_stream
from altervox.realtime.swap import SwappableEngine
from altervox.tools.bench.accuracy.world_f0 import world_f0

DATA = Path(__file__).parents[1] / "data"
CHANGING = [name for name in DSP_VOICES if name != "off"]


def run(engine: Engine, audio: np.ndarray) -> np.ndarray:
    """The output for whole blocks of audio."""
    size = engine.block_size
    audio = audio[: len(audio) // size * size].astype(np.float32)
    out = np.full_like(audio, np.nan)
    for start in range(0, len(audio), size):
        engine.process(audio[start : start + size], out[start : start + size])
    return out


def speech(rate: int) -> np.ndarray:
    """5 s of a man's speech, then half a second of silence."""
    audio, original = soundfile.read(DATA / "librivox_male.wav", dtype="float32")
    resampled = scipy.signal.resample_poly(audio, rate // 100, original // 100)
    return np.concatenate((resampled, np.zeros(rate // 2))).astype(np.float32)


def envelope(x: np.ndarray, rate: int, smoothing_ms: int = 10) -> np.ndarray:
    """Level per millisecond."""
    window = np.full(rate * smoothing_ms // 1000, 1000 / (rate * smoothing_ms))
    return np.sqrt(np.convolve(x.astype(np.float64) ** 2, window, "same"))[:: rate // 1000]


def lag_ms(x: np.ndarray, y: np.ndarray, rate: int) -> int:
    """How much later than `x` the level of `y` moves."""
    a, b = envelope(x, rate), envelope(y, rate)
    correlation = np.correlate(b - b.mean(), a - a.mean(), "full")
    return int(correlation.argmax()) - (len(a) - 1)


@pytest.mark.parametrize(("rate", "block_ms"), [(48000, 20), (44100, 40), (16000, 100)])
def test_off_is_the_input_without_delay(rate: int, block_ms: int) -> None:
    engine = Engine(load_voice("off"), StreamConfig(sample_rate=rate, block_ms=block_ms))
    t = np.arange(rate) / rate
    chirp = scipy.signal.chirp(t, 100, 1, rate / 4).astype(np.float32)
    assert engine.latency_samples == 0
    np.testing.assert_array_equal(run(engine, chirp), chirp[: rate // engine.block_size * engine.block_size])


@pytest.mark.parametrize(
    ("name", "rate", "block_ms"),
    [
        ("woman", 48000, 20),
        ("giant", 44100, 40),
        ("robot", 16000, 100),
        ("whisper", 32000, 240),
        ("robot", 48000, 20),
        ("woman", 32000, 240),
    ],
)
def test_the_voice_lags_by_the_stated_delay(name: str, rate: int, block_ms: int) -> None:
    engine = Engine(load_voice(name), StreamConfig(sample_rate=rate, block_ms=block_ms))
    audio = speech(rate)
    lag = lag_ms(audio[: len(audio) // engine.block_size * engine.block_size], run(engine, audio), rate)
    assert abs(lag - 1000 * engine.latency_samples / rate) <= 5


def test_the_melody_lags_by_the_stated_delay() -> None:
    """A glide of F0 arrives an octave up and `latency_samples` late: this catches slips of whole frames."""
    rate = 48000
    t = np.arange(3 * rate) / rate
    f0 = 120.0 + 40.0 * np.sin(2 * np.pi * 1.3 * t)
    phase = 2 * np.pi * np.cumsum(f0) / rate
    audio = sum((np.sin(k * phase) / k for k in range(1, 15)), np.zeros(len(t))).astype(np.float32) * 0.1
    engine = Engine(load_voice("cartoon"), StreamConfig(block_ms=20))
    out = run(engine, audio)
    found = world_f0(out, rate, "harvest", 5.0)
    times = np.arange(len(found)) * 0.005
    good = (found > 0) & (times > 0.5) & (times < 2.8)
    errors = []
    for shift_ms in range(0, 81, 1):
        expected = 2.0 * np.interp(times - shift_ms / 1000, t, f0)
        errors.append(np.abs(np.log2(found[good] / expected[good])).mean())
    assert abs(int(np.argmin(errors)) - 1000 * engine.latency_samples / rate) <= 5
    assert min(errors) < 0.02


@pytest.mark.parametrize("name", CHANGING)
def test_streamed_speech_sounds_as_converted_files_do(name: str) -> None:
    """The level follows the file's; F0 of the two is estimated with other context, so they are not equal."""
    rate = 24000
    engine = Engine(load_voice(name), StreamConfig(sample_rate=rate, block_ms=20))
    audio = speech(rate)[: 3 * rate]
    streamed = run(engine, audio)[engine.latency_samples :]
    converted = np.concatenate(list(convert_stream(load_voice(name), [audio], rate, config=OFFLINE)))[: len(streamed)]
    # 40 ms hold a few periods of the lowest voice: its pulses are no level.
    a, b = envelope(streamed, rate, 40), envelope(converted, rate, 40)
    assert np.corrcoef(a, b)[0, 1] > 0.9
    assert 0.7 < np.sqrt(np.mean(streamed**2) / np.mean(converted**2)) < 1.4


@pytest.mark.parametrize("block_ms", [20, 40, 100])
def test_blocks_of_other_sizes_render_the_same_steady_sound(block_ms: int) -> None:
    """On a steady vowel what is found does not depend on the window. The phase of the first pulse may."""
    rate = 24000
    t = np.arange(2 * rate) / rate
    vowel = sum((np.sin(2 * np.pi * 125 * k * t) / k for k in range(1, 20)), np.zeros(len(t))) * 0.1
    outputs = []
    for size in (20, block_ms):
        engine = Engine(load_voice("cartoon"), StreamConfig(sample_rate=rate, block_ms=size))
        steady = run(engine, vowel)[rate // 2 : rate // 2 + rate]
        outputs.append(np.abs(np.fft.rfft(steady * np.hanning(rate))))
    error = outputs[0] - outputs[1]
    assert np.sqrt(np.mean(error**2)) < 0.02 * np.sqrt(np.mean(outputs[0] ** 2))


def test_a_restored_engine_replays_exactly() -> None:
    engine = Engine(load_voice("woman"), StreamConfig(block_ms=20))
    audio = speech(48000)
    run(engine, audio[:48000])
    saved = engine.state()
    first = run(engine, audio[48000:96000])
    engine.restore(saved)
    np.testing.assert_array_equal(run(engine, audio[48000:96000]), first)
    engine.reset()
    fresh = run(Engine(load_voice("woman"), StreamConfig(block_ms=20)), audio[:48000])
    np.testing.assert_array_equal(run(engine, audio[:48000]), fresh)


def test_hot_parameters_act_within_a_block_and_the_delay_without_a_click() -> None:
    """From the first frame that is not yet rendered on."""
    rate = 48000
    t = np.arange(4 * rate) / rate
    vowel = sum((np.sin(2 * np.pi * 125 * k * t) / k for k in range(1, 20)), np.zeros(len(t))) * 0.05
    vowel = vowel.astype(np.float32)
    steady = Engine(load_voice("robot"), StreamConfig(block_ms=20))
    reference = np.abs(np.diff(run(steady, vowel)[rate:], 2)).max()
    engine = Engine(load_voice("robot"), StreamConfig(block_ms=20))
    size, parts = engine.block_size, []
    for i, start in enumerate(range(0, len(vowel), size)):
        swing = np.sin(i / 7)
        engine.params = VoiceParams(pitch_semitones=3 * swing, formant_semitones=2 * swing)
        parts.append(run(engine, vowel[start : start + size]))
    assert np.abs(np.diff(np.concatenate(parts)[rate:], 2)).max() < 2.0 * reference

    engine = Engine(load_voice("robot"), StreamConfig(block_ms=20))
    run(engine, vowel[: 2 * rate])
    engine.params = replace(engine.params, pitch_semitones=12.0)
    after = run(engine, vowel[2 * rate :])
    settled = after[engine.block_size + engine.latency_samples :][: rate // 2]
    f0 = world_f0(settled, rate, "harvest", 5.0)
    assert np.median(f0[f0 > 0]) == pytest.approx(230.0, rel=0.01)


@pytest.mark.parametrize("name", ["woman", "whisper", "off"])
def test_nonfinite_samples_never_get_through_and_leave_nothing_behind(name: str) -> None:
    engine = Engine(load_voice(name), StreamConfig(block_ms=20))
    audio = speech(48000)[:96000]
    audio[30000:30100] = np.nan
    audio[40000] = np.inf
    audio[50000:50100] *= 1e6
    out = run(engine, audio)
    assert np.isfinite(out).all()
    assert np.abs(out[-48000 // 4 :]).max() > 1e-3


def test_a_voice_that_produces_nan_is_muted_counted_and_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(load_voice("robot"), StreamConfig(block_ms=20))
    audio = speech(48000)
    run(engine, audio[:48000])
    with monkeypatch.context() as patch:
        patch.setattr("altervox.realtime.stages.dsp.synthesize_into", lambda *arguments: arguments[-1].fill(np.nan))
        bad = run(engine, audio[48000 : 48000 + 3 * engine.block_size])
    assert np.isfinite(bad).all()
    assert engine.nonfinite_blocks == 3
    after = run(engine, audio[60000:120000])
    assert np.sqrt(np.mean(after[24000:] ** 2)) > 0.01


def test_a_failed_block_does_not_forget_the_speaker() -> None:
    engine = Engine(load_voice("woman"), StreamConfig(block_ms=20))
    run(engine, speech(48000)[:96000])
    assert engine.stage is not None
    assert engine.stage.speaker is not None
    known = engine.stage.speaker.median_hz
    assert known > 50.0
    engine.recover()
    assert engine.stage.speaker.median_hz == known


@pytest.mark.parametrize("name", CHANGING)
def test_silence_stays_silence(name: str) -> None:
    out = run(Engine(load_voice(name), StreamConfig(block_ms=20)), np.zeros(48000, dtype=np.float32))
    assert np.abs(out).max() < 1e-4


@pytest.mark.parametrize("backend", ["eager", "onnx", "auto", "cuda-graph", "onnx-cuda"])
def test_dsp_voices_run_with_any_backend(backend: str) -> None:
    """One that needs a GPU is for RVC voices; a DSP voice beside them runs on the CPU all the same."""
    audio = speech(48000)[:48000]
    expected = run(Engine(load_voice("woman"), StreamConfig(block_ms=20, backend="eager")), audio)
    out = run(Engine(load_voice("woman"), StreamConfig(block_ms=20, backend=backend)), audio)
    np.testing.assert_allclose(out, expected, atol=1e-3)


def test_wrong_block_lengths_are_refused() -> None:
    engine = Engine(load_voice("off"), StreamConfig(block_ms=20))
    with pytest.raises(ValueError, match="this engine takes 960"):
        engine.process(np.zeros(100, dtype=np.float32), np.zeros(960, dtype=np.float32))


@pytest.mark.parametrize(
    "bad",
    [
        {"sample_rate": 4000},
        {"sample_rate": 44101},
        {"block_ms": 10},
        {"block_ms": 30},
        {"lookahead_ms": 20},
        {"lookahead_ms": 65},
        {"crossfade_ms": 50},
        {"context_ms": 10},
    ],
)
def test_lengths_off_their_grid_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(bad))):
        StreamConfig(**bad)


def bursts(rate: int) -> np.ndarray:
    """A second: weak noise, and from 0.4 to 0.6 s a voiced sound."""
    t = np.arange(rate) / rate
    noise = np.random.default_rng(1).standard_normal(rate) * 1e-4
    tone = sum((np.sin(2 * np.pi * 125 * k * t) / k for k in range(1, 20)), np.zeros(rate)) * 0.1
    return np.where((t >= 0.4) & (t < 0.6), tone, noise).astype(np.float32)


@pytest.mark.parametrize(("name", "f0_hz"), [("giant", 125.0), ("off", 0.0)])
def test_it_tells_the_speakers_f0(name: str, f0_hz: float) -> None:
    """The speaker's own F0, and not the voice's."""
    rate = 48000
    engine = SwappableEngine(Engine(load_voice(name), StreamConfig(block_ms=20)))
    audio, out = bursts(rate), np.zeros(engine.block_size, dtype=np.float32)
    told = []
    for start in range(0, rate, engine.block_size):
        engine.process(audio[start : start + engine.block_size], out)
        told.append(engine.f0_hz)
    assert told[29] == pytest.approx(f0_hz, rel=0.03)
    assert told[-1] == 0.0


@pytest.mark.parametrize("rate", [16000, 48000])
def test_a_block_leaves_no_memory_behind(rate: int) -> None:
    """What NumPy allocates is seen by tracemalloc. A block of booleans would already be above the bound."""
    engine = Engine(load_voice("off"), StreamConfig(sample_rate=rate, block_ms=100))
    block = np.random.default_rng(1).standard_normal(engine.block_size).astype(np.float32)
    out = np.empty_like(block)
    params = [VoiceParams(pitch_semitones=pitch) for pitch in (0.0, -6.0)]

    def feed(blocks: int) -> None:
        for i in range(blocks):
            engine.params = params[i // 2 % 2]
            engine.process(block, out)

    feed(10)
    tracemalloc.start()
    try:
        feed(100)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        feed(1)
        assert tracemalloc.get_traced_memory()[1] - before < engine.block_size
        before = tracemalloc.get_traced_memory()[0]
        feed(5000)
        assert tracemalloc.get_traced_memory()[0] - before < 4096
    finally:
        tracemalloc.stop()


class Identity:
    """A stage that changes nothing at a rate of its own."""

    input_rate = output_rate = 16000
    latency_samples = 0
    state = speaker = None

    def process(self, block: np.ndarray, params: VoiceParams, out: np.ndarray) -> None:
        out[:] = block

    def advance(self, block: np.ndarray, params: VoiceParams) -> None:
        pass

    def reset(self) -> None:
        pass


def test_resampling_leaves_no_memory_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("altervox.realtime.engine.make_stage", lambda *_: Identity())
    engine = Engine(load_voice("off"), StreamConfig(sample_rate=44100, block_ms=100))
    block = np.random.default_rng(1).standard_normal(engine.block_size).astype(np.float32)
    out = np.empty_like(block)
    for _ in range(10):
        engine.process(block, out)
    tracemalloc.start()
    try:
        for i in range(3000):
            if i == 100:
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
            engine.process(block, out)
        now, peak = tracemalloc.get_traced_memory()
        assert now - before < 4096
        assert peak - before < engine.block_size
    finally:
        tracemalloc.stop()
