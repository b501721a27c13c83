"""Values between samples, against sines whose values are known everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.kernels.fractional import sample_evenly


def sine(position: np.ndarray, cycles_per_sample: float) -> np.ndarray:
    return np.sin(2 * np.pi * cycles_per_sample * position + 0.4)


@pytest.mark.parametrize("cycles_per_sample", [0.001, 0.05, 0.2, 0.35, 0.42])
@pytest.mark.parametrize(("first", "step"), [(100.37, 1.0), (100.0, 0.731), (99.5, 0.01), (100.001, 0.5)])
def test_a_sine_between_its_samples(cycles_per_sample: float, first: float, step: float) -> None:
    x = sine(np.arange(1000), cycles_per_sample).astype(np.float32)
    found = sample_evenly(x, first, step, 700)
    assert found.dtype == np.float32
    assert found.shape == (700,)
    np.testing.assert_allclose(found, sine(first + step * np.arange(700), cycles_per_sample), atol=4e-3)


@pytest.mark.parametrize("step", [1.1, 1.7, 2.5])
def test_what_a_coarser_grid_can_hold_passes(step: float) -> None:
    x = sine(np.arange(3000), 0.35 / step).astype(np.float32)
    found = sample_evenly(x, 100.3, step, 900)
    np.testing.assert_allclose(found, sine(100.3 + step * np.arange(900), 0.35 / step), atol=5e-3)


@pytest.mark.parametrize("step", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("excess", [1.15, 1.4])
def test_what_a_coarser_grid_cannot_hold_is_gone(step: float, excess: float) -> None:
    x = sine(np.arange(4000), min(0.5 * excess / step, 0.495)).astype(np.float32)
    found = sample_evenly(x, 200.3, step, 1000)
    assert np.sqrt(np.mean(found**2)) < 0.003, "more than 45 dB down"


def test_on_the_samples_it_is_the_samples() -> None:
    x = np.random.default_rng(2).standard_normal(500).astype(np.float32)
    np.testing.assert_allclose(sample_evenly(x, 0.0, 1.0, 500), x, atol=1e-5)
    np.testing.assert_allclose(sample_evenly(x, 40.0, 1.0, 100), x[40:140], atol=1e-5)


def test_beyond_the_ends_there_is_silence() -> None:
    x = np.ones(100, dtype=np.float32)
    found = sample_evenly(x, -60.0, 1.0, 220)
    assert not found[:40].any()
    assert not found[-40:].any()
    np.testing.assert_allclose(found[60 + 20 : 160 - 20], 1.0, atol=1e-5)
    assert sample_evenly(x, 3.0, 1.0, 0).shape == (0,)


def test_windows_of_one_signal_agree() -> None:
    """Positions in a part of the signal, counted from the part's beginning."""
    x = np.random.default_rng(4).standard_normal(2000).astype(np.float32)
    whole = sample_evenly(x, 500.25, 1.3, 200)
    part = sample_evenly(x[400:1000], 100.25, 1.3, 200)
    np.testing.assert_allclose(part, whole, atol=1e-5)
    strided = np.repeat(x, 2)[::2]
    np.testing.assert_array_equal(sample_evenly(strided, 500.25, 1.3, 200), whole)
