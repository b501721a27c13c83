"""The WORLD frames and their streaming synthesis, against plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from altervox.kernels.errors import ParameterError
from altervox.kernels.noise import frame_noise
from altervox.kernels.synthesis import (
    LATENCY_SAMPLES,
    LEAD,
    SynthesisState,
    SynthesisWorkspace,
    minimum_phase_into,
    synthesize,
)
from altervox.kernels.world import BINS, FFT_SIZE, HOP, SAMPLE_RATE, SpeechFrames, analyse, warp_envelope
from altervox.tools.bench.accuracy.world_f0 import world_f0
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def minimum_phase(power: FloatArray) -> NDArray[np.complex128]:
    """Complex logarithms of minimum-phase spectra [frames, BINS], made one by one."""
    out, workspace = np.zeros(power.shape, dtype=np.complex128), SynthesisWorkspace.allocate(1)
    for i in range(len(power)):
        minimum_phase_into(power[i : i + 1], workspace, out[i : i + 1])
    return out


def vowel_frames(frames: int, f0_hz: FloatArray) -> SpeechFrames:
    """Two moving resonances on a slope, more noise the higher the frequency."""
    hz = np.arange(BINS) * SAMPLE_RATE / FFT_SIZE
    movement = np.sin(np.arange(frames) * 0.05)[:, None]
    power = 1e-3 / (1.0 + (hz / 500.0) ** 2) * np.ones((frames, 1))
    for centre, width in ((600.0 + 150.0 * movement, 120.0), (1700.0 - 400.0 * movement, 180.0)):
        power = power * (1.0 + 30.0 / (1.0 + ((hz - centre) / width) ** 2))
    aperiodicity = np.where(f0_hz[:, None] > 0, (hz / 12000.0).clip(0.01, 0.9), 1.0)
    return SpeechFrames(f0_hz, power, aperiodicity)


@pytest.fixture(scope="module")
def utterance() -> SpeechFrames:
    f0 = 150.0 * 2.0 ** (0.5 * np.sin(np.arange(700) * 0.02))
    f0[:20] = f0[200:260] = f0[261:263] = f0[640:] = 0.0
    return vowel_frames(700, f0)


def portion(frames: SpeechFrames, start: int, stop: int) -> SpeechFrames:
    return SpeechFrames(frames.f0_hz[start:stop], frames.power[start:stop], frames.aperiodicity[start:stop])


def plain_synthesis(frames: SpeechFrames, seed: int) -> FloatArray:
    """The same signal model, pulse by pulse over the whole utterance; frame -1 is silence."""
    n = len(frames.f0_hz)
    out = np.zeros((n + 1) * HOP + FFT_SIZE)  # from frame -1 on, without LEAD
    f0 = np.concatenate(([0.0], frames.f0_hz))
    spectra = np.concatenate((np.full((1, BINS), 1e-10), np.exp(minimum_phase(frames.power))))
    logs = np.concatenate((np.full((1, BINS), np.log(1e-10) + 0j), minimum_phase(frames.power)))
    harmonic = np.concatenate((np.zeros((1, BINS)), np.sqrt(1.0 - frames.aperiodicity**2)))
    omega = 2.0 * np.pi / FFT_SIZE * np.arange(BINS)
    quarter = FFT_SIZE // 4
    fade = np.concatenate((np.ones(3 * quarter), 0.5 + 0.5 * np.cos(np.pi * np.arange(quarter) / quarter)))
    phase = 0.0
    for t in range(n * HOP):
        i, within = divmod(t, HOP)
        a, b = f0[i], f0[i + 1]
        if a == 0.0 and b == 0.0:
            continue
        if a == 0.0:
            a = b
            phase = 0.5 if within == 0 else phase
        elif b == 0.0:
            b = a
        here = a + (b - a) * within / HOP
        if phase >= 1.0:
            phase -= 1.0
            late = phase * SAMPLE_RATE / here
            share = min(max((within - late) / HOP, 0.0), 1.0)
            response = np.exp(logs[i] * (1 - share) + logs[i + 1] * share) * np.sqrt(SAMPLE_RATE / here)
            response *= harmonic[i] * (1 - share) + harmonic[i + 1] * share
            out[t : t + FFT_SIZE] += np.fft.irfft(response * np.exp(-1j * omega * (LEAD - late))) * fade
        phase += here / SAMPLE_RATE
    noise = frame_noise(seed, 0, -1, n + 1, HOP).astype(np.float64).ravel()
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * HOP) / HOP)
    for i in range(n):
        excitation = np.zeros(FFT_SIZE)
        excitation[: 2 * HOP] = noise[i * HOP : (i + 2) * HOP] * window
        response = np.fft.irfft(np.fft.rfft(excitation) * spectra[i + 1] * frames.aperiodicity[i])
        out[i * HOP + LEAD : i * HOP + FFT_SIZE] += response[:-LEAD]
    sos = scipy.signal.butter(2, 40.0, "highpass", fs=SAMPLE_RATE, output="sos")
    return np.asarray(scipy.signal.sosfilt(sos, out)[: n * HOP])


@pytest.fixture(scope="module")
def plain(utterance: SpeechFrames) -> FloatArray:
    return plain_synthesis(utterance, seed=3)


@pytest.mark.parametrize("sizes", [[700], [1], [4], [3, 1, 50], [257, 2], [256, 256, 188], [0, 19, 1, 20, 0]])
def test_synthesis_in_any_portions_equals_the_plain_one(
    utterance: SpeechFrames, plain: FloatArray, sizes: list[int]
) -> None:
    state, parts, start = SynthesisState(), [], 0
    while start < 700:
        for size in sizes:
            frames = portion(utterance, start, start + size)
            parts.append(synthesize(frames, state, seed=3))
            assert len(parts[-1]) == HOP * len(frames.f0_hz)
            start += size
    np.testing.assert_allclose(np.concatenate(parts), plain, atol=1e-6)
    assert np.abs(plain).max() > 0.1


def test_reset_starts_over_in_place(utterance: SpeechFrames) -> None:
    state = SynthesisState()
    memories = [state.spectrum_mem, state.periodic_mem, state.overlap_mem, state.highpass.memory]
    first = synthesize(utterance, state, seed=1)
    state.reset()
    np.testing.assert_array_equal(synthesize(utterance, state, seed=1), first)
    after = [state.spectrum_mem, state.periodic_mem, state.overlap_mem, state.highpass.memory]
    assert all(a is b for a, b in zip(memories, after, strict=True))


def test_the_seed_changes_the_noise_only(utterance: SpeechFrames) -> None:
    one, other = (synthesize(utterance, SynthesisState(), seed) for seed in (1, 2))
    assert np.abs(one - other).max() > 1e-3
    tone = SpeechFrames(np.full(100, 200.0), np.full((100, BINS), 1e-3), np.zeros((100, BINS)))
    one, other = (synthesize(tone, SynthesisState(), seed) for seed in (1, 2))
    np.testing.assert_array_equal(one[HOP:], other[HOP:])


@pytest.mark.parametrize("f0_hz", [0.0, 50.0, 117.3, 400.0, 1400.0])
def test_power_is_that_of_the_envelope_whatever_the_f0(f0_hz: float) -> None:
    power = np.full((400, BINS), 0.01)
    aperiodicity = np.full((400, BINS), 0.3 if f0_hz else 1.0)
    y = synthesize(SpeechFrames(np.full(400, f0_hz), power, aperiodicity), SynthesisState(), seed=0)[50 * HOP :]
    assert 10 * np.log10(np.mean(y.astype(np.float64) ** 2) / 0.01) == pytest.approx(0.0, abs=0.7)


def test_pulses_stand_where_the_phase_wraps() -> None:
    """A pulse train of a fractional period: its spectrum has lines at the harmonics only."""
    f0 = 211.7
    bins_hz = np.arange(BINS) * SAMPLE_RATE / FFT_SIZE
    power = 0.01 / (1.0 + (bins_hz / 1000.0) ** 2) ** 1.5 * np.ones((900, 1))
    tone = SpeechFrames(np.full(900, f0), power, np.zeros((900, BINS)))
    y = synthesize(tone, SynthesisState(), seed=0)[100 * HOP :].astype(np.float64)
    window = scipy.signal.get_window(("kaiser", 18.0), len(y))
    spectrum = np.abs(np.fft.rfft(y * window)) ** 2
    hz = np.fft.rfftfreq(len(y), 1.0 / SAMPLE_RATE)
    between = (np.abs((hz / f0) % 1.0 - 0.5) < 0.3) & (hz > 150.0) & (hz < 10000.0)
    assert spectrum[between].max() < 1e-6 * spectrum.max()  # pulses on whole samples: 3e-4


def test_latency_is_what_it_says() -> None:
    """A single loud frame comes out around its centre plus the stated latency."""
    power = np.full((60, BINS), 1e-16)
    power[30] = 1.0
    y = synthesize(SpeechFrames(np.zeros(60), power, np.ones((60, BINS))), SynthesisState(), seed=0).astype(np.float64)
    centre = float((np.arange(len(y)) * y**2).sum() / (y**2).sum())
    assert centre == pytest.approx(30 * HOP + LATENCY_SAMPLES, abs=0.4 * HOP)


def test_minimum_phase_has_the_magnitude_and_no_future() -> None:
    power = vowel_frames(3, np.full(3, 100.0)).power
    spectrum = np.exp(minimum_phase(power))
    np.testing.assert_allclose(np.abs(spectrum) ** 2, power, rtol=1e-9)
    energy = np.fft.irfft(spectrum, axis=1) ** 2
    assert (energy[:, FFT_SIZE // 2 :].sum(axis=1) < 1e-4 * energy.sum(axis=1)).all()
    assert (energy[:, :24].sum(axis=1) > 0.5 * energy.sum(axis=1)).all()


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.0, 1.25, 2.0])
def test_warp_moves_the_peak_and_keeps_the_power(ratio: float) -> None:
    bins = np.arange(BINS)
    power = np.exp(-(((bins - 100.0) / 12.0) ** 2)) + 1e-9
    warped = warp_envelope(power[None].repeat(2, axis=0), np.array([ratio, 1.0]))
    assert warped[0].argmax() == pytest.approx(100 * ratio, abs=1)
    np.testing.assert_allclose(warped.sum(axis=1), power.sum(), rtol=1e-9)
    np.testing.assert_allclose(warped[1], power, rtol=1e-9)


def test_frames_do_not_depend_on_where_the_window_begins() -> None:
    rng = np.random.default_rng(0)
    state = SynthesisState()
    x = synthesize(vowel_frames(800, np.full(800, 130.0) + np.arange(800) * 0.05), state, seed=0)
    x = x + 1e-3 * rng.standard_normal(len(x)).astype(np.float32)
    shift = 137
    f0 = world_f0(x, SAMPLE_RATE, "dio", 5.0)
    f0_later = world_f0(x[shift * HOP :], SAMPLE_RATE, "dio", 5.0)
    np.testing.assert_allclose(f0_later[100:400], f0[shift + 100 : shift + 400], rtol=1e-5)
    here = analyse(x, f0[shift + 100 : shift + 200], shift + 100)
    later = analyse(x[shift * HOP :], f0[shift + 100 : shift + 200], 100)
    np.testing.assert_allclose(np.log(later.power), np.log(here.power), atol=1e-6)
    np.testing.assert_allclose(later.aperiodicity, here.aperiodicity, atol=1e-6)


@pytest.mark.parametrize("method", ["harvest", "dio"])
@pytest.mark.parametrize("sample_rate", [16000, 24000])
def test_f0_of_a_glide_stands_on_its_frames(method: str, sample_rate: int) -> None:
    t = np.arange(2 * sample_rate) / sample_rate
    true_hz = 100.0 * 2.0 ** (t / 2.0)
    cycles = np.cumsum(true_hz) / sample_rate
    x = sum(np.sin(2 * np.pi * k * cycles) / k for k in range(1, 12))
    f0 = world_f0(np.asarray(0.2 * x), sample_rate, method)
    assert f0.dtype == np.float32
    assert len(f0) == 201
    cents = 1200.0 * np.log2(f0[20:180] / true_hz[:: sample_rate // 100][20:180])
    assert np.abs(cents).max() < 10.0  # a frame too early or late would be 6 cents on all of them
    assert np.abs(np.median(cents)) < 2.0


@pytest.mark.parametrize("method", ["harvest", "dio"])
@pytest.mark.parametrize(("samples", "frames"), [(0, 1), (1, 1), (159, 1), (160, 2), (16000, 101)])
def test_f0_of_silence_of_any_length(method: str, samples: int, frames: int) -> None:
    np.testing.assert_array_equal(world_f0(np.zeros(samples), 16000, method), np.zeros(frames, dtype=np.float32))


def test_unknown_f0_method() -> None:
    with pytest.raises(ParameterError, match="WORLD has no F0 method 'swipe'; choose harvest or dio"):
        world_f0(np.zeros(100), 16000, "swipe")
