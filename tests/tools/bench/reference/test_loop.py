"""RVC's real-time loop: the stored vectors, its windows, length and alignment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made_up_voice
import numpy as np
import pytest
import reference_vectors as vectors
import soundfile
import torch
from altervox.kernels.errors import ParameterError
from altervox.kernels.level import rms_mix
from altervox.kernels.sola import SolaState, sola_join
from altervox.models.checkpoint import VoiceCheckpoint
from altervox.models.rvc.voice import RvcVoice
from altervox.models.sinc_resample import sinc_resample
from altervox.models.voice import VoiceParams, rescaled_length
from altervox.realtime.files import through_engine
from altervox.tools.bench.reference.loop import ReferenceConfig, ReferenceLoop
from numpy.typing import NDArray

DATA = Path(__file__).parents[3] / "data"
SHORT = ReferenceConfig(block_ms=100, context_ms=400)
PARAMS = VoiceParams(rms_mix=0.0)
Make = Callable[..., ReferenceLoop]


@pytest.fixture(scope="module")
def make() -> Make:
    """Makes loops of one voice."""
    voice, content, rmvpe = made_up_voice.voice(), made_up_voice.content(), made_up_voice.rmvpe()
    return lambda config, params=PARAMS: ReferenceLoop(voice, content, rmvpe, config, params)


def run(loop: ReferenceLoop, audio: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.zeros_like(audio[: len(audio) // loop.block_size * loop.block_size])
    for start in range(0, len(out), loop.block_size):
        part = slice(start, start + loop.block_size)
        loop.process(audio[part], out[part])
    return out


def test_it_is_the_step_of_the_vectors_with_loudness_and_sola() -> None:
    """Device at 16 kHz, so that the windows are the vectors' own; each step's noise and window are given."""
    (case,) = [case for case in vectors.cases() if case["kind"] == "realtime_steps"]
    with np.load(vectors.PUBLIC / case["file"]) as stored:
        v = {name: stored[name].astype(np.float32) for name in stored.files}
    pcm, steps = v["pcm"] / 32768, iter(range(case["steps"]))

    class GivenNoise(ReferenceLoop):
        def _noise(self) -> tuple[torch.Tensor, torch.Tensor]:
            k = next(steps)
            latent, source = torch.from_numpy(v["noise_z"][k]), torch.from_numpy(v["noise_src"][k])
            return latent.reshape(1, 192, -1), source.reshape(1, -1, 1)

    weight = {k: torch.from_numpy(x) for k, x in vectors.state(vectors.PUBLIC, case["manifest"]).items()}
    config = json.loads((vectors.PUBLIC / case["manifest"]).read_text())["config"]
    checkpoint = VoiceCheckpoint(weight, config, "v2", True, 40000, len(weight["emb_g.weight"]), "")
    loop = GivenNoise(
        RvcVoice("vectors", checkpoint, None, torch.device("cpu"), Path("v.pth")),
        vectors.content(vectors.PUBLIC, case["content_manifest"], "fairseq"),
        vectors.rmvpe(vectors.PUBLIC, case["rmvpe_manifest"]),
        ReferenceConfig(
            16000, 10 * case["block_frames"], 10 * case["extra_frames"], crossfade_ms=10 * case["crossfade_frames"]
        ),
        VoiceParams(pitch_semitones=case["key"], rms_mix=0.3),
    )
    past = loop.geometry.window * 160 - loop.block_size
    loop.state.audio_mem[loop.block_size :] = pcm[:past]
    loop.state.audio_16k_mem[loop.block_size :] = torch.from_numpy(pcm[:past])
    got = run(loop, pcm[past:][: case["steps"] * loop.block_size])

    sola, expected = SolaState.allocate(4 * 160), []
    for k, wav in enumerate(v["wav"]):
        at_device = sinc_resample(torch.from_numpy(wav.reshape(-1)), 40000, 16000).numpy()
        source = pcm[k * loop.block_size + case["extra_frames"] * 160 :]
        expected.append(sola_join(rms_mix(source, at_device, 160, 0.3), loop.block_size, 160, sola)[0])
    error = got - np.concatenate(expected)
    assert np.abs(error).max() < 3e-3
    assert np.sqrt(np.mean(error**2)) < 5e-3 * np.sqrt(np.mean(np.concatenate(expected) ** 2))
    np.testing.assert_allclose(loop.state.pitch.f0_cache[-loop.geometry.window :], v["cache_pitchf"][-1], atol=0.1)


def test_the_gate_rewrites_the_window_as_the_vectors_do(make: Make) -> None:
    (case,) = [case for case in vectors.cases() if case["kind"] == "gate"]
    with np.load(vectors.PUBLIC / case["file"]) as stored:
        x, rewritten = stored["x"], stored["rewritten"]
    rate, block_ms = case["zc"] * 100, case["block"] * 10 // case["zc"]
    loop = make(ReferenceConfig(rate, block_ms, context_ms=400, gate_db=case["threshold_db"]))
    for block, expected in zip(np.split(x, len(rewritten)), rewritten, strict=True):
        loop.process(block, np.zeros_like(block))
        np.testing.assert_allclose(loop.state.audio_mem[-len(expected) :], expected, atol=1e-6)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_the_window_at_16_khz_has_no_seams(rate: int, make: Make) -> None:
    """A tone stays a tone across blocks; only the newest 10 ms lack what follows them."""
    loop = make(replace(SHORT, sample_rate=rate))
    tone = np.sin(2 * np.pi * 440 * np.arange(rate, dtype=np.float64) / rate).astype(np.float32)
    run(loop, tone)
    window = loop.state.audio_16k_mem.numpy()
    expected = np.sin(2 * np.pi * 440 * (np.arange(16000) / 16000))[-len(window) :]
    assert np.abs(window - expected)[:-160].max() < 5e-3


@pytest.mark.parametrize(("rate", "block_ms"), [(40000, 100), (48000, 100), (44100, 250)])
def test_through_a_file_it_keeps_length_and_time(rate: int, block_ms: int, make: Make) -> None:
    """The level follows the source's, to 10 ms."""
    import soxr

    recording, own_rate = soundfile.read(DATA / "librivox_male.wav", dtype="float32")
    audio = soxr.resample(recording[: 2 * own_rate], own_rate, rate)[: 2 * rate - 17]
    loop = make(replace(SHORT, sample_rate=rate, block_ms=block_ms))
    out = np.concatenate(list(through_engine(loop, np.array_split(audio, 9))))
    assert len(out) == len(audio)
    assert np.isfinite(out).all()

    def level(x: NDArray[np.float32]) -> NDArray[np.float64]:
        power = np.cumsum(np.concatenate(([0.0], x.astype(np.float64) ** 2)))
        edges = np.arange(rescaled_length(len(x), rate, 1000)) * rate // 1000
        return np.asarray(np.sqrt(np.convolve(np.diff(power[edges]).clip(0), np.ones(20) / 20, "same")))

    a, b = level(audio), level(out)
    lag = int(np.correlate(b - b.mean(), a - a.mean(), "full").argmax()) - (len(a) - 1)
    assert abs(lag) <= 10


def test_reset_begins_anew_and_the_seed_decides(make: Make) -> None:
    audio = soundfile.read(DATA / "librivox_male.wav", dtype="float32")[0][:8000]
    config, params = ReferenceConfig(16000, 100, 400, gate_db=-50.0), PARAMS
    loop = make(config, params)
    first = run(loop, audio)
    assert first.any()
    loop.reset()
    np.testing.assert_array_equal(run(loop, audio), first)
    assert not np.allclose(run(make(config, replace(params, seed=1)), audio), first, atol=1e-3)


def test_a_voice_without_pitch_needs_no_pitch_network() -> None:
    loop = ReferenceLoop(made_up_voice.voice(has_f0=False), made_up_voice.content(), None, SHORT, PARAMS)
    out = run(loop, np.full(2 * loop.block_size, 0.1, dtype=np.float32))
    assert np.isfinite(out).all()
    assert out.any()


@pytest.mark.parametrize(
    "wrong", [{"sample_rate": 44150}, {"block_ms": 5}, {"context_ms": 9000}, {"crossfade_ms": 0}], ids=str
)
def test_lengths_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        ReferenceConfig(**wrong)


def test_blocks_of_another_size_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="this loop takes 4800"):
        make(SHORT).process(np.zeros(10, dtype=np.float32), np.zeros(4800, dtype=np.float32))
