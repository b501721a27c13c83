"""A lock-free ring buffer of samples between two threads: one writes, the other reads.

Two counters that only ever grow say how much was written and read (Lamport 1983, "Specifying Concurrent Program
Modules", single producer and consumer). Each is stored by one side only, with release order, after the samples were
copied, and loaded by the other with acquire order, before it touches them (C++11 memory model): there is no lock, and
on no architecture is a sample read before it was written.

The compiled functions keep Python's global lock (GIL): they take about a microsecond, while a thread that releases the
GIL may wait 5 ms or more to get it back if another thread is busy. Their argument types are declared, so they are
compiled when the module is loaded, and no array layout can make an audio callback wait for the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from .errors import ParameterError
from .types import CounterArray, FloatArray

_LINE_BYTES = 64  # each counter on a cache line of its own: the two sides would slow each other down on a common one
_COUNTER_ALIGN_BYTES = 8
_ANY_INPUT = types.Array(types.float32, 1, "A", readonly=True)
_ANY_OUTPUT = types.Array(types.float32, 1, "A")
SAMPLES = types.Array(types.float32, 1, "C")
COUNTER = types.Array(types.int64, 1, "C")


@dataclass(slots=True)
class RingBuffer:
    """A ring of float32 samples for one writer and one reader.

    Only the writer may call `write`, only the reader `read_into` and `skip`; each from any thread, as long as its calls
    do not overlap.

    Attributes:
        samples: The memory [capacity].
        written_total: Samples written since the last reset [1].
        read_total: Samples read or skipped since the last reset [1].
    """

    samples: FloatArray = field(repr=False)
    written_total: CounterArray
    read_total: CounterArray

    @classmethod
    def allocate(cls, capacity: int) -> RingBuffer:
        """An empty ring.

        Args:
            capacity: Samples that it can hold, any number from 1.

        Raises:
            ParameterError: the capacity is below 1.
        """
        if capacity < 1:
            raise ParameterError(f"a ring of {capacity} samples cannot hold anything: give it at least 1")
        memory = np.zeros(3 * _LINE_BYTES, dtype=np.uint8)
        first = -memory.ctypes.data % _LINE_BYTES
        written, read = (memory[at : at + 8].view(np.int64) for at in (first, first + _LINE_BYTES))
        return cls(np.zeros(capacity, dtype=np.float32), written, read)

    @property
    def capacity(self) -> int:
        """Samples that fit in."""
        return len(self.samples)

    @property
    def available(self) -> int:
        """Samples waiting to be read: exact for the reader, a snapshot for any other thread."""
        return int(filled(self.samples, self.written_total, self.read_total))

    @property
    def free(self) -> int:
        """Samples that there is room for: exact for the writer, a snapshot for any other thread."""
        return self.capacity - self.available

    def write(self, x: FloatArray) -> int:
        """Append samples, as many as there is room for. What was not read yet is never overwritten.

        Args:
            x: [n].

        Returns:
            How many were written: the first of `x`.
        """
        return int(_write(x, self.samples, self.written_total, self.read_total))

    def read_into(self, out: FloatArray) -> int:
        """Take out the oldest samples, as many as there are.

        Args:
            out: [n]. Its first samples are filled, the rest keep what they hold.

        Returns:
            How many were read.
        """
        return int(_read(out, self.samples, self.written_total, self.read_total))

    def skip(self, n: int) -> int:
        """Drop the `n` oldest samples, or all if there are fewer.

        Returns:
            How many were dropped.
        """
        return int(skip_oldest(n, self.written_total, self.read_total))

    def reset(self) -> None:
        """Empty the ring. Neither side may be at work; a reader alone empties it by `skip(capacity)`."""
        self.written_total[0] = 0
        self.read_total[0] = 0


def _load_acquire_code(typing_context: Any, counter: Any) -> Any:
    """First value of an int64 array; nothing after it in the program may happen before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(array.data, "acquire", _COUNTER_ALIGN_BYTES)

    return types.int64(counter), generate


def _store_release_code(typing_context: Any, counter: Any, value: Any) -> Any:
    """Set the first value of an int64 array; nothing before it in the program may happen after."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        builder.store_atomic(arguments[1], array.data, "release", _COUNTER_ALIGN_BYTES)
        return context.get_dummy_value()

    return types.void(counter, types.int64), generate


load_acquire: Any = intrinsic(_load_acquire_code)
_store_release: Any = intrinsic(_store_release_code)


@njit(types.int64(SAMPLES, COUNTER, COUNTER), cache=True)
def filled(samples: FloatArray, written_total: CounterArray, read_total: CounterArray) -> int:
    """Samples waiting to be read, for compiled callers; the arrays are those of a `RingBuffer`."""
    # `read_total` first: then the difference is not negative, whichever thread asks.
    read: int = load_acquire(read_total)
    filled: int = min(load_acquire(written_total) - read, len(samples))
    return filled


@njit(types.int64(_ANY_INPUT, SAMPLES, COUNTER, COUNTER), cache=True)
def _write(x: FloatArray, samples: FloatArray, written_total: CounterArray, read_total: CounterArray) -> int:
    written = written_total[0]
    capacity = len(samples)
    count: int = min(len(x), capacity - (written - load_acquire(read_total)))
    at = written % capacity
    until_end = min(count, capacity - at)
    samples[at : at + until_end] = x[:until_end]
    samples[: count - until_end] = x[until_end:count]
    _store_release(written_total, written + count)
    return count


@njit(types.int64(_ANY_OUTPUT, SAMPLES, COUNTER, COUNTER), cache=True)
def _read(out: FloatArray, samples: FloatArray, written_total: CounterArray, read_total: CounterArray) -> int:
    read = read_total[0]
    capacity = len(samples)
    count: int = min(len(out), load_acquire(written_total) - read)
    at = read % capacity
    until_end = min(count, capacity - at)
    out[:until_end] = samples[at : at + until_end]
    out[until_end:count] = samples[: count - until_end]
    _store_release(read_total, read + count)
    return count


@njit(types.int64(types.int64, COUNTER, COUNTER), cache=True)
def skip_oldest(n: int, written_total: CounterArray, read_total: CounterArray) -> int:
    """Drop up to `n` of the oldest samples, for compiled callers on the reader's side; returns how many."""
    count: int = max(min(n, load_acquire(written_total) - read_total[0]), 0)
    _store_release(read_total, read_total[0] + count)
    return count
