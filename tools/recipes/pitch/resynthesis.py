"""Speech with an F0 that is known because it was put in: WORLD, additive synthesis, linear prediction.

Sources: WORLD, Morise, Yokomori & Ozawa 2016, doi:10.1587/transinf.2015EDP7457; linear prediction, Makhoul 1975,
doi:10.1109/PROC.1975.9792; formants of vowels, Peterson & Barney 1952, doi:10.1121/1.1906875.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyworld
import scipy.linalg
import scipy.signal
from numpy.typing import NDArray

from ....kernels.types import Float64Array
from ....kernels.world import warp_envelope
from .labels import FRAME_MS
from .sources import SAMPLE_RATE

HOP = round(SAMPLE_RATE * FRAME_MS / 1000.0)
_NOISE_ONLY = 0.99  # mean aperiodicity from which nothing periodic is left


@dataclass(frozen=True, slots=True)
class Analysis:
    """What WORLD found in a sentence: everything but its F0 can be used again.

    Attributes:
        contour_hz: F0 [frames], 0 where unvoiced.
        power: Spectral envelope [frames, bins].
        aperiodicity: Proportion of noise [frames, bins].
    """

    contour_hz: Float64Array
    power: Float64Array
    aperiodicity: Float64Array


def analyse(speech: NDArray[np.float32], contour_hz: Float64Array) -> Analysis:
    """WORLD's analysis of speech at 24 kHz, given its F0 every 5 ms."""
    x = np.ascontiguousarray(speech, dtype=np.float64)
    times = np.arange(len(contour_hz)) * FRAME_MS / 1000.0
    power = pyworld.cheaptrick(x, contour_hz, times, SAMPLE_RATE)
    aperiodicity = pyworld.d4c(x, contour_hz, times, SAMPLE_RATE)
    return Analysis(contour_hz, power, aperiodicity)


def stretched(found: Analysis, factor: float) -> Analysis:
    """Slower by a factor: each frame stands longer, which turns vowels into held notes."""
    frames = np.minimum((np.arange(int(len(found.contour_hz) * factor)) / factor).astype(int), len(found.power) - 1)
    return Analysis(found.contour_hz[frames], found.power[frames], found.aperiodicity[frames])


def world_speech(found: Analysis, f0_hz: Float64Array, formant_ratio: float = 1.0) -> tuple[Float64Array, Float64Array]:
    """The sentence with another F0 every 5 ms and formants moved by a ratio.

    Returns:
        Audio at 24 kHz and its F0 every 5 ms, 0 where nothing but noise was put in.
    """
    power = found.power
    if formant_ratio != 1.0:
        power = np.ascontiguousarray(warp_envelope(power, np.full(len(power), formant_ratio)))
    audio = pyworld.synthesize(f0_hz, power, found.aperiodicity, SAMPLE_RATE, FRAME_MS)
    periodic = found.aperiodicity.mean(axis=1) < _NOISE_ONLY
    return np.asarray(audio), np.where(periodic, f0_hz, 0.0)


def additive_voice(f0_hz: Float64Array, rng: np.random.Generator) -> Float64Array:
    """A singer of vowels: harmonics under moving formants, with breath.

    Args:
        f0_hz: Every 5 ms, 0 where silent.
        rng: Draws the vowels and the voice.

    Returns:
        Audio at 24 kHz.
    """
    samples = len(f0_hz) * HOP
    at = np.arange(samples) / HOP
    runs = np.where(f0_hz > 0, f0_hz, np.nan)
    held = np.interp(np.arange(len(f0_hz)), np.flatnonzero(f0_hz > 0), runs[f0_hz > 0]) if (f0_hz > 0).any() else f0_hz
    per_sample = np.interp(at, np.arange(len(held)), held)
    loud = np.interp(at, np.arange(len(f0_hz)), scipy.signal.lfilter([0.4], [1, -0.6], (f0_hz > 0).astype(float)))
    phase = 2.0 * np.pi * np.cumsum(per_sample) / SAMPLE_RATE
    formants_hz, widths_hz = _vowels(samples, rng)
    slope_db = rng.uniform(-15.0, -6.0)  # per octave, above the first harmonic
    audio = np.zeros(samples)
    top_hz = float(rng.uniform(4000.0, 8000.0))
    for k in range(1, int(top_hz / max(float(per_sample.min()), 40.0)) + 1):
        hz = (k * per_sample)[::32]  # the envelope moves slowly
        gain = 10.0 ** (slope_db * np.log2(k) / 20.0) * _resonance(hz, formants_hz[:, ::32], widths_hz)
        gain = np.repeat(np.where(hz < top_hz, gain, 0.0), 32)[:samples]
        audio += gain * np.cos(k * phase)
    breath = scipy.signal.lfilter([1.0, -0.6], [1.0], rng.standard_normal(samples))
    strength = 10.0 ** (rng.uniform(-45.0, -18.0) / 20.0)
    return np.asarray(loud * (audio / max(float(np.sqrt(np.mean(audio**2))), 1e-9) + strength * breath))


def _vowels(samples: int, rng: np.random.Generator) -> tuple[Float64Array, Float64Array]:
    """Formants in Hz gliding from vowel to vowel [4, samples], and their widths [4]."""
    vowels = np.array(
        [[730, 1090, 2440], [270, 2290, 3010], [300, 870, 2240], [530, 1840, 2480], [570, 840, 2410], [490, 1350, 1690]]
    )
    count = max(samples // int(0.3 * SAMPLE_RATE), 2)
    chosen = vowels[rng.integers(0, len(vowels), count)].T * rng.uniform(0.85, 1.35)
    path = np.stack([np.interp(np.linspace(0, count - 1, samples), np.arange(count), f) for f in chosen])
    return np.concatenate((path, np.full((1, samples), 3500.0 * rng.uniform(0.9, 1.2)))), np.array([80, 100, 150, 250])


def _resonance(hz: Float64Array, formants_hz: Float64Array, widths_hz: Float64Array) -> Float64Array:
    """Gain of a row of resonators at some frequencies [frames]."""
    gain = np.full(len(hz), 0.02)
    for centre, width, level in zip(formants_hz, widths_hz, (1.0, 0.6, 0.3, 0.15), strict=True):
        gain += level / np.sqrt(1.0 + ((hz - centre) / width) ** 2)
    return gain


def predicted_speech(speech: NDArray[np.float32], f0_hz: Float64Array, rng: np.random.Generator) -> Float64Array:
    """Speech by linear prediction, excited by pulses of the F0 given and by noise.

    Args:
        speech: At 24 kHz; its formants and levels are used.
        f0_hz: Every 5 ms, 0 where noise is to be put in.
        rng: Draws the noise.

    Returns:
        Audio at 24 kHz, of whole frames.
    """
    order, half = 26, 2 * HOP
    x = np.pad(np.asarray(speech, dtype=np.float64), (half, half + HOP))
    emphasised = scipy.signal.lfilter([1.0, -0.95], [1.0], x)
    frames = min(len(f0_hz), len(speech) // HOP)
    pulses = _pulses(f0_hz[:frames])
    noise = rng.standard_normal(frames * HOP)
    window = np.hanning(2 * half)
    audio, memory = np.zeros(frames * HOP), np.zeros(order)
    for j in range(frames):
        piece = emphasised[j * HOP : j * HOP + 2 * half] * window
        correlation = np.correlate(piece, piece, "full")[len(piece) - 1 : len(piece) + order]
        correlation[0] = correlation[0] * 1.0001 + 1e-9
        a = scipy.linalg.solve_toeplitz(correlation[:-1], correlation[1:])
        residual = max(correlation[0] - a @ correlation[1:], 0.0)
        gain = np.sqrt(residual / np.sum(window**2))
        piece_of = slice(j * HOP, (j + 1) * HOP)
        if f0_hz[j] > 0:
            excitation = pulses[piece_of] * np.sqrt(SAMPLE_RATE / f0_hz[j]) + 0.15 * noise[piece_of]
        else:
            excitation = noise[piece_of]
        audio[piece_of], memory = scipy.signal.lfilter([gain], np.concatenate(([1.0], -a)), excitation, zi=memory)
    return np.asarray(scipy.signal.lfilter([1.0], [1.0, -0.95], audio))


def _pulses(f0_hz: Float64Array) -> Float64Array:
    """Unit pulses at the zeros of the phase, each placed between samples by a windowed sinc."""
    nearest = (np.arange(len(f0_hz) * HOP) + HOP // 2) // HOP
    per_sample = f0_hz[np.minimum(nearest, len(f0_hz) - 1)] / SAMPLE_RATE
    phase = np.cumsum(per_sample)
    before = np.flatnonzero(np.floor(phase[1:]) > np.floor(phase[:-1]))
    out = np.zeros(len(phase) + 16)
    for n in before:
        fraction = (np.floor(phase[n + 1]) - phase[n]) / per_sample[n + 1] if per_sample[n + 1] > 0 else 0.0
        taps = np.arange(-7, 9) - fraction
        out[n + 1 : n + 17] += np.sinc(taps) * np.cos(np.pi * taps / 18.0) ** 2
    return out[8 : 8 + len(phase)]
