"""The natural variance of the envelope, which a network that has learnt a mean falls short of (Toda & Tokuda 2007).

A voice's step adds `(envelope - mean) @ sharpen` to what the decoder says: the cepstrum of an envelope less the mean
one is scaled, coefficient by coefficient, by the ratio of the standard deviations of natural and of predicted frames.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

from ...kernels.types import FloatArray
from ...models.neural.network import ENVELOPE_BANDS

STRENGTH = 1.0  # of what `altervox voices train` does
_STRETCHED = slice(1, 40)  # cepstral coefficients; the first one is the level
_LEAST, _MOST = 1.0, 2.5
_LOUD_NEPERS = 3.0  # frames that count: within 26 dB of the loudest tenth
_LEAST_FRAMES = 20


def natural_variance(
    natural: FloatArray, said: FloatArray, strength: float = STRENGTH, bands: int = ENVELOPE_BANDS
) -> tuple[FloatArray, FloatArray]:
    """What brings a decoder's envelopes to the variance of natural ones.

    Args:
        natural: Log envelopes of recordings in nepers [frames, 80].
        said: What the decoder says of the same frames [frames, 80].
        strength: 0 changes nothing, 1 gives the natural variance, 2 twice the change.
        bands: Bands that the recordings hold; those above count as natural.

    Returns:
        `mean` [80] and `sharpen` [80, 80]. Where there are hardly any loud frames, `sharpen` is zero.
    """
    loudness = natural[:, :60].max(axis=1)
    is_loud = loudness > np.percentile(loudness, 90.0) - _LOUD_NEPERS if len(loudness) else np.zeros(0, dtype=np.bool_)
    said = np.asarray(said[is_loud], dtype=np.float64)
    if len(said) < _LEAST_FRAMES:
        mean = said.mean(axis=0) if len(said) else np.zeros(ENVELOPE_BANDS)
        return np.asarray(mean, dtype=np.float32), np.zeros((ENVELOPE_BANDS, ENVELOPE_BANDS), dtype=np.float32)
    wanted = said.copy()
    wanted[:, :bands] = natural[is_loud][:, :bands]
    ratio = scipy.fft.dct(wanted, norm="ortho").std(axis=0) / (scipy.fft.dct(said, norm="ortho").std(axis=0) + 1e-6)
    gain = np.zeros(ENVELOPE_BANDS)
    gain[_STRETCHED] = np.clip(1.0 + strength * (ratio[_STRETCHED] - 1.0), _LEAST, _MOST) - 1.0
    cosines = scipy.fft.dct(np.eye(ENVELOPE_BANDS), norm="ortho")  # x @ cosines is the cepstrum of x
    sharpen = cosines * gain @ cosines.T
    return np.asarray(said.mean(axis=0), dtype=np.float32), np.asarray(sharpen, dtype=np.float32)
