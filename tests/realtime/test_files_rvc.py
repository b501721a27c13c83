"""RVC voices over files: equal to the plain networks, exact lengths, determinism and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import made_up_voice
import numpy as np
import pytest
import soundfile
import torch
from altervox.kernels.errors import BaseModelError, ParameterError
from altervox.models.published import CONTENT_ENCODER
from altervox.models.retrieval import FeatureIndex
from altervox.models.rvc.voice import RvcVoice
from altervox.models.voice import F0_METHODS, VoiceParams, rescaled_length
from altervox.realtime.config import StreamConfig
from altervox.realtime.files import OFFLINE, convert_stream
from altervox.realtime.stages.rvc import RvcStage
from altervox.tools.bench.accuracy.whole import rvc_voice

DATA = Path(__file__).parents[1] / "data"
RATE = 16000
PARAMS = VoiceParams()


@pytest.fixture(scope="module")
def voice() -> RvcVoice:
    return made_up_voice.voice()


@pytest.fixture(autouse=True, scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A library whose base models have the real architecture, narrow, and random weights."""
    folder = tmp_path_factory.mktemp("library")
    made_up_voice.write_base_models(folder / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALTERVOX_HOME", str(folder))
        yield


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return np.asarray(soundfile.read(DATA / "librivox_male.wav", dtype="float32")[0])


def convert(
    voice: RvcVoice,
    audio: np.ndarray,
    params: VoiceParams = PARAMS,
    rate: int = RATE,
    block: int = RATE,
    config: StreamConfig = OFFLINE,
) -> np.ndarray:
    blocks = (audio[i : i + block] for i in range(0, len(audio), block))
    parts = list(convert_stream(voice, blocks, rate, params, config))
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


@pytest.mark.parametrize("samples", [0, 1, 2, 399, 400, 401, 719, 721, 3000, 3001])
@pytest.mark.parametrize("rate", [16000, 44100, 3000])
def test_output_lasts_as_long_as_the_input(voice: RvcVoice, samples: int, rate: int) -> None:
    audio = 0.1 * np.sin(np.arange(samples, dtype=np.float32) * 0.2)
    out = convert(voice, audio, rate=rate)
    assert len(out) == rescaled_length(samples, rate, 40000)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("formant", [-12.0, -0.5, 12.0])
@pytest.mark.parametrize("samples", [1, 161, 4000])
def test_formants_keep_the_length(voice: RvcVoice, formant: float, samples: int) -> None:
    out = convert(voice, np.full(samples, 0.1, dtype=np.float32), replace(PARAMS, formant_semitones=formant))
    assert len(out) == rescaled_length(samples, RATE, 40000)
    assert np.isfinite(out).all()


def test_blocks_do_not_matter(voice: RvcVoice, speech: np.ndarray) -> None:
    part = speech[: 2 * RATE + 13]
    np.testing.assert_array_equal(convert(voice, part, block=len(part)), convert(voice, part, block=777))


def test_equal_seeds_give_equal_output_and_others_do_not(voice: RvcVoice, speech: np.ndarray) -> None:
    part = speech[:RATE]
    first = convert(voice, part)
    np.testing.assert_array_equal(first, convert(voice, part))
    assert not np.allclose(first, convert(voice, part, replace(PARAMS, seed=1)))


def test_a_file_is_what_the_plain_networks_make_of_the_whole(voice: RvcVoice, speech: np.ndarray) -> None:
    """Blocks of 2 s with the context and lookahead of `OFFLINE`, away from the ends, with the F0 that the stage found.

    Noise and phase belong to absolute frames, so what is left is what the content encoder does not see: 10 % with these
    random weights, which attend to everything. A phase or a noise of its own in any block would make the difference as
    large as the signal.
    """
    audio = np.tile(speech, 2)[: 10 * RATE]
    stage = RvcStage(voice, voice.content_encoder(), None, replace(OFFLINE, block_ms=2000))
    size, per_frame, f0, parts = 2 * RATE, voice.synthesizer.shape.samples_per_frame, [], []
    for start in range(0, len(audio), size):
        out = np.zeros(2 * voice.sample_rate, dtype=np.float32)
        stage.process(audio[start : start + size], replace(PARAMS, rms_mix=1.0), out)
        parts.append(out)
        committed = stage.state.f0_mem[-stage.block - stage.lookahead : -stage.lookahead]
        f0.append(committed.copy())
    lookahead_s = stage.lookahead // 100
    got = np.concatenate(parts)[lookahead_s * voice.sample_rate :]
    found = np.concatenate(f0)[stage.lookahead :]
    frames = len(found)
    whole = rvc_voice(voice.synthesizer, voice.content_encoder(), audio[: frames * 160], found, "v2")
    middle = slice(2 * voice.sample_rate, (frames - 300) * per_frame)
    assert middle.stop - middle.start > 3 * voice.sample_rate
    assert found.any()
    error = got[middle] - whole[middle]
    assert np.sqrt(np.mean(error**2)) < 0.15 * np.sqrt(np.mean(whole[middle] ** 2))


def test_the_source_sounds_at_the_shifted_pitch_without_drift(voice: RvcVoice) -> None:
    """A tone of 200 Hz through 5 s of blocks: the carried phase must keep to 400 Hz an octave up."""
    t = np.arange(5 * RATE) / RATE
    k = np.arange(1, 12)[:, None]
    audio = 0.1 * (np.sin(2 * np.pi * 200 * k * t) / k).sum(axis=0).astype(np.float32)
    params = replace(PARAMS, pitch_semitones=12.0, rms_mix=1.0)
    out = convert(voice, audio, params, config=replace(OFFLINE, block_ms=2000))
    spectrum = np.abs(np.fft.rfft(out[40000:-40000] * np.hanning(len(out) - 80000)))
    peak_hz = np.argmax(spectrum[20:]) + 20
    hz = peak_hz * 40000 / (len(out) - 80000)
    harmonic = hz / 400.0
    assert abs(harmonic - round(harmonic)) < 0.02 * max(round(harmonic), 1)


def test_loudness_follows_the_source(voice: RvcVoice, speech: np.ndarray) -> None:
    part = speech[: 2 * RATE]
    ratio = [np.sqrt(np.mean(convert(voice, gain * part, replace(PARAMS, rms_mix=0.0)) ** 2)) for gain in (0.1, 1.0)]
    assert 5.0 < ratio[1] / ratio[0] < 20.0


@pytest.mark.parametrize("method", F0_METHODS)
def test_every_f0_method_works(voice: RvcVoice, speech: np.ndarray, method: str) -> None:
    out = convert(voice, speech[:RATE], replace(PARAMS, f0_method=method))
    assert len(out) == 40000
    assert np.isfinite(out).all()


def test_an_index_changes_the_features_and_rate_0_does_not(voice: RvcVoice, speech: np.ndarray) -> None:
    part = speech[:RATE]
    plain = convert(voice, part)
    indexed = made_up_voice.voice()
    indexed.index = FeatureIndex(torch.randn(50, 768, generator=torch.Generator().manual_seed(5)))
    np.testing.assert_allclose(convert(indexed, part, replace(PARAMS, index_rate=0.0)), plain, atol=1e-5)
    assert not np.allclose(convert(indexed, part, replace(PARAMS, index_rate=1.0)), plain, atol=1e-2)


def test_a_voice_without_pitch_needs_no_f0(speech: np.ndarray) -> None:
    out = convert(made_up_voice.voice(has_f0=False), speech[:RATE], replace(PARAMS, f0_method="rmvpe"))
    assert len(out) == 40000


def test_an_unknown_speaker_is_refused(voice: RvcVoice, speech: np.ndarray) -> None:
    with pytest.raises(ParameterError, match="speaker is 3; made up has speakers 0 to 2"):
        convert(voice, speech[:RATE], replace(PARAMS, speaker=3))


def test_without_the_full_pitch_network_the_small_one_finds_pitch(
    voice: RvcVoice,
    speech: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Without a download and without a word."""
    small = convert(voice, speech[:RATE], replace(PARAMS, f0_method="rmvpe-small"))
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "hubert_base.pt").hardlink_to(CONTENT_ENCODER.fetch())
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    np.testing.assert_array_equal(convert(voice, speech[:RATE], replace(PARAMS, f0_method="auto")), small)
    assert not caplog.records
    with pytest.raises(BaseModelError, match=r"rmvpe\.pt .* and put it into"):
        convert(voice, speech[:RATE], replace(PARAMS, f0_method="rmvpe"))


def test_without_a_content_encoder_it_says_where_to_put_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaseModelError, match=r"hubert_base\.pt .* and put it into .*base") as caught:
        convert(made_up_voice.voice(), np.zeros(RATE, dtype=np.float32))
    assert str(tmp_path) in str(caught.value)
    assert not list(tmp_path.rglob("*.pt"))
