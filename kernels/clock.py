"""The clock of a device, smoothed: how many samples it has handled at any time, from the jittery times of callbacks.

A delay-locked loop of second order (Adriaensen 2005, "Using a DLL to filter time", Linux Audio Conference).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import NDArray

from .callbacks import COUNTERS, PlayoutState
from .ring import COUNTER, load_acquire
from .types import CounterArray, Float64Array

BANDWIDTH_HZ = 0.05  # once settled: ppm need seconds
_FAST_BANDWIDTH_HZ = 0.2  # at the start
_SETTLED_S = 8.0
_OUTLIER_S = 0.02  # a callback that is later or earlier by more does not adjust the clock ...
_OUTLIERS_S = 1.0  # ... unless all are for so long: the device has paused, and the loop starts anew
_KEPT = 256  # callbacks whose times are remembered
_STATE = np.dtype(
    [
        ("time_s", np.float64),
        ("total", np.int64),
        ("period_s", np.float64),
        ("is_running", np.int64),
        ("age_s", np.float64),
        ("outlier_s", np.float64),
        ("ticks", np.int64),
    ]
)
_STATE_TYPE = types.Array(from_dtype(_STATE), 1, "C")
_TIMES_TYPE = types.Array(types.float64, 1, "C")


@dataclass(slots=True)
class DeviceClock:
    """Smoothed time of the newest callback.

    Attributes:
        state: One record [1]: `time_s` at which the last callback was due, `total` of samples handled by its end,
            `period_s` from sample to sample, `is_running` once there was a callback since the clock was started,
            `age_s` since then, `outlier_s` since the last callback that was no outlier, `ticks`: callbacks.
        nominal_rate: Hz.
        times_s: Ring of the times at which the last callbacks came, unsmoothed [callbacks].
    """

    state: NDArray[np.void]
    nominal_rate: int
    times_s: Float64Array = field(default_factory=lambda: np.zeros(_KEPT), repr=False)

    @classmethod
    def allocate(cls, nominal_rate: int) -> DeviceClock:
        """A clock before the first callback."""
        clock = cls(np.zeros(1, dtype=_STATE), nominal_rate)
        clock.reset()
        return clock

    def reset(self) -> None:
        """Forget all callbacks."""
        self.state[:] = np.zeros((), dtype=_STATE)
        self.restart()

    def restart(self) -> None:
        """Smooth anew from the next callback on, because devices open with bursts. The sample count goes on."""
        self.state["is_running"] = 0
        self.state["period_s"] = 1.0 / self.nominal_rate

    def tick(self, now_s: float, frames: int) -> None:
        """Note a callback of `frames` samples; called by the callback itself."""
        _tick(self.state, self.times_s, now_s, frames)

    def interval_s(self, since_s: float) -> float:
        """Time between callbacks, or between bursts of them: the median, each gap weighted by how long it lasts.

        Args:
            since_s: Callbacks before this time do not count, nor do those that are not remembered any more.

        Returns:
            Seconds; 0 if there were fewer than two callbacks.
        """
        count = min(int(self.state["ticks"][0]), len(self.times_s))
        times_s = np.sort(self.times_s[:count])
        gaps_s = np.sort(np.diff(times_s[times_s >= since_s]))
        return float(gaps_s[np.searchsorted(np.cumsum(gaps_s), gaps_s.sum() / 2.0)]) if len(gaps_s) else 0.0

    @property
    def is_running(self) -> bool:
        """Whether there was a callback since the clock was started."""
        return bool(self.state["is_running"][0])

    def total_at(self, now_s: float) -> float:
        """Samples handled at a time, which may lie between callbacks."""
        return float(_total_at(self.state, now_s))


def buffer_fill(source: DeviceClock, taken: int, playout: PlayoutState, output: DeviceClock, now_s: float) -> float:
    """Samples between the clocks of an input and of an output device, partly filled blocks included.

    It moves with the two smoothed clocks only, neither with callbacks nor with blocks: everything is read by one
    compiled function that keeps the GIL, so no callback can run between two of the readings.

    Args:
        source: Clock of the input.
        taken: Samples, at the input's rate, that have left the input's ring or were lost to overruns.
        playout: State of the output's callback.
        output: Clock of the output.
        now_s: The time on the clock that callbacks tick with.

    Returns:
        Samples at the output's rate, those that are still to be discarded left out.
    """
    ring = playout.ring
    return float(
        _fill(
            source.state,
            float(taken),
            output.nominal_rate / source.nominal_rate,
            ring.written_total,
            ring.read_total,
            playout.trim,
            playout.counts,
            output.state,
            now_s,
        )
    )


@njit(types.float64(_STATE_TYPE, types.float64), cache=True)
def _total_at(state: Any, now_s: float) -> float:
    clock = state[0]
    total: float = clock.total + (now_s - clock.time_s) / clock.period_s
    return total


@njit(
    types.float64(
        _STATE_TYPE,
        types.float64,
        types.float64,
        COUNTER,
        COUNTER,
        COUNTER,
        COUNTERS,
        _STATE_TYPE,
        types.float64,
    ),
    cache=True,
)
def _fill(
    source: Any,
    taken: float,
    rate_ratio: float,
    written_total: CounterArray,
    read_total: CounterArray,
    trim: CounterArray,
    counts: Any,
    output: Any,
    now_s: float,
) -> float:
    counters = counts[0]
    available = load_acquire(written_total) - load_acquire(read_total)
    to_discard = counters.to_discard + trim[0] - counters.trimmed
    unplayed = counters.played - _total_at(output, now_s)
    pending = (_total_at(source, now_s) - taken) * rate_ratio
    fill: float = available - to_discard + unplayed + pending
    return fill


@njit(types.void(_STATE_TYPE, _TIMES_TYPE, types.float64, types.int64), cache=True)
def _tick(state: Any, times_s: Float64Array, now_s: float, frames: int) -> None:
    clock = state[0]
    elapsed = clock.period_s * frames
    due = clock.time_s + elapsed
    error = now_s - due
    clock.total += frames
    times_s[clock.ticks % len(times_s)] = now_s
    clock.ticks += 1
    if clock.is_running == 0 or clock.outlier_s > _OUTLIERS_S:
        clock.time_s = now_s
        clock.is_running = 1
        clock.age_s = 0.0
        clock.outlier_s = 0.0
        return
    clock.age_s += elapsed
    if abs(error) > _OUTLIER_S:
        clock.outlier_s += elapsed
        clock.time_s = due
        return
    clock.outlier_s = 0.0
    bandwidth = max(_FAST_BANDWIDTH_HZ * (1.0 - clock.age_s / _SETTLED_S), BANDWIDTH_HZ)
    omega = min(2.0 * math.pi * bandwidth * elapsed, 0.5)
    clock.time_s = due + math.sqrt(2.0) * omega * error
    clock.period_s += omega * omega * error / frames
