"""Noise that is a function of where it stands: any window of a stream draws the same numbers for the same frame.

Counter-based generation (Philox, Salmon et al. 2011): no state, and frame n needs none of the frames before it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_CHUNK_FRAMES = 64  # drawn at a time; part of the definition of the numbers


def frame_noise(seed: int, stream: int, first_frame: int, frames: int, width: int) -> NDArray[np.float32]:
    """Standard normal numbers [frames, width] for the absolute frames `first_frame` and on.

    Args:
        seed: The user's.
        stream: Tells independent uses of one seed apart.
        first_frame: May be negative (context before the start of a stream).
        frames: How many.
        width: Numbers per frame; part of the definition of the numbers.
    """
    first_chunk = first_frame // _CHUNK_FRAMES
    last_chunk = (first_frame + frames - 1) // _CHUNK_FRAMES
    chunks = [_chunk(seed, stream, c, width) for c in range(first_chunk, last_chunk + 1)]
    offset = first_frame - first_chunk * _CHUNK_FRAMES
    if not chunks:
        return np.zeros((0, width), dtype=np.float32)
    return np.ascontiguousarray(np.concatenate(chunks)[offset : offset + frames])


@lru_cache(maxsize=16)  # consecutive blocks draw from the same few
def _chunk(seed: int, stream: int, chunk: int, width: int) -> NDArray[np.float32]:
    # The chunk counts in the upper half of the 256-bit counter, out of reach of what one chunk draws.
    counter = np.array([0, 0, stream, chunk & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
    bits = np.random.Philox(key=seed & 0xFFFFFFFFFFFFFFFF, counter=counter)
    return np.random.Generator(bits).standard_normal((_CHUNK_FRAMES, width), dtype=np.float32)
