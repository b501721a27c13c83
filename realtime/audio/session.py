"""A live session: a processor between a microphone, a cable and possibly a monitor, whatever the devices do."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from ...kernels.denormals import flush_denormals
from ...kernels.errors import AudioDeviceError
from ...kernels.gain import linear
from ..session.commands import Set, SetVoice
from ..session.status import SILENCE_DB, Latency, State, Status
from ..session.voice_change import VOICE_CHANGE
from ..session.warm_up import WarmUp, longer_block_ms, warmed_up
from .commands import Command, SetAbsent, SetBlock, SetSource, Stop
from .devices import rescan
from .loop import LiveLoop
from .paths import InputPath, OutputPath
from .priority import (
    CALLBACKS,
    HELPING,
    raise_priority,
    raise_thread_priority,
    rendering_priority,
    settle_memory,
)
from .report import Losses, Readings, Reporter, latency_of, peaks_db
from .settings import LiveSettings, StreamSpec
from .streams import OpenStream, clock_through_sleep_s

if TYPE_CHECKING:
    from ..session.processor import Processor

log = logging.getLogger(__name__)

_LONGEST_SLEEP_S = 0.004
_SHORTEST_SLEEP_S = 0.0003
_COMMANDS_EVERY_S = 0.004
_WAIT_S = 0.02  # between looks at devices that are gone
_MOST_COMMANDS = 32  # at a time: a client that floods must not hold up the sound
_DEVICES_EVERY_S = 0.1
_RECONNECT_EVERY_S = 1.0
_BUFFERS_FILL_S = 0.2  # an output that sleeps calls back at first all the same, until its buffers are full
_BEGINS_WITHIN_S = 3.0  # after it was opened again, else the device sleeps: Bluetooth takes its time
_PAUSED_S = 1.0  # without a turn of the loop: what devices and server hold by then is old, and would stay as latency
_MONITORS_FROM = 2  # among the streams: microphone and cable come first, and nothing goes without them
_LATE_RECENTLY_S = 10.0  # for which longer blocks are offered after a late one


class LiveSession:
    """One live session, from the first warm-up to the last sample.

    Args:
        settings: Settings of the session.
        commands: Connection that `Command`s are read from.
        statuses: Connection that `Status` records are sent to.
        stopping: Set from outside to end the session.

    Attributes:
        settings: Settings as changed by commands.
        processor: The session without its devices.
        last_status: Status at the end of `run`.

    Raises:
        AltervoxError: the voice cannot be loaded, or a device does not open.
    """

    def __init__(
        self, settings: LiveSettings, commands: Connection, statuses: Connection, stopping: threading.Event
    ) -> None:
        self.settings = settings
        self._commands = commands
        self._stopping = stopping
        self._streams: dict[int, OpenStream] = {}  # 0: the microphone, 1: the cable, then monitors
        self._absent: frozenset[str] = frozenset()
        self._reopen_because = ""
        self._wanted_block_ms: int | None = None
        self._monitor_cause = self._block_cause = ""
        self._commands_done = 0
        self._late_seen = 0
        self._late_until_s = 0.0
        self._state: State = "starting"
        self._state_cause = ""
        self._losses = Losses()
        self._readings = Readings()
        self._running_s = 0.0  # when it began to run
        self._start_ms = 0.0
        self._interrupted_s = 0.0  # in all, without devices
        self._interrupted_since_s: float | None = None
        self.last_status = Status()
        self._reporter = Reporter(statuses, self._report)
        log.info("priority: %s", raise_priority())
        self.processor, self._warm_up = self._warmed_up(settings.block_ms)
        self._loop = self._new_loop()

    @property
    def is_idle(self) -> bool:
        """Whether no voice is being built on another thread, by this processor or one that it has replaced."""
        return not any(thread.name == VOICE_CHANGE for thread in threading.enumerate())

    def run(self) -> None:
        """Run the session until it is stopped."""
        settle_memory()  # before sound: it takes long
        self._open()
        self._running_s = time.perf_counter()
        self._state = "running"
        self._reporter.start()
        next_commands = next_look = 0.0
        last_turn_s = clock_through_sleep_s()
        try:
            while not self._stopping.is_set():
                if clock_through_sleep_s() - last_turn_s > _PAUSED_S + 2.0 * self._warm_up.block_ms / 1000.0:
                    self._reopen_because = "the computer slept, or this program was stopped"
                if self._reopen_because:
                    self._reconnect()
                    last_turn_s = clock_through_sleep_s()
                    continue  # reconnecting also ends when the session is stopped
                last_turn_s = clock_through_sleep_s()
                now = time.perf_counter()
                worked = self._loop.step(now)
                if not self._start_ms and self._loop.outputs[0].is_started:
                    self._start_ms = 1000.0 * (time.time() - self.settings.began_s)
                if now >= next_commands:
                    next_commands = now + _COMMANDS_EVERY_S
                    self._handle_commands()
                if now >= next_look:
                    next_look = now + _DEVICES_EVERY_S
                    self._look(now)
                    last_turn_s = clock_through_sleep_s()  # to close a monitor takes long
                if not worked:
                    time.sleep(self._until_next_block())
        finally:
            self._reporter.stop()
            try:
                self.last_status = self.status()
            finally:
                self._close()
                self.processor.close()
            self.last_status = replace(self.last_status, recording_error=self.processor.recording_error)

    @property
    def _offered_block_ms(self) -> int:
        """Longer blocks that are offered because blocks were late recently; 0 for none."""
        if time.perf_counter() >= self._late_until_s:
            return 0
        (p50_ms,) = self.processor.times.quantiles_ms(0.5)
        return longer_block_ms(self._warm_up.block_ms, max(self._warm_up.cost_ms, p50_ms))

    def _report(self) -> Status:
        """A status for the reporter, on whose thread replaced engines are freed."""
        self.processor.release()
        return self.status()

    def status(self) -> Status:
        """The current status; called on the reporter's thread."""
        commands_done = self._commands_done  # before the state, which holds what they did and perhaps more
        processor, loop, losses, state = self.processor, self._loop, self._losses, self._state
        source, cable = loop.source, loop.outputs[0]
        settings, session, warm_up = self.settings, processor.state, self._warm_up
        p50_ms, p95_ms, p99_ms, max_ms = processor.times.quantiles_ms(0.5, 0.95, 0.99, 1.0)
        is_open = state == "running" and len(self._streams) >= _MONITORS_FROM
        input_peak_db, output_peak_db = peaks_db(processor) if is_open else (SILENCE_DB, SILENCE_DB)
        latency = Latency()
        if is_open:
            devices_ms = (self._streams[0].delay_ms, self._streams[1].delay_ms)
            fill_ms = self._readings.fill_ms(loop)
            latency = latency_of(loop, processor, fill_ms, devices_ms, settings.device_delay_ms)
        monitors = settings.outputs[1:]
        since_s = self._interrupted_since_s
        interrupted_s = self._interrupted_s + (time.perf_counter() - since_s if since_s is not None else 0.0)
        causes = (self._state_cause, *processor.causes, self._monitor_cause, self._block_cause)
        return Status(
            state=state,
            causes=tuple(cause for cause in causes if cause),
            session=session,
            commands_done=commands_done,
            voice=processor.sounding,
            is_loading=processor.is_loading,
            recording=tuple(str(path) for path in processor.recording),
            recording_error=processor.recording_error,
            input_device=settings.source.device.name,
            output_device=settings.outputs[0].device.name,
            monitor_device=monitors[0].device.name if monitors else "",
            monitor_is_open=len(self._streams) == len(self._specs),
            sample_rate=processor.sample_rate,
            seconds=time.perf_counter() - self._running_s if self._running_s else 0.0,
            start_ms=self._start_ms,
            input_peak_db=input_peak_db,
            output_peak_db=output_peak_db,
            gate_gain_db=processor.chain.gate_gain_db,
            f0_hz=processor.engine.f0_hz if is_open else 0.0,
            output_f0_hz=processor.engine.output_f0_hz if is_open else 0.0,
            input_is_silent=is_open and source.is_silent,
            blocks=losses.blocks + processor.blocks,
            late_blocks=losses.late_blocks + processor.late_blocks,
            failed_blocks=losses.failed_blocks + processor.failed_blocks,
            nonfinite_blocks=losses.nonfinite_blocks + processor.nonfinite_blocks,
            underruns=losses.underruns + cable.underruns,
            underrun_ms=losses.underrun_ms + cable.underrun_ms,
            overruns=losses.overruns + source.overruns,
            overrun_ms=losses.overrun_ms + source.overrun_ms,
            interrupted_ms=1000.0 * interrupted_s,
            block_ms=float(warm_up.block_ms),
            p50_ms=p50_ms,
            p95_ms=p95_ms,
            p99_ms=p99_ms,
            max_ms=max_ms,
            block_histogram=processor.times.histogram(warm_up.block_ms / 1000.0),
            longer_block_ms=self._offered_block_ms,
            drift_ppm=cable.delay.lock.drift_ppm if is_open else 0.0,
            prefill_grown_ms=cable.delay.prefill.grown_ms,
            latency=latency,
        )

    def _warmed_up(self, block_ms: int | None) -> tuple[Processor, WarmUp]:
        prepare = partial(_prepare_thread, rendering_priority(self.settings.session.config.threads))
        processor, warm_up = warmed_up(self.settings.session, block_ms, prepare)
        self._block_cause = warm_up.warning
        return processor, warm_up

    def _new_loop(self) -> LiveLoop:
        """New paths between the devices for the same processor."""
        settings, rate, block_ms = self.settings, self.processor.sample_rate, self._warm_up.block_ms
        source = InputPath.allocate(settings.source.rate, rate, block_ms, settings.source.channel)
        outputs = [
            OutputPath.allocate(rate, spec.rate, block_ms, self._warm_up.slowest_ms, settings.prefill_ms)
            for spec in settings.outputs
        ]
        for monitor in outputs[1:]:
            monitor.gain.reset(self._monitor_gain)
        return LiveLoop(self.processor, source, outputs)

    @property
    def _monitor_gain(self) -> float:
        state = self.processor.state
        return linear(state.monitor_gain_db) if state.monitor else 0.0

    def _open(self) -> None:
        """Open all devices or none, except that a monitor that does not open is left out.

        Raises:
            AudioDeviceError: microphone or cable does not open.
        """
        self._monitor_cause = ""
        # PortAudio's threads inherit the priority of the thread that starts them.
        log.info("the callbacks: %s", raise_thread_priority(CALLBACKS) or "as the process")
        try:
            self._open_all([self._loop.source, *self._loop.outputs])
        finally:
            priority = rendering_priority(self.settings.session.config.threads)
            log.info("the rendering thread: %s", raise_thread_priority(priority) or "as the process")

    def _open_all(self, paths: list[InputPath | OutputPath]) -> None:
        for number, (spec, path) in enumerate(zip(self._specs, paths, strict=True)):
            try:
                if spec.device.stable_name in self._absent:
                    raise AudioDeviceError(f"the monitor {spec.device.name!r} is gone")
                self._streams[number] = OpenStream(spec, path)
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
        """Close a monitor and continue without it."""
        self._streams.pop(number).close()
        self._monitor_cause = f"the monitor {self._specs[number].device.name!r} {why}"
        log.warning("%s", self._monitor_cause)

    def _look(self, now: float) -> None:
        """Check for devices that have stopped and for late blocks."""
        for number, stream in list(self._streams.items()):
            if not stream.is_alive(now):
                if number < _MONITORS_FROM:
                    self._reopen_because = f"{stream.spec.device.name!r} has stopped; waiting"
                else:
                    self._close_monitor(number, "has stopped; switch it off and on to try again")
        if self.processor.late_blocks != self._late_seen:
            self._late_seen = self.processor.late_blocks
            self._late_until_s = now + _LATE_RECENTLY_S

    def _reconnect(self) -> None:
        """Close all devices, be silent, and reopen them when they are there."""
        self._state, self._state_cause = "reconnecting", self._reopen_because
        self._interrupted_since_s = time.perf_counter()
        self._close()  # may take long
        self._losses.add(self._loop)
        self._readings.fills_ms.clear()
        self._loop = self._new_loop()
        next_try = 0.0
        because = self._reopen_because
        while not self._stopping.is_set():
            if self._reopen_because:
                self._state_cause = because = self._reopen_because
                log.warning("%s", self._reopen_because)
                self._reopen_because = ""
            if self._wanted_block_ms is not None:
                self._change_block(self._wanted_block_ms)
            now = time.perf_counter()
            if not self._lost and now >= next_try:
                error = self._open_again()
                if not error:
                    self._state, self._state_cause = "running", ""
                    self._interrupted_s += time.perf_counter() - self._interrupted_since_s
                    self._interrupted_since_s = None
                    log.info("the devices are back")
                    return
                if not self._reopen_because:
                    self._state_cause = f"{because}: {error}"
                next_try = now + _RECONNECT_EVERY_S
            self._stopping.wait(_WAIT_S)
            self._handle_commands()

    def _change_block(self, block_ms: int) -> None:
        """Prepare the voice again with another block size; keep the old one if that fails."""
        self._wanted_block_ms = None
        before, state, sounding = self.processor, self.processor.state, self.processor.sounding
        is_loading = sounding != state.voice  # which may end at any time
        if is_loading:
            state = replace(state, voice=sounding, params=replace(state.params, speaker=0))
        self.settings = replace(self.settings, session=replace(self.settings.session, state=state, record_folder=None))
        try:
            self.processor, self._warm_up = self._warmed_up(block_ms)
        except Exception as error:  # such as no memory for a second voice beside the first
            before.refusal = str(error) or type(error).__name__
            log.warning("%s", before.refusal)
            return
        self.processor.adopt_recording(before)
        self._losses.blocks += before.blocks
        self._losses.late_blocks += before.late_blocks
        self._losses.failed_blocks += before.failed_blocks
        self._losses.nonfinite_blocks += before.nonfinite_blocks
        self._late_seen, self._late_until_s = 0, 0.0
        self._loop = self._new_loop()
        if is_loading:
            wanted = before.state
            self.processor.try_to(SetVoice(wanted.voice), Set({"speaker": wanted.params.speaker}))
        del before
        settle_memory(anew=True)  # else the garbage collector would never see what has gone

    def _open_again(self) -> str:
        """Open all devices again; returns why that failed, empty where microphone and cable run."""
        self._loop = self._new_loop()
        try:
            rescan()
            self._open()
        except AudioDeviceError as error:
            return str(error)
        end = time.perf_counter() + _BEGINS_WITHIN_S
        self._stopping.wait(_BUFFERS_FILL_S)
        needed = [self._streams[number] for number in range(_MONITORS_FROM)]
        filled = [stream.callbacks for stream in needed]
        while not self._reopen_because and not self._stopping.is_set() and time.perf_counter() < end:
            if all(stream.callbacks > count for stream, count in zip(needed, filled, strict=True)):
                return ""
            self._stopping.wait(_WAIT_S)
            self._handle_commands()
        silent = next((stream for stream in needed if stream.callbacks == 0), needed[0])
        name = silent.spec.device.name
        self._close()
        return f"{name!r} opens but delivers nothing: unplug it and plug it in again, or choose another"

    def _has_monitor_to_open(self) -> bool:
        """Whether a monitor is closed and not known to be gone."""
        closed = (spec for number, spec in enumerate(self._specs) if number not in self._streams)
        return any(spec.device.stable_name not in self._absent for spec in closed)

    @property
    def _specs(self) -> tuple[StreamSpec, ...]:
        return (self.settings.source, *self.settings.outputs)

    @property
    def _lost(self) -> list[str]:
        """Names of microphone and cable if they are gone."""
        needed = self._specs[:_MONITORS_FROM]
        return [repr(spec.device.name) for spec in needed if spec.device.stable_name in self._absent]

    def _handle_commands(self) -> None:
        """Handle all commands that have arrived."""
        try:
            for _ in range(_MOST_COMMANDS):
                if not self._commands.poll():
                    break
                self._handle(self._commands.recv())
        except (EOFError, OSError):  # the other side is gone
            self._stopping.set()

    def _handle(self, command: Command) -> None:
        match command:
            case SetSource(source, device_delay_ms):
                self.settings = replace(self.settings, source=source, device_delay_ms=device_delay_ms)
                self._reopen_because = f"changing to the microphone {source.device.name!r}"
            case SetAbsent(names):
                self._note_absent(names)
            case SetBlock(block_ms):
                self._wanted_block_ms = block_ms or self._offered_block_ms or None
                if self._wanted_block_ms is not None:
                    self._reopen_because = f"changing to blocks of {self._wanted_block_ms} ms"
            case Stop():
                self._stopping.set()
            case _:
                was_wanted = self.processor.state.monitor
                self.processor.try_to(command)
                self._commands_done += 1
                for path in self._loop.outputs[1:]:
                    path.gain.target = self._monitor_gain
                is_wanted = self.processor.state.monitor
                if is_wanted and not was_wanted and self._streams and self._has_monitor_to_open():
                    self._reopen_because = "opening the monitor"

    def _note_absent(self, names: frozenset[str]) -> None:
        """Note which devices are gone and which are back."""
        before, self._absent = self._absent, names
        if self._lost:
            self._reopen_because = f"lost {' and '.join(self._lost)}; waiting"
        for number, spec in list(enumerate(self._specs))[_MONITORS_FROM:]:
            name = spec.device.stable_name
            if name in names and number in self._streams:
                self._close_monitor(number, "is gone")
            elif name in before - names and number not in self._streams:
                self._reopen_because = f"the monitor {spec.device.name!r} is back"

    def _until_next_block(self) -> float:
        """Seconds to sleep until a block may be complete."""
        source = self._loop.source
        missing = source.device_block - source.capture.ring.available
        return min(max(0.5 * missing / source.clock.nominal_rate, _SHORTEST_SLEEP_S), _LONGEST_SLEEP_S)


def _prepare_thread(rendering: int) -> None:
    """Set up a thread that works beside the rendering one, of which the priority is given."""
    raise_thread_priority(min(HELPING, rendering))
    flush_denormals()
