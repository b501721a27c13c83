"""Convolution over time by few products of matrices: Toom-Cook in tiles of eleven points (Winograd 1980).

`m` outputs of a convolution of `r` taps, where `m + r` is 12, are a product of two polynomials, which its values at
eleven points determine. At each point the channels are mixed by one product of matrices: `11 / m` products for each
output in place of `r`. In float32 the result differs from the direct sum by about 4e-6 of its level.

The points are zero and five pairs of opposite sign, so that even and odd powers are summed once for both of a pair.
Sequences are `[time, channels]`. What stands at the points is `[11, rows, channels]`: row `n` is the tile that begins
`n % dilation` after a multiple of `m * dilation` samples, so the convolution may be dilated.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
from numba import njit

from .types import Float64Array, FloatArray

POINTS = 11
_MAGNITUDES = (Fraction(1, 3), Fraction(2, 3), Fraction(1), Fraction(3, 2), Fraction(3))
_SIGNED = (Fraction(0), *(sign * size for size in _MAGNITUDES for sign in (1, -1)))


def outputs_per_tile(taps: int) -> int:
    """Outputs of a tile when a convolution has so many taps, at most 10."""
    return POINTS + 1 - taps


def weights_at_points(weight: Float64Array) -> FloatArray:
    """What the channels are multiplied by at each point `[11, in, out]`, of a kernel `[taps, in, out]`."""
    return np.ascontiguousarray(np.tensordot(_evaluation(len(weight)), weight, axes=1), dtype=np.float32)


@cache
def _evaluation(taps: int) -> Float64Array:
    """The value of each tap's power at each point `[11, taps]`, over the point's scale."""
    rows = [[point**tap / _scale(i) for tap in range(taps)] for i, point in enumerate(_SIGNED)]
    return np.array(rows, dtype=np.float64)


def _scale(index: int) -> Fraction:
    """What the value of the polynomial at a point is too large by."""
    product = Fraction(1)
    for other, point in enumerate(_SIGNED):
        if other != index:
            product *= _SIGNED[index] - point
    return product


def _products(squares: list[Fraction]) -> list[float]:
    """Coefficients of the product of `x - square`, lowest power first."""
    terms = [Fraction(1)]
    for square in squares:
        terms = [low - square * high for low, high in zip([Fraction(0), *terms], [*terms, Fraction(0)], strict=True)]
    return [float(term) for term in terms]


_SQUARES = [size * size for size in _MAGNITUDES]
_AT_ZERO = np.array(_products(_SQUARES), dtype=np.float32)
_AT_PAIRS = np.array([_products([s for s in _SQUARES if s != square]) for square in _SQUARES], dtype=np.float32)
_ROOTS = np.array([float(size) for size in _MAGNITUDES], dtype=np.float32)
_POWERS = np.array([[float(size**i) for size in _MAGNITUDES] for i in range(POINTS)], dtype=np.float32)


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")
def values_at_points(padded: FloatArray, m: int, dilation: int, first: int, values: FloatArray) -> None:
    """Evaluate tiles.

    Args:
        padded: What the convolution sees `[time, channels]`, as long as the tiles reach.
        m: Outputs per tile.
        dilation: Samples from tap to tap.
        first: Row to begin with.
        values: Filled `[11, rows, channels]`.
    """
    # Arrays are indexed in full: a view of a row would be counted by reference.
    rows, channels, d = values.shape[1], values.shape[2], dilation
    z0, z1, z2, z3, z4, z5 = _AT_ZERO[0], _AT_ZERO[1], _AT_ZERO[2], _AT_ZERO[3], _AT_ZERO[4], _AT_ZERO[5]
    for row in range(rows):
        n = first + row
        t = n // d * m * d + n % d
        for c in range(channels):
            y = z0 * padded[t, c] + z1 * padded[t + 2 * d, c] + z2 * padded[t + 4 * d, c]
            y += z3 * padded[t + 6 * d, c] + z4 * padded[t + 8 * d, c] + z5 * padded[t + 10 * d, c]
            values[0, row, c] = y
        for pair in range(len(_ROOTS)):
            root, q0, q1 = _ROOTS[pair], _AT_PAIRS[pair, 0], _AT_PAIRS[pair, 1]
            q2, q3, q4 = _AT_PAIRS[pair, 2], _AT_PAIRS[pair, 3], _AT_PAIRS[pair, 4]
            for c in range(channels):
                even = q0 * padded[t + 2 * d, c] + q1 * padded[t + 4 * d, c] + q2 * padded[t + 6 * d, c]
                even += q3 * padded[t + 8 * d, c] + q4 * padded[t + 10 * d, c]
                odd = q0 * padded[t + d, c] + q1 * padded[t + 3 * d, c] + q2 * padded[t + 5 * d, c]
                odd = root * (odd + q3 * padded[t + 7 * d, c] + q4 * padded[t + 9 * d, c])
                values[1 + 2 * pair, row, c] = even + odd
                values[2 + 2 * pair, row, c] = even - odd


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")
def outputs_of_points(
    values: FloatArray,
    bias: FloatArray,
    m: int,
    dilation: int,
    first: int,
    slope: float,
    x: FloatArray,
    activated: FloatArray,
) -> None:
    """Turn products at the points into outputs of the convolution, and those into their leaky ReLU.

    Args:
        values: `[11, rows, channels]`; overwritten.
        bias: `[channels]`.
        m: Outputs per tile.
        dilation: Samples from tap to tap.
        first: Row to begin with.
        slope: Negative slope of the leaky ReLU.
        x: The outputs are added to it first `[time, channels]`; empty where there is nothing to add them to.
        activated: Filled with the leaky ReLU `[time, channels]`. Outputs beyond its end are dropped.
    """
    # Arrays are indexed in full: a view of a row would be counted by reference in the innermost loops.
    rows, channels, slope32 = values.shape[1], values.shape[2], np.float32(slope)
    for row in range(rows):
        n = first + row
        base = n // dilation * m * dilation + n % dilation
        for plus in range(1, POINTS, 2):
            for c in range(channels):
                a, b = values[plus, row, c], values[plus + 1, row, c]
                values[plus, row, c] = a + b
                values[plus + 1, row, c] = a - b
        for i in range(m):
            t = base + i * dilation
            if t >= len(activated):
                break
            k, own = 1 + i % 2, np.float32(i == 0)
            w0, w1, w2, w3, w4 = _POWERS[i, 0], _POWERS[i, 1], _POWERS[i, 2], _POWERS[i, 3], _POWERS[i, 4]
            if len(x):
                for c in range(channels):
                    y = x[t, c] + bias[c] + own * values[0, row, c] + w0 * values[k, row, c]
                    y += w1 * values[k + 2, row, c] + w2 * values[k + 4, row, c]
                    y += w3 * values[k + 6, row, c] + w4 * values[k + 8, row, c]
                    x[t, c] = y
                    activated[t, c] = max(y, slope32 * y)
            else:
                for c in range(channels):
                    y = bias[c] + own * values[0, row, c] + w0 * values[k, row, c]
                    y += w1 * values[k + 2, row, c] + w2 * values[k + 4, row, c]
                    y += w3 * values[k + 6, row, c] + w4 * values[k + 8, row, c]
                    activated[t, c] = max(y, slope32 * y)


@njit(nogil=True, cache=True, error_model="numpy")
def outputs_added(outputs: FloatArray, bias: FloatArray, slope: float, x: FloatArray, activated: FloatArray) -> None:
    """As `outputs_of_points`, of outputs that are there already `[time, channels]`, without their bias."""
    slope32 = np.float32(slope)
    for t in range(len(activated)):
        if len(x):
            for c in range(len(bias)):
                y = x[t, c] + outputs[t, c] + bias[c]
                x[t, c] = y
                activated[t, c] = max(y, slope32 * y)
        else:
            for c in range(len(bias)):
                y = outputs[t, c] + bias[c]
                activated[t, c] = max(y, slope32 * y)
