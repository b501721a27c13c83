"""What happens to a voice before it reaches the network: noise, rooms, telephones, codecs, bad levels.

None of it moves the voice in time by more than a millisecond, so that labels stay true.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import av
import numpy as np
import scipy.signal

from ....kernels.types import FloatArray
from .noises import SAMPLE_RATE, clicks, coloured_noise, mains_hum

_MU = 255.0
_ECHO_FREE_S = 0.0025
_CODEC_SEARCH = 1600  # samples of codec delay that are looked for


def add_noise(voice: FloatArray, noise: FloatArray, snr_db: float) -> FloatArray:
    """Voice and noise [N] at a ratio of the voice's active level to the noise's RMS."""
    noise_rms = float(np.sqrt(np.mean(np.square(noise))))
    wanted = active_rms(voice) * 10.0 ** (-snr_db / 20.0)
    return np.asarray(voice + noise * (wanted / max(noise_rms, 1e-9)), dtype=np.float32)


def active_rms(voice: FloatArray) -> float:
    """RMS over the frames of 20 ms within 30 dB of the loudest one."""
    hop = SAMPLE_RATE // 50
    power = np.square(voice[: len(voice) // hop * hop]).reshape(-1, hop).mean(axis=1)
    loud = power[power > power.max(initial=0.0) * 1e-3]
    return float(np.sqrt(loud.mean())) if len(loud) else 1e-3


def reverberated(voice: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A voice in a room: the direct sound, then decaying noise, 0.1 to 0.7 s to -60 dB."""
    decay_s = float(rng.uniform(0.1, 0.7))
    time_s = np.arange(int(decay_s * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time_s)) * 10.0 ** (-3.0 * time_s / decay_s)
    tail[time_s < _ECHO_FREE_S] = 0.0
    tail *= 10.0 ** (rng.uniform(-12.0, 3.0) / 20.0) / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    tail[0] = 1.0
    return np.asarray(scipy.signal.fftconvolve(voice, tail)[: len(voice)], dtype=np.float32)


def telephone(voice: FloatArray, rng: np.random.Generator) -> FloatArray:
    """300 to 3400 Hz in 8 bits of mu-law (ITU-T G.711's curve)."""
    band = scipy.signal.butter(4, [rng.uniform(200.0, 350.0), 3400.0], "bandpass", fs=SAMPLE_RATE, output="sos")
    narrow = scipy.signal.sosfiltfilt(band, voice)
    peak = max(float(np.abs(narrow).max()), 1e-6)
    curved = np.sign(narrow) * np.log1p(_MU * np.abs(narrow) / peak) / np.log1p(_MU)
    steps = np.rint(curved * 127.0) / 127.0
    return np.asarray(np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(_MU)) / _MU * peak, dtype=np.float32)


def equalised(voice: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A microphone of its own: a smooth random gain within 9 dB, at times nothing below 60 to 200 Hz."""
    spectrum = np.fft.rfft(voice)
    hz = np.linspace(0.0, SAMPLE_RATE / 2, len(spectrum))
    at = np.array([0.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0])
    gain_db = np.interp(hz, at, rng.uniform(-9.0, 9.0, len(at)))
    if rng.random() < 0.3:
        corner = rng.uniform(60.0, 200.0)
        gain_db -= 10.0 * np.log10(1.0 + (corner / np.maximum(hz, 1.0)) ** 4)
    return np.asarray(np.fft.irfft(spectrum * 10.0 ** (gain_db / 20.0), len(voice)), dtype=np.float32)


def through_codec(voice: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Opus at 6 to 24 kbit/s, its delay taken out."""
    coded = io.BytesIO()
    peak = max(float(np.abs(voice).max()), 1e-6)
    pcm = np.rint(voice / peak * 30000.0).astype(np.int16)[None]
    with av.open(coded, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE)
        stream.bit_rate = int(rng.choice([6000, 8000, 12000, 16000, 24000]))
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    coded.seek(0)
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    with av.open(coded, "r") as container:
        parts = [out.to_ndarray()[0] for f in container.decode(audio=0) for out in resampler.resample(f)]
        parts += [out.to_ndarray()[0] for out in resampler.resample(None)]
    decoded = np.concatenate(parts) * (peak * 32768.0 / 30000.0)
    similarity = scipy.signal.correlate(decoded, voice, "full", "fft")[len(voice) - 1 :][:_CODEC_SEARCH]
    delay = int(np.argmax(similarity))
    return np.pad(decoded[delay:], (0, len(voice)))[: len(voice)].astype(np.float32)


def levelled(voice: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Peaks anywhere from -50 dB to full scale, at times clipped."""
    peak = max(float(np.abs(voice).max()), 1e-6)
    if rng.random() < 0.07:
        return np.asarray((voice / peak * rng.uniform(1.2, 8.0)).clip(-1.0, 1.0), dtype=np.float32)
    return np.asarray(voice / peak * 10.0 ** (rng.uniform(-50.0, 0.0) * rng.random() / 20.0), dtype=np.float32)


def some_noise(
    samples: int, noises: Sequence[FloatArray], voices: Sequence[FloatArray], rng: np.random.Generator
) -> FloatArray:
    """Noise of a random kind [samples].

    Args:
        samples: Number of samples.
        noises: Recorded ones.
        voices: Speech to make babble of.
        rng: Draws all.
    """
    draw = rng.random()
    if draw < 0.3:
        return coloured_noise(samples, rng, max(float(rng.uniform(-3.0, 7.0)), 0.0))  # white in three of ten
    if draw < 0.58 and noises:
        return _piece(noises[int(rng.integers(len(noises)))], samples, rng)
    if draw < 0.82 and voices:
        chosen = rng.integers(len(voices), size=int(rng.integers(3, 7)))
        return np.asarray(np.sum([_piece(voices[int(i)], samples, rng) for i in chosen], axis=0), dtype=np.float32)
    if draw < 0.9:
        return clicks(samples, rng) + 0.1 * coloured_noise(samples, rng, 3.0)
    return mains_hum(samples, rng) + 0.2 * coloured_noise(samples, rng, 3.0)


def disturbed(
    voice: FloatArray, noises: Sequence[FloatArray], voices: Sequence[FloatArray], rng: np.random.Generator
) -> FloatArray:
    """A clean voice [N] as it might come in."""
    x = equalised(voice, rng) if rng.random() < 0.5 else voice
    if rng.random() < 0.25:
        x = reverberated(x, rng)
    if rng.random() < 0.75:
        x = add_noise(x, some_noise(len(x), noises, voices, rng), float(rng.uniform(-6.0, 28.0)))
    if rng.random() < 0.1:
        x = telephone(x, rng)
    elif rng.random() < 0.08:
        x = through_codec(x, rng)
    return levelled(x, rng)


def _piece(source: FloatArray, samples: int, rng: np.random.Generator) -> FloatArray:
    """A stretch of a recording from a random place, repeated where it is too short."""
    start = int(rng.integers(max(len(source) - samples, 0) + 1))
    return np.resize(source[start : start + samples], samples)
