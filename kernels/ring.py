"""A lock-free ring of samples between one writer and one reader: two threads, or two processes over shared memory.

Two counters that only ever grow say how much was written and read (Lamport 1983, "Specifying Concurrent Program
Modules", single producer and consumer). Each is stored by one side only, with release order, after the samples were
copied, and loaded by the other with acquire order, before it touches them (C++11 memory model): no lock, and on no
architecture a sample that is seen before it is there.

The compiled functions keep Python's global lock: they take about a microsecond, while who lets go of the lock waits for
it afterwards, 5 ms or more if another thread is busy. They are compiled for given types as the module is loaded, so no
other layout of an array makes an audio callback wait for the compiler.
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
_SAMPLES_AT_BYTES = 2 * _LINE_BYTES
_COUNTER_ALIGN_BYTES = 8
_ANY_INPUT = types.Array(types.float32, 1, "A", readonly=True)
_ANY_OUTPUT = types.Array(types.float32, 1, "A")
_SAMPLES = types.Array(types.float32, 1, "C")
_COUNTER = types.Array(types.int64, 1, "C")


@dataclass(slots=True)
class RingBuffer:
    """A ring of float32 samples for one writer and one reader.

    Only the writer may call `write`, only the reader `read_into` and `skip`; each from any thread, as long as its calls
    do not overlap. Layout in memory: samples written (int64) at byte 0, samples read (int64) at byte 64, samples from
    byte 128 on. Memory full of zeros is an empty ring.

    Attributes:
        samples: [capacity].
        written_total: Since the last reset [1].
        read_total: Since the last reset [1].
    """

    samples: FloatArray = field(repr=False)
    written_total: CounterArray
    read_total: CounterArray

    @staticmethod
    def nbytes(capacity: int) -> int:
        """Bytes of memory for `capacity` samples."""
        return _SAMPLES_AT_BYTES + 4 * capacity

    @classmethod
    def allocate(cls, capacity: int) -> RingBuffer:
        """An empty ring in memory of its own, for two threads.

        Args:
            capacity: Samples that it can hold, any number from 1.

        Raises:
            ParameterError: the capacity is below 1.
        """
        _check_capacity(capacity)
        block = np.zeros(cls.nbytes(capacity) + _LINE_BYTES, dtype=np.uint8)
        return cls.over(block[-block.ctypes.data % _LINE_BYTES :].data, capacity)

    @classmethod
    def over(cls, buffer: memoryview, capacity: int) -> RingBuffer:
        """The ring in some memory, as its other side left it: for two processes.

        The memory cannot be closed before the ring is gone: `del ring` before `SharedMemory.close()`.

        Args:
            buffer: Writable, starting at a multiple of 8 bytes: `SharedMemory.buf`, which the system fills with zeros.
            capacity: The same on both sides.

        Raises:
            ParameterError: the memory is too small, read-only or misaligned, or the capacity is below 1.
        """
        _check_capacity(capacity)
        if buffer.nbytes < cls.nbytes(capacity):
            raise ParameterError(
                f"a ring of {capacity} samples needs {cls.nbytes(capacity)} bytes of memory and got {buffer.nbytes}."
            )
        memory = np.frombuffer(buffer, dtype=np.uint8)
        if not memory.flags.writeable or memory.ctypes.data % _COUNTER_ALIGN_BYTES:
            raise ParameterError(
                f"a ring needs writable memory that starts at a multiple of {_COUNTER_ALIGN_BYTES} bytes."
            )
        written, read = (memory[at : at + 8].view(np.int64) for at in (0, _LINE_BYTES))
        return cls(memory[_SAMPLES_AT_BYTES : cls.nbytes(capacity)].view(np.float32), written, read)

    @property
    def capacity(self) -> int:
        """Samples that fit in."""
        return len(self.samples)

    @property
    def available(self) -> int:
        """Samples that the reader can read. To the reader a promise, to others a glimpse."""
        return int(_filled(self.samples, self.written_total, self.read_total))

    @property
    def free(self) -> int:
        """Samples that the writer can write. To the writer a promise, to others a glimpse."""
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
        return int(_skip(n, self.written_total, self.read_total))

    def reset(self) -> None:
        """Empty the ring. Neither side may be at work; a reader alone empties it by `skip(capacity)`."""
        self.written_total[0] = 0
        self.read_total[0] = 0


def _check_capacity(capacity: int) -> None:
    if capacity < 1:
        raise ParameterError(f"a ring of {capacity} samples cannot hold anything: give it at least 1.")


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


_load_acquire: Any = intrinsic(_load_acquire_code)
_store_release: Any = intrinsic(_store_release_code)


@njit(types.int64(_SAMPLES, _COUNTER, _COUNTER), cache=True)
def _filled(samples: FloatArray, written_total: CounterArray, read_total: CounterArray) -> int:
    # Read first: whoever asks, the difference is not negative.
    read: int = _load_acquire(read_total)
    filled: int = min(_load_acquire(written_total) - read, len(samples))
    return filled


@njit(types.int64(_ANY_INPUT, _SAMPLES, _COUNTER, _COUNTER), cache=True)
def _write(x: FloatArray, samples: FloatArray, written_total: CounterArray, read_total: CounterArray) -> int:
    written = written_total[0]
    capacity = len(samples)
    count: int = min(len(x), capacity - (written - _load_acquire(read_total)))
    at = written % capacity
    until_end = min(count, capacity - at)
    samples[at : at + until_end] = x[:until_end]
    samples[: count - until_end] = x[until_end:count]
    _store_release(written_total, written + count)
    return count


@njit(types.int64(_ANY_OUTPUT, _SAMPLES, _COUNTER, _COUNTER), cache=True)
def _read(out: FloatArray, samples: FloatArray, written_total: CounterArray, read_total: CounterArray) -> int:
    read = read_total[0]
    capacity = len(samples)
    count: int = min(len(out), _load_acquire(written_total) - read)
    at = read % capacity
    until_end = min(count, capacity - at)
    out[:until_end] = samples[at : at + until_end]
    out[until_end:count] = samples[: count - until_end]
    _store_release(read_total, read + count)
    return count


@njit(types.int64(types.int64, _COUNTER, _COUNTER), cache=True)
def _skip(n: int, written_total: CounterArray, read_total: CounterArray) -> int:
    count: int = max(min(n, _load_acquire(written_total) - read_total[0]), 0)
    _store_release(read_total, read_total[0] + count)
    return count
