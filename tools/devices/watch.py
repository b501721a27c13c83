"""Watches a session's devices on the sound server (Linux): gone, back, another default.

When a device disappears, PulseAudio and PipeWire move its streams to another one, such as from a cable to the
loudspeakers, and PortAudio does not notice. So a thread of the control process follows `pactl subscribe` and tells the
session to close the streams of the device, and to open them again when it is back.
"""

from __future__ import annotations

import logging
import os
import re
import select
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from types import TracebackType
from typing import Self

from ...kernels.errors import AudioDeviceError
from ...realtime.audio.commands import Command, SetAbsent
from ...realtime.audio.devices import PULSE, AudioDevice
from .choose import choose_input, list_devices, refuse_feedback, settings_folder
from .pulse import awake, default_devices, device_numbers, prepare_linux_environment, subscribe

log = logging.getLogger(__name__)

_MATTERS = re.compile(rb"Event '(?:new|remove)' on (?:sink|source) #|Event 'change' on server")
_AGAIN_S = 1.0
_LONGEST_LOOK_S = 2.0

Send = Callable[[Command], None]


def kept_awake(output: AudioDevice) -> AbstractContextManager[object]:
    """Keeps a cable of the sound server from sleeping: an idle null sink of PulseAudio wakes only every 2 s.

    Raises:
        AudioDeviceError: See `awake`.
    """
    return awake(output.system_name) if output.host_api == PULSE and output.cable else nullcontext()


class DeviceWatch:
    """Watches devices as long as its context lasts, and keeps the cable awake if it may sleep.

    Only devices of a sound server that `pactl` reaches are watched.

    Args:
        source: The microphone.
        outputs: The outputs, the cable first.
        replacement: Makes the command that switches to the system's new default microphone; None to keep `source`.
        allow_loop: Whether to switch to a microphone that hears the outputs, too.
    """

    def __init__(
        self,
        source: AudioDevice,
        outputs: Sequence[AudioDevice],
        replacement: Callable[[AudioDevice], Command] | None = None,
        allow_loop: bool = False,
    ) -> None:
        self._source = source
        self._outputs = outputs
        self._replacement = replacement
        self._allow_loop = allow_loop
        self._defaults = ("", source.system_name if replacement is not None else "")  # sink, source
        self._default_is_new = False  # and not followed yet
        self._is_late = False  # whether following it has failed, which was logged once
        self._numbers: dict[str, str] = {}
        self._absent: frozenset[str] = frozenset()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._subscription: subprocess.Popen[bytes] | None = None
        self._awake = ExitStack()

    def __enter__(self) -> Self:
        self._wake()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._subscription is not None:
            self._subscription.terminate()
        if self._thread is not None:
            self._thread.join(_LONGEST_LOOK_S)  # a daemon: it may be waiting for a server that hangs
        self._awake.close()

    def start(self, send: Send) -> None:
        """Start watching.

        Args:
            send: Sends a command to the session; called on another thread.
        """
        if not self._watched():
            log.info("devices that come and go are not watched: they are not devices of a sound server with pactl")
            return
        self._thread = threading.Thread(target=self._run, args=(send,), name="altervox-devices", daemon=True)
        self._thread.start()

    def _watched(self) -> list[AudioDevice]:
        return [device for device in (self._source, *self._outputs) if device.host_api == PULSE]

    def _run(self, send: Send) -> None:
        told = ""
        while not self._stopping.is_set():
            try:
                self._follow_events(send)
                if not self._stopping.is_set():  # the server has ended
                    self._numbers = {}
                    self._tell(send, self._names(lambda name: True))
            except Exception as error:  # such as a full disk, or no pactl to start any more: it is tried again
                log.log(
                    logging.DEBUG if str(error) == told else logging.WARNING,
                    "devices that come and go are not watched for now: %s",
                    error,
                )
                told = str(error)
            self._stopping.wait(_AGAIN_S)

    def _follow_events(self, send: Send) -> None:
        """Check the devices whenever the server reports a change, until it ends."""
        with subscribe() as self._subscription:
            if self._stopping.is_set():  # too late for `__exit__` to have seen this subscription
                return
            assert self._subscription.stdout is not None
            descriptor = self._subscription.stdout.fileno()
            due, listening, rest = True, False, b""
            while True:
                if due:
                    due = not self._look(send)
                # Looking is itself an event, so a first line comes soon; from then on nothing is missed.
                wait_s = _AGAIN_S if due or not listening else None
                if not select.select([descriptor], [], [], wait_s)[0]:
                    due = True
                    continue
                received = os.read(descriptor, 65536)
                if not received:
                    return
                *lines, rest = (rest + received).split(b"\n")
                due |= not listening or any(map(_MATTERS.match, lines))
                listening = True

    def _look(self, send: Send) -> bool:
        """Compare the devices with those before and inform the session; returns whether that is complete."""
        try:
            numbers, defaults = device_numbers(), default_devices()
        except AudioDeviceError as error:
            log.debug("%s", error)
            return False
        before, self._numbers = self._numbers, numbers
        # One that is back already has lost its stream all the same.
        gone = self._names(lambda name: name not in numbers or before.get(name, numbers[name]) != numbers[name])
        self._tell(send, self._absent | gone)
        before_defaults, self._defaults = self._defaults, defaults
        self._default_is_new |= defaults[1] != before_defaults[1]
        if self._replacement is not None and self._default_is_new:
            self._follow_default(send, self._replacement)
        # PulseAudio moves streams from the device that was the default to the new one, also those that named it.
        moved = self._names(lambda name: name in before_defaults and name not in defaults)
        self._tell(send, self._absent | moved)
        absent = self._names(lambda name: name not in numbers)
        if self._absent - absent:
            self._make_ready()
        self._tell(send, absent)
        return self._replacement is None or not self._default_is_new

    def _tell(self, send: Send, absent: frozenset[str]) -> None:
        if absent != self._absent:
            self._absent = absent
            send(SetAbsent(absent))

    def _names(self, applies: Callable[[str], bool]) -> frozenset[str]:
        return frozenset(device.stable_name for device in self._watched() if applies(device.system_name))

    def _make_ready(self) -> None:
        """Prepare for devices that are back, which another program may have missed when it listed devices."""
        try:
            prepare_linux_environment(settings_folder())
            self._wake()
        except AudioDeviceError as error:
            log.warning("%s", error)

    def _wake(self) -> None:
        self._awake.close()
        self._awake.enter_context(kept_awake(self._outputs[0]))

    def _follow_default(self, send: Send, replacement: Callable[[AudioDevice], Command]) -> None:
        """Switch to the system's new default microphone, unless it hears the outputs."""
        try:
            devices = list_devices(again=True)
        except AudioDeviceError as error:
            if not self._is_late:
                log.warning("the system's default microphone has changed, and is followed later: %s", error)
            self._is_late = True
            return
        self._default_is_new = self._is_late = False
        try:
            source = choose_input(devices)
            ours = [] if self._allow_loop else [output.stable_name for output in self._outputs]
            for output in devices:  # what hears them may have come since the session began
                if output.outputs and output.stable_name in ours:
                    refuse_feedback(source, output)
            command = replacement(source)
        except AudioDeviceError as error:
            log.warning("the system's default microphone has changed, and is not followed: %s", error)
            return
        if source.stable_name != self._source.stable_name:
            log.info("the system's default microphone is now %r, and is followed", source.name)
            self._source = source
            send(command)
