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
        frames: Number of frames.
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
    drawn = np.empty((_CHUNK_FRAMES, width), dtype=np.float32)
    _draw(seed, stream, chunk, drawn)
    return drawn


def _draw(seed: int, stream: int, chunk: int, out: NDArray[np.float32]) -> None:
    # The chunk counts in the upper half of the 256-bit counter, out of reach of what one chunk draws.
    counter = np.array([0, 0, stream, chunk & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
    bits = np.random.Philox(key=seed & 0xFFFFFFFFFFFFFFFF, counter=counter)
    np.random.Generator(bits).standard_normal(out=out, dtype=np.float32)


class NoiseReader:
    """Reads `frame_noise` of one stream in order, drawing a frame's numbers when that frame is asked for.

    It holds nothing that matters: the numbers depend on seed and frame index only. Any frame may be asked for, but only
    the last one read and those after it come without drawing up to 63 frames before them.

    Args:
        stream: As for `frame_noise`.
        width: As for `frame_noise`.
    """

    def __init__(self, stream: int, width: int) -> None:
        self._stream = stream
        self._newest = np.zeros(width, dtype=np.float32)
        self._seed = self._next = 0
        self._is_placed = False

    def read_into(self, seed: int, first_frame: int, out: NDArray[np.float32]) -> None:
        """Fill `out` [frames, width], contiguous, with the noise of the absolute frames from `first_frame` on."""
        known = 0
        if self._is_placed and seed == self._seed and first_frame == self._next - 1 and len(out):
            out[0] = self._newest
            known = 1
        elif not self._is_placed or seed != self._seed or first_frame != self._next:
            self._place(seed, first_frame)
        for i in range(known, len(out)):
            self._draw(out[i])
        if len(out):
            self._newest[:] = out[-1]

    def _place(self, seed: int, frame: int) -> None:
        if not self._is_placed or seed != self._seed:
            self._bits = np.random.Philox(key=seed & 0xFFFFFFFFFFFFFFFF, counter=[0, 0, self._stream, 0])
            self._generator = np.random.Generator(self._bits)
            self._fresh = self._bits.state
            self._seed, self._is_placed = seed, True
        chunk = frame // _CHUNK_FRAMES
        self._next = chunk * _CHUNK_FRAMES
        while self._next < frame:
            self._draw(self._newest)

    def _draw(self, out: NDArray[np.float32]) -> None:
        if self._next % _CHUNK_FRAMES == 0:
            self._fresh["state"]["counter"][3] = (self._next // _CHUNK_FRAMES) & 0xFFFFFFFFFFFFFFFF
            self._bits.state = self._fresh
        self._generator.standard_normal(dtype=np.float32, out=out)
        self._next += 1


class StreamNoise:
    """The numbers of `frame_noise` for a stream, drawn as they come, into buffers that are there.

    Args:
        stream: Tells independent uses of one seed apart.
        width: Numbers per frame.
        frames: The most that are asked for at once.
    """

    def __init__(self, stream: int, width: int, frames: int) -> None:
        self._stream = stream
        count = -(-frames // _CHUNK_FRAMES) + 1  # a stretch that begins inside a chunk ends in one more
        self._chunks = np.zeros((count, _CHUNK_FRAMES, width), dtype=np.float32)
        self._drawn: list[tuple[int, int] | None] = [None] * count

    def into(self, seed: int, first_frame: int, out: NDArray[np.float32]) -> None:
        """Fill `out` [frames, width], of any strides, with the numbers of the frames from `first_frame` on."""
        done = 0
        while done < len(out):
            chunk, offset = divmod(first_frame + done, _CHUNK_FRAMES)
            place = chunk % len(self._drawn)
            if self._drawn[place] != (seed, chunk):
                _draw(seed, self._stream, chunk, self._chunks[place])
                self._drawn[place] = (seed, chunk)
            count = min(_CHUNK_FRAMES - offset, len(out) - done)
            out[done : done + count] = self._chunks[place, offset : offset + count]
            done += count
