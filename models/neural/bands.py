"""WORLD's frames as a neural voice speaks them: 80 bands of the envelope, 7 of the aperiodicity, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...kernels.types import Float64Array, FloatArray
from ...kernels.world import BINS, POWER_FLOOR, SAMPLE_RATE, SpeechFrames
from .network import ENVELOPE_BANDS, NOISE_BANDS

NOISE_BAND_HZ = 1500.0  # distance of the bands of aperiodicity: half of WORLD's
_LOWEST_HZ = 40.0
_LEVEL_AT_0_HZ_DB = -60.0
_DB = 20.0 / np.log(10.0)
_BINS_HZ = np.linspace(0.0, SAMPLE_RATE / 2, BINS)


def _mel(hz: Float64Array) -> Float64Array:
    return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))


def band_centres_hz() -> Float64Array:
    """Centres of the bands of the envelope in Hz [80]."""
    low, high = _mel(np.array([_LOWEST_HZ, SAMPLE_RATE / 2]))
    return np.asarray(700.0 * (10.0 ** (np.linspace(low, high, ENVELOPE_BANDS) / 2595.0) - 1.0))


def _interpolation(knots: Float64Array, places: Float64Array) -> Float64Array:
    """Matrix [knots, places] of the linear interpolation between knots."""
    return np.stack([np.interp(places, knots, one) for one in np.eye(len(knots))])


def envelope_matrix() -> Float64Array:
    """From bands to bins [80, 513]: linear in mel between the centres."""
    return _interpolation(_mel(band_centres_hz()), _mel(_BINS_HZ))


def noise_matrix() -> Float64Array:
    """From the levels in dB at 0 Hz, in the bands and at Nyquist to bins [9, 513]."""
    return _interpolation(np.append(NOISE_BAND_HZ * np.arange(NOISE_BANDS + 1), SAMPLE_RATE / 2), _BINS_HZ)


def bands_of(frames: SpeechFrames) -> FloatArray:
    """What the decoder is to say: log amplitude in nepers [frames, 80], then ratios of noise [frames, 7].

    The envelope of a band is the mean of its logarithm under the triangle with which the way back interpolates.
    """
    weights = envelope_matrix()
    weights = weights / weights.sum(axis=1, keepdims=True)
    envelope = 0.5 * np.log(np.maximum(frames.power, POWER_FLOOR)) @ weights.T
    at = np.rint(NOISE_BAND_HZ * np.arange(1, NOISE_BANDS + 1) / _BINS_HZ[1]).astype(np.int64)
    return np.concatenate((envelope, frames.aperiodicity[:, at]), axis=1).astype(np.float32)


@dataclass(slots=True)
class BandsWorkspace:
    """Buffers and constants of `frames_into`.

    Attributes:
        envelope: See `envelope_matrix`.
        noise: See `noise_matrix`.
        log_amplitude: In double precision [frames, 80].
        noise_db: Levels at the knots of `noise` [frames, 9].
    """

    envelope: Float64Array
    noise: Float64Array
    log_amplitude: Float64Array
    noise_db: Float64Array

    @classmethod
    def allocate(cls, frames: int) -> BandsWorkspace:
        """Buffers for so many frames."""
        noise_db = np.zeros((frames, NOISE_BANDS + 2))
        noise_db[:, 0] = _LEVEL_AT_0_HZ_DB
        return cls(envelope_matrix(), noise_matrix(), np.zeros((frames, ENVELOPE_BANDS)), noise_db)


def frames_into(bands: FloatArray, level: Float64Array, workspace: BandsWorkspace, frames: SpeechFrames) -> None:
    """Put what a decoder says into frames, of which F0 is left alone.

    Args:
        bands: [frames, 87].
        level: The running level of each frame in nepers [frames].
        workspace: Buffers.
        frames: Filled; its arrays are contiguous.
    """
    w = workspace
    w.log_amplitude[:] = bands[:, :ENVELOPE_BANDS]
    w.log_amplitude += level[:, None]
    np.matmul(w.log_amplitude, w.envelope, out=frames.power)
    frames.power *= 2.0
    np.exp(frames.power, out=frames.power)
    knots = w.noise_db[:, 1:-1]
    knots[:] = bands[:, ENVELOPE_BANDS:]
    np.maximum(knots, 1e-3, out=knots)
    np.log(knots, out=knots)
    knots *= _DB
    np.matmul(w.noise_db, w.noise, out=frames.aperiodicity)
    frames.aperiodicity /= _DB
    np.exp(frames.aperiodicity, out=frames.aperiodicity)
