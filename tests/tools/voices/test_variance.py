"""Envelopes that are too even get the variance of natural ones, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from altervox.tools.voices.variance import natural_variance
from numpy.typing import NDArray


@pytest.fixture
def natural() -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    cepstra = rng.standard_normal((3000, 80)) / (1.0 + np.arange(80))
    return scipy.fft.idct(cepstra, norm="ortho").astype(np.float32) - 3.0


def flattened(natural: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """What a network says that falls short of what differs from the mean, but for the level."""
    cepstra = scipy.fft.dct(natural, norm="ortho")
    mean = cepstra.mean(axis=0)
    short = mean + factor * (cepstra - mean)
    short[:, 0] = cepstra[:, 0]
    return np.asarray(scipy.fft.idct(short, norm="ortho"), dtype=np.float32)


def test_the_variance_comes_back(natural: NDArray[np.float32]) -> None:
    said = flattened(natural, 0.7)
    mean, sharpen = natural_variance(natural, said)
    assert (mean.shape, sharpen.shape) == ((80,), (80, 80))
    spread = scipy.fft.dct(said + (said - mean) @ sharpen, norm="ortho").std(axis=0)
    wanted = scipy.fft.dct(natural, norm="ortho").std(axis=0)
    before = scipy.fft.dct(said, norm="ortho").std(axis=0)
    assert spread[1:40] == pytest.approx(wanted[1:40], rel=0.1)
    assert spread[0] == pytest.approx(before[0], rel=1e-4), "the level is left alone"
    assert spread[40:] == pytest.approx(before[40:], rel=1e-3)


@pytest.mark.parametrize(("factor", "strength", "most"), [(0.1, 1.0, 1.5), (0.7, 2.0, 2 * 0.43), (1.5, 1.0, 0.0)])
def test_it_is_bounded(natural: NDArray[np.float32], factor: float, strength: float, most: float) -> None:
    _, sharpen = natural_variance(natural, flattened(natural, factor), strength)
    assert np.linalg.eigvalsh(sharpen).max() == pytest.approx(most, abs=0.1)
    assert np.linalg.eigvalsh(sharpen).min() > -1e-5, "nothing is made more even"


def test_nothing_to_learn_from_changes_nothing(natural: NDArray[np.float32]) -> None:
    assert not natural_variance(natural, natural, strength=0.0)[1].any()
    for frames in (0, 1, 10):
        mean, sharpen = natural_variance(natural[:frames], natural[:frames])
        assert np.isfinite(mean).all()
        assert not sharpen.any()


def test_bands_that_the_recordings_lack_do_not_count(natural: NDArray[np.float32]) -> None:
    said = flattened(natural, 0.7)
    cut_off = natural.copy()
    cut_off[:, 68:] = -20.0
    _, sharpen = natural_variance(cut_off, said, bands=68)
    _, whole = natural_variance(natural, said)
    assert np.abs(sharpen - whole).max() < 0.25
