"""Speech as F0, spectral envelope and aperiodicity, and back: WORLD's analysis with a streaming synthesis of our own.

Analysis is WORLD's (Morise, Yokomori & Ozawa 2016, doi:10.1587/transinf.2015EDP7457): CheapTrick for the envelope
(Morise 2015, doi:10.1016/j.specom.2014.09.003) and D4C for the aperiodicity (Morise 2016,
doi:10.1016/j.specom.2016.09.001). Synthesis adds one minimum-phase response per pulse, as WORLD's does, and filtered
noise frame by frame. It carries its state, so frames may come in any portions.

Frame i is centred on sample `i * HOP`. All of it runs at one rate: 24 kHz holds speech up to 12 kHz, and is the highest
at which an FFT of 1024 covers three periods of 71 Hz, as CheapTrick needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.fft
import scipy.signal
from numba import njit
from numpy.typing import NDArray

from .d4c import d4c
from .highpass import HighpassState, highpass_into
from .noise import frame_noise
from .types import ComplexArray, Float64Array

SAMPLE_RATE = 24000
HOP = 120  # 5 ms
FFT_SIZE = 1024
BINS = FFT_SIZE // 2 + 1
ENVELOPE_FLOOR_HZ = 71.0  # CheapTrick takes frames at or below 3 * SAMPLE_RATE / (FFT_SIZE - 3) Hz for unvoiced ones
PULSE_F0_MIN_HZ = 20.0
PULSE_F0_MAX_HZ = 1600.0

LEAD = 16  # samples before a pulse that its response may use: a pulse between two samples rings to both sides
LATENCY_SAMPLES = HOP + LEAD
_ONSET_PHASE = 0.5  # of the first pulse after an unvoiced stretch: fixed, so that stretches do not depend on the past
_PULSES_PER_HOP = int(HOP * PULSE_F0_MAX_HZ / SAMPLE_RATE) + 1
_POWER_FLOOR = 1e-20
_DYNAMIC_RANGE = 1e-9  # of the envelope of one frame: a deeper cliff only makes the minimum-phase response long
_FRAMES_AT_ONCE = 256  # bounds the memory of one pass
_NOISE_STREAM = 0
_HIGHPASS_HZ = 40.0  # pulses of one sign add up to DC
_NOISE_WINDOW = scipy.signal.get_window("hann", 2 * HOP)  # shifted by HOP they add up to one
_TAIL_FADE = np.concatenate(
    (np.ones(FFT_SIZE - FFT_SIZE // 4), 0.5 + 0.5 * np.cos(np.pi * np.arange(FFT_SIZE // 4) / (FFT_SIZE // 4)))
)


@dataclass(frozen=True, slots=True)
class SpeechFrames:
    """Consecutive frames of speech, 5 ms apart.

    Attributes:
        f0_hz: 0 where unvoiced [frames].
        power: Spectral envelope: power per bin of the FFT of a pulse of unit power [frames, BINS].
        aperiodicity: Amplitude share of noise, 0..1 [frames, BINS]; 1 where unvoiced.
    """

    f0_hz: Float64Array
    power: Float64Array
    aperiodicity: Float64Array


def analyse(audio: NDArray[np.floating[Any]], f0_hz: NDArray[np.floating[Any]], first_frame: int) -> SpeechFrames:
    """Envelope and aperiodicity of frames whose F0 is known.

    A frame reads about 22 ms on both sides of its centre (42 ms for very low voices), and zeros beyond the audio.

    Args:
        audio: At 24 kHz [N].
        f0_hz: Of the frames wanted [frames], 0 where unvoiced. Where voicing is in doubt, give an F0: D4C has the last
            word and makes the frame unvoiced if it finds no harmonics.
        first_frame: Index of the first of them, where frame 0 is centred on `audio[0]`.
    """
    import pyworld

    frames = len(f0_hz)
    if frames == 0:
        return SpeechFrames(np.zeros(0), np.zeros((0, BINS)), np.zeros((0, BINS)))
    x = np.ascontiguousarray(audio, dtype=np.float64)
    x = np.pad(x, (0, max((first_frame + frames) * HOP + FFT_SIZE - len(x), 0)))
    f0 = np.ascontiguousarray(f0_hz, dtype=np.float64)
    times = np.asarray((first_frame + np.arange(frames)) * (HOP / SAMPLE_RATE), dtype=np.float64)
    envelope_f0 = np.where(f0 > 0, np.maximum(f0, ENVELOPE_FLOOR_HZ), 0.0)
    power = pyworld.cheaptrick(x, envelope_f0, times, SAMPLE_RATE, fft_size=FFT_SIZE)
    # D4C overflows on audio far beyond full scale, and takes what is 120 dB below full scale for noise.
    aperiodicity = d4c(x / max(1.0, np.abs(x).max()), f0, times, SAMPLE_RATE, BINS)
    # D4C finds some frames to be noise throughout although they were given an F0.
    return SpeechFrames(np.where(aperiodicity[:, 0] < 0.5, f0, 0.0), power, aperiodicity)


def warp_envelope(power: Float64Array, ratio: Float64Array) -> Float64Array:
    """Move all resonances by a factor, keeping the power of each frame.

    Args:
        power: [frames, BINS].
        ratio: Factor per frame [frames]; above 1 moves resonances up.
    """
    warped = np.empty_like(power)
    _warp_rows(np.log(np.maximum(power, _POWER_FLOOR)), ratio, warped)
    warped *= (power.sum(axis=1) / np.maximum(warped.sum(axis=1), _POWER_FLOOR))[:, None]
    return warped


@njit(nogil=True, cache=True)
def _warp_rows(log_power: Float64Array, ratio: Float64Array, out: Float64Array) -> None:
    frames, bins = log_power.shape
    for i in range(frames):
        for k in range(bins):
            source = min(k / ratio[i], bins - 1.0)
            low = min(int(source), bins - 2)
            share = source - low
            out[i, k] = np.exp(log_power[i, low] * (1.0 - share) + log_power[i, low + 1] * share)


@dataclass(slots=True)
class SynthesisState:
    """What the synthesis carries from frame to frame.

    Attributes:
        frame: Absolute index of the next frame; numbers the noise.
        phase: Of the pulse train in cycles, 0..1, at the last frame.
        f0_mem: F0 in Hz of the last frame, 0 where unvoiced.
        spectrum_mem: Complex logarithm of its minimum-phase spectrum [BINS].
        periodic_mem: Amplitude share of its pulses [BINS].
        overlap_mem: What earlier pulses and noise add to the samples to come [FFT_SIZE].
        highpass: Of the filter that removes DC.
    """

    frame: int = 0
    phase: float = 0.0
    f0_mem: float = 0.0
    spectrum_mem: ComplexArray = field(default_factory=lambda: np.full(BINS, 0.5 * np.log(_POWER_FLOOR), complex))
    periodic_mem: Float64Array = field(default_factory=lambda: np.zeros(BINS))
    overlap_mem: Float64Array = field(default_factory=lambda: np.zeros(FFT_SIZE))
    highpass: HighpassState = field(default_factory=lambda: HighpassState.allocate(SAMPLE_RATE, _HIGHPASS_HZ))

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.frame = 0
        self.phase = self.f0_mem = 0.0
        self.spectrum_mem[:] = 0.5 * np.log(_POWER_FLOOR)
        self.periodic_mem[:] = 0.0
        self.overlap_mem[:] = 0.0
        self.highpass.reset()


def synthesize(frames: SpeechFrames, state: SynthesisState, seed: int) -> NDArray[np.float32]:
    """Render the next frames of a stream.

    Args:
        frames: [n] frames; voiced F0 is limited to 20..1600 Hz.
        state: Advanced in place.
        seed: Of the noise, which is a function of the seed and of the absolute frame index.

    Returns:
        [n * HOP] samples at 24 kHz. They come `LATENCY_SAMPLES` after the frames: frame i is centred on sample
        `i * HOP + LATENCY_SAMPLES` of the stream.
    """
    parts = [
        _synthesize_piece(
            SpeechFrames(frames.f0_hz[i:stop], frames.power[i:stop], frames.aperiodicity[i:stop]), state, seed
        )
        for i in range(0, len(frames.f0_hz), _FRAMES_AT_ONCE)
        for stop in (i + _FRAMES_AT_ONCE,)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def _synthesize_piece(frames: SpeechFrames, state: SynthesisState, seed: int) -> NDArray[np.float32]:
    count = len(frames.f0_hz)
    voiced = frames.f0_hz > 0
    limited = np.clip(frames.f0_hz, PULSE_F0_MIN_HZ, PULSE_F0_MAX_HZ)
    f0 = np.concatenate(((state.f0_mem,), np.where(voiced, limited, 0.0)))
    noise_share = np.where(voiced[:, None], np.clip(frames.aperiodicity, 0.0, 1.0), 1.0)
    pulse_share = np.concatenate((state.periodic_mem[None], np.sqrt(1.0 - noise_share * noise_share)))
    spectrum = np.concatenate((state.spectrum_mem[None], minimum_phase(frames.power)))

    buffer = np.zeros(count * HOP + FFT_SIZE)
    buffer[:FFT_SIZE] = state.overlap_mem

    frame_before = np.empty(count * _PULSES_PER_HOP, dtype=np.int64)
    sample = np.empty_like(frame_before)
    lateness = np.empty(len(sample))
    pulse_f0 = np.empty(len(sample))
    pulses, state.phase = _find_pulses(f0, state.phase, frame_before, sample, lateness, pulse_f0)
    # Noise is filtered frame by frame under windows that add up to one: between frames the filters are cross-faded.
    noise = frame_noise(seed, _NOISE_STREAM, state.frame - 1, count + 1, HOP)
    excitation = np.concatenate((noise[:-1], noise[1:]), axis=1) * _NOISE_WINDOW
    spectra = np.empty((pulses + count, BINS), dtype=np.complex128)
    _pulse_spectra(spectrum, pulse_share, frame_before, sample, lateness, pulse_f0, spectra[:pulses])
    _noise_spectra(scipy.fft.rfft(excitation, FFT_SIZE, axis=1), spectrum[1:], noise_share, spectra[pulses:])
    responses = scipy.fft.irfft(spectra, FFT_SIZE, axis=1)
    responses[:pulses] *= _TAIL_FADE
    _add_rows(buffer, responses[:pulses], sample)
    _add_rows(buffer[LEAD:], responses[pulses:, :-LEAD], np.arange(count) * HOP)

    out = np.empty(count * HOP, dtype=np.float32)
    highpass_into(buffer[: count * HOP].astype(np.float32), state.highpass, out)
    state.overlap_mem[:] = buffer[count * HOP :]
    state.spectrum_mem[:] = spectrum[-1]
    state.periodic_mem[:] = pulse_share[-1]
    state.f0_mem = float(f0[-1])
    state.frame += count
    return out


def minimum_phase(power: Float64Array) -> ComplexArray:
    """Complex logarithm of the minimum-phase spectrum that has a given power, by folding the cepstrum.

    Two of them may be interpolated: the result is the minimum-phase spectrum of the interpolated logarithmic power.

    Args:
        power: [frames, BINS].

    Returns:
        [frames, BINS].
    """
    floor = np.maximum(power.max(axis=1, keepdims=True) * _DYNAMIC_RANGE, _POWER_FLOOR)
    cepstrum = scipy.fft.irfft(0.5 * np.log(np.maximum(power, floor)), FFT_SIZE, axis=1)
    cepstrum[:, 1 : FFT_SIZE // 2] *= 2.0
    cepstrum[:, FFT_SIZE // 2 + 1 :] = 0.0
    return np.asarray(scipy.fft.rfft(cepstrum, axis=1))


@njit(nogil=True, cache=True)
def _find_pulses(
    f0: Float64Array,
    phase: float,
    frame_before: NDArray[np.int64],
    sample: NDArray[np.int64],
    lateness: Float64Array,
    pulse_f0: Float64Array,
) -> tuple[int, float]:
    """Where the phase of the pulse train wraps, between each two frames of `f0` [frames + 1].

    Args:
        phase: At the first frame.
        frame_before: Filled with the index of the frame before each pulse.
        sample: Filled with the first sample at or after it, counted from the first frame.
        lateness: Filled with how much later than the pulse that sample is, 0..1 samples.
        pulse_f0: Filled with the F0 there in Hz.

    Returns:
        How many there are, and the phase at the last frame.
    """
    pulses = 0
    for i in range(len(f0) - 1):
        start, end = f0[i], f0[i + 1]
        if start == 0.0 and end == 0.0:
            continue
        if start == 0.0:
            start, phase = end, _ONSET_PHASE
        elif end == 0.0:
            end = start
        for n in range(HOP):
            here = start + (end - start) * (n / HOP)
            step = here / SAMPLE_RATE
            if phase >= 1.0:
                phase -= 1.0
                frame_before[pulses] = i
                sample[pulses] = i * HOP + n
                lateness[pulses] = phase / step
                pulse_f0[pulses] = here
                pulses += 1
            phase += step
    return pulses, phase


@njit(nogil=True, cache=True)
def _pulse_spectra(
    spectrum: ComplexArray,
    pulse_share: Float64Array,
    frame_before: NDArray[np.int64],
    sample: NDArray[np.int64],
    lateness: Float64Array,
    pulse_f0: Float64Array,
    out: ComplexArray,
) -> None:
    """Spectra of pulses, each between those of the frames on both sides of it.

    Args:
        spectrum: Complex logarithms of the frames' minimum-phase spectra [frames + 1, BINS].
        pulse_share: Amplitude share of pulses [frames + 1, BINS].
        frame_before: See `_find_pulses`, as for the next three.
        sample: See there.
        lateness: See there.
        pulse_f0: See there.
        out: Filled [pulses, BINS].
    """
    for i in range(len(out)):
        before, late = frame_before[i], lateness[i]
        share = min(max((sample[i] - late) / HOP - before, 0.0), 1.0)
        gain = np.sqrt(SAMPLE_RATE / pulse_f0[i])  # keeps the power whatever the F0
        delay = 2.0 * np.pi / FFT_SIZE * (LEAD - late)
        for k in range(BINS):
            logarithm = spectrum[before, k] * (1.0 - share) + spectrum[before + 1, k] * share
            amplitude = gain * (pulse_share[before, k] * (1.0 - share) + pulse_share[before + 1, k] * share)
            amplitude *= np.exp(logarithm.real)
            angle = logarithm.imag - delay * k
            out[i, k] = complex(amplitude * np.cos(angle), amplitude * np.sin(angle))


@njit(nogil=True, cache=True)
def _noise_spectra(noise: ComplexArray, spectrum: ComplexArray, share: Float64Array, out: ComplexArray) -> None:
    """Noise [frames, BINS] filtered by the frames whose logarithms are given; only their share of it."""
    for i in range(len(out)):
        for k in range(BINS):
            amplitude = share[i, k] * np.exp(spectrum[i, k].real)
            angle = spectrum[i, k].imag
            out[i, k] = noise[i, k] * complex(amplitude * np.cos(angle), amplitude * np.sin(angle))


@njit(nogil=True, cache=True)
def _add_rows(buffer: Float64Array, rows: Float64Array, starts: NDArray[np.int64]) -> None:
    for i in range(len(rows)):
        for k in range(rows.shape[1]):
            buffer[starts[i] + k] += rows[i, k]
