"""A gain glides to its new value, and is exact before and after."""

import numpy as np
import pytest
from altervox.kernels.errors import ParameterError
from altervox.kernels.gain import GainState, decibels, gain_into, linear


@pytest.mark.parametrize(("before", "after"), [(1.0, 0.0), (0.0, 1.0), (0.5, 4.0)])
def test_it_moves_in_equal_steps_and_arrives(before: float, after: float) -> None:
    state, blocks = GainState(before, before), np.ones((3, 960), dtype=np.float32)
    gain_into(blocks[0], state, blocks[0])
    state.target = after
    for block in blocks[1:]:
        gain_into(block, state, block)
    assert np.all(blocks[0] == np.float32(before))
    assert np.all(blocks[2] == np.float32(after))
    np.testing.assert_allclose(np.diff(blocks.ravel())[959:1919], (after - before) / 960, atol=1e-6)


def test_a_stream_of_full_gain_is_left_as_it_is() -> None:
    x = np.random.default_rng(0).standard_normal(960).astype(np.float32)
    out = np.empty_like(x)
    gain_into(x, GainState(), out)
    np.testing.assert_array_equal(out, x)


def test_lengths_must_agree() -> None:
    with pytest.raises(ParameterError, match="960 samples into as many, but there is room for 480"):
        gain_into(np.zeros(960, dtype=np.float32), GainState(), np.zeros(480, dtype=np.float32))


@pytest.mark.parametrize(("gain_db", "factor"), [(-20.0, 0.1), (0.0, 1.0), (6.0206, 2.0)])
def test_decibels(gain_db: float, factor: float) -> None:
    assert linear(gain_db) == pytest.approx(factor, rel=1e-5)
    assert decibels(factor) == pytest.approx(gain_db, abs=1e-4)
    assert decibels(0.0) == -100.0
