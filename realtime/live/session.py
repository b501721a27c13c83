"""The audio process: device callbacks and the engine's loop, and nothing else that could keep them waiting."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections import deque
from dataclasses import replace
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np

from ...kernels.errors import AltervoxError, AudioDeviceError
from ...kernels.gain import decibels, linear
from ...kernels.playout import LOST, STARVATIONS, STARVED
from ..device import rescan
from .chain import Chain
from .loop import InputLane, LiveLoop, OutputLane
from .prefill import callbacks_need_ms, check_block_time
from .priority import raise_priority, raise_thread_priority, settle_memory
from .recorder import Recorder
from .settings import (
    Command,
    LiveSettings,
    SetAbsent,
    SetBypass,
    SetInputGain,
    SetMonitor,
    SetMuted,
    SetParams,
    SetSource,
    SetVoice,
    Stop,
)
from .status import STATES, LiveStatus
from .streams import OpenStream, StreamSpec, clock_through_sleep_s
from .warm_up import slowest_block_ms

if TYPE_CHECKING:
    from ..engine import Engine

log = logging.getLogger(__name__)

_LONGEST_SLEEP_S = 0.004
_SHORTEST_SLEEP_S = 0.0003
_COMMANDS_EVERY_S = 0.02
_STATUS_EVERY_S = 0.1
_SHOWN_OVER = 50  # levels whose median is shown: jitter of callbacks moves single ones by some milliseconds
_RECONNECT_EVERY_S = 1.0
_BUFFERS_FILL_S = 0.2  # an output that sleeps calls back at first all the same, until its buffers are full
_BEGINS_WITHIN_S = 3.0  # after it was opened again, else the device sleeps: Bluetooth takes its time
_PAUSED_S = 1.0  # without a turn of the loop: what devices and server hold by then is old, and would stay as delay
_DEFAULT_CALLBACK_MS = 10.0


def run_audio_process(settings: LiveSettings, commands: Connection, status_name: str) -> None:
    """Run a session until it is told to stop or the other side is gone; what went wrong stands in the status.

    Args:
        settings: What is wanted.
        commands: `Command`s come from here.
        status_name: Of the shared `LiveStatus`.
    """
    os.environ.update(settings.environment)
    status = LiveStatus.attach(status_name)
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the other side says what to do

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    try:
        session = Session(settings, commands, status, stopping)
        session.run()
        status.put(state=STATES.index("stopped"))
    except AltervoxError as error:
        status.put(cause=str(error), state=STATES.index("failed"))
    finally:
        status.close()


class Session:
    """One live session, from the first warm-up to the last sample.

    Args:
        settings: What is wanted.
        commands: `Command`s come from here.
        status: Told what happens.
        stopping: Set from outside to end it.

    Raises:
        AltervoxError: the voice cannot be had, the machine is too slow for the block, or a device does not open.
    """

    def __init__(
        self, settings: LiveSettings, commands: Connection, status: LiveStatus, stopping: threading.Event
    ) -> None:
        self.settings = settings
        self._commands = commands
        self._status = status
        self._stopping = stopping
        self._streams: list[OpenStream] = []
        self._levels_ms: deque[float] = deque(maxlen=_SHOWN_OVER)
        self._cause = ""
        self._absent: frozenset[str] = frozenset()
        self._reopen_because = ""
        log.info("priority: %s", raise_priority())
        import torch

        from ..swap import SwappableEngine

        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self._engine = SwappableEngine(self._build_engine(settings.voice))
        self._voice_name = settings.voice
        self._chain = Chain.allocate(
            self._engine.sample_rate,
            self._engine.block_size,
            suppress_noise=settings.suppress_noise,
            input_gain_db=settings.input_gain_db,
            speech_level_db=settings.speech_level_db,
            speech_gate=settings.speech_gate,
        )
        worst_ms = slowest_block_ms(self._engine, self._chain)
        self._engine.reset()
        self._chain.reset()
        check_block_time(worst_ms, settings.config.block_ms)
        need_ms = callbacks_need_ms(*(_callback_ms(spec) for spec in (settings.source, settings.outputs[0])))
        self._least_prefill_ms = need_ms
        self._prefill_ms = settings.prefill_ms if settings.prefill_ms is not None else need_ms + worst_ms
        self._loop = self._new_loop()
        if settings.record_folder is not None:
            self._loop.recorder = Recorder(settings.record_folder, self._engine.sample_rate)
        self._started_s = time.perf_counter()

    def run(self) -> None:
        """Convert until it is over."""
        self._open()
        self._status.put(state=STATES.index("running"), cause="")
        settle_memory()
        log.info("the rendering thread: %s", raise_thread_priority() or "as the process")
        next_commands = next_status = 0.0
        last_turn_s = clock_through_sleep_s()
        try:
            while not self._stopping.is_set():
                if clock_through_sleep_s() - last_turn_s > _PAUSED_S:
                    self._reopen_because = "the computer slept, or this program was stopped"
                if self._reopen_because:
                    self._reconnect()
                    last_turn_s = clock_through_sleep_s()
                    continue  # it may have ended because all is to end
                last_turn_s = clock_through_sleep_s()
                now = time.perf_counter()
                worked = self._loop.step(now)
                if now >= next_commands:
                    next_commands = now + _COMMANDS_EVERY_S
                    self._obey()
                if now >= next_status:
                    next_status = now + _STATUS_EVERY_S
                    self._report(now)
                    for stream in self._streams:
                        if not stream.is_alive(now):
                            self._reopen_because = f"{stream.spec.device.name!r} has stopped; waiting"
                if not worked:
                    time.sleep(self._until_next_block(now))
        finally:
            self._close()
            if self._loop.recorder is not None:
                self._loop.recorder.close()

    def _build_engine(self, voice: str) -> Engine:
        from ...models import load_voice
        from ..engine import Engine

        return Engine(load_voice(voice, self.settings.device), self.settings.config, self.settings.params)

    def _new_loop(self) -> LiveLoop:
        """Fresh lanes between the devices; the engine goes on."""
        settings, rate = self.settings, self._engine.sample_rate
        block_ms = settings.config.block_ms
        source = InputLane.allocate(settings.source.rate, rate, block_ms, settings.source.channel)
        outputs = [
            OutputLane.allocate(rate, spec.rate, block_ms, self._prefill_ms, self._least_prefill_ms)
            for spec in settings.outputs
        ]
        for monitor in outputs[1:]:
            monitor.gain.reset(self._monitor_gain)
        return LiveLoop(self._engine, source, outputs, self._chain)

    @property
    def _monitor_gain(self) -> float:
        return linear(self.settings.monitor_gain_db) if self.settings.monitor else 0.0

    def _open(self) -> None:
        """Open all devices, or none.

        Raises:
            AudioDeviceError: one does not open.
        """
        lanes: list[InputLane | OutputLane] = [self._loop.source, *self._loop.outputs]
        try:
            for spec, lane in zip((self.settings.source, *self.settings.outputs), lanes, strict=True):
                self._streams.append(OpenStream(spec, lane))
        except AudioDeviceError:
            self._close()
            raise
        self._cause = ""

    def _close(self) -> None:
        self._levels_ms.clear()
        while self._streams:
            self._streams.pop().close()

    def _reconnect(self) -> None:
        """Let go of all devices, be silent, and open them when they are there."""
        self._close()
        next_try = 0.0
        while not self._stopping.is_set():
            if self._reopen_because:
                self._status.put(state=STATES.index("reconnecting"), cause=self._reopen_because)
                log.warning("%s", self._reopen_because)
                self._reopen_because = ""
            now = time.perf_counter()
            if not self._absent and now >= next_try:
                if self._open_again():
                    log.info("the devices are back")
                    return
                next_try = now + _RECONNECT_EVERY_S
            self._stopping.wait(_COMMANDS_EVERY_S)
            self._obey()

    def _open_again(self) -> bool:
        """Open all devices afresh; returns whether all of them run."""
        before, self._loop = self._loop, self._new_loop()
        for kept in ("recorder", "muted", "times", "blocks", "late_blocks", "failed_blocks"):
            setattr(self._loop, kept, getattr(before, kept))
        try:
            rescan()
            self._open()
        except AudioDeviceError as error:
            log.debug("not yet: %s", error)
            return False
        end = time.perf_counter() + _BEGINS_WITHIN_S
        self._stopping.wait(_BUFFERS_FILL_S)
        filled = [stream.callbacks for stream in self._streams]
        while not self._reopen_because and time.perf_counter() < end:
            if all(stream.callbacks > count for stream, count in zip(self._streams, filled, strict=True)):
                self._status.put(state=STATES.index("running"), cause="")
                return True
            self._stopping.wait(_COMMANDS_EVERY_S)
            self._obey()
        self._close()
        return False

    def _obey(self) -> None:
        """Carry out the commands that have come."""
        try:
            while self._commands.poll():
                self._carry_out(self._commands.recv())
        except (EOFError, OSError):  # the other side is gone
            self._stopping.set()

    def _carry_out(self, command: Command) -> None:
        match command:
            case SetParams(params):
                self._engine.params = params
                self.settings = replace(self.settings, params=params)
            case SetVoice(voice):
                threading.Thread(target=self._change_voice, args=(voice,), daemon=True).start()
            case SetBypass(bypass):
                self._engine.bypass = bypass
            case SetMuted(muted):
                self._loop.muted = muted
            case SetMonitor(monitor):
                self.settings = replace(self.settings, monitor=monitor)
                for lane in self._loop.outputs[1:]:
                    lane.gain.target = self._monitor_gain
            case SetInputGain(gain_db):
                self.settings = replace(self.settings, input_gain_db=gain_db)
                self._chain.input_gain.target = linear(gain_db)
            case SetSource(source, device_delay_ms):
                self.settings = replace(self.settings, source=source, device_delay_ms=device_delay_ms)
                self._reopen_because = f"going over to the microphone {source.device.name!r}"
            case SetAbsent(names):
                self._absent = names
                ours = (spec.device for spec in (self.settings.source, *self.settings.outputs))
                if lost := [repr(device.name) for device in ours if device.stable_name in names]:
                    self._reopen_because = f"lost {' and '.join(lost)}; waiting"
            case Stop():
                self._stopping.set()

    def _change_voice(self, voice: str) -> None:
        """Build another voice while this one sounds; on another thread."""
        try:
            self._engine.prepare(self._build_engine(voice))
            self._engine.params = self.settings.params  # which may have changed meanwhile
            self._voice_name = voice
            self._loop.retry()
            self._cause = ""
        except AltervoxError as error:
            self._cause = str(error)
            log.warning("%s", error)

    def _until_next_block(self, now: float) -> float:
        """Seconds to sleep until a block may be there."""
        source = self._loop.source
        missing = source.device_block - source.capture.ring.available
        return min(max(0.5 * missing / source.clock.nominal_rate, _SHORTEST_SLEEP_S), _LONGEST_SLEEP_S)

    def _report(self, now: float) -> None:
        """Write the status."""
        loop, engine, status = self._loop, self._engine, self._status
        source, lane = loop.source, loop.outputs[0]
        counters = lane.playout.counters
        device_in, device_out = self._streams[0].latency_ms, self._streams[1].latency_ms
        monitors = self.settings.outputs[1:]
        measured_ms = self.settings.device_delay_ms
        device_ms = device_in + device_out if measured_ms is None else measured_ms
        engine_ms = 1000.0 * (engine.latency_samples + self._chain.latency_samples) / engine.sample_rate
        resampler_ms = lane.delay_ms + 1000.0 * source.resampler.delay_samples_out / engine.sample_rate
        if lane.is_started:
            self._levels_ms.append(1000.0 * loop.level(lane, now) / lane.rate)
        rings_ms = float(np.median(self._levels_ms)) if self._levels_ms else 0.0
        block_ms = float(self.settings.config.block_ms)
        block_p50_ms, block_p99_ms, block_max_ms = loop.times.quantiles_ms(0.5, 0.99, 1.0)
        status.put(
            cause=loop.cause or self._cause or (loop.recorder.error if loop.recorder is not None else ""),
            voice=self._voice_name,
            pitch_semitones=engine.params.pitch_semitones,
            formant_semitones=engine.params.formant_semitones,
            input_device=self.settings.source.device.name,
            output_device=self.settings.outputs[0].device.name,
            monitor_device=monitors[0].device.name if monitors else "",
            sample_rate=engine.sample_rate,
            seconds=now - self._started_s,
            input_peak_db=decibels(loop.input_peak),
            output_peak_db=decibels(loop.output_peak),
            input_gain_db=self.settings.input_gain_db,
            gain_db=engine.params.gain_db,
            gate_gain_db=min(engine.gate_gain_db, self._chain.gate_gain_db),
            f0_hz=engine.f0_hz,
            input_is_silent=loop.input_is_silent,
            bypass=engine.bypass,
            muted=loop.muted,
            monitor=bool(monitors) and self.settings.monitor,
            blocks=loop.blocks,
            late_blocks=loop.late_blocks,
            muted_blocks=engine.engine.muted_blocks,
            failed_blocks=loop.failed_blocks,
            shortages=int(counters[STARVATIONS]),
            starved_samples=int(counters[STARVED]),
            lost_samples=int(source.capture.counters[LOST]),
            block_p50_ms=block_p50_ms,
            block_p99_ms=block_p99_ms,
            block_max_ms=block_max_ms,
            deadline_ms=block_ms,
            drift_ppm=lane.lock.drift_ppm,
            device_in_ms=device_in,
            block_ms=block_ms,
            engine_ms=engine_ms,
            resampler_ms=resampler_ms,
            prefill_ms=max(rings_ms - block_ms, 0.0),
            prefill_grown_ms=lane.prefill.ms - self._prefill_ms,
            device_out_ms=device_out,
            device_ms=device_ms,
            device_delay_is_measured=measured_ms is not None,
            total_ms=device_ms + rings_ms + engine_ms + resampler_ms,
        )


def _callback_ms(spec: StreamSpec) -> float:
    return 1000.0 * spec.frames / spec.rate if spec.frames else _DEFAULT_CALLBACK_MS
