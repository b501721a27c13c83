"""Toom-Cook tiles against the sum that they stand for, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from altervox.kernels.toom_cook import POINTS, outputs_of_points, outputs_per_tile, values_at_points, weights_at_points

CHANNELS, SLOPE = 5, 0.1


@pytest.mark.parametrize("length", [1, 7, 40])
@pytest.mark.parametrize("dilation", [1, 3, 5])
@pytest.mark.parametrize("taps", [1, 3, 6, 7, 10])
def test_tiles_give_the_convolution(taps: int, dilation: int, length: int) -> None:
    rng = np.random.default_rng(taps)
    weight, bias = rng.standard_normal((taps, CHANNELS, CHANNELS)), rng.standard_normal(CHANNELS).astype(np.float32)
    m = outputs_per_tile(taps)
    rows = math.ceil(math.ceil(length / dilation) / m) * dilation
    seen = rng.standard_normal((rows // dilation * m * dilation + POINTS * dilation, CHANNELS)).astype(np.float32)
    before = rng.standard_normal((length, CHANNELS)).astype(np.float32)

    values = np.zeros((POINTS, rows, CHANNELS), dtype=np.float32)
    for first in range(0, rows, 2):  # in pieces, as they are used
        values_at_points(seen, m, dilation, first, values[:, first : first + 2])
    products = np.matmul(values, weights_at_points(weight))
    x, activated, alone = before.copy(), np.zeros_like(before), np.zeros_like(before)
    outputs_of_points(products.copy(), bias, m, dilation, 0, SLOPE, x, activated)
    outputs_of_points(products, bias, m, dilation, 0, SLOPE, np.zeros((0, 1), dtype=np.float32), alone)

    expected = bias + sum(seen[tap * dilation :][:length].astype(np.float64) @ weight[tap] for tap in range(taps))
    tolerance = 3e-5 * np.linalg.norm(expected)
    assert np.linalg.norm(x - before - expected) < tolerance
    np.testing.assert_allclose(activated, np.where(x > 0, x, SLOPE * x), atol=1e-6)
    assert np.linalg.norm(alone - np.where(expected > 0, expected, SLOPE * expected)) < tolerance
