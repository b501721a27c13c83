"""SOLA: join two renderings of the same sound where they agree best (Verhelst and Roelands 1993, WSOLA)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .fades import fade_in_curve
from .types import FloatArray


def best_offset(x: FloatArray, tail: FloatArray, search: int) -> int:
    """The first offset in 0..search at which `x` correlates best with `tail`, normalised by the energy of `x`.

    Args:
        x: [at least search + len(tail)].
        tail: [L].
    """
    length = len(tail)
    head = x[: search + length].astype(np.float64)
    correlation = np.correlate(head, tail.astype(np.float64), mode="valid")
    power = np.concatenate(([0.0], np.cumsum(head * head)))
    energy = power[length:] - power[:-length]
    return int(np.argmax(correlation / np.sqrt(np.maximum(energy, 0.0) + 1e-8)))


@dataclass(slots=True)
class SolaState:
    """Memory of `sola_join`.

    Attributes:
        tail: The rendering of what follows the last emitted block [L].
        fade_in: Fade of the new rendering [L].
    """

    tail: FloatArray
    fade_in: FloatArray = field(repr=False)

    @classmethod
    def allocate(cls, length: int) -> SolaState:
        """State for a crossfade of `length` samples, silent."""
        return cls(np.zeros(length, dtype=np.float32), fade_in_curve(length))

    def reset(self) -> None:
        """Forget the past."""
        self.tail[:] = 0.0


def sola_join(x: FloatArray, block: int, search: int, state: SolaState) -> tuple[FloatArray, int]:
    """Join a new rendering to what was emitted before.

    Args:
        x: At least `search + block + L` samples, starting about where the last block ended.
        block: Samples to emit.
        search: Largest offset tried.
        state: Changed in place.

    Returns:
        The next `block` samples and the offset chosen.
    """
    length = len(state.tail)
    offset = best_offset(x, state.tail, search)
    joined = x[offset : offset + block + length].copy()
    joined[:length] = joined[:length] * state.fade_in + state.tail * (1.0 - state.fade_in)
    state.tail[:] = joined[block : block + length]
    return joined[:block], offset
