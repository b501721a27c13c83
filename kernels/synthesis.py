"""Speech from WORLD's frames: a synthesis that carries its state, so frames may come in any portions.

It adds one minimum-phase response per pulse, as WORLD's synthesis does, and filtered noise frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .highpass import HighpassState, highpass_into
from .noise import NoiseReader
from .types import ComplexArray, Float64Array, FloatArray
from .world import BINS, FFT_SIZE, HOP, POWER_FLOOR, SAMPLE_RATE, SpeechFrames

PULSE_F0_MIN_HZ = 20.0
PULSE_F0_MAX_HZ = 1600.0
LEAD = 16  # samples before a pulse that its response may use: a pulse between two samples rings to both sides
LATENCY_SAMPLES = HOP + LEAD
_ONSET_PHASE = 0.5  # of the first pulse after an unvoiced stretch: fixed, so that stretches do not depend on the past
_PULSES_PER_HOP = int(HOP * PULSE_F0_MAX_HZ / SAMPLE_RATE) + 1
_DYNAMIC_RANGE = 1e-9  # of the envelope of one frame: a deeper cliff only makes the minimum-phase response long
_FRAMES_AT_ONCE = 32  # bounds the memory of one pass
_NOISE_STREAM = 0
_HIGHPASS_HZ = 40.0  # pulses of one sign add up to DC
_NOISE_WINDOW = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * HOP) / HOP)  # Hann: shifted by HOP they add up to one
_TAIL_FADE = np.concatenate(
    (np.ones(FFT_SIZE - FFT_SIZE // 4), 0.5 + 0.5 * np.cos(np.pi * np.arange(FFT_SIZE // 4) / (FFT_SIZE // 4)))
)


@dataclass(slots=True)
class SynthesisState:
    """What the synthesis carries from frame to frame.

    Attributes:
        frame: Absolute index of the next frame; numbers the noise.
        phase: Phase of the pulse train at the last frame in cycles, 0..1.
        f0_mem: F0 in Hz of the last frame, 0 where unvoiced.
        spectrum_mem: Complex logarithm of its minimum-phase spectrum [BINS].
        periodic_mem: Amplitude ratio of its pulses [BINS].
        overlap_mem: Tails of earlier pulses and noise in the coming samples [FFT_SIZE].
        highpass: State of the filter that removes DC.
    """

    frame: int = 0
    phase: float = 0.0
    f0_mem: float = 0.0
    spectrum_mem: ComplexArray = field(default_factory=lambda: np.full(BINS, 0.5 * np.log(POWER_FLOOR), complex))
    periodic_mem: Float64Array = field(default_factory=lambda: np.zeros(BINS))
    overlap_mem: Float64Array = field(default_factory=lambda: np.zeros(FFT_SIZE))
    highpass: HighpassState = field(default_factory=lambda: HighpassState.allocate(SAMPLE_RATE, _HIGHPASS_HZ))

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.frame = 0
        self.phase = self.f0_mem = 0.0
        self.spectrum_mem[:] = 0.5 * np.log(POWER_FLOOR)
        self.periodic_mem[:] = 0.0
        self.overlap_mem[:] = 0.0
        self.highpass.reset()


@dataclass(slots=True)
class SynthesisWorkspace:
    """Buffers of `synthesize_into`. They hold nothing from call to call but noise, which follows from its index.

    Attributes:
        noise: Draws the noise.
        noise_rows: Noise of the frames and of the one before them [frames + 1, HOP].
        f0: F0 of the frames and of the one before them, in Hz [frames + 1].
        noise_ratio: Amplitude ratio of noise [frames, BINS].
        pulse_ratio: Amplitude ratio of pulses, from the frame before on [frames + 1, BINS].
        spectrum: Complex logarithms of minimum-phase spectra, from the frame before on [frames + 1, BINS].
        log_power: Logarithm of the power, as complex numbers without imaginary part [frames, BINS].
        cepstrum: Cepstra [frames, FFT_SIZE].
        frame_before: See `_find_pulses`, as for the next three [pulses].
        sample: First sample at or after each pulse [pulses].
        lateness: By how much it is later [pulses].
        pulse_f0: F0 of each pulse [pulses].
        starts: First sample of each frame [frames].
        excitation: Windowed noise, zero beyond two hops [frames, FFT_SIZE].
        excitation_spectra: Spectra of it [frames, BINS].
        spectra: Spectra of the pulses, then of the noise [pulses + frames, BINS].
        responses: Responses of pulses and noise that are added to the output [pulses + frames, FFT_SIZE].
        buffer: The output and what rings on after it [frames * HOP + FFT_SIZE].
        samples: The output before the high-pass filter [frames * HOP].
    """

    noise: NoiseReader
    noise_rows: FloatArray
    f0: Float64Array
    noise_ratio: Float64Array
    pulse_ratio: Float64Array
    spectrum: ComplexArray
    log_power: ComplexArray
    cepstrum: Float64Array
    frame_before: NDArray[np.int64]
    sample: NDArray[np.int64]
    lateness: Float64Array
    pulse_f0: Float64Array
    starts: NDArray[np.int64]
    excitation: Float64Array
    excitation_spectra: ComplexArray
    spectra: ComplexArray
    responses: Float64Array
    buffer: Float64Array
    samples: FloatArray

    @classmethod
    def allocate(cls, frames: int) -> SynthesisWorkspace:
        """Buffers for calls of any length; most are made for so many frames."""
        frames = max(min(frames, _FRAMES_AT_ONCE), 1)
        pulses = frames * _PULSES_PER_HOP
        return cls(
            noise=NoiseReader(_NOISE_STREAM, HOP),
            noise_rows=np.zeros((frames + 1, HOP), dtype=np.float32),
            f0=np.zeros(frames + 1),
            noise_ratio=np.zeros((frames, BINS)),
            pulse_ratio=np.zeros((frames + 1, BINS)),
            spectrum=np.zeros((frames + 1, BINS), dtype=np.complex128),
            log_power=np.zeros((frames, BINS), dtype=np.complex128),
            cepstrum=np.zeros((frames, FFT_SIZE)),
            frame_before=np.zeros(pulses, dtype=np.int64),
            sample=np.zeros(pulses, dtype=np.int64),
            lateness=np.zeros(pulses),
            pulse_f0=np.zeros(pulses),
            starts=np.arange(frames) * HOP,
            excitation=np.zeros((frames, FFT_SIZE)),
            excitation_spectra=np.zeros((frames, BINS), dtype=np.complex128),
            spectra=np.zeros((pulses + frames, BINS), dtype=np.complex128),
            responses=np.zeros((pulses + frames, FFT_SIZE)),
            buffer=np.zeros(frames * HOP + FFT_SIZE),
            samples=np.zeros(frames * HOP, dtype=np.float32),
        )


def synthesize(frames: SpeechFrames, state: SynthesisState, seed: int) -> FloatArray:
    """As `synthesize_into`, with buffers of its own: returns the samples [n * HOP]."""
    out = np.zeros(len(frames.f0_hz) * HOP, dtype=np.float32)
    synthesize_into(frames, state, seed, SynthesisWorkspace.allocate(len(frames.f0_hz)), out)
    return out


def synthesize_into(
    frames: SpeechFrames, state: SynthesisState, seed: int, workspace: SynthesisWorkspace, out: FloatArray
) -> None:
    """Render the next frames of a stream. How the stream is cut changes nothing.

    Args:
        frames: [n] frames; voiced F0 is limited to 20..1600 Hz.
        state: Advanced in place.
        seed: Seed of the noise, which is a function of the seed and of the absolute frame index.
        workspace: Buffers.
        out: Filled [n * HOP] at 24 kHz. Samples come `LATENCY_SAMPLES` after the frames: frame i is centred on sample
            `i * HOP + LATENCY_SAMPLES` of the stream.
    """
    at_once = len(workspace.starts)
    for i in range(0, len(frames.f0_hz), at_once):
        j = i + at_once
        piece = SpeechFrames(frames.f0_hz[i:j], frames.power[i:j], frames.aperiodicity[i:j])
        _synthesize_piece(piece, state, seed, workspace, out[i * HOP : j * HOP])


def skip_frames(frames: SpeechFrames, state: SynthesisState, workspace: SynthesisWorkspace) -> None:
    """Let the next frames of a stream pass without rendering them.

    Phase and frame index go on as in `synthesize_into`, and the next frames join the last of these; only what these
    frames would have added to the samples after them is missing, 43 ms at most.

    Args:
        frames: `f0_hz` of all frames [n], n at least 1; envelope and aperiodicity of the last one alone [1, BINS].
        state: Advanced in place.
        workspace: Buffers.
    """
    w, at_once = workspace, len(workspace.starts)
    for i in range(0, len(frames.f0_hz), at_once):
        piece = frames.f0_hz[i : i + at_once]
        f0 = w.f0[: len(piece) + 1]
        f0[0] = state.f0_mem
        _limit_f0(piece, f0)
        _, state.phase = _find_pulses(f0, state.phase, w.frame_before, w.sample, w.lateness, w.pulse_f0)
        state.f0_mem = float(f0[-1])
    _split_excitation(frames.f0_hz[-1:], frames.aperiodicity, w.noise_ratio, w.pulse_ratio)
    minimum_phase_into(frames.power, w, w.spectrum[1:2])
    state.spectrum_mem[:] = w.spectrum[1]
    state.periodic_mem[:] = w.pulse_ratio[1]
    state.frame += len(frames.f0_hz)
    state.overlap_mem[:] = 0.0
    state.highpass.reset()


def _synthesize_piece(
    frames: SpeechFrames, state: SynthesisState, seed: int, w: SynthesisWorkspace, out: FloatArray
) -> None:
    count = len(frames.f0_hz)
    pulses = _advance(frames, state, w)
    # Noise is filtered frame by frame under windows that add up to one: between frames the filters are cross-faded.
    w.noise.read_into(seed, state.frame - 1 - count, w.noise_rows[: count + 1])
    _window_noise(w.noise_rows, _NOISE_WINDOW, w.excitation[:count])
    np.fft.rfft(w.excitation[:count], out=w.excitation_spectra[:count])
    rows = pulses + count
    _pulse_spectra(w.spectrum, w.pulse_ratio, w.frame_before, w.sample, w.lateness, w.pulse_f0, w.spectra[:pulses])
    _noise_spectra(w.excitation_spectra[:count], w.spectrum[1:], w.noise_ratio, w.spectra[pulses:rows])
    np.fft.irfft(w.spectra[:rows], FFT_SIZE, out=w.responses[:rows])
    _fade_tails(w.responses[:pulses], _TAIL_FADE)
    buffer, samples = w.buffer[: count * HOP + FFT_SIZE], w.samples[: count * HOP]
    buffer[:FFT_SIZE] = state.overlap_mem
    buffer[FFT_SIZE:] = 0.0
    _add_rows(buffer, w.responses[:pulses], w.sample)
    _add_rows(buffer[LEAD:], w.responses[pulses:rows, :-LEAD], w.starts)
    samples[:] = buffer[: count * HOP]
    highpass_into(samples, state.highpass, out)
    state.overlap_mem[:] = buffer[count * HOP :]


def _advance(frames: SpeechFrames, state: SynthesisState, w: SynthesisWorkspace) -> int:
    """Everything before the rendering: pulses found, spectra made, and what the next frames need carried on.

    Returns:
        How many pulses there are.
    """
    count = len(frames.f0_hz)
    f0, spectrum, pulse_ratio = w.f0[: count + 1], w.spectrum[: count + 1], w.pulse_ratio[: count + 1]
    f0[0], spectrum[0], pulse_ratio[0] = state.f0_mem, state.spectrum_mem, state.periodic_mem
    _limit_f0(frames.f0_hz, f0)
    _split_excitation(frames.f0_hz, frames.aperiodicity, w.noise_ratio, pulse_ratio)
    minimum_phase_into(frames.power, w, spectrum[1:])
    pulses, state.phase = _find_pulses(f0, state.phase, w.frame_before, w.sample, w.lateness, w.pulse_f0)
    state.spectrum_mem[:] = spectrum[-1]
    state.periodic_mem[:] = pulse_ratio[-1]
    state.f0_mem = float(f0[-1])
    state.frame += count
    return int(pulses)


def minimum_phase_into(power: Float64Array, w: SynthesisWorkspace, out: ComplexArray) -> None:
    """Complex logarithm of the minimum-phase spectrum that has a given power, by folding the cepstrum.

    Two of them may be interpolated: the result is the minimum-phase spectrum of the interpolated logarithmic power.

    Args:
        power: [frames, BINS].
        w: Buffers.
        out: Filled [frames, BINS].
    """
    count = len(power)
    logarithm, cepstrum = w.log_power[:count], w.cepstrum[:count]
    _floor_power(power, logarithm)
    np.log(logarithm.real, out=logarithm.real)
    np.fft.irfft(logarithm, FFT_SIZE, out=cepstrum)
    _fold(cepstrum)
    np.fft.rfft(cepstrum, out=out)


# Loops in place of NumPy's operators, which allocate where rows are broadcast.
@njit(nogil=True, cache=True)
def _floor_power(power: Float64Array, out: ComplexArray) -> None:
    for i in range(len(power)):
        floor = max(power[i].max() * _DYNAMIC_RANGE, POWER_FLOOR)
        for k in range(power.shape[1]):
            out[i, k] = max(power[i, k], floor)


@njit(nogil=True, cache=True)
def _fold(cepstrum: Float64Array) -> None:
    """From the cepstrum of the power to that of the minimum-phase amplitude: half of it, all in positive time."""
    half = FFT_SIZE // 2
    for row in cepstrum:
        row[0] *= 0.5
        row[half] *= 0.5
        row[half + 1 :] = 0.0


@njit(nogil=True, cache=True)
def _fade_tails(rows: Float64Array, fade: Float64Array) -> None:
    for row in rows:
        for k in range(len(fade)):
            row[k] *= fade[k]


@njit(nogil=True, cache=True)
def _limit_f0(f0_hz: Float64Array, out: Float64Array) -> None:
    """Fill `out` [frames + 1] from its second value on with F0 [frames] within its limits, 0 where unvoiced."""
    for i in range(len(f0_hz)):
        out[i + 1] = min(max(f0_hz[i], PULSE_F0_MIN_HZ), PULSE_F0_MAX_HZ) if f0_hz[i] > 0.0 else 0.0


@njit(nogil=True, cache=True)
def _split_excitation(
    f0_hz: Float64Array, aperiodicity: Float64Array, noise_ratio: Float64Array, pulse_ratio: Float64Array
) -> None:
    """How much of each frame is noise and how much pulses.

    Args:
        f0_hz: [frames], 0 where unvoiced.
        aperiodicity: [frames, BINS].
        noise_ratio: Filled [frames, BINS].
        pulse_ratio: Filled from its second row on [frames + 1, BINS].
    """
    for i in range(len(f0_hz)):
        for k in range(aperiodicity.shape[1]):
            noise = min(max(aperiodicity[i, k], 0.0), 1.0) if f0_hz[i] > 0.0 else 1.0
            noise_ratio[i, k] = noise
            pulse_ratio[i + 1, k] = np.sqrt(1.0 - noise * noise)


@njit(nogil=True, cache=True)
def _window_noise(rows: FloatArray, window: Float64Array, out: Float64Array) -> None:
    """Each two rows one after another, under a window, into the start of each row of `out`."""
    for i in range(len(out)):
        for n in range(HOP):
            out[i, n] = rows[i, n] * window[n]
            out[i, HOP + n] = rows[i + 1, n] * window[HOP + n]


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
    pulse_ratio: Float64Array,
    frame_before: NDArray[np.int64],
    sample: NDArray[np.int64],
    lateness: Float64Array,
    pulse_f0: Float64Array,
    out: ComplexArray,
) -> None:
    """Spectra of pulses, each between those of the frames on both sides of it.

    Args:
        spectrum: Complex logarithms of the frames' minimum-phase spectra [frames + 1, BINS].
        pulse_ratio: Amplitude ratio of pulses [frames + 1, BINS].
        frame_before: See `_find_pulses`, as for the next three.
        sample: See there.
        lateness: See there.
        pulse_f0: See there.
        out: Filled [pulses, BINS].
    """
    for i in range(len(out)):
        before, late = frame_before[i], lateness[i]
        weight = min(max((sample[i] - late) / HOP - before, 0.0), 1.0)
        gain = np.sqrt(SAMPLE_RATE / pulse_f0[i])  # keeps the power whatever the F0
        delay = 2.0 * np.pi / FFT_SIZE * (LEAD - late)
        for k in range(BINS):
            logarithm = spectrum[before, k] * (1.0 - weight) + spectrum[before + 1, k] * weight
            amplitude = gain * (pulse_ratio[before, k] * (1.0 - weight) + pulse_ratio[before + 1, k] * weight)
            amplitude *= np.exp(logarithm.real)
            angle = logarithm.imag - delay * k
            out[i, k] = complex(amplitude * np.cos(angle), amplitude * np.sin(angle))


@njit(nogil=True, cache=True)
def _noise_spectra(noise: ComplexArray, spectrum: ComplexArray, ratio: Float64Array, out: ComplexArray) -> None:
    """Noise [frames, BINS] filtered by the frames whose logarithms are given, times their amplitude ratio of noise."""
    for i in range(len(out)):
        for k in range(BINS):
            amplitude = ratio[i, k] * np.exp(spectrum[i, k].real)
            angle = spectrum[i, k].imag
            out[i, k] = noise[i, k] * complex(amplitude * np.cos(angle), amplitude * np.sin(angle))


@njit(nogil=True, cache=True)
def _add_rows(buffer: Float64Array, rows: Float64Array, starts: NDArray[np.int64]) -> None:
    for i in range(len(rows)):
        for k in range(rows.shape[1]):
            buffer[starts[i] + k] += rows[i, k]
