"""NaN and infinite samples: detected and silenced in place."""

from __future__ import annotations

import numpy as np
from numba import njit

from .types import FloatArray


@njit(nogil=True, cache=True)
def silence_nonfinite(x: FloatArray) -> bool:
    """Put zeros where NaN or an infinity stands.

    Args:
        x: [n], contiguous; changed in place.

    Returns:
        Whether there was any.
    """
    found = False
    for i in range(len(x)):
        if not np.isfinite(x[i]):
            x[i] = 0.0
            found = True
    return found
