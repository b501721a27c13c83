"""Array types that more than one module names; shapes stand in the docstrings of those who use them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

AnyFloatArray = NDArray[np.floating[Any]]
FloatArray = NDArray[np.float32]  # audio and features
Float64Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
CounterArray = NDArray[np.int64]
