"""What the audio callbacks do: copy, count, and on shortage apply a precomputed ramp.

A callback that finds too little to play fades out and owes the listener nothing: what comes too late is dropped, sample
for sample, so that the delay stays what it was. Only the allowance, which the engine's side raises in steps, lets a
shortage lengthen the delay instead. Nothing here allocates, locks or waits; the compiled functions keep Python's global
lock, as those of the ring do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit, types

from .ring import _COUNTER, _SAMPLES, RingBuffer, _load_acquire, _skip
from .sola import fade_in_curve
from .types import CounterArray, FloatArray

RAMP_MS = 4

# Places in `PlayoutState.counters`.
CALLBACKS, PLAYED, STARVATIONS, STARVED, DROPPED, DEBT, GROWN, CUT = range(8)
# Places in `CaptureState.counters`.
CAPTURE_CALLBACKS, CAPTURED, LOST = range(3)

_ANY_FRAMES_IN = types.Array(types.float32, 2, "A", readonly=True)
_ANY_FRAMES_OUT = types.Array(types.float32, 2, "A")


@dataclass(slots=True)
class PlayoutState:
    """What an output callback carries. Written by the callback alone, but for `started` and `allowed`.

    Attributes:
        ring: What is to be played, mono.
        started: 0 until the other side has filled the ring: silence before [1].
        allowed: Samples by which shortages may have lengthened the delay since the start [1]; see `GROWN`.
        cut: Samples that are to be left out since the start, to shorten a delay that a pause of the device made [1].
        counters: Callbacks; samples played, shortages and silence included; shortages; samples that were missing;
            samples that were dropped, for they came too late or were to be cut; samples that are still to be dropped;
            samples by which the delay has grown; samples of `cut` that were seen to [8].
        ramp: From 0 to 1, for what is heard after a shortage; backwards for what is heard before it.
        last: The last sample played, and the one that is being faded out under what follows a cut [2].
        faded_in: How far along the ramp the sound is [1].
    """

    ring: RingBuffer
    started: CounterArray
    allowed: CounterArray
    cut: CounterArray
    counters: CounterArray
    ramp: FloatArray = field(repr=False)
    last: FloatArray
    faded_in: CounterArray

    @classmethod
    def allocate(cls, ring: RingBuffer, sample_rate: int) -> PlayoutState:
        """State before the first callback."""
        ramp = fade_in_curve(max(sample_rate * RAMP_MS // 1000, 2)).astype(np.float32)
        started, allowed, cut, faded_in = (np.zeros(1, dtype=np.int64) for _ in range(4))
        counters = np.zeros(8, dtype=np.int64)
        return cls(ring, started, allowed, cut, counters, ramp, np.zeros(2, dtype=np.float32), faded_in)

    @property
    def owed(self) -> int:
        """Samples that came or will come too late and are not dropped yet."""
        return int(self.counters[DEBT])


@dataclass(slots=True)
class CaptureState:
    """What an input callback carries.

    Attributes:
        ring: Where the samples go, mono.
        channel: Which of the device's channels, from 0.
        counters: Callbacks; samples that came; samples that found no room [3].
    """

    ring: RingBuffer
    channel: int
    counters: CounterArray

    @classmethod
    def allocate(cls, ring: RingBuffer, channel: int = 0) -> CaptureState:
        """State before the first callback."""
        return cls(ring, channel, np.zeros(3, dtype=np.int64))


def play_into(state: PlayoutState, out: FloatArray) -> None:
    """Fill a callback's buffer [frames, channels], each channel alike."""
    ring = state.ring
    _play(
        out,
        ring.samples,
        ring.written_total,
        ring.read_total,
        state.started,
        state.allowed,
        state.cut,
        state.counters,
        state.ramp,
        state.last,
        state.faded_in,
    )


def capture_from(state: CaptureState, frames: FloatArray) -> None:
    """Take one channel of a callback's buffer [frames, channels]."""
    ring = state.ring
    written = ring.write(frames[:, state.channel])
    counters = state.counters
    counters[CAPTURE_CALLBACKS] += 1
    counters[CAPTURED] += len(frames)
    counters[LOST] += len(frames) - written


@njit(cache=True)
def _fade_out(out: Any, n: int, ramp: FloatArray, last: FloatArray) -> None:
    """Fade the end of what is there; if that is too short, let the last sample slide to 0 after it."""
    frames, length = len(out), len(ramp)
    if n >= length:
        for i in range(length):
            out[n - length + i, 0] *= ramp[length - 1 - i]
        for i in range(n, frames):
            out[i, 0] = 0.0
        return
    for i in range(n, frames):
        j = length - 1 - (i - n)
        out[i, 0] = last[0] * ramp[j] if j >= 0 else 0.0


@njit(
    types.void(_ANY_FRAMES_OUT, _SAMPLES, *[_COUNTER] * 6, _SAMPLES, _SAMPLES, _COUNTER),
    cache=True,
)
def _play(
    out: FloatArray,
    samples: FloatArray,
    written_total: CounterArray,
    read_total: CounterArray,
    started: CounterArray,
    allowed: CounterArray,
    cut: CounterArray,
    counters: CounterArray,
    ramp: FloatArray,
    last: FloatArray,
    faded_in: CounterArray,
) -> None:
    frames, channels = out.shape
    counters[CALLBACKS] += 1
    counters[PLAYED] += frames
    if started[0] == 0:
        out[:] = 0.0
        return
    to_cut = cut[0] - counters[CUT]
    if to_cut > 0:
        counters[CUT] += to_cut
        counters[DEBT] += to_cut
        faded_in[0] = 0
    if counters[DEBT] > 0:
        dropped = _skip(counters[DEBT], written_total, read_total)
        counters[DEBT] -= dropped
        counters[DROPPED] += dropped
    available: int = _load_acquire(written_total) - read_total[0]
    n = min(frames, available) if counters[DEBT] == 0 else 0
    at = read_total[0] % len(samples)
    length = len(ramp)
    if faded_in[0] == 0:
        last[1] = last[0]
    for i in range(n):
        y = samples[at]
        at += 1
        if at == len(samples):
            at = 0
        if faded_in[0] < length:  # from silence, or from the sample at which something was cut out
            y = y * ramp[faded_in[0]] + last[1] * ramp[length - 1 - faded_in[0]]
            faded_in[0] += 1
        out[i, 0] = y
    last[0] = out[n - 1, 0] if n > 0 else last[0]
    _skip(n, written_total, read_total)
    if n < frames:
        missing = frames - n
        if faded_in[0] > 0 or last[0] != 0.0:  # sound breaks off here
            counters[STARVATIONS] += 1
            _fade_out(out, n, ramp, last)
        else:
            for i in range(frames):
                out[i, 0] = 0.0
        faded_in[0] = 0
        last[0] = 0.0
        counters[STARVED] += missing
        grown = max(min(missing, allowed[0] - counters[GROWN]), 0)
        counters[GROWN] += grown
        counters[DEBT] += missing - grown
    for channel in range(1, channels):
        for i in range(frames):
            out[i, channel] = out[i, 0]
