"""Fade curves."""

from __future__ import annotations

import numpy as np

from .types import FloatArray


def fade_in_curve(length: int) -> FloatArray:
    """Rising half of a sin^2 fade [length], from 0 to 1 inclusive; it and `1 - fade` add up to one."""
    return np.asarray(np.sin(0.5 * np.pi * np.linspace(0.0, 1.0, length)) ** 2, dtype=np.float32)
