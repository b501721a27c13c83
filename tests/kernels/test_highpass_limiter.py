"""High-pass and limiter: as a reference has it, whatever the blocks, and within their bounds."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
from altervox.kernels.highpass import CORNER_HZ, HighpassState, highpass_into
from altervox.kernels.limiter import LimiterState, limit_into

RATE = 48000


def in_blocks(process: Callable[[np.ndarray, np.ndarray], None], x: np.ndarray, sizes: list[int]) -> np.ndarray:
    parts, at, k = [], 0, 0
    while at < len(x):
        block = x[at : at + sizes[k % len(sizes)]]
        out = np.empty_like(block)
        process(block, out)
        parts.append(out)
        at, k = at + len(block), k + 1
    return np.concatenate(parts)


@pytest.mark.parametrize("sizes", [[1], [960], [7, 480, 33]])
def test_highpass_equals_scipy(sizes: list[int]) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, 9600).astype(np.float32) + 0.3
    state = HighpassState.allocate(RATE)
    y = in_blocks(lambda block, out: highpass_into(block, state, out), x, sizes)
    b, a = scipy.signal.butter(2, CORNER_HZ, "highpass", fs=RATE)
    np.testing.assert_allclose(y, scipy.signal.lfilter(b, a, x), atol=1e-6)


def test_highpass_takes_the_offset_and_leaves_the_voice() -> None:
    state, n = HighpassState.allocate(RATE), np.arange(RATE)
    x = (0.5 + 0.25 * np.sin(2 * np.pi * 150 * n / RATE)).astype(np.float32)
    highpass_into(x, state, x)  # in place
    late = x[RATE // 2 :]
    assert abs(late.mean()) < 1e-3
    assert np.sqrt(2 * np.mean(late**2)) == pytest.approx(0.25, rel=0.03)


@pytest.mark.parametrize("sizes", [[1], [960], [71, 72, 73, 5]])
@pytest.mark.parametrize("kind", ["noise", "clicks", "ramp", "burst"])
def test_nothing_leaves_above_the_ceiling_and_blocks_make_no_difference(sizes: list[int], kind: str) -> None:
    rng, n = np.random.default_rng(1), np.arange(9600)
    x = {
        "noise": rng.normal(0, 1, 9600),
        "clicks": 5.0 * (n % 977 == 0),
        "ramp": n / 2000.0 * np.sin(n / 5.0),
        "burst": np.where((n > 3000) & (n < 5000), 3.0, 0.1) * np.sin(n / 11.0),
    }[kind].astype(np.float32)
    state, other = LimiterState.allocate(RATE), LimiterState.allocate(RATE)
    y = in_blocks(lambda block, out: limit_into(block, state, out), x, sizes)
    assert np.abs(y).max() <= state.ceiling + 1e-6
    np.testing.assert_allclose(y, in_blocks(lambda block, out: limit_into(block, other, out), x, [9600]), atol=1e-6)


def test_the_clip_of_last_resort_has_nothing_to_do() -> None:
    """The gain alone keeps the ceiling: clipping would be heard as distortion."""
    x = np.random.default_rng(2).normal(0, 1, 48000).astype(np.float32)
    state, unbounded = LimiterState.allocate(RATE), LimiterState.allocate(RATE)
    y = in_blocks(lambda block, out: limit_into(block, state, out), x, [480])
    gain = y[state.latency_samples :] / np.where(x == 0, 1, x)[: -state.latency_samples]
    assert np.abs(np.diff(gain[np.abs(x[: -state.latency_samples]) > 0.05])).max() < 0.05
    assert unbounded.latency_samples == 72


def test_what_is_below_the_ceiling_passes_unchanged_at_the_stated_delay() -> None:
    x = np.random.default_rng(3).uniform(-0.8, 0.8, 4800).astype(np.float32)
    state = LimiterState.allocate(RATE)
    y = np.empty_like(x)
    limit_into(x, state, y)
    np.testing.assert_array_equal(y[state.latency_samples :], x[: -state.latency_samples])
    state.reset()
    again = np.empty_like(x)
    limit_into(x, state, again)
    np.testing.assert_array_equal(again, y)


def test_gain_recovers_after_a_loud_passage() -> None:
    n = np.arange(RATE)
    x = (np.where(n < 4800, 4.0, 0.5) * np.sin(n / 20.0)).astype(np.float32)
    state, y = LimiterState.allocate(RATE), np.empty(RATE, dtype=np.float32)
    limit_into(x, state, y)
    assert np.abs(y[-RATE // 4 :]).max() == pytest.approx(0.5, rel=0.02)
    assert np.abs(y[6000:7000]).max() < 0.4  # not at once: that would pump
