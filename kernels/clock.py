"""The clock of a device, smoothed: how many samples it has handled at any time, from the jittery times of callbacks.

A delay-locked loop of second order (Adriaensen 2005, "Using a DLL to filter time", Linux Audio Conference).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit, types

from .types import Float64Array

BANDWIDTH_HZ = 0.05  # once settled: ppm need seconds
_FAST_BANDWIDTH_HZ = 0.2  # at the start
_SETTLED_S = 8.0
_OUTLIER_S = 0.02  # later or earlier than that a callback says nothing of the clock ...
_OUTLIERS_S = 1.0  # ... unless all do for so long: the device has paused, and the loop starts anew
_KEPT = 256  # callbacks whose times are remembered
_STATE, _NEWEST = types.Array(types.float64, 1, "C"), types.Array(types.float64, 2, "C")
# Places in the state.
_TIME, _TOTAL, _PERIOD, _STARTED, _AGE, _OUT_S, _TICKS = range(7)


@dataclass(slots=True)
class DeviceClock:
    """Filtered time of the newest callback.

    Attributes:
        state: Time in seconds at which the last callback was due, samples handled before its end, seconds per sample,
            whether there was any callback, seconds since the first, and since the last one that was no outlier,
            callbacks [7].
        nominal_rate: Hz.
        newest: A ring of the last callbacks: when each came, as it was, and the samples before its end [callbacks, 2].
    """

    state: Float64Array
    nominal_rate: int
    newest: Float64Array = field(default_factory=lambda: np.zeros((_KEPT, 2)), repr=False)

    @classmethod
    def allocate(cls, nominal_rate: int) -> DeviceClock:
        """A clock before the first callback."""
        clock = cls(np.zeros(7), nominal_rate)
        clock.reset()
        return clock

    def reset(self) -> None:
        """Forget all callbacks."""
        self.state[:] = 0.0
        self.state[_PERIOD] = 1.0 / self.nominal_rate

    def restart(self) -> None:
        """Smooth anew from the next callback on, for devices open with bursts. Samples stay counted."""
        self.state[_STARTED] = 0.0
        self.state[_PERIOD] = 1.0 / self.nominal_rate

    def tick(self, now_s: float, frames: int) -> None:
        """Note a callback of some frames; called by it."""
        _tick(self.state, self.newest, now_s, frames)

    def reached_s(self, total: int) -> float:
        """When the callback came that ended with so many samples or more: not smoothed.

        That of the first callback that is remembered, if it was before that, and of the last, if it is yet to come; 0
        if there was none.
        """
        return float(_reached(self.state, self.newest, total))

    def interval_s(self, since_s: float) -> float:
        """Time between callbacks, the median over time: of a device that calls thrice at once, from burst to burst.

        Args:
            since_s: Callbacks before that do not count, nor do those that are not remembered any more.

        Returns:
            Seconds; 0 if there were not two of them.
        """
        count = min(int(self.state[_TICKS]), len(self.newest))
        times_s = np.sort(self.newest[:count, 0])
        gaps_s = np.sort(np.diff(times_s[times_s >= since_s]))
        return float(gaps_s[np.searchsorted(np.cumsum(gaps_s), gaps_s.sum() / 2.0)]) if len(gaps_s) else 0.0

    @property
    def is_running(self) -> bool:
        """Whether there was a callback."""
        return bool(self.state[_STARTED])

    def total_at(self, now_s: float) -> float:
        """Samples handled at a time, between callbacks too."""
        return float(self.state[_TOTAL] + (now_s - self.state[_TIME]) / self.state[_PERIOD])

    @property
    def deviation_ppm(self) -> float:
        """How much faster than nominal the device runs."""
        return float((1.0 / (self.state[_PERIOD] * self.nominal_rate) - 1.0) * 1e6)


@njit(types.void(_STATE, _NEWEST, types.float64, types.int64), cache=True)
def _tick(state: Float64Array, newest: Float64Array, now_s: float, frames: int) -> None:
    due = state[_TIME] + state[_PERIOD] * frames
    error = now_s - due
    elapsed = state[_PERIOD] * frames
    state[_TOTAL] += frames
    place = int(state[_TICKS]) % len(newest)
    newest[place, 0] = now_s
    newest[place, 1] = state[_TOTAL]
    state[_TICKS] += 1
    if state[_STARTED] == 0.0 or state[_OUT_S] > _OUTLIERS_S:
        state[_TIME] = now_s
        state[_STARTED] = 1.0
        state[_AGE] = 0.0
        state[_OUT_S] = 0.0
        return
    state[_AGE] += elapsed
    if abs(error) > _OUTLIER_S:
        state[_OUT_S] += elapsed
        state[_TIME] = due
        return
    state[_OUT_S] = 0.0
    bandwidth = max(_FAST_BANDWIDTH_HZ * (1.0 - state[_AGE] / _SETTLED_S), BANDWIDTH_HZ)
    omega = min(2.0 * math.pi * bandwidth * elapsed, 0.5)
    state[_TIME] = due + math.sqrt(2.0) * omega * error
    state[_PERIOD] += omega * omega * error / frames


@njit(types.float64(_STATE, _NEWEST, types.int64), cache=True)
def _reached(state: Float64Array, newest: Float64Array, total: int) -> float:
    ticks = int(state[_TICKS])
    found = 0.0
    for back in range(min(ticks, len(newest))):  # from the last callback on
        place = (ticks - 1 - back) % len(newest)
        if back > 0 and newest[place, 1] < total:
            break
        found = newest[place, 0]
    return found
