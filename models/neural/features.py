"""What a neural voice hears: log-mel frames of 10 ms beneath a running level, computed once each.

The level is a maximum that decays, so that loud and quiet speakers look alike while pauses stay quiet. It needs no
future: a stream computes what a whole signal does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...kernels.mel_bands import MelBands, log_bands
from ...kernels.types import FloatArray

SAMPLE_RATE = 16000
HOP = 160
WINDOW = 320  # 20 ms: frame j reads samples 160 j - 160 to 160 j + 160
N_FFT = 512
N_MELS = 80
F_MIN_HZ = 50.0
F_MAX_HZ = 7600.0
FLOOR = 1e-6
DECAY = 0.0069  # of the level in nepers per frame: 6 dB/s
LOWEST_LEVEL = -10.0  # as of noise at about -68 dB of full scale: what is softer is not raised
HIGHEST_LEVEL = -1.5  # more than clipped speech: what is louder is a fault, which must not last as long as it is loud
DEEPEST = -9.0  # nepers below the level, where frames are cut off
_MIDDLE, _SPREAD = -3.5, 2.5  # nepers below the level: brings the frames near to zero mean and unit variance


def filterbank(warp: float = 1.0) -> FloatArray:
    """Triangular filters of unit sum [80, 257] on the mel scale, their edges in Hz multiplied by `warp`."""
    lowest, highest = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (F_MIN_HZ, F_MAX_HZ))
    edges = 700.0 * (10.0 ** (np.linspace(lowest, highest, N_MELS + 2) / 2595.0) - 1.0) * warp
    edges = np.minimum(edges, SAMPLE_RATE / 2 - 200.0 + np.arange(N_MELS + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    width = SAMPLE_RATE / N_FFT
    left = np.minimum(edges[:-2], edges[1:-1] - width)[:, None]  # every filter has a bin
    right = np.maximum(edges[2:], edges[1:-1] + width)[:, None]
    centre = edges[1:-1, None]
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(min=0.0)
    return np.asarray(triangles / triangles.sum(axis=1, keepdims=True), dtype=np.float32)


def window() -> NDArray[np.float64]:
    """Periodic Hann window [WINDOW], scaled so that a sine of amplitude 1 has a peak of 1."""
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)
    return np.asarray(hann * (2.0 / hann.sum()))


@dataclass(slots=True)
class FeatureState:
    """What is carried.

    Attributes:
        audio_mem: The newest samples, from half a window before the next frame's centre on [WINDOW - HOP].
        level_mem: The running level at the last frame, in nepers.
    """

    audio_mem: FloatArray
    level_mem: float

    @classmethod
    def allocate(cls) -> FeatureState:
        """At the start of a stream, before which lies silence."""
        return cls(np.zeros(WINDOW - HOP, dtype=np.float32), LOWEST_LEVEL)

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.audio_mem[:] = 0.0
        self.level_mem = LOWEST_LEVEL


class Features:
    """Features of a stream, with buffers for so many frames at a time.

    Frame j of a stream is known when sample 160 (j + 1) is in, and is given out by the call that takes it in.
    """

    def __init__(self, frames: int) -> None:
        self._bands = MelBands.of(filterbank())
        self._window = window()
        self._audio = np.zeros(frames * HOP + WINDOW - HOP, dtype=np.float32)
        self._rows = np.zeros((frames, N_FFT))
        self._spectra = np.zeros((frames, N_FFT // 2 + 1), dtype=np.complex128)
        self._magnitude = np.zeros(N_FFT // 2 + 1, dtype=np.float32)
        self._bands_scratch = np.zeros((N_MELS, frames), dtype=np.float32)

    def push_into(self, audio: FloatArray, state: FeatureState, out: FloatArray, level: FloatArray) -> None:
        """Take in the next samples.

        Args:
            audio: At 16 kHz [frames * 160].
            state: Advanced in place.
            out: Filled [frames, 80].
            level: Filled with the running level in nepers [frames].
        """
        kept = WINDOW - HOP
        self._audio[:kept] = state.audio_mem
        self._audio[kept:] = audio
        state.audio_mem[:] = self._audio[-kept:]
        for i in range(len(out)):
            np.multiply(self._audio[i * HOP : i * HOP + WINDOW], self._window, out=self._rows[i, :WINDOW])
        np.fft.rfft(self._rows, out=self._spectra)
        bands = self._bands
        log_bands(self._spectra, bands.first_bins, bands.weights, FLOOR, self._magnitude, self._bands_scratch)
        state.level_mem = normalise_into(self._bands_scratch, state.level_mem, out, level)


@njit(nogil=True, cache=True)
def normalise_into(log_mel: FloatArray, level_mem: float, out: FloatArray, level: FloatArray) -> float:
    """Bring log-mel frames beneath their running level.

    Args:
        log_mel: [80, frames].
        level_mem: The level at the frame before.
        out: Filled [frames, 80].
        level: Filled [frames].

    Returns:
        The level at the last frame.
    """
    bands, frames = log_mel.shape
    for i in range(frames):
        total = 0.0
        for k in range(bands):
            total += np.exp(log_mel[k, i])
        level_mem = min(max(np.log(total / bands), level_mem - DECAY, LOWEST_LEVEL), HIGHEST_LEVEL)
        level[i] = level_mem
        for k in range(bands):
            out[i, k] = (max(log_mel[k, i] - level_mem, DEEPEST) - _MIDDLE) / _SPREAD
    return float(level_mem)
