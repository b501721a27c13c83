"""A delay line of a fixed number of samples."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from .errors import ParameterError
from .types import FloatArray


@dataclass(slots=True)
class DelayState:
    """Memory of `delay_into`.

    Attributes:
        position: In `sample_mem`, of the oldest sample.
        sample_mem: The last samples, a ring [delay].
    """

    position: int
    sample_mem: FloatArray = field(repr=False)

    @classmethod
    def allocate(cls, samples: int) -> DelayState:
        """A line that delays by so many samples, with zeros in it.

        Raises:
            ParameterError: the delay is negative.
        """
        if samples < 0:
            raise ParameterError(f"cannot delay by {samples} samples: use 0 or more.")
        return cls(0, np.zeros(samples, dtype=np.float32))

    def reset(self, value: float = 0.0) -> None:
        """Return to the start of a stream, before which every sample was `value`."""
        self.position = 0
        self.sample_mem[:] = value

    def resized(self, samples: int) -> DelayState:
        """A line of another delay that goes on from this one's newest samples.

        A longer one holds the oldest, or zero if there is none, for as long as the delay grows; a shorter one leaves
        the oldest out.

        Raises:
            ParameterError: the delay is negative.
        """
        line = DelayState.allocate(samples)
        held = np.roll(self.sample_mem, -self.position)[-samples:] if samples else self.sample_mem[:0]
        if len(held):
            line.sample_mem[: samples - len(held)] = held[0]
            line.sample_mem[samples - len(held) :] = held
        return line


def delay_into(x: FloatArray, state: DelayState, out: FloatArray) -> None:
    """Put the next samples of a stream in, and take out as many that went in earlier.

    Args:
        x: [n], contiguous.
        state: Advanced in place.
        out: Filled [n], contiguous; may be `x`.

    Raises:
        ParameterError: `out` is of another length than `x`.
    """
    if len(out) != len(x):
        raise ParameterError(f"a delay turns {len(x)} samples into as many, but there is room for {len(out)}.")
    state.position = _delay(x, state.sample_mem, state.position, out)


@njit(nogil=True, cache=True)
def _delay(x: FloatArray, sample_mem: FloatArray, position: int, out: FloatArray) -> int:
    delay = len(sample_mem)
    if delay == 0:
        for i in range(len(x)):  # an assignment of slices would copy what may overlap
            out[i] = x[i]
        return 0
    for i in range(len(x)):
        sample = x[i]
        out[i] = sample_mem[position]
        sample_mem[position] = sample
        position += 1
        if position == delay:
            position = 0
    return position
