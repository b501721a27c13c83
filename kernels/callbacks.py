"""What the audio callbacks do: copy, count, and fade by a precomputed ramp at an underrun.

After an underrun the samples that come too late are discarded, one for each that was missing, so that the delay stays
what it was. Only the allowance, which the engine's side raises in steps, lets an underrun lengthen the delay instead.
Nothing here allocates, locks or waits; the compiled functions keep the GIL, as those of the ring do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from .fades import fade_in_curve
from .ring import COUNTER, SAMPLES, RingBuffer, load_acquire, skip_oldest
from .types import CounterArray, FloatArray

RAMP_MS = 4


class PlayoutCounters(NamedTuple):
    """What an output callback has counted since the start.

    Attributes:
        callbacks: Callbacks.
        played: Samples played, silence included.
        underruns: Underruns, each counted once however many callbacks it lasts.
        underrun_samples: Samples that were missing when they were due.
        discarded: Samples that were left out because they came too late or were trimmed.
        to_discard: Samples that are still to be left out.
        added: Samples by which underruns have lengthened the delay.
        trimmed: Samples of `PlayoutState.trim` that were taken note of: discarded or counted in `to_discard`.
    """

    callbacks: int
    played: int
    underruns: int
    underrun_samples: int
    discarded: int
    to_discard: int
    added: int
    trimmed: int


_COUNTERS = np.dtype([(name, np.int64) for name in PlayoutCounters._fields])
COUNTERS = types.Array(from_dtype(_COUNTERS), 1, "C")
_CALLBACK_BUFFER = types.Array(types.float32, 2, "A")


@dataclass(slots=True)
class PlayoutState:
    """State of an output callback, which alone writes all of it but `started`, `allowance` and `trim`.

    Attributes:
        ring: The samples to be played, mono.
        started: 0 until the engine's side has filled the ring; silence is played until then [1].
        allowance: Samples by which underruns may lengthen the delay, counted since the start [1].
        trim: Samples to be left out to shorten the delay, counted since the start [1].
        counts: Read as `counters` [1].
        ramp: Fade-in after an underrun or a trim, from 0 to 1; reversed, the fade-out before it.
        last: The last sample played, and the one that fades out under the samples after a trim [2].
        faded_in: Samples of the ramp that were played [1].
    """

    ring: RingBuffer
    started: CounterArray
    allowance: CounterArray
    trim: CounterArray
    counts: NDArray[np.void]
    ramp: FloatArray = field(repr=False)
    last: FloatArray
    faded_in: CounterArray

    @classmethod
    def allocate(cls, ring: RingBuffer, sample_rate: int) -> PlayoutState:
        """State before the first callback."""
        ramp = fade_in_curve(max(sample_rate * RAMP_MS // 1000, 2)).astype(np.float32)
        started, allowance, trim, faded_in = (np.zeros(1, dtype=np.int64) for _ in range(4))
        counts = np.zeros(1, dtype=_COUNTERS)
        return cls(ring, started, allowance, trim, counts, ramp, np.zeros(2, dtype=np.float32), faded_in)

    @property
    def counters(self) -> PlayoutCounters:
        """All counters as they were at one instant, between two callbacks."""
        return PlayoutCounters(*self.counts[0].item())


@dataclass(slots=True)
class CaptureState:
    """State of an input callback, which alone writes it.

    Attributes:
        ring: Ring buffer for the mono samples.
        channel: Which of the device's channels is taken, from 0.
        callbacks: Callbacks so far.
        overrun_samples: Samples lost because the ring was full.
    """

    ring: RingBuffer
    channel: int
    callbacks: int
    overrun_samples: int

    @classmethod
    def allocate(cls, ring: RingBuffer, channel: int = 0) -> CaptureState:
        """State before the first callback."""
        return cls(ring, channel, 0, 0)


def play_into(state: PlayoutState, out: FloatArray) -> None:
    """Fill a callback's buffer [frames, channels], every channel alike."""
    ring = state.ring
    _play(
        out,
        ring.samples,
        ring.written_total,
        ring.read_total,
        state.started,
        state.allowance,
        state.trim,
        state.counts,
        state.ramp,
        state.last,
        state.faded_in,
    )


def capture_from(state: CaptureState, frames: FloatArray) -> None:
    """Take one channel of a callback's buffer [frames, channels]."""
    written = state.ring.write(frames[:, state.channel])
    state.callbacks += 1
    state.overrun_samples += len(frames) - written


@njit(cache=True)
def _fade_out(out: Any, n: int, ramp: FloatArray, last: FloatArray) -> None:
    """Fade out the end of the `n` samples in `out`; where they are shorter than the ramp, fade the last one played."""
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
    types.void(_CALLBACK_BUFFER, SAMPLES, *[COUNTER] * 5, COUNTERS, SAMPLES, SAMPLES, COUNTER),
    cache=True,
)
def _play(
    out: FloatArray,
    samples: FloatArray,
    written_total: CounterArray,
    read_total: CounterArray,
    started: CounterArray,
    allowance: CounterArray,
    trim: CounterArray,
    counts: Any,
    ramp: FloatArray,
    last: FloatArray,
    faded_in: CounterArray,
) -> None:
    frames, channels = out.shape
    counters = counts[0]
    counters.callbacks += 1
    counters.played += frames
    if started[0] == 0:
        out[:] = 0.0
        return
    to_trim = trim[0] - counters.trimmed
    if to_trim > 0:
        counters.trimmed += to_trim
        counters.to_discard += to_trim
        faded_in[0] = 0
    if counters.to_discard > 0:
        discarded = skip_oldest(counters.to_discard, written_total, read_total)
        counters.to_discard -= discarded
        counters.discarded += discarded
    available: int = load_acquire(written_total) - read_total[0]
    n = min(frames, available) if counters.to_discard == 0 else 0
    at = read_total[0] % len(samples)
    length = len(ramp)
    if faded_in[0] == 0:
        last[1] = last[0]
    for i in range(n):
        y = samples[at]
        at += 1
        if at == len(samples):
            at = 0
        if faded_in[0] < length:  # from silence, or from the last sample before a trim
            y = y * ramp[faded_in[0]] + last[1] * ramp[length - 1 - faded_in[0]]
            faded_in[0] += 1
        out[i, 0] = y
    last[0] = out[n - 1, 0] if n > 0 else last[0]
    skip_oldest(n, written_total, read_total)
    if n < frames:
        missing = frames - n
        if faded_in[0] > 0 or last[0] != 0.0:  # sound breaks off here
            counters.underruns += 1
            _fade_out(out, n, ramp, last)
        else:
            for i in range(frames):
                out[i, 0] = 0.0
        faded_in[0] = 0
        last[0] = 0.0
        counters.underrun_samples += missing
        added = max(min(missing, allowance[0] - counters.added), 0)
        counters.added += added
        counters.to_discard += missing - added
    for channel in range(1, channels):
        for i in range(frames):
            out[i, channel] = out[i, 0]
