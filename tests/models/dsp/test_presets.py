"""The DSP voices hold the contract of a voice, and do what their names say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch
import weights
from altervox.kernels.errors import BaseModelError
from altervox.models.dsp.presets import DSP_VOICES, DspPreset, DspVoice
from altervox.models.pitch.rmvpe import RMVPE
from altervox.models.voice import F0_METHODS, Voice, VoiceParams, rescaled_length
from altervox.realtime.files import LIVE, OFFLINE, convert_stream, output_rate
from altervox.tools.bench.accuracy.world_f0 import world_f0
from numpy.typing import NDArray

Audio = NDArray[np.float32]
CHANGING = [name for name in DSP_VOICES if name != "off"]


def speech(seconds: float, sample_rate: int, f0_hz: float, seed: int = 0) -> Audio:
    """Syllables like speech: a gliding voice with two wandering resonances, hissing consonants, pauses."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    f0 = f0_hz * 2.0 ** (0.25 * np.sin(2 * np.pi * 0.7 * t) + 0.02 * np.sin(2 * np.pi * 5.1 * t))
    cycles = np.cumsum(f0) / sample_rate
    pulses = np.diff(np.floor(cycles), prepend=0.0) + 0.003 * rng.standard_normal(len(t))
    voice = np.zeros(len(t))
    for centre, swing, rate in ((550.0, 150.0, 1.3), (1500.0, 400.0, 0.9)):
        where = t + swing / centre * np.sin(2 * np.pi * rate * t) / (2 * np.pi * rate)
        carrier = np.exp(2j * np.pi * centre * where)
        low = scipy.signal.lfilter([1.0], [1.0, -np.exp(-2 * np.pi * 90.0 / sample_rate)], pulses * np.conj(carrier))
        voice += np.real(low * carrier)
    place = (t * 3.3) % 1.0  # within a syllable: consonant, vowel, pause
    vowel = np.clip(np.minimum(place - 0.2, 0.8 - place) * 12.0, 0.0, 1.0)
    hiss = np.clip(np.minimum(place, 0.2 - place) * 30.0, 0.0, 1.0)
    noise = rng.standard_normal(len(t))
    noise -= np.convolve(noise, [0.5, 0.5], "same")
    x = 0.15 * voice * vowel + 0.05 * noise * hiss + 1e-4 * rng.standard_normal(len(t))
    return x.astype(np.float32)


def cut(x: Audio, sizes: list[int]) -> Iterator[Audio]:
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(x):
            return
        yield x[start : start + size]
        start += size


def converted(
    voice: Voice,
    x: Audio,
    sample_rate: int,
    params: VoiceParams,
    sizes: list[int] | None = None,
    live: bool = False,
) -> Audio:
    blocks = list(convert_stream(voice, cut(x, sizes or [1 << 30]), sample_rate, params, LIVE if live else OFFLINE))
    return np.concatenate([np.zeros(0, np.float32), *blocks]).astype(np.float32)


def rms(x: Audio) -> float:
    return float(np.sqrt(np.mean(x.astype(np.float64) ** 2)))


def level_db(x: Audio, reference: Audio) -> float:
    return 20.0 * float(np.log10(rms(x) / rms(reference)))


def median_f0(x: Audio, sample_rate: int) -> float:
    f0 = world_f0(x, sample_rate, "harvest")
    return float(np.median(f0[f0 > 0]))


def envelope(x: Audio, sample_rate: int) -> NDArray[np.float64]:
    """Logarithmic level, 1000 values per second, smoothed over 20 ms."""
    hop = sample_rate // 1000
    power = np.mean(x[: len(x) // hop * hop].astype(np.float64).reshape(-1, hop) ** 2, axis=1)
    window = np.hanning(21)
    return np.log(np.convolve(power, window / window.sum(), "same") + 1e-6)


def lag_ms(x: Audio, y: Audio, sample_rate: int) -> int:
    """How much later y is."""
    a, b = (e - e.mean() for e in (envelope(x, sample_rate), envelope(y, sample_rate)))
    return int(scipy.signal.correlate(b, a).argmax()) - (len(a) - 1)


@pytest.fixture(scope="module")
def man() -> Audio:
    return speech(3.0, 16000, 115.0)


def test_names_and_order() -> None:
    assert list(DSP_VOICES)[:7] == ["woman", "man", "child", "giant", "robot", "whisper", "off"]
    for name, voice in DSP_VOICES.items():
        assert (voice.name, voice.kind, voice.sample_rate) == (name, "dsp", None)
        assert voice.description


@pytest.mark.parametrize(
    ("input_rate", "expected"),
    [(3000, 16000), (7999, 16000), (8000, 8000), (44100, 44100), (48000, 48000), (48001, 48000), (384000, 48000)],
)
def test_output_rate(input_rate: int, expected: int) -> None:
    assert output_rate(DSP_VOICES["woman"], input_rate) == expected
    assert output_rate(DSP_VOICES["off"], input_rate) == input_rate


def test_off_yields_the_very_same_blocks() -> None:
    blocks = [np.ones(3), np.zeros(0), np.full(5, np.nan)]
    out = list(convert_stream(DSP_VOICES["off"], blocks, 384000, VoiceParams(f0_method="rmvpe")))
    assert all(a is b for a, b in zip(out, blocks, strict=True))


@pytest.mark.parametrize("sample_rate", [3000, 7999, 8000, 11025, 16000, 24000, 44100, 48000, 96000, 384000])
@pytest.mark.parametrize("samples", [0, 1, 2, 37, 1009])
def test_length_is_exact(sample_rate: int, samples: int) -> None:
    voice = DSP_VOICES["child"]
    x = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    y = converted(voice, x, sample_rate, VoiceParams())
    assert len(y) == rescaled_length(samples, sample_rate, output_rate(voice, sample_rate))
    assert np.isfinite(y).all()
    if samples == 0:
        assert list(convert_stream(voice, [x, x], sample_rate)) == []


@pytest.mark.parametrize("sample_rate", [3000, 8000, 44100, 96000])
def test_length_and_level_of_speech_at_any_rate(sample_rate: int) -> None:
    x = speech(1.37, sample_rate, 120.0)
    voice = DSP_VOICES["man"]
    y = converted(voice, x, sample_rate, VoiceParams())
    assert len(y) == rescaled_length(len(x), sample_rate, output_rate(voice, sample_rate))
    assert abs(level_db(y, x)) < 3.0


@pytest.mark.parametrize("sizes", [[1, 7, 160], [320], [4801, 0, 3], [12345]])
def test_block_sizes_do_not_matter(sizes: list[int]) -> None:
    x = speech(1.5, 16000, 115.0)
    voice = DSP_VOICES["woman"]
    whole = converted(voice, x, 16000, VoiceParams())
    np.testing.assert_allclose(converted(voice, x, 16000, VoiceParams(), sizes), whole, atol=1e-6)


@pytest.mark.parametrize("name", CHANGING)
def test_time_aligned_and_level_kept(name: str, man: Audio) -> None:
    y = converted(DSP_VOICES[name], man, 16000, VoiceParams())
    third = len(man) // 3
    for part in (slice(0, third), slice(2 * third, None)):  # equal at both ends: no drift
        assert abs(lag_ms(man[part], y[part], 16000)) <= 5
    assert abs(level_db(y, man)) < 5.0


@pytest.mark.parametrize("name", CHANGING)
def test_the_seed_decides(name: str) -> None:
    x = speech(0.5, 16000, 115.0)
    one, again, other = (converted(DSP_VOICES[name], x, 16000, VoiceParams(seed=seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 1e-4


@pytest.mark.parametrize(
    ("name", "target_hz", "speaker_f0_hz"),
    [
        ("woman", 205.0, 95.0),
        ("woman", 205.0, 240.0),
        ("man", 110.0, 240.0),
        ("child", 290.0, 95.0),
        ("neutral", 155.0, 125.0),
    ],
)
def test_voices_adapt_to_the_speaker(name: str, target_hz: float, speaker_f0_hz: float) -> None:
    x = speech(2.0 / 0.7, 16000, speaker_f0_hz)  # its pitch swings up and down twice
    found = median_f0(converted(DSP_VOICES[name], x, 16000, VoiceParams()), 16000)
    own = median_f0(x, 16000)
    # A child is at most 17 semitones higher, a man at most 14 lower.
    within_bounds = min(max(target_hz, own * 2.0 ** (-14 / 12)), own * 2.0 ** (17 / 12))
    # The pitch swings by 40 %, so its median depends on which frames count as voiced.
    assert found == pytest.approx(within_bounds, rel=0.07)


def test_own_pitch_shift_adds(man: Audio) -> None:
    y = converted(DSP_VOICES["robot"], man, 16000, VoiceParams(pitch_semitones=7.0))
    f0 = world_f0(y, 16000, "harvest")
    # Harvest is wrong about some frames where words begin and end.
    low, middle, high = np.percentile(f0[f0 > 0], [20, 50, 80])
    assert middle == pytest.approx(115.0 * 2.0 ** (7 / 12), rel=0.01)
    assert high / low < 1.05  # one pitch only, where the source's swings by 40 %


def test_own_formant_shift_adds(man: Audio) -> None:
    def centroid(semitones: float) -> float:
        params = VoiceParams(formant_semitones=semitones)
        hz, power = scipy.signal.welch(converted(DSP_VOICES["man"], man, 16000, params), 16000, nperseg=512)
        voice = (hz > 100) & (hz < 3500)
        return float((hz * power)[voice].sum() / power[voice].sum())

    assert centroid(4.0) / centroid(0.0) == pytest.approx(2.0 ** (4 / 12), rel=0.12)


def test_whisper_has_no_pitch(man: Audio) -> None:
    y = converted(DSP_VOICES["whisper"], man, 16000, VoiceParams())
    assert (world_f0(y, 16000, "dio") > 0).mean() < 0.5 * (world_f0(man, 16000, "dio") > 0).mean()
    spectra = [scipy.signal.welch(x, 16000, nperseg=256)[1] for x in (y, man)]
    low, high = ([s[a:b].sum() for s in spectra] for a, b in ((2, 10), (40, 100)))
    assert high[0] / low[0] > 2.0 * high[1] / low[1]  # less slope than the voice


@pytest.mark.parametrize("name", CHANGING)
def test_silence_stays_silence(name: str) -> None:
    assert np.abs(converted(DSP_VOICES[name], np.zeros(30000, np.float32), 48000, VoiceParams())).max() < 1e-6


@pytest.mark.parametrize("name", CHANGING)
def test_what_is_not_finite_counts_as_silence(name: str) -> None:
    x = speech(1.0, 16000, 115.0)
    x[4000:4100] = np.nan
    x[5000], x[6000], x[7000] = np.inf, -np.inf, 1e30
    y = converted(DSP_VOICES[name], x, 16000, VoiceParams())
    assert np.isfinite(y).all()
    assert np.abs(y).max() < 2000.0


@pytest.mark.parametrize("pitch", [-36.0, 0.0, 36.0])
@pytest.mark.parametrize("formant", [-12.0, 12.0])
def test_extreme_values_stay_finite_and_near_the_level(pitch: float, formant: float, man: Audio) -> None:
    y = converted(DSP_VOICES["man"], man, 16000, VoiceParams(pitch_semitones=pitch, formant_semitones=formant))
    assert np.isfinite(y).all()
    assert -14.0 < level_db(y, man) < 3.0  # three octaves up, one harmonic in four falls on a resonance


@pytest.fixture
def full_pitch_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library with a pitch network under the name of the published one."""
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))
    (tmp_path / "base").mkdir()
    torch.save(weights.fill_network(RMVPE(4, 1, 1, 32)), tmp_path / "base" / "rmvpe.pt")


def test_f0_methods(man: Audio, full_pitch_network: None) -> None:
    voice, x = DSP_VOICES["man"], man[:24000]
    outputs = {method: converted(voice, x, 16000, VoiceParams(f0_method=method)) for method in F0_METHODS}
    np.testing.assert_array_equal(outputs["auto"], outputs["rmvpe-small"])
    different = [outputs[method] for method in F0_METHODS if method != "auto"]
    for one, other in itertools.combinations(different, 2):
        assert len(one) == len(x)
        assert np.abs(one - other).max() > 1e-3


def test_without_the_full_pitch_network_it_says_where_to_put_one(
    man: Audio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaseModelError, match=r"rmvpe\.pt .* and put it into"):
        convert_stream(DSP_VOICES["man"], [man], 16000, VoiceParams(f0_method="rmvpe"))


def test_a_changed_estimate_of_the_speaker_glides() -> None:
    """A second speaker joins while the estimate is still open: the pitch moves on without a jump."""
    x = np.concatenate((speech(2.0, 16000, 100.0), speech(2.0, 16000, 200.0)))
    preset = DspPreset(target_f0_hz=200.0, shift_bounds_semitones=(-12.0, 12.0))
    y = converted(DspVoice("any", "", preset), x, 16000, VoiceParams(), live=True)
    start = median_f0(y[:16000], 16000)
    just_after, later = (median_f0(y[16000 * a : 16000 * b], 16000) / 200.0 for a, b in ((2, 3), (3, 4)))
    assert start == pytest.approx(200.0, rel=0.1)  # the pitch swings by 40 %, here for less than a period
    assert just_after > later > 1.0
