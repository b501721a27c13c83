"""Join renderings of consecutive blocks that overlap, by fades that add up to one: sin^2, as SOLA's, but no search.

It is meant for renderings that agree where they overlap, as those of a voice that carries its phase do. The delay is 0:
a sample leaves with its block. The overlap is lookahead, which whoever renders it has waited for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from .errors import ParameterError
from .fades import fade_in_curve
from .types import FloatArray


@dataclass(slots=True)
class CrossfadeState:
    """Memory of `crossfade_into`.

    Attributes:
        tail_mem: Samples of the last rendering after its block [overlap].
        fade_in: Weight of the new rendering, from 0 to 1 [overlap].
    """

    tail_mem: FloatArray = field(repr=False)
    fade_in: FloatArray = field(repr=False)

    @classmethod
    def allocate(cls, overlap: int) -> CrossfadeState:
        """State for renderings that overlap by so many samples, with silence before the first: it fades in.

        Raises:
            ParameterError: the overlap is negative.
        """
        if overlap < 0:
            raise ParameterError(f"renderings cannot overlap by {overlap} samples: use 0 or more.")
        return cls(np.zeros(overlap, dtype=np.float32), fade_in_curve(overlap))

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.tail_mem[:] = 0.0


def crossfade_into(x: FloatArray, state: CrossfadeState, out: FloatArray) -> None:
    """Join a rendering to the one before, over the first samples of the block.

    Where both are equal, so is what comes out, to the last bit. Blocks may be shorter than the overlap.

    Args:
        x: The next block and what follows it [block + overlap], contiguous. Starts where the last block ended.
        state: Advanced in place.
        out: Filled [block], contiguous; may be the start of `x`.

    Raises:
        ParameterError: the lengths do not fit each other. Nothing was changed.
    """
    overlap = len(state.tail_mem)
    if len(x) != len(out) + overlap:
        raise ParameterError(
            f"a block of {len(out)} samples that overlaps by {overlap} needs {len(out) + overlap} and got {len(x)}."
        )
    _crossfade(x, state.tail_mem, state.fade_in, out)


@njit(nogil=True, cache=True)
def _crossfade(x: FloatArray, tail_mem: FloatArray, fade_in: FloatArray, out: FloatArray) -> None:
    block, overlap = len(out), len(tail_mem)
    for i in range(len(x)):
        # In this form equal samples give a difference of zero and come out as they are.
        sample = tail_mem[i] + fade_in[i] * (x[i] - tail_mem[i]) if i < overlap else x[i]
        if i < block:
            out[i] = sample
        else:
            tail_mem[i - block] = sample  # whose old value was used by now
