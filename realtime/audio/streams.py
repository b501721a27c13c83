"""Device streams whose callbacks only copy, count and timestamp."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ...kernels.callbacks import capture_from, play_into
from ...kernels.errors import AudioDeviceError
from .devices import PULSE, extra_settings, index_here, load_sounddevice, supported_rates
from .paths import InputPath, OutputPath
from .settings import StreamSpec

log = logging.getLogger(__name__)

_WATCHED_S = 2.0  # over which callback intervals are measured; the figure is shown and should not flicker
STALLED_S = 1.5  # without a callback a device counts as gone


def clock_through_sleep_s() -> float:
    """Seconds on a clock that goes on while the machine sleeps; `perf_counter` stands still then on some systems."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.perf_counter()


class OpenStream:
    """A running stream, with a check whether it still runs.

    Args:
        spec: Device and settings of the stream.
        path: Path whose ring buffer the callback fills or empties.

    Raises:
        AudioDeviceError: the device does not open; the message says why and what to do.
    """

    def __init__(self, spec: StreamSpec, path: InputPath | OutputPath) -> None:
        self.spec = spec
        self._path = path
        self._callbacks = -1
        self._seen_s = time.perf_counter()
        sounddevice = load_sounddevice()
        make, callback = (
            (sounddevice.InputStream, _input_callback(path))
            if isinstance(path, InputPath)
            else (sounddevice.OutputStream, _output_callback(path))
        )
        channels = (
            len(spec.channel_selectors) or min(spec.device.channels(spec.direction), max(spec.channel + 1, 2)) or 1
        )
        try:
            self._stream = make(
                samplerate=spec.rate,
                device=index_here(spec.device),
                channels=channels,
                dtype="float32",
                latency="low" if spec.buffer_ms is None else spec.buffer_ms / 1000.0,
                extra_settings=extra_settings(spec.device, spec.direction, spec.exclusive, spec.channel_selectors),
                callback=callback,
            )
            try:
                self._stream.start()
            except sounddevice.PortAudioError:
                self._stream.close()
                raise
        except sounddevice.PortAudioError as error:
            raise AudioDeviceError(_why(spec, str(error))) from error
        log.debug("%s %r opened: %d Hz, %d channels", spec.direction, spec.device.name, spec.rate, channels)

    @property
    def delay_ms(self) -> float:
        """Latency of the device beyond the callback that carries a sample, estimated from what PortAudio reports.

        For PulseAudio this was measured with null sinks: PortAudio reports the whole buffer of an input, but only one
        callback interval waits in the server; an output has its buffer and one callback interval more.
        """
        reported_ms = float(self._stream.latency) * 1000.0
        if self.spec.device.host_api != PULSE:
            return reported_ms
        waiting_ms = 1000.0 * self._path.clock.interval_s(time.perf_counter() - _WATCHED_S)
        return waiting_ms if isinstance(self._path, InputPath) else reported_ms + waiting_ms

    @property
    def callbacks(self) -> int:
        """Number of callbacks so far."""
        if isinstance(self._path, InputPath):
            return self._path.capture.callbacks
        return self._path.playout.counters.callbacks

    def is_alive(self, now_s: float) -> bool:
        """Whether there was a callback within the last `STALLED_S`."""
        callbacks = self.callbacks
        if callbacks != self._callbacks:
            self._callbacks, self._seen_s = callbacks, now_s
        return now_s - self._seen_s < STALLED_S

    def close(self) -> None:
        """Close the device immediately; errors of one that is gone already are ignored."""
        self._stream.abort()
        self._stream.close()


def _input_callback(path: InputPath) -> Callable[..., None]:
    capture, clock = path.capture, path.clock

    def callback(frames_in: np.ndarray, frames: int, timing: Any, flags: Any) -> None:
        capture_from(capture, frames_in)
        clock.tick(time.perf_counter(), frames)

    return callback


def _output_callback(path: OutputPath) -> Callable[..., None]:
    playout, clock = path.playout, path.clock

    def callback(frames_out: np.ndarray, frames: int, timing: Any, flags: Any) -> None:
        play_into(playout, frames_out)
        clock.tick(time.perf_counter(), frames)

    return callback


def _why(spec: StreamSpec, message: str) -> str:
    """One sentence about a device that does not open."""
    name, lower = spec.device.name, message.lower()
    if "sample rate" in lower or "samplerate" in lower:
        rates = supported_rates(spec.device, spec.direction)
        open_at = ", ".join(str(rate) for rate in rates) or "none of the usual ones"
        return (
            f"{name!r} refuses {spec.rate} Hz; it opens at {open_at}: set it to one of these in the system's sound "
            "settings, or close the program that holds it at another rate"
        )
    if "unavailable" in lower or "busy" in lower or "in use" in lower:
        return f"{name!r} is in exclusive use by another program: close that program, or choose another device"
    if "permission" in lower or "denied" in lower:
        return f"{name!r} may not be opened ({message}): allow this program to use it in the system's privacy settings"
    return (
        f"{name!r} does not open as {spec.direction} at {spec.rate} Hz ({message}): see `altervox devices` for others"
    )
