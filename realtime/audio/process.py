"""The audio process: device callbacks and the engine's loop, and nothing else that could keep them waiting."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING

from ...kernels.errors import AltervoxError, AudioDeviceError
from ...kernels.gain import linear
from ..session.chain import Chain
from ..session.recorder import Recorder
from ..session.status import LiveStatus
from ..session.voice_change import VoiceChange
from ..session.warm_up import block_times_ms
from .devices import rescan
from .loop import LiveLoop
from .paths import InputLane, OutputLane
from .prefill import check_block_time
from .priority import CALLBACKS, RENDERING, raise_priority, raise_thread_priority, settle_memory
from .report import Report
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
from .streams import OpenStream, StreamSpec, clock_through_sleep_s

if TYPE_CHECKING:
    from ..engine import Engine

log = logging.getLogger(__name__)

_LONGEST_SLEEP_S = 0.004
_SHORTEST_SLEEP_S = 0.0003
_COMMANDS_EVERY_S = 0.02
_STATUS_EVERY_S = 0.1
_RECONNECT_EVERY_S = 1.0
_BUFFERS_FILL_S = 0.2  # an output that sleeps calls back at first all the same, until its buffers are full
_BEGINS_WITHIN_S = 3.0  # after it was opened again, else the device sleeps: Bluetooth takes its time
_PAUSED_S = 1.0  # without a turn of the loop: what devices and server hold by then is old, and would stay as delay
_DISTURBED_BLOCKS = 2  # of the warm-up, that the system has taken time from: no reason to refuse a voice
_SWITCH_INTERVAL_S = 0.0005  # of Python's threads: a callback must not wait 5 ms, the default, for its turn
_MONITORS_FROM = 2  # among the streams: microphone and cable come first, and nothing goes without them


def run_audio_process(settings: LiveSettings, commands: Connection, status_name: str) -> None:
    """Run a session until it is told to stop or the other side is gone; what went wrong stands in the status.

    Args:
        settings: What is wanted.
        commands: `Command`s come from here.
        status_name: Of the shared `LiveStatus`.
    """
    os.environ.update(settings.environment)
    logging.basicConfig(level=max(settings.log_level, logging.WARNING), format="altervox: audio: %(message)s")
    logging.getLogger("altervox").setLevel(settings.log_level)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    status = LiveStatus.attach(status_name)
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the other side says what to do

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, stop)
    try:
        session = Session(settings, commands, status, stopping)
        session.run()
        status.put(state="stopped")
    except AltervoxError as error:
        status.put(cause=str(error), state="failed")
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
        self._stopping = stopping
        self._streams: dict[int, OpenStream] = {}  # 0: the microphone, 1: the cable, then monitors
        self._absent: frozenset[str] = frozenset()
        self._reopen_because = ""
        self._monitor_cause = ""
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
        times_ms = block_times_ms(self._engine, self._chain)
        self._engine.reset()
        self._chain.reset()
        check_block_time(times_ms[-1 - _DISTURBED_BLOCKS], settings.config.block_ms)
        self._slowest_block_ms = times_ms[-1]
        self._loop = self._new_loop()
        if settings.record_folder is not None:
            self._loop.recorder = Recorder(settings.record_folder, self._engine.sample_rate)
        self._voice_change = VoiceChange(self._build_engine, self._take_over)
        self._report = Report(status, settings, self._engine, self._chain)

    def run(self) -> None:
        """Convert until it is over."""
        self._open()
        self._tell_wishes()
        self._report.state("running")
        settle_memory()
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
                    self._tell(now)
                    self._look_for_stalled(now)
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
            OutputLane.allocate(rate, spec.rate, block_ms, self._slowest_block_ms, settings.prefill_ms)
            for spec in settings.outputs
        ]
        for monitor in outputs[1:]:
            monitor.gain.reset(self._monitor_gain)
        return LiveLoop(self._engine, source, outputs, self._chain)

    @property
    def _monitor_gain(self) -> float:
        return linear(self.settings.monitor_gain_db) if self.settings.monitor else 0.0

    def _open(self) -> None:
        """Open all devices, or none. A monitor that does not open is left out: the cable matters more.

        Raises:
            AudioDeviceError: microphone or cable does not open.
        """
        lanes: list[InputLane | OutputLane] = [self._loop.source, *self._loop.outputs]
        self._monitor_cause = ""
        # PortAudio's threads take the priority over from the one that starts them.
        log.info("the callbacks: %s", raise_thread_priority(CALLBACKS) or "as the process")
        try:
            self._open_all(lanes)
        finally:
            log.info("the rendering thread: %s", raise_thread_priority(RENDERING) or "as the process")

    def _open_all(self, lanes: list[InputLane | OutputLane]) -> None:
        for number, (spec, lane) in enumerate(zip(self._specs, lanes, strict=True)):
            try:
                if spec.device.stable_name in self._absent:
                    raise AudioDeviceError(f"the monitor {spec.device.name!r} is gone")
                self._streams[number] = OpenStream(spec, lane)
            except AudioDeviceError as error:
                if number < _MONITORS_FROM:
                    self._close()
                    raise
                self._monitor_cause = str(error)
                log.warning("%s", error)

    def _close(self) -> None:
        while self._streams:
            self._streams.popitem()[1].close()

    def _close_monitor(self, number: int, why: str) -> None:
        """Go on without a monitor."""
        self._streams.pop(number).close()
        self._monitor_cause = f"the monitor {self._specs[number].device.name!r} {why}"
        log.warning("%s", self._monitor_cause)

    def _look_for_stalled(self, now: float) -> None:
        for number, stream in list(self._streams.items()):
            if not stream.is_alive(now):
                if number < _MONITORS_FROM:
                    self._reopen_because = f"{stream.spec.device.name!r} has stopped; waiting"
                else:
                    self._close_monitor(number, "has stopped; switch it off and on to try again")

    def _reconnect(self) -> None:
        """Let go of all devices, be silent, and open them when they are there."""
        self._report.state("reconnecting", self._reopen_because)
        self._report.end(self._loop)
        self._close()  # which may take long
        next_try = 0.0
        while not self._stopping.is_set():
            if self._reopen_because:
                self._report.state("reconnecting", self._reopen_because)
                log.warning("%s", self._reopen_because)
                self._reopen_because = ""
            now = time.perf_counter()
            if not self._lost and now >= next_try:
                if self._open_again():
                    log.info("the devices are back")
                    return
                next_try = now + _RECONNECT_EVERY_S
            self._stopping.wait(_COMMANDS_EVERY_S)
            self._obey()

    def _open_again(self) -> bool:
        """Open all devices afresh; returns whether microphone and cable run."""
        before, self._loop = self._loop, self._new_loop()
        for kept in ("recorder", "muted", "times", "blocks", "late_blocks", "failed_blocks", "cause"):
            setattr(self._loop, kept, getattr(before, kept))
        try:
            rescan()
            self._open()
        except AudioDeviceError as error:
            log.debug("not yet: %s", error)
            return False
        end = time.perf_counter() + _BEGINS_WITHIN_S
        self._stopping.wait(_BUFFERS_FILL_S)
        needed = [self._streams[number] for number in range(_MONITORS_FROM)]
        filled = [stream.callbacks for stream in needed]
        while not self._reopen_because and not self._stopping.is_set() and time.perf_counter() < end:
            if all(stream.callbacks > count for stream, count in zip(needed, filled, strict=True)):
                self._report.state("running")
                return True
            self._stopping.wait(_COMMANDS_EVERY_S)
            self._obey()
        self._close()
        return False

    def _has_monitor_to_open(self) -> bool:
        """Whether a monitor is closed that is not known to be gone."""
        closed = (spec for number, spec in enumerate(self._specs) if number not in self._streams)
        return any(spec.device.stable_name not in self._absent for spec in closed)

    @property
    def _specs(self) -> tuple[StreamSpec, ...]:
        return (self.settings.source, *self.settings.outputs)

    @property
    def _lost(self) -> list[str]:
        """Names of microphone and cable, if they are gone."""
        needed = self._specs[:_MONITORS_FROM]
        return [repr(spec.device.name) for spec in needed if spec.device.stable_name in self._absent]

    def _obey(self) -> None:
        """Carry out the commands that have come."""
        try:
            while self._commands.poll():
                self._carry_out(self._commands.recv())
                self._tell_wishes()
        except (EOFError, OSError):  # the other side is gone
            self._stopping.set()

    def _carry_out(self, command: Command) -> None:
        match command:
            case SetParams(params):
                self._engine.params = params
                self.settings = replace(self.settings, params=params)
            case SetVoice(voice):
                self._voice_change.want(voice)
            case SetBypass(bypass):
                self._engine.bypass = bypass
            case SetMuted(muted):
                self._loop.muted = muted
            case SetMonitor(monitor):
                self.settings = replace(self.settings, monitor=monitor)
                for lane in self._loop.outputs[1:]:
                    lane.gain.target = self._monitor_gain
                if monitor and self._streams and self._has_monitor_to_open():
                    self._reopen_because = "opening the monitor"
            case SetInputGain(gain_db):
                self.settings = replace(self.settings, input_gain_db=gain_db)
                self._chain.input_gain.target = linear(gain_db)
            case SetSource(source, device_delay_ms):
                self.settings = replace(self.settings, source=source, device_delay_ms=device_delay_ms)
                self._reopen_because = f"going over to the microphone {source.device.name!r}"
            case SetAbsent(names):
                self._note_absent(names)
            case Stop():
                self._stopping.set()

    def _note_absent(self, names: frozenset[str]) -> None:
        """Some devices are gone, others are back."""
        before, self._absent = self._absent, names
        if self._lost:
            self._reopen_because = f"lost {' and '.join(self._lost)}; waiting"
        for number, spec in list(enumerate(self._specs))[_MONITORS_FROM:]:
            name = spec.device.stable_name
            if name in names and number in self._streams:
                self._close_monitor(number, "is gone")
            elif name in before - names and number not in self._streams:
                self._reopen_because = f"the monitor {spec.device.name!r} is back"

    def _take_over(self, voice: str, engine: Engine) -> None:
        """Go over to a voice that is ready; on the thread that has built it."""
        self._engine.prepare(engine)
        self._engine.params = self.settings.params  # which may have changed meanwhile
        self._voice_name = voice
        self._loop.forget_failure()

    def _until_next_block(self, now: float) -> float:
        """Seconds to sleep until a block may be there."""
        source = self._loop.source
        missing = source.device_block - source.capture.ring.available
        return min(max(0.5 * missing / source.clock.nominal_rate, _SHORTEST_SLEEP_S), _LONGEST_SLEEP_S)

    def _tell_wishes(self) -> None:
        monitor = self.settings.monitor and len(self._streams) == len(self._specs)
        self._report.wishes(self.settings, self._voice_name, self._loop.muted, monitor)

    def _tell(self, now: float) -> None:
        """Write the status."""
        loop = self._loop
        self._tell_wishes()
        device_in_ms, device_out_ms = (self._streams[number].delay_ms for number in range(_MONITORS_FROM))
        self._report.sound(loop, now, device_in_ms, device_out_ms, self.settings.device_delay_ms)
        recorder_cause = loop.recorder.error if loop.recorder is not None else ""
        self._report.cause(loop.cause, self._voice_change.cause, recorder_cause, self._monitor_cause)
