"""RVC voices as streaming stages: delay, seams, carried phase, equality with the plain network given lookahead."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up_voice
import numpy as np
import pytest
import soundfile
import torch
from altervox.kernels.errors import ParameterError
from altervox.models.base_models import small_pitch_network
from altervox.models.pitch.rmvpe import RMVPE
from altervox.models.rvc.content import Hubert
from altervox.models.rvc.voice import RvcVoice
from altervox.models.voice import VoiceParams
from altervox.realtime.config import StreamConfig
from altervox.realtime.stages.features import CONTENT_WAIT_FRAMES, RvcLengths
from altervox.realtime.stages.pitch import StreamingRMVPE
from altervox.realtime.stages.rvc import RvcStage, in_precision
from altervox.realtime.stages.waveform import StreamingGenerator
from altervox.realtime.state import restore, snapshot
from altervox.tools.bench.accuracy.whole import latent, render
from altervox.tools.bench.accuracy.world_f0 import world_f0

DATA = Path(__file__).parents[2] / "data"
RATE, PER_FRAME = 16000, 400
PARAMS = VoiceParams(rms_mix=1.0)


@pytest.fixture(scope="module")
def content() -> Hubert:
    return made_up_voice.content()


@pytest.fixture(scope="module")
def rmvpe() -> RMVPE:
    return made_up_voice.rmvpe()


@pytest.fixture(scope="module")
def voice() -> RvcVoice:
    return made_up_voice.voice()


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return np.asarray(soundfile.read(DATA / "librivox_male.wav", dtype="float32")[0])


def run(stage: RvcStage, audio: np.ndarray, params: VoiceParams = PARAMS) -> np.ndarray:
    size = stage.block * 160
    parts = []
    for start in range(0, len(audio) // size * size, size):
        out = np.full(stage.block * PER_FRAME, np.nan, dtype=np.float32)
        stage.process(audio[start : start + size], params, out)
        parts.append(out)
    return np.concatenate(parts)


GEOMETRIES = [
    StreamConfig(block_ms=20, context_ms=200),
    StreamConfig(block_ms=100, context_ms=200, lookahead_ms=100),
    StreamConfig(block_ms=240, context_ms=200),
]


@pytest.mark.parametrize("config", GEOMETRIES, ids=lambda c: f"{c.block_ms}+{c.lookahead_ms}")
def test_it_renders_a_block_per_block_late_by_the_lookahead(
    config: StreamConfig, voice: RvcVoice, content: Hubert, rmvpe: RMVPE, speech: np.ndarray
) -> None:
    """The level follows the source's (rms_mix 0) exactly `latency_samples` later."""
    stage = RvcStage(voice, content, rmvpe, config)
    audio = speech[: 3 * RATE // 2]
    out = run(stage, audio, replace(PARAMS, rms_mix=0.0))
    assert np.isfinite(out).all()
    assert not out[: stage.latency_samples].any(), "nothing sounds before the stream has begun"

    def level(x: np.ndarray, rate: int) -> np.ndarray:
        return np.sqrt(np.convolve(x.astype(np.float64) ** 2, np.ones(rate // 50) * 50 / rate, "same"))[:: rate // 1000]

    a, b = level(audio[: len(out) * 2 // 5], RATE), level(out, 40000)
    correlation = np.correlate(b - b.mean(), a - a.mean(), "full")
    lag = int(correlation.argmax()) - (len(a) - 1)
    assert abs(lag - stage.latency_samples / 40) <= 5


def test_two_threads_render_what_one_renders(
    voice: RvcVoice, content: Hubert, rmvpe: RMVPE, speech: np.ndarray
) -> None:
    config = StreamConfig(block_ms=100, context_ms=200)
    one, two = (RvcStage(voice, content, rmvpe, replace(config, threads=threads)) for threads in (1, 2))
    expected, found = (run(stage, speech[: RATE // 2], PARAMS) for stage in (one, two))
    assert any(thread.name.startswith("beside") for thread in threading.enumerate())
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_state_replays_exactly_and_stays_in_place(
    voice: RvcVoice, content: Hubert, rmvpe: RMVPE, speech: np.ndarray
) -> None:
    config = StreamConfig(block_ms=100, context_ms=300)
    stage = RvcStage(voice, content, rmvpe, config)
    run(stage, speech[: RATE // 2])
    saved, addresses = (
        snapshot(stage.state),
        (stage.state.generator.flow_mem.data_ptr(), stage.state.audio_mem.ctypes.data),
    )
    first = run(stage, speech[RATE : 3 * RATE // 2])
    restore(stage.state, saved)
    np.testing.assert_array_equal(run(stage, speech[RATE : 3 * RATE // 2]), first)
    assert (stage.state.generator.flow_mem.data_ptr(), stage.state.audio_mem.ctypes.data) == addresses
    assert stage.state.generator.flow_mem.is_contiguous()
    stage.reset()
    fresh = run(RvcStage(voice, content, rmvpe, config), speech[: RATE // 2])
    np.testing.assert_array_equal(run(stage, speech[: RATE // 2]), fresh)


class KnownPitch(StreamingRMVPE):
    """Gives out, as late as the network, F0 that is known."""

    melody = staticmethod(lambda seconds: 160.0 + 50.0 * np.sin(2 * np.pi * 1.3 * seconds))

    def push_into(self, audio: np.ndarray, out: np.ndarray) -> int:
        self.state.samples += len(audio)
        last = self.state.samples // 160 - self.latency_frames
        frames = np.arange(self.state.committed, max(last, self.state.committed))
        self.state.committed += len(frames)
        out[: len(frames)] = self.melody(frames * 0.01)
        return len(frames)


@pytest.mark.parametrize("config", GEOMETRIES, ids=lambda c: f"{c.block_ms}+{c.lookahead_ms}")
def test_the_melody_lags_by_the_stated_delay(
    config: StreamConfig, voice: RvcVoice, content: Hubert, rmvpe: RMVPE
) -> None:
    """F0 of a frame sounds `latency_samples` after the frame's place in the source: this catches slips of frames."""
    stage = RvcStage(voice, content, rmvpe, config)
    assert stage.tracker is not None
    known = KnownPitch(rmvpe, stage.block, stage.tracker.right_frames)
    stage.tracker, stage.state.pitch = known, known.state
    loud_source = copy.deepcopy(voice.synthesizer)
    with torch.no_grad():
        for conv in loud_source.dec.noise_convs or ():
            assert isinstance(conv, torch.nn.Conv1d)
            conv.weight.mul_(100.0)
    right = stage.lookahead - CONTENT_WAIT_FRAMES
    stage.generator = StreamingGenerator(loud_source, stage.block, right, RvcLengths.of(config).tail)
    stage.state.generator = stage.generator.state
    out = run(stage, np.zeros(2 * RATE, dtype=np.float32))
    assert stage.f0_hz == pytest.approx(known.melody(0.01 * (known.state.committed - 1)))
    found = world_f0(out, 40000, "harvest", 5.0)
    times = np.arange(len(found)) * 0.005
    good = (found > 0) & (times > 0.5) & (times < times[-1] - 0.1)
    assert good.mean() > 0.5
    errors = [
        np.median(np.abs(np.log2(found[good] / known.melody(times[good] - shift_ms / 1000))))
        for shift_ms in range(0, 2 * config.lookahead_ms)
    ]
    assert abs(int(np.argmin(errors)) - stage.latency_samples / 40) <= 5
    assert min(errors) < 0.02


@pytest.mark.parametrize("backend", ["cuda-graph", "magic"])
def test_a_backend_that_cannot_run_here_is_one_sentence(
    backend: str, voice: RvcVoice, content: Hubert, rmvpe: RMVPE
) -> None:
    with pytest.raises(ParameterError, match=backend):
        RvcStage(voice, content, rmvpe, StreamConfig(backend=backend))


def test_half_precision_is_taken_only_where_it_computes_the_same(content: Hubert) -> None:
    assert in_precision(content, "auto") is content, "a CPU is no faster in half precision"
    assert in_precision(content, "float32") is content
    half = in_precision(content, "bfloat16")
    assert half is content or half.layer_norm.weight.dtype is torch.bfloat16
    assert content.layer_norm.weight.dtype is torch.float32
    loud = copy.deepcopy(content)
    with torch.no_grad():
        loud.layer_norm.weight.fill_(1e6)  # beyond what float16 holds
    assert in_precision(loud, "float16") is loud


def test_a_stage_runs_in_half_precision(
    voice: RvcVoice, content: Hubert, rmvpe: RMVPE, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = copy.deepcopy(content)  # of which no copy has been made
    monkeypatch.setattr("altervox.realtime.stages.rvc.precision_for", lambda *a, **k: torch.bfloat16)
    config = StreamConfig(block_ms=100, context_ms=200, precision="bfloat16")
    half, full = (RvcStage(voice, content, rmvpe, c) for c in (config, replace(config, precision="float32")))
    out = run(half, speech[: RATE // 2])
    run(full, speech[: RATE // 2])
    expected, found = (stage.content.outputs["features"] for stage in (full, half))
    assert 1e-4 < float((found - expected).norm() / expected.norm()) < 0.1
    assert np.isfinite(out).all()
    assert np.abs(out[half.latency_samples :]).max() > 0.0
    assert in_precision(content, "bfloat16") is in_precision(content, "bfloat16"), "made once"


def test_a_decoder_runs_in_half_precision_where_amx_pays(
    voice: RvcVoice, content: Hubert, rmvpe: RMVPE, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = StreamConfig(block_ms=100, context_ms=200, precision="bfloat16")
    monkeypatch.setattr("altervox.realtime.stages.waveform.has_amx", lambda: True)
    monkeypatch.setattr("altervox.realtime.runners.precision._seconds", lambda *_, times=[0.0, 1.0]: times.pop())
    half, full = (RvcStage(voice, content, rmvpe, c) for c in (config, replace(config, precision="float32")))
    found, expected = (run(stage, speech[: RATE // 2]) for stage in (half, full))
    assert 1e-4 < np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.1


def test_what_is_in_half_precision_keeps_no_content_encoder_alive(
    content: Hubert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("altervox.realtime.stages.rvc.precision_for", lambda *a, **k: torch.bfloat16)
    original = copy.deepcopy(content)
    encoders = [weakref.ref(original), weakref.ref(in_precision(original, "bfloat16"))]
    del original
    gc.collect()
    assert [encoder() for encoder in encoders] == [None, None]


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["eager", "cuda-graph", "auto"])
def test_a_stage_on_a_gpu_renders_what_it_renders_on_a_cpu(
    backend: str, content: Hubert, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Captured or not, also where formants move, which no graph holds, and after a reset."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    config = StreamConfig(block_ms=20, context_ms=300, precision="float32")
    outputs = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        chosen = replace(config, backend=backend if device.type == "cuda" else "eager")
        stage = RvcStage(made_up_voice.voice(device=device.type), copy.deepcopy(content).to(device), None, chosen)
        assert stage.tracker is not None
        known = KnownPitch(small_pitch_network(torch.device("cpu")), stage.block, stage.tracker.right_frames)
        stage.tracker, stage.state.pitch = known, known.state
        run(stage, speech[:RATE])
        known.reset()
        stage.reset()
        parts = [run(stage, speech[:RATE], replace(PARAMS, formant_semitones=f)) for f in (0.0, 3.0, 0.0)]
        outputs.append(np.concatenate(parts))
    assert np.linalg.norm(outputs[1] - outputs[0]) < 1e-3 * np.linalg.norm(outputs[0])


def given(frames: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Prior and F0 of a whole stream, as if the networks before had said so."""
    generator = torch.Generator().manual_seed(7)
    m = torch.randn(1, 192, frames, generator=generator) * 0.5
    logs = torch.randn(1, 192, frames, generator=generator) * 0.2 - 1.0
    f0 = (150 + 40 * np.sin(np.arange(frames) / 9)).astype(np.float32)
    f0[40:55] = 0.0
    return m, logs, f0


def whole(voice: RvcVoice, frames: int, formant: float = 0.0) -> np.ndarray:
    """The plain networks over the whole of it."""
    m, logs, f0 = given(frames)
    net = voice.synthesizer
    with torch.inference_mode():
        g = net.emb_g(torch.tensor([0]))[..., None]
        return render(net, latent(net, m, logs, g, 0, 0), g, f0, 0, 0.0, formant, 0)


def streamed(
    voice: RvcVoice, content: Hubert, rmvpe: RMVPE, config: StreamConfig, frames: int, params: VoiceParams
) -> np.ndarray:
    """Flow and decoder as the stage runs them, with the given prior and F0 in the place of the networks before."""
    m, logs, f0 = given(frames)

    class Given(RvcStage):
        def _prior(self, start: int, params: VoiceParams) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
            wanted = torch.arange(start, self.state.frames_in - CONTENT_WAIT_FRAMES)
            inside = (wanted >= 0).float()
            at = wanted.clamp(min=0)
            return m[..., at] * inside, logs[..., at] * inside, f0[at.numpy()] * inside.numpy()

    stage = Given(voice, content, rmvpe, config)
    return run(stage, np.zeros(frames * 160, dtype=np.float32), params)[stage.latency_samples :]


@pytest.mark.parametrize(("block_ms", "formant"), [(20, 0.0), (100, 0.0), (240, 0.0), (100, 3.0), (100, -5.0)])
def test_flow_and_decoder_equal_the_plain_network_given_lookahead(
    block_ms: int, formant: float, voice: RvcVoice, content: Hubert, rmvpe: RMVPE
) -> None:
    """40 frames see beyond the reach of both (24 + 13). The left context is each layer's own."""
    config = StreamConfig(block_ms=block_ms, lookahead_ms=400)
    expected = whole(voice, 168, formant)
    got = streamed(voice, content, rmvpe, config, 168, replace(PARAMS, formant_semitones=formant))
    inside = slice(40 * PER_FRAME, len(got) - 5 * PER_FRAME)
    error = got[inside] - expected[: len(got)][inside]
    # A moved formant samples the latent between frames and ends the window elsewhere: a little coarser.
    limit = 1e-3 if formant == 0.0 else 2e-2
    assert np.sqrt(np.mean(error**2)) < limit * np.sqrt(np.mean(expected[inside] ** 2))


def test_less_lookahead_costs_accuracy_gradually(voice: RvcVoice, content: Hubert, rmvpe: RMVPE) -> None:
    expected = whole(voice, 120)
    errors = []
    for lookahead_ms in (40, 100, 400):
        config = StreamConfig(block_ms=120, lookahead_ms=lookahead_ms)
        got = streamed(voice, content, rmvpe, config, 120, PARAMS)[40 * PER_FRAME : -5 * PER_FRAME]
        reference = expected[40 * PER_FRAME :][: len(got)]
        errors.append(np.sqrt(np.mean((got - reference) ** 2) / np.mean(reference**2)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]


def test_a_skipped_stretch_leaves_pitch_and_place_as_they_were(
    voice: RvcVoice, content: Hubert, rmvpe: RMVPE, speech: np.ndarray
) -> None:
    """Three blocks that are only taken in: afterwards F0, phase and frames are those of a stream that rendered them."""
    config = StreamConfig(block_ms=100, context_ms=300)
    whole, skipping = (RvcStage(voice, content, rmvpe, config) for _ in range(2))
    expected, got = run(whole, speech[:RATE]), run(skipping, speech[:RATE])
    for start in range(RATE, RATE + 3 * 1600, 1600):
        skipping.advance(speech[start : start + 1600], PARAMS)
    run(whole, speech[RATE : RATE + 3 * 1600])
    assert torch.equal(skipping.state.generator.phase, whole.state.generator.phase)
    assert skipping.state.frames_in == whole.state.frames_in
    np.testing.assert_array_equal(skipping.state.f0_mem, whole.state.f0_mem)
    expected, got = (run(stage, speech[RATE + 4800 : 2 * RATE]) for stage in (whole, skipping))
    # Flow and decoder forget within 24 + 13 frames; after that nothing is left of the gap.
    after = slice(40 * PER_FRAME, None)
    error = np.sqrt(np.mean((got[after] - expected[after]) ** 2) / np.mean(expected[after] ** 2))
    assert error < 1e-3


@pytest.mark.parametrize("formant", [-12.0, 7.0])
def test_formants_glide_without_a_click(formant: float, voice: RvcVoice, content: Hubert, rmvpe: RMVPE) -> None:
    """Formants swept up and down bend the wave no more than formants that stay at either end."""
    bends = []
    for sweep in (lambda i: formant * (0.5 - 0.5 * np.cos(i / 5)), lambda i: formant, lambda i: 0.0):
        generator = StreamingGenerator(voice.synthesizer, 2, 6, 0)
        m, logs, f0 = given(108)
        parts = []
        with torch.inference_mode():
            for i, start in enumerate(range(0, 100, 2)):
                seen = slice(start, start + 8)
                parts.append(np.zeros(generator.samples, dtype=np.float32))
                generator.step(m[..., seen], logs[..., seen], f0[seen], 0, start, sweep(i), 0, parts[-1])
        bends.append(np.abs(np.diff(np.concatenate(parts), 2)).max())
    assert bends[0] < 1.2 * max(bends[1:]), bends


@pytest.mark.parametrize("formant", [3.0, -5.0])
def test_formants_that_return_leave_nothing_behind(formant: float, voice: RvcVoice) -> None:
    """Back at 0 the grid finds its way to the stream's own frames: the plain network again, in place and phase."""
    m, logs, f0 = given(340)
    parts = []
    generator = StreamingGenerator(voice.synthesizer, 2, 40, 0)
    with torch.inference_mode():
        for start in range(0, 300, 2):
            seen = slice(start, start + 42)
            shift = formant if start < 40 else 0.0
            parts.append(np.zeros(generator.samples, dtype=np.float32))
            generator.step(m[..., seen], logs[..., seen], f0[seen], 0, start, shift, 0, parts[-1])
    got, expected = np.concatenate(parts), whole(voice, 340)
    settled = slice(260 * PER_FRAME, 300 * PER_FRAME)
    error = got[settled] - expected[settled]
    assert np.sqrt(np.mean(error**2)) < 1e-3 * np.sqrt(np.mean(expected[settled] ** 2))


@pytest.mark.parametrize("broken", ["nothing", "phase", "noise"])
def test_phase_and_noise_are_the_streams_not_the_blocks(
    broken: str, voice: RvcVoice, content: Hubert, rmvpe: RMVPE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain network is left far behind as soon as the phase starts anew, or the noise is drawn anew, per block."""
    draws, draw, render_source = iter(range(10_000)), StreamingGenerator._draw_latent, StreamingGenerator._render_source

    def phase_of_a_block(self: StreamingGenerator, *a: Any) -> None:
        self.state.phase.zero_()
        render_source(self, *a)

    def noise_of_a_block(self: StreamingGenerator, m: torch.Tensor, logs: torch.Tensor, start: int, seed: int) -> None:
        draw(self, m, logs, start, next(draws))

    if broken == "phase":
        monkeypatch.setattr(StreamingGenerator, "_render_source", phase_of_a_block)
    if broken == "noise":
        monkeypatch.setattr(StreamingGenerator, "_draw_latent", noise_of_a_block)
    config = StreamConfig(block_ms=100, lookahead_ms=200, crossfade_ms=10)
    got = streamed(voice, content, rmvpe, config, 240, PARAMS)[40 * PER_FRAME : -5 * PER_FRAME]
    expected = whole(voice, 240)[40 * PER_FRAME :][: len(got)]
    error = np.sqrt(np.mean((got - expected) ** 2) / np.mean(expected**2))
    assert (error < 0.05) == (broken == "nothing"), error
    assert broken == "nothing" or error > 0.2, error
