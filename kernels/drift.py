"""Resampling by a ratio near 1 that may change at any time: what holds two clocks together.

Windowed-sinc interpolation from a table of phases, linear between neighbouring phases (J. O. Smith, Digital Audio
Resampling). Flat to 0.05 dB up to 0.8 of the Nyquist frequency.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from .errors import ParameterError
from .ring import SAMPLES
from .types import FloatArray

HALF_TAPS = 16
DELAY_SAMPLES = HALF_TAPS
_PHASES = 256
_KAISER_BETA = 9.0
MAX_DEVIATION = 0.01  # of the ratio from 1
_TABLE = types.Array(types.float64, 2, "C")


@dataclass(slots=True)
class DriftState:
    """What is carried.

    Attributes:
        table: Filter by phase [phases + 1, 2 * HALF_TAPS].
        input_mem: The newest input samples and room for a block [2 * HALF_TAPS + max_block].
        position: Position of the next output after the first sample of `input_mem` that it needs, in input samples.
    """

    table: NDArray[np.float64] = field(repr=False)
    input_mem: FloatArray = field(repr=False)
    position: float

    @classmethod
    def allocate(cls, max_block: int) -> DriftState:
        """State at the start of a stream of blocks of up to `max_block` samples."""
        offsets = np.arange(2 * HALF_TAPS) - (HALF_TAPS - 1)
        distances = offsets[None] - np.arange(_PHASES + 1)[:, None] / _PHASES
        window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1.0 - (distances / HALF_TAPS) ** 2, 0.0, None)))
        table = np.sinc(distances) * window
        table /= table.sum(axis=1, keepdims=True)
        return cls(table, np.zeros(2 * HALF_TAPS + max_block, dtype=np.float32), 0.0)

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.input_mem[:] = 0.0
        self.position = 0.0

    @property
    def max_block(self) -> int:
        """Largest block taken."""
        return len(self.input_mem) - 2 * HALF_TAPS


def resample_near_one(x: FloatArray, state: DriftState, ratio: float, out: FloatArray) -> int:
    """Resample the next block.

    Args:
        x: [n], n at most `state.max_block`.
        state: Advanced.
        ratio: Output samples per input sample, 0.99 .. 1.01.
        out: At least `n * ratio + 1` long; filled from its start.

    Returns:
        How many samples were made. Output k of a stream shows the input at k / ratio - DELAY_SAMPLES.

    Raises:
        ParameterError: the ratio is out of range, or a block too long.
    """
    if abs(ratio - 1.0) > MAX_DEVIATION:
        raise ParameterError(f"ratio is {ratio}; it must lie within {MAX_DEVIATION:.0%} of 1")
    if len(x) > state.max_block:
        raise ParameterError(f"a block of {len(x)} samples; this resampler takes {state.max_block} at most")
    count, state.position = _resample(x, state.table, state.input_mem, state.position, 1.0 / ratio, out)
    return int(count)


# With its types named it is compiled when imported, not by the first block of a session.
@njit(
    types.Tuple((types.int64, types.float64))(  # type: ignore[no-untyped-call]
        SAMPLES, _TABLE, SAMPLES, types.float64, types.float64, SAMPLES
    ),
    cache=True,
    nogil=True,
)
def _resample(
    x: FloatArray, table: NDArray[np.float64], memory: FloatArray, position: float, step: float, out: FloatArray
) -> tuple[int, float]:
    n = len(x)
    taps = table.shape[1]
    phases = table.shape[0] - 1
    memory[taps : taps + n] = x
    count = 0
    while position < n:
        at = int(position)
        exact = (position - at) * phases
        phase = int(exact)
        weight_above = exact - phase
        total = 0.0
        for i in range(taps):
            weight = table[phase, i] + weight_above * (table[phase + 1, i] - table[phase, i])
            total += weight * memory[at + 1 + i]
        out[count] = total
        count += 1
        position += step
    for i in range(taps):
        memory[i] = memory[n + i]
    return count, position - n
