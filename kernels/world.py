"""Speech as F0, spectral envelope and aperiodicity: WORLD's frames, their analysis, and formants shifted in them.

Analysis is WORLD's (Morise, Yokomori & Ozawa 2016, doi:10.1587/transinf.2015EDP7457): CheapTrick for the envelope
(Morise 2015, doi:10.1016/j.specom.2014.09.003) and D4C for the aperiodicity (Morise 2016,
doi:10.1016/j.specom.2016.09.001). `kernels/synthesis.py` is the way back.

Frame i is centred on sample `i * HOP`. All of it runs at one rate: 24 kHz holds speech up to 12 kHz, and is the highest
at which an FFT of 1024 covers three periods of 71 Hz, as CheapTrick needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .d4c import BAND_HZ, D4CWorkspace, d4c_into, voiced_into
from .types import Float64Array

SAMPLE_RATE = 24000
HOP = 120  # 5 ms
FFT_SIZE = 1024
BINS = FFT_SIZE // 2 + 1
ENVELOPE_FLOOR_HZ = 71.0  # CheapTrick takes frames at or below 3 * SAMPLE_RATE / (FFT_SIZE - 3) Hz for unvoiced ones

POWER_FLOOR = 1e-20


@dataclass(slots=True)
class SpeechFrames:
    """Consecutive frames of speech, 5 ms apart.

    Attributes:
        f0_hz: 0 where unvoiced [frames].
        power: Spectral envelope: power per bin of the FFT of a pulse of unit power [frames, BINS].
        aperiodicity: Amplitude ratio of noise, 0..1 [frames, BINS]; 1 where unvoiced.
    """

    f0_hz: Float64Array
    power: Float64Array
    aperiodicity: Float64Array


@dataclass(slots=True)
class AnalysisWorkspace:
    """Buffers of `analyse_into`, which leaves its result in them.

    Attributes:
        frames: The result. Its envelopes are an array that pyworld makes anew in each call.
        times_s: Centres of the frames [frames].
        envelope_f0: F0 as CheapTrick can use it, in Hz [frames].
        audio: The audio brought down to full scale, if it is beyond [N].
        d4c: Buffers of D4C.
    """

    frames: SpeechFrames
    times_s: Float64Array
    envelope_f0: Float64Array
    audio: Float64Array
    d4c: D4CWorkspace

    @classmethod
    def allocate(cls, frames: int, samples: int, noise_band_hz: float = BAND_HZ) -> AnalysisWorkspace:
        """Buffers for so many frames out of so many samples; aperiodicity is found in bands of so many Hz."""
        result = SpeechFrames(np.zeros(frames), np.zeros((0, BINS)), np.ones((frames, BINS)))
        d4c = D4CWorkspace.allocate(frames, SAMPLE_RATE, BINS, noise_band_hz)
        return cls(result, np.zeros(frames), np.zeros(frames), np.zeros(samples), d4c)


def samples_to_analyse(first_frame: int, frames: int) -> int:
    """How long the audio given to `analyse_into` must be, zeros at its end included."""
    return (first_frame + frames) * HOP + FFT_SIZE


def analyse(
    audio: NDArray[np.floating[Any]],
    f0_hz: NDArray[np.floating[Any]],
    first_frame: int,
    noise_band_hz: float = BAND_HZ,
) -> SpeechFrames:
    """As `analyse_into`, with buffers of its own, for audio of any length, beyond whose end lie zeros."""
    frames = len(f0_hz)
    if frames == 0:
        return SpeechFrames(np.zeros(0), np.zeros((0, BINS)), np.zeros((0, BINS)))
    padding = max(samples_to_analyse(first_frame, frames) - len(audio), 0)
    x = np.pad(np.asarray(audio, dtype=np.float64), (0, padding))
    workspace = AnalysisWorkspace.allocate(frames, len(x), noise_band_hz)
    analyse_into(x, np.ascontiguousarray(f0_hz, dtype=np.float64), first_frame, workspace)
    return workspace.frames


def analyse_into(audio: Float64Array, f0_hz: Float64Array, first_frame: int, workspace: AnalysisWorkspace) -> None:
    """Envelope and aperiodicity of frames whose F0 is known, put into `workspace.frames`.

    A frame reads about 22 ms on both sides of its centre (42 ms for very low voices).

    Args:
        audio: At 24 kHz, contiguous [N], N as the workspace has it and at least `samples_to_analyse`.
        f0_hz: F0 of the requested frames [frames], 0 where unvoiced. If voicing is in doubt, give an F0: D4C makes the
            frame unvoiced if it finds no harmonics.
        first_frame: Index of the first of them, where frame 0 is centred on `audio[0]`.
        workspace: Buffers.
    """
    import pyworld

    w, frames = workspace, workspace.frames
    _prepare(f0_hz, first_frame, w.times_s, w.envelope_f0)
    frames.power = pyworld.cheaptrick(audio, w.envelope_f0, w.times_s, SAMPLE_RATE, fft_size=FFT_SIZE)
    d4c_into(_within_full_scale(audio, w), f0_hz, w.times_s, SAMPLE_RATE, w.d4c, frames.aperiodicity)
    _decide_voicing(f0_hz, frames.aperiodicity, frames.f0_hz)


def voicing_into(audio: Float64Array, f0_hz: Float64Array, first_frame: int, workspace: AnalysisWorkspace) -> None:
    """As `analyse_into`, but only `workspace.frames.f0_hz`, for a third of the work."""
    w = workspace
    _prepare(f0_hz, first_frame, w.times_s, w.envelope_f0)
    voiced_into(_within_full_scale(audio, w), f0_hz, w.times_s, SAMPLE_RATE, w.d4c, w.frames.f0_hz)


def _within_full_scale(audio: Float64Array, w: AnalysisWorkspace) -> Float64Array:
    """D4C overflows on audio far beyond full scale, and takes what is 120 dB below full scale for noise."""
    peak = max(audio.max(), -audio.min())
    return np.divide(audio, peak, out=w.audio) if peak > 1.0 else audio


@njit(nogil=True, cache=True)
def _prepare(f0_hz: Float64Array, first_frame: int, times_s: Float64Array, envelope_f0: Float64Array) -> None:
    for i in range(len(f0_hz)):
        times_s[i] = (first_frame + i) * (HOP / SAMPLE_RATE)
        envelope_f0[i] = max(f0_hz[i], ENVELOPE_FLOOR_HZ) if f0_hz[i] > 0.0 else 0.0


@njit(nogil=True, cache=True)
def _decide_voicing(f0_hz: Float64Array, aperiodicity: Float64Array, out: Float64Array) -> None:
    """D4C finds some frames to be noise throughout although they were given an F0."""
    for i in range(len(f0_hz)):
        out[i] = f0_hz[i] if aperiodicity[i, 0] < 0.5 else 0.0


def warp_envelope(power: Float64Array, ratio: Float64Array) -> Float64Array:
    """As `warp_envelope_into`, with buffers of its own: returns the envelopes [frames, BINS]."""
    warped = np.empty_like(power)
    warp_envelope_into(power, ratio, np.empty_like(power), warped)
    return warped


def warp_envelope_into(power: Float64Array, ratio: Float64Array, log_power: Float64Array, out: Float64Array) -> None:
    """Shift all formants by a factor, keeping the power of each frame.

    Args:
        power: [frames, BINS].
        ratio: Factor per frame [frames]; above 1 moves formants up.
        log_power: Scratch [frames, BINS].
        out: Filled [frames, BINS].
    """
    np.maximum(power, POWER_FLOOR, out=log_power)
    np.log(log_power, out=log_power)
    _warp_rows(power, log_power, ratio, out)


@njit(nogil=True, cache=True)
def _warp_rows(power: Float64Array, log_power: Float64Array, ratio: Float64Array, out: Float64Array) -> None:
    frames, bins = power.shape
    for i in range(frames):
        for k in range(bins):
            source = min(k / ratio[i], bins - 1.0)
            low = min(int(source), bins - 2)
            weight = source - low
            out[i, k] = np.exp(log_power[i, low] * (1.0 - weight) + log_power[i, low + 1] * weight)
        gain = power[i].sum() / max(out[i].sum(), POWER_FLOOR)
        for k in range(bins):
            out[i, k] *= gain


@njit(nogil=True, cache=True)
def tilt_envelope(power: Float64Array, is_wanted: NDArray[np.bool_], tilt: Float64Array, gain: float) -> None:
    """Multiply the envelopes of some frames by a slope, in place, so that the power of each changes by `gain`.

    Args:
        power: [frames, BINS].
        is_wanted: Which of them [frames].
        tilt: Factor of the power in each bin [BINS].
        gain: Factor of the whole power.
    """
    for i in range(len(power)):
        if not is_wanted[i]:
            continue
        before = after = 0.0
        for k in range(power.shape[1]):
            before += power[i, k]
            power[i, k] *= tilt[k]
            after += power[i, k]
        level = gain * before / max(after, 2.2250738585072014e-308)
        for k in range(power.shape[1]):
            power[i, k] *= level
