"""Levels: what a frame's RMS is, what the limiter bends, and whose loudness the mix follows."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.kernels.level import frame_rms, rms_mix, soft_limit


def tone(rate: int, seconds: float, level: np.ndarray | float = 1.0) -> np.ndarray:
    samples = np.sin(2 * np.pi * 440.0 * np.arange(round(rate * seconds)) / rate)
    return np.asarray(level * samples, dtype=np.float32)


@pytest.mark.parametrize(("length", "frame", "hop"), [(1000, 400, 100), (1000, 401, 100), (37, 64, 16), (1, 4, 1)])
def test_frame_rms_is_the_plain_definition(length: int, frame: int, hop: int) -> None:
    x = np.random.default_rng(1).standard_normal(length).astype(np.float32)
    padded = np.pad(x.astype(np.float64), frame // 2)
    found = frame_rms(x, frame, hop)
    assert len(found) == (length + 2 * (frame // 2) - frame) // hop + 1
    wanted = [np.sqrt(np.mean(padded[i * hop : i * hop + frame] ** 2)) for i in range(len(found))]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_frame_rms_after_something_loud_is_still_exact() -> None:
    """Running sums forget small numbers behind large ones, if they are not kept in double precision."""
    x = np.concatenate((np.full(48000, 1.0), np.full(48000, 1e-4))).astype(np.float32)
    np.testing.assert_allclose(frame_rms(x, 1920, 480)[105:-5], 1e-4, rtol=1e-3)
    assert not frame_rms(np.zeros(5000, dtype=np.float32), 400, 100).any()


def test_the_limiter_leaves_what_is_within_its_knee() -> None:
    x = np.linspace(-0.9, 0.9, 1001).astype(np.float32)
    np.testing.assert_array_equal(soft_limit(x), x)
    assert soft_limit(x).dtype == np.float32


def test_the_limiter_bends_smoothly_and_never_passes_one() -> None:
    x = np.linspace(0.0, 3.0, 30001).astype(np.float32)
    y = soft_limit(x)
    slope = np.diff(y) / np.diff(x)
    assert y.max() <= 1.0
    assert slope.min() >= 0.0
    assert slope.max() < 1.01
    assert abs(np.diff(slope[8900:9100])).max() < 0.02, "no corner at the knee"
    assert y[12000] > 0.99  # at 1.2
    np.testing.assert_array_equal(soft_limit(-x), -y)
    np.testing.assert_array_equal(soft_limit(np.array([1e6, -np.inf], dtype=np.float32)), [1.0, -1.0])


def test_a_lower_knee_bends_sooner() -> None:
    x = np.array([0.5, 0.7], dtype=np.float32)
    assert (soft_limit(x, knee=0.4) < x).all()


@pytest.mark.parametrize("hop_in", [None, 160, 441])
def test_rate_one_changes_nothing(hop_in: int | None) -> None:
    x_out = tone(40000, 0.5)
    x_in = tone((hop_in or 400) * 100, 0.6, 0.01)
    np.testing.assert_allclose(rms_mix(x_in, x_out, 400, 1.0, hop_in), x_out, rtol=1e-6)


@pytest.mark.parametrize(("rate_in", "rate_out"), [(16000, 16000), (16000, 40000), (48000, 32000), (16000, 48000)])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_the_loudness_follows_the_input_in_time(rate_in: int, rate_out: int, rate: float) -> None:
    """The input is loud, then soft: so is the result, at the same time, whatever its rate is."""
    seconds = 2.0
    levels = [np.where(np.arange(round(r * seconds)) < r, 0.5, 0.05) for r in (rate_in, rate_out)]
    x_in = np.concatenate((tone(rate_in, seconds, levels[0]), tone(rate_in, 0.5, 0.9)))  # what is beyond is ignored
    mixed = rms_mix(x_in, tone(rate_out, seconds, 0.2), rate_out // 100, rate, rate_in // 100)
    wanted = levels[1] ** (1.0 - rate) * 0.2**rate / np.sqrt(2)
    level = frame_rms(mixed, rate_out // 25, rate_out // 100)
    inside = np.r_[5:93, 107:195]
    np.testing.assert_allclose(level[inside], wanted[:: rate_out // 100][inside], rtol=0.05)
    halfway = np.flatnonzero(level < np.sqrt(level[50] * level[150]))[0]
    assert abs(halfway - 100) <= 3, "the step stands where it was, within 30 ms"


def test_silence_does_not_explode() -> None:
    loud, silent = tone(16000, 0.5), np.zeros(8000, dtype=np.float32)
    assert not rms_mix(loud, silent, 160, 0.0).any()
    faint = rms_mix(loud, silent + np.float32(1e-6), 160, 0.0)
    assert np.abs(faint).max() < 0.01
    assert not rms_mix(silent, loud, 160, 0.0).any()
