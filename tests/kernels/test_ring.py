"""The ring between two threads: nothing lost, doubled, torn or overwritten."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import numpy as np
import pytest
from altervox.kernels import ring as ring_module
from altervox.kernels.errors import ParameterError
from altervox.kernels.ring import RingBuffer
from numba import njit
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

COUNT_MODULO = 1 << 24  # up to here float32 holds every whole number
SPINS = 1000  # tries in a row before the other side is let onto the processor


def counting(first: int, samples: int) -> FloatArray:
    return (np.arange(first, first + samples) % COUNT_MODULO).astype(np.float32)


def feed(ring: RingBuffer, total: int, largest: int) -> None:
    """Write so many samples of a counting signal, in pieces of all sizes."""
    generator = np.random.default_rng(1)
    written = 0
    while written < total:
        size = min(int(generator.integers(1, largest)), total - written)
        done = ring.write(counting(written, size))
        written += done
        if done < size:
            time.sleep(0)


def drain(ring: RingBuffer, total: int, largest: int) -> None:
    """Read so many, and see that they count on."""
    generator = np.random.default_rng(2)
    out = np.empty(largest, dtype=np.float32)
    read = 0
    while read < total:
        done = ring.read_into(out[: generator.integers(1, largest)])
        np.testing.assert_array_equal(out[:done], counting(read, done))
        read += done
        if not done:
            time.sleep(0)


@pytest.mark.parametrize("capacity", [1, 2, 7, 64, 481])
def test_behaves_like_a_queue(capacity: int) -> None:
    generator = np.random.default_rng(capacity)
    ring, model = RingBuffer.allocate(capacity), deque[float]()
    written = 0
    for _ in range(5000):
        size = int(generator.integers(0, 2 * capacity + 2))
        action = generator.choice(["write", "read", "skip", "reset"], p=[0.45, 0.4, 0.14, 0.01])
        if action == "write":
            done = ring.write(counting(written, size))
            assert done == min(size, capacity - len(model))
            model.extend(counting(written, done).tolist())
            written += done
        elif action == "read":
            out = np.full(size, -1.0, dtype=np.float32)
            done = ring.read_into(out)
            assert done == min(size, len(model))
            assert out[:done].tolist() == [model.popleft() for _ in range(done)]
            assert (out[done:] == -1.0).all(), "what was not read stays as it was"
        elif action == "skip":
            done = ring.skip(size)
            assert done == min(size, len(model))
            for _ in range(done):
                model.popleft()
        else:
            ring.reset()
            model.clear()
        assert ring.available == len(model)
        assert ring.free == capacity - len(model)


def test_full_and_empty() -> None:
    ring = RingBuffer.allocate(5)
    out = np.zeros(9, dtype=np.float32)
    assert ring.read_into(out) == 0
    assert ring.write(counting(1, 9)) == 5
    assert ring.write(counting(6, 4)) == 0
    assert (ring.available, ring.free) == (5, 0)
    assert ring.read_into(out[:2]) == 2
    assert ring.write(counting(6, 9)) == 2, "into the samples just read, across the end"
    assert ring.read_into(out) == 5
    assert out.tolist() == [3, 4, 5, 6, 7, 0, 0, 0, 0]


def test_a_negative_number_skips_nothing() -> None:
    ring = RingBuffer.allocate(5)
    ring.write(counting(0, 3))
    assert ring.skip(-2) == 0
    assert ring.available == 3


def test_any_memory_layout_is_taken_and_another_type_refused() -> None:
    ring = RingBuffer.allocate(10)
    stereo = np.stack((counting(0, 4), -counting(0, 4)), axis=1)
    frozen = counting(4, 4)
    frozen.flags.writeable = False
    assert ring.write(stereo[:, 0]) + ring.write(frozen) == 8
    out = np.zeros((8, 2), dtype=np.float32)
    ring.read_into(out[:, 1])
    assert out[:, 1].tolist() == list(range(8))
    wrong: Any = np.zeros(3)
    with pytest.raises(TypeError):
        ring.write(wrong)


def test_counters_lie_on_cache_lines_of_their_own() -> None:
    ring = RingBuffer.allocate(6)
    lines = [counter.ctypes.data // 64 for counter in (ring.written_total, ring.read_total)]
    assert lines[0] != lines[1]
    assert ring.written_total.ctypes.data % 64 == ring.read_total.ctypes.data % 64 == 0


@pytest.mark.parametrize("capacity", [0, -1])
def test_capacity_below_one_is_refused(capacity: int) -> None:
    with pytest.raises(ParameterError):
        RingBuffer.allocate(capacity)


@pytest.mark.parametrize(("capacity", "largest"), [(4801, 1000), (960, 2000)])
def test_two_threads(capacity: int, largest: int) -> None:
    total = 10_000_000
    ring = RingBuffer.allocate(capacity)
    writer = threading.Thread(target=feed, args=(ring, total, largest), daemon=True)
    writer.start()
    drain(ring, total, largest)
    writer.join()
    assert ring.available == 0


@njit(nogil=True)
def feed_without_pause(ring: tuple[FloatArray, Any, Any], written: int, total: int, x: FloatArray) -> int:
    """Write until all is written, or the ring stays full: how much was written by then."""
    idle = 0
    while written < total and idle < SPINS:
        size = min(1 + written % len(x), total - written)
        for i in range(size):
            x[i] = (written + i) % COUNT_MODULO
        done = ring_module._write(x[:size], *ring)
        written += done
        idle = 0 if done else idle + 1
    return written


@njit(nogil=True)
def drain_without_pause(ring: tuple[FloatArray, Any, Any], read: int, total: int, out: FloatArray) -> tuple[int, int]:
    """Read until all is read, or the ring stays empty: how much was read by then, and how much of it was wrong."""
    idle = 0
    wrong = 0
    while read < total and idle < SPINS:
        done = ring_module._read(out[: 1 + read % len(out)], *ring)
        for i in range(done):
            if out[i] != (read + i) % COUNT_MODULO:
                wrong += 1
        read += done
        idle = 0 if done else idle + 1
    return read, wrong


# The side of the larger pieces is the faster one and waits at the heels of the other.
@pytest.mark.parametrize(("largest_write", "largest_read"), [(31, 257), (257, 31)])
def test_two_threads_at_the_same_instant(largest_write: int, largest_read: int) -> None:
    """Without Python's global lock both sides really touch the ring at once, in pieces of a few samples."""
    total = 5_000_000
    ring = RingBuffer.allocate(1021)
    arrays = (ring.samples, ring.written_total, ring.read_total)
    x, out = np.zeros(largest_write, dtype=np.float32), np.zeros(largest_read, dtype=np.float32)

    def feed_all() -> None:
        written = 0
        while written < total:
            written = feed_without_pause(arrays, written, total, x)
            time.sleep(0)

    writer = threading.Thread(target=feed_all, daemon=True)
    writer.start()
    read = wrong = 0
    while read < total:
        read, errors = drain_without_pause(arrays, read, total, out)
        wrong += errors
        time.sleep(0)
    writer.join()
    assert wrong == 0
    assert ring.available == 0
