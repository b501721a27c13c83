"""Joining overlapping renderings: exact where they agree, smooth where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.kernels.crossfade import CrossfadeState, crossfade_into
from altervox.kernels.errors import ParameterError
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

OVERLAP = 480


def signal(samples: int) -> FloatArray:
    return np.random.default_rng(1).uniform(-1.0, 1.0, samples).astype(np.float32)


def join(renderings: list[FloatArray], state: CrossfadeState) -> FloatArray:
    parts = [np.full(len(x) - len(state.tail_mem), np.nan, dtype=np.float32) for x in renderings]
    for x, out in zip(renderings, parts, strict=True):
        crossfade_into(x, state, out)
    return np.concatenate(parts)


@pytest.mark.parametrize("overlap", [0, 1, 2, OVERLAP])
@pytest.mark.parametrize("block", [1, 100, 479, 480, 481, 960])
def test_equal_renderings_join_exactly(block: int, overlap: int) -> None:
    x = signal(10 * block + overlap)
    state = CrossfadeState.allocate(overlap)
    state.tail_mem[:] = x[:overlap]
    y = join([x[i * block : (i + 1) * block + overlap] for i in range(10)], state)
    np.testing.assert_array_equal(y, x[: 10 * block])
    np.testing.assert_array_equal(state.tail_mem, x[10 * block :])


def test_fades_follow_sin_squared_and_add_up_to_one() -> None:
    state = CrossfadeState.allocate(OVERLAP)
    ones, zeros = np.ones(2 * OVERLAP, dtype=np.float32), np.zeros(2 * OVERLAP, dtype=np.float32)
    fade = np.sin(0.5 * np.pi * np.arange(OVERLAP) / (OVERLAP - 1)) ** 2
    y = join([ones, zeros, ones], state).reshape(3, OVERLAP)
    np.testing.assert_allclose(y[0], fade, atol=1e-6)  # the first rendering fades in from silence
    np.testing.assert_allclose(y[1], 1 - fade, atol=1e-6)
    np.testing.assert_allclose(y[2], fade, atol=1e-6)


@pytest.mark.parametrize("block", [100, 480, 960])
def test_unequal_renderings_join_without_a_step(block: int) -> None:
    rng = np.random.default_rng(3)
    levels = rng.uniform(-1.0, 1.0, 20)
    y = join([np.full(block + OVERLAP, level, dtype=np.float32) for level in levels], CrossfadeState.allocate(OVERLAP))
    steepest = 0.5 * np.pi / (OVERLAP - 1)  # of a sin^2 fade, for a difference of 1
    assert abs(np.diff(y)).max() < 1.01 * steepest * 2.0


def test_ends_in_the_new_rendering() -> None:
    state = CrossfadeState.allocate(OVERLAP)
    first, second = signal(960 + OVERLAP), -signal(960 + OVERLAP)
    y = join([first, second], state)
    np.testing.assert_array_equal(y[OVERLAP:960], first[OVERLAP:960])
    assert y[960] == first[960]
    np.testing.assert_array_equal(y[960 + OVERLAP :], second[OVERLAP:960])
    np.testing.assert_array_equal(state.tail_mem, second[960:])


def test_works_in_place() -> None:
    renderings = [signal(960 + OVERLAP), -signal(960 + OVERLAP)]
    expected = join(renderings, CrossfadeState.allocate(OVERLAP))
    state = CrossfadeState.allocate(OVERLAP)
    for x in renderings:
        crossfade_into(x, state, x[:960])
    np.testing.assert_array_equal(np.concatenate([x[:960] for x in renderings]), expected)


def test_reset_replays_exactly() -> None:
    renderings = [signal(960 + OVERLAP), -signal(960 + OVERLAP)]
    state = CrossfadeState.allocate(OVERLAP)
    first = join(renderings, state)
    state.reset()
    np.testing.assert_array_equal(join(renderings, state), first)


@pytest.mark.parametrize("samples", [960 + OVERLAP - 1, 960 + OVERLAP + 1])
def test_lengths_that_do_not_fit_are_refused(samples: int) -> None:
    state = CrossfadeState.allocate(OVERLAP)
    with pytest.raises(ParameterError):
        crossfade_into(signal(samples), state, np.zeros(960, dtype=np.float32))
    assert not state.tail_mem.any()


def test_a_negative_overlap_is_refused() -> None:
    with pytest.raises(ParameterError):
        CrossfadeState.allocate(-1)
