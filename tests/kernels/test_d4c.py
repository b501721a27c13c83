"""D4C against WORLD's own."""

from __future__ import annotations

import numpy as np
import pytest
import pyworld
from altervox.kernels.d4c import d4c
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
RATE, BINS = 24000, 513
FRAMES = 40
TIMES_S = np.linspace(0.0, 0.005 * (FRAMES - 1), FRAMES)


def voice(f0_hz: float, noise: float) -> FloatArray:
    """0.2 s of harmonics that fall by 12 dB per octave, in noise of that RMS."""
    t = np.arange(RATE // 5) / RATE
    k = np.arange(1, int(11000.0 / f0_hz) + 1)[:, None]
    harmonics = (np.cos(2 * np.pi * k * f0_hz * t + k**2) / k**2).sum(axis=0)
    return np.asarray(0.3 * harmonics + noise * np.random.default_rng(0).standard_normal(len(t)))


@pytest.mark.parametrize("f0_hz", [30.0, 47.5, 70.0, 113.7, 240.0, 520.0, 1000.0])
@pytest.mark.parametrize("noise", [3e-3, 0.03, 0.3])
def test_it_is_worlds(f0_hz: float, noise: float) -> None:
    """Up to the noise at -120 dB that WORLD draws from frame to frame."""
    audio, f0 = voice(f0_hz, noise), np.full(FRAMES, f0_hz)
    f0[10] = 0.0
    expected = pyworld.d4c(audio, f0, TIMES_S, RATE, fft_size=2 * (BINS - 1))
    found = d4c(audio, f0, TIMES_S, RATE, BINS)
    np.testing.assert_array_equal(found[:, 0] < 0.5, expected[:, 0] < 0.5)
    np.testing.assert_allclose(found, expected, atol=5e-3)
    if noise < 0.01:
        assert np.delete(found[:, 0], 10).max() < 0.5, "all of it is voiced"


def test_a_frame_does_not_depend_on_those_analysed_with_it() -> None:
    audio = voice(140.0, 1e-7)
    f0 = np.linspace(120.0, 160.0, FRAMES)
    together = d4c(audio, f0, TIMES_S, RATE, BINS)
    alone = np.concatenate([d4c(audio, f0[i : i + 1], TIMES_S[i : i + 1], RATE, BINS) for i in range(FRAMES)])
    np.testing.assert_allclose(alone, together, rtol=1e-9)


@pytest.mark.parametrize("level", [0.0, 1.0, 1e-9])
def test_what_holds_no_voice_is_noise(level: float) -> None:
    aperiodicity = d4c(np.full(RATE // 5, level), np.full(FRAMES, 100.0), TIMES_S, RATE, BINS)
    np.testing.assert_array_equal(aperiodicity, np.ones((FRAMES, BINS)))


def test_no_frames_at_all() -> None:
    assert d4c(np.zeros(1000), np.zeros(0), np.zeros(0), RATE, BINS).shape == (0, BINS)
