"""The stage of the neural voices, with random weights: what it computes, when, and what it remembers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import made_up_neural
import numpy as np
import pytest
import soundfile
import torch
from allocations import allocated
from altervox.kernels.pitch_range import PitchRangeState, map_f0_into
from altervox.kernels.salience import halfway_f0
from altervox.kernels.speaker import loudness_into
from altervox.kernels.synthesis import LATENCY_SAMPLES, SynthesisState, synthesize
from altervox.kernels.world import BINS, HOP, SpeechFrames
from altervox.models.neural.bands import BandsWorkspace, frames_into
from altervox.models.neural.features import HOP as FEATURE_HOP
from altervox.models.neural.features import N_MELS, SAMPLE_RATE, Features, FeatureState
from altervox.models.neural.graph_file import graph_path
from altervox.models.neural.network import DECODER_DILATIONS, ENCODER_DILATIONS, memory
from altervox.models.neural.step import NeuralStep
from altervox.models.neural.voice import NeuralVoice
from altervox.models.voice import VoiceParams
from altervox.realtime import Engine, StreamConfig
from altervox.realtime.runners import make_runner
from altervox.realtime.runners.onnx import OnnxRunner
from altervox.realtime.stages.neural import LATE_FRAMES, NeuralStage
from altervox.realtime.stages.pitch import streaming_pitch
from numpy.typing import NDArray
from scipy.signal import resample_poly

DATA = Path(__file__).parents[2] / "data"
CONFIG = StreamConfig(block_ms=20)
LATE = 2 * LATE_FRAMES  # frames of 5 ms


@pytest.fixture(scope="module")
def voice() -> NeuralVoice:
    return made_up_neural.voice(1)


@pytest.fixture(scope="module")
def mix(voice: NeuralVoice) -> NeuralVoice:
    return voice.mixed_with(made_up_neural.voice(2))


@pytest.fixture(scope="module")
def constant() -> NeuralVoice:
    """A voice that says the same at all times, as loudly as the input is."""
    voice = made_up_neural.voice(1)
    with torch.no_grad():
        for tensor in voice.networks.voices[0].decoder.leave.parameters():
            tensor.zero_()
    return voice


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    """2.5 s of a man who reads, at 16 kHz."""
    audio, rate = soundfile.read(DATA / "librivox_male.wav", dtype="float32")
    audio = resample_poly(audio, SAMPLE_RATE // 100, rate // 100).astype(np.float32)
    return np.asarray(audio[SAMPLE_RATE : 3 * SAMPLE_RATE + SAMPLE_RATE // 2])


@dataclass
class Rendered:
    """All that a stage rendered, in frames of 5 ms."""

    audio: NDArray[np.float32]
    heard_f0: NDArray[np.float64]
    f0: NDArray[np.float64]
    bands: NDArray[np.float32]
    pitch: NDArray[np.float32]
    level: NDArray[np.float64]
    loudness: NDArray[np.float64]
    mix: NDArray[np.float64]


def run(stage: NeuralStage, audio: NDArray[np.float32], params: VoiceParams | None = None) -> Rendered:
    size = stage.runner.inputs["features"].shape[1] * FEATURE_HOP
    parts: list[tuple[Any, ...]] = []
    for at in range(0, len(audio) // size * size, size):
        out = np.zeros(size * 3 // 2, dtype=np.float32)
        stage.process(audio[at : at + size], params or VoiceParams(), out)
        bands, pitch = stage.runner.outputs["bands"][0].numpy(), stage.runner.inputs["pitch"][0].numpy()
        levels = (stage._level_scratch, stage._loudness_scratch)
        inside = (stage._f0_scratch, stage.frames.f0_hz, bands, pitch, *levels, stage._mix_scratch)
        parts.append((out, *(x.copy() for x in inside)))
    return Rendered(*(np.concatenate(list(part)) for part in zip(*parts, strict=True)))


@pytest.mark.parametrize("block_ms", [20, 40, 100, 1000])
def test_a_stream_is_what_the_plain_networks_make_of_the_whole_signal(
    block_ms: int, voice: NeuralVoice, speech: NDArray[np.float32]
) -> None:
    """Features, F0, its mapping, both networks and the synthesis, each once over everything."""
    speech = speech[: len(speech) // (16 * block_ms) * 16 * block_ms]
    streamed = run(NeuralStage.of(voice, StreamConfig(block_ms=block_ms)), speech)
    frames = len(speech) // FEATURE_HOP
    mel, level = np.zeros((frames, N_MELS), dtype=np.float32), np.zeros(frames, dtype=np.float32)
    Features(frames).push_into(speech, FeatureState.allocate(), mel, level)
    np.testing.assert_allclose(streamed.level[LATE:], np.repeat(level, 2)[:-LATE], atol=1e-5)
    loudness = np.zeros(frames)
    loudness_into(speech, 0, FEATURE_HOP, FEATURE_HOP, loudness)
    np.testing.assert_allclose(streamed.loudness[LATE:], np.repeat(loudness, 2)[:-LATE], atol=1e-9)

    f0 = streaming_pitch(None, block_ms // 10, 1, torch.device("cpu")).push(speech)
    heard = np.stack((f0[:-1], halfway_f0(f0[:-1], f0[1:])), axis=1).ravel()
    np.testing.assert_allclose(streamed.heard_f0[LATE:], heard[: len(streamed.heard_f0) - LATE], rtol=1e-5)
    mapped = np.zeros(len(streamed.f0))
    constant = np.ones(len(mapped))
    map_f0_into(streamed.heard_f0, streamed.loudness, 6.7 * constant, 0.25 * constant, PitchRangeState(), mapped)
    np.testing.assert_allclose(streamed.f0, mapped, rtol=1e-12)

    networks = voice.networks
    with torch.inference_mode():
        codes, _ = networks.encoder(torch.from_numpy(mel)[None], torch.zeros(1, memory(ENCODER_DILATIONS)))
        decoder_mem = torch.zeros(1, memory(DECODER_DILATIONS))
        bands, _ = networks.voices[0](codes, torch.from_numpy(streamed.pitch)[None], decoder_mem)
    np.testing.assert_allclose(streamed.bands, bands[0].numpy(), atol=1e-4)
    audio = spoken(streamed, 0)
    np.testing.assert_allclose(streamed.audio, audio, atol=1e-5 * np.abs(audio).max())


def spoken(rendered: Rendered, first: int) -> NDArray[np.float32]:
    """The frames from one on, which gets the index that it has in the signal, synthesised at once."""
    count = len(rendered.f0) - first
    frames = SpeechFrames(rendered.f0[first:].copy(), np.zeros((count, BINS)), np.zeros((count, BINS)))
    frames_into(rendered.bands[first:], rendered.level[first:], BandsWorkspace.allocate(count), frames)
    return synthesize(frames, SynthesisState(frame=first - LATE), 0)


def test_the_latency_is_the_one_stated(voice: NeuralVoice, speech: NDArray[np.float32]) -> None:
    """Frame i of the signal, centred on 5 i ms, is heard that much later."""
    stage = NeuralStage.of(voice, CONFIG)
    streamed = run(stage, speech)
    expected = spoken(streamed, LATE)  # begins with frame 0, which its synthesis renders `LATENCY_SAMPLES` late
    late = stage.latency_samples - LATENCY_SAMPLES
    assert late == LATE * HOP == 1200
    at = slice(12000, None)  # after the first word, which begins half a frame before frame 0 does
    np.testing.assert_allclose(streamed.audio[late:][at], expected[at], atol=1e-4 * np.abs(expected).max())


def test_what_is_heard_follows_what_is_said_by_the_latency(constant: NeuralVoice) -> None:
    """Noise begins, and a decoder says the same at all times: what it says is as loud as the noise, that much later."""
    onset_s = 0.7
    audio = 0.1 * np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE).astype(np.float32)
    audio[: round(onset_s * SAMPLE_RATE)] = 0.0
    stage = NeuralStage.of(constant, CONFIG)
    out = run(stage, audio).audio
    rms = np.sqrt(np.convolve(np.square(out, dtype=np.float64), np.full(48, 1.0 / 48.0), "same"))
    heard_s = float((rms > 0.5 * rms[36000:].mean()).argmax()) / stage.output_rate
    assert abs(heard_s - onset_s - stage.latency_samples / stage.output_rate) < 0.008, "less than a frame"


@pytest.mark.parametrize("frames", [2, 10])
@pytest.mark.parametrize("is_mix", [False, True])
def test_the_graphs_that_ship_compute_what_torch_does(
    is_mix: bool, frames: int, voice: NeuralVoice, mix: NeuralVoice
) -> None:
    """After a change of the networks: `python -m altervox.models.neural.graph_file` writes them anew."""
    networks = mix.networks if is_mix else voice.networks
    step = NeuralStep(networks, frames)
    runners = [
        OnnxRunner(step.spec, graph_path(len(networks.voices)), weights=step.state_dict()),
        make_runner(step.spec, step, "eager"),
    ]
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        for name, tensor in step.spec.inputs.items():
            if name not in step.spec.carries:
                value = torch.rand(tensor.shape, generator=generator)
                for runner in runners:
                    runner.inputs[name].copy_(value)
        for runner in runners:
            runner.run()
        found, wanted = (runner.outputs["bands"] for runner in runners)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0.0)


def test_reset_returns_to_the_start(mix: NeuralVoice, speech: NDArray[np.float32]) -> None:
    stage = NeuralStage.of(mix, CONFIG)
    first = run(stage, speech[:16000])
    stage.reset()
    np.testing.assert_array_equal(run(stage, speech[:16000]).audio, first.audio)


def test_skipped_blocks_leave_everything_as_if_they_had_been_rendered(
    mix: NeuralVoice, speech: NDArray[np.float32]
) -> None:
    """All that is carried is equal at once, and what rings on over the first block after them is past 43 ms later."""
    one, other = NeuralStage.of(mix, CONFIG), NeuralStage.of(mix, CONFIG)
    out, skipped = np.zeros((2, 480), dtype=np.float32)
    params = VoiceParams(mix=0.3, formant_semitones=2.0)
    differences = []
    for i in range(120):
        block = speech[i * 320 : (i + 1) * 320]
        one.process(block, params, out)
        if 60 <= i < 70:
            other.advance(block, params)
        else:
            other.process(block, params, skipped)
            differences.append(np.abs(out - skipped).max())
        if i == 69:
            for name in ("level_mem", "encoder_mem", "decoder_mem", "decoder_mem_2"):
                np.testing.assert_array_equal(getattr(other.state, name), getattr(one.state, name))
            assert other.state.range.centre_mem == one.state.range.centre_mem
            assert other.state.synthesis.phase == one.state.synthesis.phase
            assert other.state.synthesis.frame == one.state.synthesis.frame
    assert max(differences[:60]) == 0.0
    assert max(differences[60:63]) > 0.0
    assert max(differences[66:]) < 1e-4 * np.abs(speech).max(), "the high-pass forgets over 120 ms"


def test_a_restored_engine_repeats_itself(mix: NeuralVoice, speech: NDArray[np.float32]) -> None:
    engine = Engine(mix, CONFIG, VoiceParams(mix=0.2))
    audio = resample_poly(speech, 3, 1).astype(np.float32)
    blocks = audio[: 60 * engine.block_size].reshape(60, -1)
    out = np.zeros_like(blocks)
    for i in range(30):
        engine.process(blocks[i], out[i])
    saved = engine.state()
    for i in range(30, 60):
        engine.process(blocks[i], out[i])
    engine.restore(saved)
    again = np.zeros(engine.block_size, dtype=np.float32)
    for i in range(30, 60):
        engine.process(blocks[i], again)
        np.testing.assert_array_equal(again, out[i])


def test_a_mix_begins_with_one_voice_and_ends_with_the_other(
    voice: NeuralVoice, mix: NeuralVoice, speech: NDArray[np.float32]
) -> None:
    for part, alone in ((0.0, voice), (1.0, made_up_neural.voice(2))):
        wanted = run(NeuralStage.of(alone, CONFIG), speech)
        found = run(NeuralStage.of(mix, CONFIG), speech, VoiceParams(mix=part))
        np.testing.assert_allclose(found.bands, wanted.bands, atol=1e-5)
        np.testing.assert_allclose(found.f0, wanted.f0, rtol=1e-9)
        np.testing.assert_allclose(found.audio, wanted.audio, atol=1e-3 * np.abs(wanted.audio).max())
    half = run(NeuralStage.of(mix, CONFIG), speech)
    assert abs(np.log2(half.f0[half.f0 > 0.0]).mean() - 7.2) < 0.2, "half-way between 104 and 208 Hz"


def test_a_mix_moves_without_a_jump(mix: NeuralVoice) -> None:
    """A steady vowel, and the mix turned all the way at once: it moves over a quarter of a second."""
    time_s = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    harmonics = [np.sin(2.0 * np.pi * 130.0 * h * time_s) / h for h in range(1, 30)]
    vowel = 0.1 * np.sum(harmonics, axis=0).astype(np.float32)
    stage = NeuralStage.of(mix, CONFIG)
    before, after = run(stage, vowel[:16000], VoiceParams(mix=0.0)), run(stage, vowel[16000:], VoiceParams(mix=1.0))
    f0 = np.concatenate((before.f0, after.f0))
    assert (f0[100:] > 0.0).all()
    assert abs(np.diff(np.log2(f0[150:]))).max() < 0.03
    assert f0[-1] / f0[190] > 1.8
    parts = np.concatenate((before.mix, after.mix))
    assert (parts[0], parts[-1]) == (0.0, 1.0)
    assert 0.0 <= np.diff(parts).min() <= np.diff(parts).max() < 0.0201
    audio = np.concatenate((before.audio, after.audio)).astype(np.float64)
    edges = np.abs(np.diff(audio, n=3, append=np.zeros(3))).reshape(-1, 240).max(axis=1)
    assert edges[95:130].max() < 1.5 * max(edges[60:95].max(), edges[150:].max()), "no click"


@pytest.mark.parametrize("kind", ["silence", "faint noise", "hum"])
def test_quiet_input_stays_quiet(kind: str, constant: NeuralVoice) -> None:
    rng = np.random.default_rng(0)
    time_s = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    audio = {
        "silence": np.zeros(3 * SAMPLE_RATE),
        "faint noise": 1e-4 * rng.standard_normal(3 * SAMPLE_RATE),
        "hum": 1e-4 * np.sin(2.0 * np.pi * 50.0 * time_s),
    }[kind]
    out = run(NeuralStage.of(constant, CONFIG), audio.astype(np.float32)).audio
    assert 20.0 * np.log10(np.abs(out).max() + 1e-9) < -60.0


@pytest.mark.parametrize("name", ["full scale", "far beyond", "a click", "DC", "Nyquist"])
def test_whatever_comes_in_what_goes_out_is_bounded(name: str, constant: NeuralVoice) -> None:
    rng = np.random.default_rng(1)
    audio = {
        "full scale": rng.uniform(-1.0, 1.0, 32000),
        "far beyond": 1000.0 * rng.standard_normal(32000),
        "a click": np.eye(1, 32000, 16000)[0],
        "DC": np.ones(32000),
        "Nyquist": (-1.0) ** np.arange(32000),
    }[name].astype(np.float32)
    out = run(NeuralStage.of(constant, CONFIG), audio).audio
    assert np.isfinite(out).all()
    assert np.abs(out).max() < 3.0 * max(np.abs(audio).max(), 1.0)


def test_pitch_formants_and_seed_change_what_they_should(voice: NeuralVoice, speech: NDArray[np.float32]) -> None:
    plain = run(NeuralStage.of(voice, CONFIG), speech)
    higher = run(NeuralStage.of(voice, CONFIG), speech, VoiceParams(pitch_semitones=12.0))
    np.testing.assert_allclose(higher.f0, 2.0 * plain.f0, rtol=1e-9)
    assert np.abs(higher.pitch[:, 0]).max() <= np.abs(plain.pitch[:, 0]).max() + 1.0
    for params in (VoiceParams(formant_semitones=3.0), VoiceParams(seed=1)):
        other = run(NeuralStage.of(voice, CONFIG), speech, params)
        np.testing.assert_array_equal(other.f0, plain.f0)
        assert np.abs(other.audio - plain.audio).max() > 0.01 * np.abs(plain.audio).max()


@pytest.mark.parametrize("skips", [False, True])
def test_a_block_allocates_no_more_than_a_few_objects(
    skips: bool, mix: NeuralVoice, speech: NDArray[np.float32]
) -> None:
    engine = Engine(mix, CONFIG, VoiceParams(formant_semitones=1.0))
    audio = resample_poly(speech, 3, 1).astype(np.float32)
    out = np.zeros(engine.block_size, dtype=np.float32)

    def render(number: int) -> None:
        block = audio[number * engine.block_size : (number + 1) * engine.block_size]
        engine.skip(block) if skips else engine.process(block, out)

    most, grown = allocated(render, 120)
    assert most < 16384
    assert grown < 32768
