"""The delay line: exact, whatever the blocks, in place too."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.kernels.delay import DelayState, delay_into
from altervox.kernels.errors import ParameterError


@pytest.mark.parametrize("delay", [0, 1, 7, 100, 1000])
@pytest.mark.parametrize("in_place", [False, True])
def test_what_goes_in_comes_out_later(delay: int, in_place: bool) -> None:
    generator = np.random.default_rng(1)
    x = generator.standard_normal(3000).astype(np.float32)
    wanted = np.concatenate((np.zeros(delay, dtype=np.float32), x))[: len(x)]
    state = DelayState.allocate(delay)
    for _ in range(2):
        out = x.copy() if in_place else np.full_like(x, np.nan)
        start = 0
        while start < len(x):
            part = slice(start, start + int(generator.integers(0, 250)))
            delay_into(out[part] if in_place else x[part], state, out[part])
            start = part.stop
        np.testing.assert_array_equal(out, wanted)
        state.reset()


def test_before_the_stream_it_can_hold_any_value() -> None:
    state, out = DelayState.allocate(3), np.zeros(5, dtype=np.float32)
    state.reset(1.0)
    delay_into(out, state, out)
    np.testing.assert_array_equal(out, [1, 1, 1, 0, 0])


@pytest.mark.parametrize(
    ("delay", "wanted"), [(3, [3, 4, 5, 6]), (5, [3, 3, 3, 4]), (1, [5, 6, 7, 8]), (0, [6, 7, 8, 9])]
)
def test_another_delay_goes_on_from_the_newest_samples(delay: int, wanted: list[int]) -> None:
    state = DelayState.allocate(3)
    for sample in range(1, 6):  # the ring has wrapped
        delay_into(np.array([sample], dtype=np.float32), state, np.zeros(1, dtype=np.float32))
    out = np.arange(6, 10, dtype=np.float32)
    delay_into(out, state.resized(delay), out)
    np.testing.assert_array_equal(out, wanted)


def test_a_line_without_delay_grows_with_zeros() -> None:
    out = np.arange(1, 5, dtype=np.float32)
    delay_into(out, DelayState.allocate(0).resized(2), out)
    np.testing.assert_array_equal(out, [0, 0, 1, 2])


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParameterError, match="cannot delay by -1"):
        DelayState.allocate(-1)
    with pytest.raises(ParameterError, match="5 samples into as many"):
        delay_into(np.zeros(5, dtype=np.float32), DelayState.allocate(3), np.zeros(4, dtype=np.float32))
