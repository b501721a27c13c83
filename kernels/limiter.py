"""A lookahead limiter: nothing leaves above the ceiling, and loud passages sink and rise without distortion.

The gain that each sample needs is held for the lookahead (a minimum over a sliding window, by a monotonic queue:
Lemire 2006, arXiv:cs/0610046), smoothed by a moving average of the same length, and recovers exponentially (Giannoulis,
Massberg & Reiss 2012, JAES 60(6)). The average of held minima never exceeds what the sample at its end needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .types import FloatArray

CEILING_DB = -1.0
LOOKAHEAD_MS = 1.5
RELEASE_MS = 80.0


@dataclass(slots=True)
class LimiterState:
    """What is carried.

    Attributes:
        ceiling: Linear.
        release: Factor per sample by which what is missing to full gain shrinks.
        delay_mem: The last samples [length].
        held_mem: Their released gains, for the average [length].
        queue_gain: Gains that may still be the minimum [length + 1].
        queue_at: Sample numbers of these [length + 1].
        numbers: Samples so far, first and length of the queue [3].
        values: Released gain, sum of `held_mem` [2].
    """

    ceiling: float
    release: float
    delay_mem: FloatArray = field(repr=False)
    held_mem: NDArray[np.float64] = field(repr=False)
    queue_gain: NDArray[np.float64] = field(repr=False)
    queue_at: NDArray[np.int64] = field(repr=False)
    numbers: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def allocate(cls, sample_rate: int, ceiling_db: float = CEILING_DB) -> LimiterState:
        """State at the start of a stream."""
        length = max(round(sample_rate * LOOKAHEAD_MS / 1000.0), 1)
        state = cls(
            ceiling=10.0 ** (ceiling_db / 20.0),
            release=math.exp(-1000.0 / (RELEASE_MS * sample_rate)),
            delay_mem=np.zeros(length, dtype=np.float32),
            held_mem=np.ones(length),
            queue_gain=np.ones(length + 1),
            queue_at=np.zeros(length + 1, dtype=np.int64),
            numbers=np.zeros(3, dtype=np.int64),
            values=np.ones(2),
        )
        state.reset()
        return state

    @property
    def latency_samples(self) -> int:
        """How much later than the input the output is."""
        return len(self.delay_mem)

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.delay_mem[:] = 0.0
        self.held_mem[:] = 1.0
        self.numbers[:] = 0
        self.values[:] = 1.0, len(self.held_mem)


def limit_into(x: FloatArray, state: LimiterState, out: FloatArray) -> None:
    """Limit the next block [n] into `out` [n], which may be `x`."""
    _limit(
        x,
        state.ceiling,
        state.release,
        state.delay_mem,
        state.held_mem,
        state.queue_gain,
        state.queue_at,
        state.numbers,
        state.values,
        out,
    )


@njit(cache=True, nogil=True)
def _limit(
    x: FloatArray,
    ceiling: float,
    release: float,
    delay_mem: FloatArray,
    held_mem: NDArray[np.float64],
    queue_gain: NDArray[np.float64],
    queue_at: NDArray[np.int64],
    numbers: NDArray[np.int64],
    values: NDArray[np.float64],
    out: FloatArray,
) -> None:
    length, places = len(delay_mem), len(queue_gain)
    count, first, queued = numbers
    released, total = values
    for i in range(len(x)):
        level = abs(float(x[i]))
        needed = ceiling / level if level > ceiling else 1.0
        while queued > 0 and queue_gain[(first + queued - 1) % places] >= needed:
            queued -= 1
        queue_gain[(first + queued) % places] = needed
        queue_at[(first + queued) % places] = count
        queued += 1
        if queue_at[first] <= count - places:
            first = (first + 1) % places
            queued -= 1
        held = queue_gain[first]
        released = min(held, 1.0 - (1.0 - released) * release)
        at = count % length
        total += released - held_mem[at]
        held_mem[at] = released
        y = delay_mem[at] * min(total / length, 1.0)
        delay_mem[at] = x[i]
        out[i] = min(max(y, -ceiling), ceiling)  # what rounding leaves
        count += 1
    numbers[0], numbers[1], numbers[2] = count, first, queued
    values[0], values[1] = released, total
