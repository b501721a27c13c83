"""The latency of two devices together, measured: sweeps played to one are found in the other.

This is the part that `OutputPath.fill` does not include: from the moment when the output's smoothed clock passes a
sample to the moment when the input's smoothed clock passes the same sample. It can be added to the buffer fill whatever
the size of callbacks, and does not depend on PortAudio's own figures.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...kernels.callbacks import CaptureState, PlayoutState
from ...kernels.clock import DeviceClock
from ...kernels.errors import AudioDeviceError
from ...kernels.ring import RingBuffer
from .paths import InputPath, OutputPath
from .probe import EVERY_S, TRIES, agreed_ms, find_probe, probe, sweeps
from .settings import StreamSpec
from .streams import OpenStream

_SETTLE_S = 1.5  # streams begin with bursts and pauses
_SPARE_S = 2.0
_POLL_S = 0.02
_OUTLIER_S = 0.02  # as in `DeviceClock`
_SHORTEST_CALLBACK = 16  # frames
_BLOCK_MS = 20  # paths need a block size, but no blocks are read here


@dataclass(slots=True)
class _NotedClock(DeviceClock):
    """A clock that keeps its ticks, so that one line can be fitted through all of them."""

    times_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), repr=False)
    totals: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), repr=False)
    ticks: int = 0

    @classmethod
    def with_room(cls, nominal_rate: int, seconds: float) -> _NotedClock:
        """A clock with space for the ticks of that many seconds."""
        room = int(nominal_rate * seconds) // _SHORTEST_CALLBACK
        state = DeviceClock.allocate(nominal_rate).state
        return cls(state, nominal_rate, times_s=np.zeros(room), totals=np.zeros(room))

    def tick(self, now_s: float, frames: int) -> None:
        """Note a callback of `frames` samples; called inside the callback."""
        n = self.ticks
        if n < len(self.totals):
            self.times_s[n] = now_s
            self.totals[n] = frames + (self.totals[n - 1] if n else 0.0)
            self.ticks = n + 1
        DeviceClock.tick(self, now_s, frames)

    @property
    def is_running(self) -> bool:
        """Whether there was a callback."""
        return self.ticks > 0

    def line(self, from_s: float) -> tuple[float, float]:
        """Time of sample 0 and seconds per sample: a line fitted to the ticks since `from_s`, without outliers.

        Raises:
            AudioDeviceError: there were no two ticks.
        """
        times, totals = self.times_s[: self.ticks], self.totals[: self.ticks]
        kept = times >= from_s
        if np.count_nonzero(kept) < 2:
            raise AudioDeviceError(
                "a device stopped while it was measured: choose another --device-buffer-ms, or unplug it and plug it "
                "in again"
            )
        times, totals = times[kept], totals[kept]
        error = times - totals / self.nominal_rate
        kept = np.abs(error - np.median(error)) < _OUTLIER_S
        slope, start = np.polyfit(totals[kept], times[kept], 1)
        return float(start), float(slope)


@dataclass(frozen=True, slots=True)
class LoopDelay:
    """Result of a measurement.

    Attributes:
        delay_ms: Latency of both devices together; None if no sweep was found or the sweeps disagree.
        found: Number of sweeps that were found.
        spread_ms: Difference between the shortest and the longest latency found.
        gain_db: Gain from output to input; 0 if no sweep was found.
        peak: Peak of the recorded input.
        estimated_in_ms: Estimated latency of the input, shown by sessions without a measurement.
        estimated_out_ms: Estimated latency of the output.
    """

    delay_ms: float | None
    found: int
    spread_ms: float
    gain_db: float
    peak: float
    estimated_in_ms: float
    estimated_out_ms: float


def measure_loop(source: StreamSpec, output: StreamSpec) -> LoopDelay:
    """Play sweeps to the output and record the input, for 7 seconds.

    Raises:
        AudioDeviceError: a device does not open.
    """
    signal = sweeps(output.rate)
    path_in = InputPath.allocate(source.rate, source.rate, _BLOCK_MS, source.channel)
    path_out = OutputPath.allocate(output.rate, output.rate, _BLOCK_MS, 0.0)
    total_s = _SETTLE_S + len(signal) / output.rate + _SPARE_S
    path_in.capture = CaptureState.allocate(RingBuffer.allocate(round(2.0 * total_s * source.rate)), source.channel)
    path_out.playout = PlayoutState.allocate(RingBuffer.allocate(len(signal)), output.rate)
    clock_in, clock_out = (_NotedClock.with_room(spec.rate, 2.0 * total_s) for spec in (source, output))
    path_in.clock, path_out.clock = clock_in, clock_out
    streams: list[OpenStream] = []
    try:
        streams.append(OpenStream(source, path_in))
        streams.append(OpenStream(output, path_out))
        time.sleep(_SETTLE_S)
        estimated_in_ms, estimated_out_ms = (stream.delay_ms for stream in streams)
        started_s = time.perf_counter()
        first = _play(path_out.playout, signal, total_s)
    finally:
        for stream in streams:
            stream.close()
    if not (clock_in.is_running and clock_out.is_running):
        raise AudioDeviceError(
            f"{(output if clock_in.is_running else source).device.name!r} opened but made no callback: "
            "choose another --device-buffer-ms, or unplug the device and plug it in again"
        )
    heard = np.zeros(path_in.capture.ring.available, dtype=np.float32)
    path_in.capture.ring.read_into(heard)
    delays_ms, gains = _delays(
        heard, first, clock_in.line(started_s), clock_out.line(started_s), source.rate, output.rate
    )
    return LoopDelay(
        delay_ms=agreed_ms(delays_ms, TRIES),
        found=len(delays_ms),
        spread_ms=float(np.ptp(delays_ms)) if delays_ms else 0.0,
        gain_db=20.0 * float(np.log10(np.median(gains))) if gains else 0.0,
        peak=float(np.abs(heard).max(initial=0.0)),
        estimated_in_ms=estimated_in_ms,
        estimated_out_ms=estimated_out_ms,
    )


def _play(playout: PlayoutState, signal: NDArray[np.float32], longest_s: float) -> int:
    """Play a signal; returns the position of its first sample in all samples played so far."""
    playout.ring.write(signal)
    playout.started[0] = 1
    end = time.perf_counter() + longest_s
    while playout.counters.underrun_samples == 0 and time.perf_counter() < end:  # until all is played
        time.sleep(_POLL_S)
    counters = playout.counters
    return counters.played - counters.underrun_samples - len(signal)


def _delays(
    heard: NDArray[np.float32],
    first: int,
    clock_in: tuple[float, float],
    clock_out: tuple[float, float],
    rate_in: int,
    rate_out: int,
) -> tuple[list[float], list[float]]:
    """Latency in ms and gain of each sweep that was found."""
    wanted, delays_ms, gains = probe(rate_in), [], []
    for i in range(TRIES):
        played_s = clock_out[0] + clock_out[1] * (first + i * round(EVERY_S * rate_out))
        start = max(int((played_s - clock_in[0]) / clock_in[1]), 0)
        found = find_probe(heard[start : start + round(EVERY_S * rate_in)], wanted)
        if found is not None:
            heard_s = clock_in[0] + clock_in[1] * (start + found.position)
            delays_ms.append(1000.0 * (heard_s - played_s))
            gains.append(found.gain)
    return delays_ms, gains
