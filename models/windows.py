"""Long audio in bounded memory: overlapping windows over a stream of blocks, and what is kept of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..kernels.types import AnyFloatArray


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a stream with context around the part that is kept.

    Attributes:
        samples: Context, core, context [N], float32, contiguous.
        start: Absolute index of `samples[0]` in the stream.
        core_start: Absolute index of the first sample to keep.
        core_end: Absolute index after the last sample to keep.
        is_last: Whether the stream ends with this window (then `start + len(samples)` is its length).
    """

    samples: AnyFloatArray
    start: int
    core_start: int
    core_end: int
    is_last: bool


def overlapping_windows(blocks: Iterable[AnyFloatArray], core: int, context: int) -> Iterator[Window]:
    """Cut a stream of blocks into windows of `core` samples with `context` samples on both sides.

    The cores tile the stream without gap or overlap; the context is shorter at the stream's ends. The last core takes
    up to one and a half cores so that none is very short. Holds at most about two windows of audio.
    An empty stream yields nothing.
    """
    source = iter(blocks)
    held: list[AnyFloatArray] = []
    held_start = held_length = core_start = 0
    ended = False
    while True:
        while not ended and held_start + held_length < core_start + core + core // 2 + context:
            block = next(source, None)
            if block is None:
                ended = True
            elif len(block):
                held.append(np.asarray(block, dtype=np.float32))
                held_length += len(block)
        total = held_start + held_length
        remaining = total - core_start
        if remaining <= 0:
            return
        is_last = ended and remaining <= core + core // 2
        core_end = total if is_last else core_start + core
        audio = np.concatenate(held)
        stop = min(core_end + context, total) - held_start
        yield Window(np.ascontiguousarray(audio[:stop]), held_start, core_start, core_end, is_last)
        if is_last:
            return
        core_start = core_end
        drop = max(core_start - context - held_start, 0)
        held, held_start, held_length = [audio[drop:]], held_start + drop, held_length - drop
