"""Samples that are no number."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.kernels.finite import silence_nonfinite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_becomes_silence(bad: float) -> None:
    x = np.array([1.0, bad, -2.0, bad, 3e38], dtype=np.float32)
    assert silence_nonfinite(x)
    np.testing.assert_array_equal(x, np.array([1, 0, -2, 0, 3e38], dtype=np.float32))
    assert not silence_nonfinite(x)
    assert not silence_nonfinite(x[:0])
