"""The one live session of this process: started, controlled and stopped by terminal, keys and remote programs alike."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import platformdirs

from ...kernels.errors import AltervoxError, AudioDeviceError, OutputError
from ...models.library import VoiceInfo, list_voices
from ...models.voice import UNCHANGED
from ...realtime.audio.commands import Change, SetBlock, SetSource
from ...realtime.audio.control import LiveControl
from ...realtime.audio.devices import AudioDevice
from ...realtime.audio.settings import StreamSpec
from ...realtime.serve.port import StartRequest
from ...realtime.session.commands import Record, Set
from ...realtime.session.state import SessionState
from ...realtime.session.status import Status
from ..devices.choose import choose_input, choose_output, is_default, list_devices, remember, wanted_name
from ..devices.claim import claimed
from ..devices.watch import DeviceWatch
from .measured import measured_delay_ms
from .options import LiveOptions, live_settings, stream_spec

log = logging.getLogger(__name__)

_SESSION = "session"  # who changes the state when the session could not do what was asked of it


class LiveHost:
    """The live session of this process, as a context manager: leaving it stops the session.

    It owns the requested state: every command is worked out here at once and passed on to the audio process. What
    that process refuses is taken back with its next status.

    Args:
        options: Options of the command line.
        can_start: Whether remote programs may start the session, and stop it without ending this process.
        can_change: Whether another voice may be asked for while the session runs.
        announce: Called with microphone and cable once they are chosen, before the voice is prepared.

    Attributes:
        was_killed: Whether the audio process did not end by itself when it was told to.
    """

    def __init__(
        self,
        options: LiveOptions,
        can_start: bool = False,
        can_change: bool = True,
        announce: Callable[[AudioDevice, AudioDevice], object] = lambda source, output: None,
    ) -> None:
        self.was_killed = False
        self._options = options
        self._can_start = can_start
        self._can_change = can_change
        self._announce = announce
        self._state = options.session.state
        self._status = Status(state="stopped", session=self._state)
        self._voices: tuple[str, ...] = ()
        self._control: LiveControl | None = None
        self._in_use: tuple[AudioDevice, ...] = ()  # by the session that runs, or ran last
        self._held = ExitStack()  # what a running session holds
        self._listeners: list[Callable[[str], None]] = []
        self._lock = threading.Lock()  # of state, control and listeners: never held while anything is waited for
        self._is_stopping = threading.Event()  # `stop` waits for a start to give up
        self._switch = threading.Lock()  # held while the session is started, stopped or its devices are measured

    def __enter__(self) -> LiveHost:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def can_start(self) -> bool:
        """See `RemoteSession`."""
        return self._can_start

    def state(self) -> SessionState:
        """See `RemoteSession`."""
        return self._state

    def status(self) -> Status:
        """See `RemoteSession`."""
        control = self._control
        if control is None:
            return self._status
        try:
            control.check()
        except AltervoxError as error:
            return replace(control.status(), state="failed", causes=(str(error),))
        return control.status()

    def listen(self, heard: Callable[[str], None]) -> Callable[[], None]:
        """See `RemoteSession`."""
        with self._lock:
            self._listeners.append(heard)
        return lambda: self._listeners.remove(heard)

    def do(self, command: Change, by: str) -> SessionState:
        """See `RemoteSession`."""
        with self._lock:  # so that the audio process gets commands in the order in which they are worked out here
            if isinstance(command, SetBlock):
                self._options = replace(self._options, block_ms=command.block_ms or self._options.block_ms)
            else:
                self._state = self._state.after(command, self._voices)
            if self._control is not None:
                self._control.send(command)
        self._tell(by)
        return self._state

    def record(self, on: bool, by: str) -> None:
        """See `RemoteSession`."""
        with self._lock:
            if self._control is None:
                raise AltervoxError("there is no running session to record: start it first")
            self._control.send(Record(self._recordings_folder if on else None))
        self._tell(by)

    def voices(self) -> Sequence[VoiceInfo]:
        """See `RemoteSession`."""
        found = list_voices()
        with self._lock:
            if self._control is None:  # a running session steps through those that it began with
                self._voices = tuple(info.name for info in found)
        return found

    def devices(self) -> Sequence[AudioDevice]:
        """See `RemoteSession`."""
        is_free = self._switch.acquire(blocking=False)
        try:
            return list_devices(again=is_free)  # to list them again ends the streams of a measurement
        finally:
            if is_free:
                self._switch.release()

    def start(self, request: StartRequest, is_given_up: Callable[[], bool] = lambda: False) -> None:
        """See `RemoteSession`.

        Args:
            request: What differs from the options; also for later starts, if this one succeeds.
            is_given_up: Polled meanwhile; true ends the wait.
        """
        began_s = time.time() - (0.0 if self._can_start else time.process_time())  # about when the command was given
        with self._switch:
            before = self._options
            options = replace(
                before,
                source=request.input or before.source,
                output=request.output or before.output,
                monitor=before.monitor if request.monitor is None else request.monitor,
                block_ms=request.block_ms or before.block_ms,
            )
            if self._control is not None:
                _chosen(options, self._present())  # a start that cannot succeed must not end what runs
            self._end()
            options = replace(options, session=replace(options.session, state=self._state))
            with ExitStack() as held:
                self._open(options, held, began_s, lambda: is_given_up() or self._is_stopping.is_set())
                with self._lock:
                    if self._options.block_ms != before.block_ms:  # by a command, while the session started
                        options = replace(options, block_ms=self._options.block_ms)
                    self._options = options
                self._held = held.pop_all()

    def _open(self, options: LiveOptions, held: ExitStack, began_s: float, is_given_up: Callable[[], bool]) -> None:
        # Its process loads while devices are looked for.
        control = LiveControl(self._can_change or self._state.voice != UNCHANGED, self._heard)
        held.callback(self._close, control)
        devices = list_devices(again=self._can_start)
        source, output, monitor = _chosen(options, devices)
        if not options.share_output:
            held.enter_context(claimed(output))
        settings = live_settings(options, source, output, monitor, began_s)
        self._announce(source, output)

        def set_source(device: AudioDevice) -> SetSource:
            spec = stream_spec(options, device, "input")
            return SetSource(spec, measured_delay_ms(spec, settings.outputs[0]))

        outputs = [device for device in (output, monitor) if device is not None]
        follows = None if wanted_name("input", options.source, devices) else set_source
        watch = held.enter_context(DeviceWatch(source, outputs, follows, options.allow_loop))
        with self._lock:
            self._voices = settings.session.voices
            self._in_use = (source, *outputs)
            self._state = self._state.after(Set({"monitor": settings.session.state.monitor}))
            self._control = control
            control.begin(replace(settings, session=replace(settings.session, state=self._state)))
        self._tell(_SESSION)
        watch.start(control.send)
        control.wait_until_running(is_given_up)
        for role, given, device in (("input", options.source, source), ("output", options.output, output)):
            if given and not is_given_up():
                try:
                    remember(role, None if is_default(given) else device)
                except OutputError as error:  # the session runs all the same
                    log.warning("%s", error)

    def _present(self) -> list[AudioDevice]:
        """Every device; the system's list may lack those that the session itself keeps busy."""
        devices = list_devices(again=True)
        known = {device.stable_name for device in devices}
        busy = self._in_use if self.status().state == "running" else ()
        return [*devices, *(device for device in busy if device.stable_name not in known)]

    def stop(self) -> None:
        """See `RemoteSession`."""
        self._is_stopping.set()
        with self._switch:
            self._is_stopping.clear()
            self._end()

    def measure(self) -> Mapping[str, object]:
        """See `RemoteSession`."""
        from .measure import measured

        with self._switch:
            if self.status().state not in ("stopped", "failed"):
                raise AudioDeviceError("the session runs and its devices are in use: stop it before measuring")
            self._end()
            return measured(*measured_pair(self._options))

    @property
    def _recordings_folder(self) -> Path:
        return self._options.session.record_folder or platformdirs.user_music_path() / "altervox"

    def _end(self) -> None:
        """Free what the session holds, if there is one."""
        held, self._held = self._held, ExitStack()
        held.close()

    def _close(self, control: LiveControl) -> None:
        """End the audio process and keep its last status."""
        before = self.status()
        control.stop()
        self.was_killed = control.was_killed
        after = control.status()
        with self._lock:
            if self._control is control:
                has_failed = "failed" in (before.state, after.state)
                self._status = before if before.state == "failed" else after
                self._status = self._status if has_failed else replace(after, state="stopped")
                self._control = None
        self._tell("")

    def _heard(self, is_last: bool) -> None:
        """Take in a status of the audio process; called on a thread of the control."""
        by = ""
        with self._lock:
            control = self._control
            if control is not None:
                if is_last:  # it may have ended by itself, and what the session holds is for others to have
                    threading.Thread(target=self._free, args=(control,), daemon=True).start()
                status = control.status()
                refused = replace(status.session, revision=self._state.revision) != self._state
                if refused and status.state != "starting" and status.commands_done == control.commands_sent:
                    self._state = replace(status.session, revision=self._state.revision + 1)
                    by = _SESSION
        self._tell(by)

    def _free(self, control: LiveControl) -> None:
        with self._switch:
            if self._control is control:
                self._end()

    def _tell(self, by: str) -> None:
        for heard in list(self._listeners):
            heard(by)


def _chosen(
    options: LiveOptions, devices: Sequence[AudioDevice]
) -> tuple[AudioDevice, AudioDevice, AudioDevice | None]:
    """Microphone, output and monitor.

    Raises:
        AudioDeviceError: one of them is not there, or they do not go together.
    """
    source = choose_input(devices, wanted_name("input", options.source, devices))
    heard_by = None if options.allow_loop else source
    output = choose_output(devices, wanted_name("output", options.output, devices), heard_by)
    monitor = choose_output(devices, options.monitor, heard_by) if options.monitor else None
    if monitor == output:
        raise AudioDeviceError(f"--monitor is the output {output.name!r} itself: name headphones to hear yourself on")
    return source, output, monitor


def measured_pair(options: LiveOptions) -> tuple[StreamSpec, StreamSpec]:
    """The input and the output whose latency is to be measured together.

    Raises:
        AudioDeviceError: one of them is not there.
    """
    devices = list_devices()
    source = choose_input(devices, wanted_name("input", options.source, devices))
    output = choose_output(devices, wanted_name("output", options.output, devices))
    return stream_spec(options, source, "input"), stream_spec(options, output, "output")
