"""F0 contours that speech does not offer by itself: other registers, vibrato, melodies, glides, octave jumps."""

from __future__ import annotations

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from ....kernels.types import Float64Array
from .labels import FRAME_MS

LOWEST_HZ, HIGHEST_HZ = 48.0, 1150.0
_FRAMES_PER_S = 1000.0 / FRAME_MS


def spoken(f0_hz: Float64Array, rng: np.random.Generator) -> Float64Array:
    """The speaker's own melody [frames] in another register, its range wider or narrower, 0 where it was 0."""
    voiced = f0_hz > 0
    if not voiced.any():
        return f0_hz
    median = float(np.median(f0_hz[voiced]))
    target = float(np.exp(rng.uniform(np.log(60.0), np.log(620.0))))
    shape = np.log2(np.where(voiced, f0_hz, median) / median) * rng.uniform(0.5, 1.8)
    if rng.random() < 0.3:
        shape = shape + _vibrato(len(f0_hz), rng) / 1200.0
    if rng.random() < 0.2:
        shape = shape + _octave_jumps(len(f0_hz), rng)
    return _bounded(target * 2.0**shape, voiced)


def sung(frames: int, rng: np.random.Generator) -> Float64Array:
    """Notes of a scale with portamento, vibrato and the odd glide [frames], voiced throughout."""
    centre = float(np.exp(rng.uniform(np.log(80.0), np.log(800.0))))
    steps, note = np.zeros(frames), 0.0
    start = 0
    while start < frames:
        length = int(rng.uniform(0.12, 0.9) * _FRAMES_PER_S)
        note = float(np.clip(note + rng.choice([-12, -7, -4, -2, -1, 1, 2, 3, 5, 12]), -12, 12))
        steps[start : start + length] = note
        start += length
    # A moving average over 20 to 150 ms makes the portamento.
    glide = max(int(rng.uniform(0.02, 0.15) * _FRAMES_PER_S), 1)
    melody = scipy.ndimage.uniform_filter1d(steps, glide, mode="nearest") / 12.0
    if rng.random() < 0.7:
        melody += _vibrato(frames, rng) / 1200.0
    if rng.random() < 0.25:
        melody += np.linspace(0.0, rng.uniform(-1.5, 1.5), frames)
    return _bounded(centre * 2.0**melody, np.ones(frames, dtype=bool))


def _vibrato(frames: int, rng: np.random.Generator) -> Float64Array:
    """Cents [frames]: 4 to 7.5 times a second, 15 to 150 cents to each side, coming and going."""
    time_s = np.arange(frames) / _FRAMES_PER_S
    depth = rng.uniform(15.0, 150.0) * (0.5 + 0.5 * np.sin(2.0 * np.pi * rng.uniform(0.1, 0.5) * time_s))
    return np.asarray(depth * np.sin(2.0 * np.pi * (rng.uniform(4.0, 7.5) * time_s + rng.random())))


def _octave_jumps(frames: int, rng: np.random.Generator) -> Float64Array:
    """Octaves [frames]: now and then a stretch an octave away, entered within 20 ms, as a voice that breaks."""
    octaves = np.zeros(frames)
    for _ in range(int(rng.integers(1, 4))):
        start = int(rng.integers(0, max(frames - 20, 1)))
        octaves[start : start + int(rng.uniform(0.1, 0.5) * _FRAMES_PER_S)] = rng.choice([-1.0, 1.0])
    return np.asarray(scipy.ndimage.uniform_filter1d(octaves, 4, mode="nearest"))


def _bounded(f0_hz: Float64Array, voiced: NDArray[np.bool_]) -> Float64Array:
    """F0 moved by octaves into the range that is trained, and clipped there; 0 where unvoiced."""
    middle = float(np.exp(np.mean(np.log(f0_hz[voiced])))) if voiced.any() else 200.0
    while middle < 1.2 * LOWEST_HZ:
        f0_hz, middle = f0_hz * 2.0, middle * 2.0
    while middle > HIGHEST_HZ / 1.2:
        f0_hz, middle = f0_hz / 2.0, middle / 2.0
    return np.where(voiced, f0_hz.clip(LOWEST_HZ, HIGHEST_HZ), 0.0)
