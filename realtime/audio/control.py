"""The other side of a live session: starts the audio process, sends it commands, receives its status, ends it."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self

from ...kernels.errors import AltervoxError, AudioDeviceError
from ..processes import interrupts_blocked
from ..session import commands
from ..session.status import Status
from .commands import Command, Stop
from .process import run_audio_process
from .settings import LiveSettings

_START_TIMEOUT_S = 1800.0  # base models that are downloaded over a slow line
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.02
_MOST_COMMANDS = 256  # waiting for a session that does not read them


class LiveControl:
    """A session in a process of its own, as a context manager: leaving it ends the session and frees the devices.

    The process starts at once and loads what voices need; `begin` starts the session in it.

    Args:
        preload: Whether any voice but the unchanged one may be wanted. What voices need takes seconds to load, and to
            load it while another voice sounds would make that one stutter.
        heard: Called on a thread of this object after every status with False, and with True when no more will come.

    Attributes:
        was_killed: Whether the process did not end by itself when it was told to.
        commands_sent: Number of commands to the session's state that were sent, for `Status.commands_done`.
    """

    def __init__(self, preload: bool = True, heard: Callable[[bool], object] = lambda is_last: None) -> None:
        context = multiprocessing.get_context("spawn")
        self.was_killed = False
        self.commands_sent = 0
        self._heard = heard
        self._status = Status()
        self._commands: queue.Queue[Command | LiveSettings | None] = queue.Queue(_MOST_COMMANDS)
        self._to_process, commands = context.Pipe()
        self._from_process, statuses = context.Pipe(duplex=False)
        self._process = context.Process(
            target=run_audio_process, args=(preload, commands, statuses), name="altervox-audio"
        )
        with interrupts_blocked():  # the process inherits that, until it ignores them
            self._process.start()
        commands.close()
        statuses.close()
        # Both ends of a pipe may block when the audio process hangs: only these threads do.
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send_all, self._receive_all)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def begin(self, settings: LiveSettings) -> None:
        """Start the session; called once."""
        self._commands.put_nowait(settings)

    def wait_until_running(self, is_given_up: Callable[[], bool] = lambda: False) -> None:
        """Wait until the session runs, or until the caller gives up.

        Args:
            is_given_up: Polled meanwhile; true ends the wait.

        Raises:
            AltervoxError: the session could not start; the message is the cause.
        """
        end = time.monotonic() + _START_TIMEOUT_S
        while self.status().state == "starting":
            if is_given_up():
                return
            if self._has_ended():
                break
            if time.monotonic() > end:
                raise AudioDeviceError(
                    f"the voice is not ready after {_START_TIMEOUT_S / 60.0:.0f} minutes: start again with "
                    "`altervox -v ...` to see what it waits for"
                )
            time.sleep(_POLL_S)
        self.check()

    def check(self) -> None:
        """Raises AltervoxError if the session has ended by itself."""
        has_ended = self._has_ended()
        if has_ended:
            self._threads[1].join(_STOP_TIMEOUT_S)  # it may have said why
        status = self.status()
        if status.state == "failed":
            raise AltervoxError("; ".join(status.causes))
        if has_ended and status.state != "stopped":
            raise AudioDeviceError(
                f"the audio process ended by itself (exit code {self._process.exitcode}): start again with "
                "`altervox -v ...` to see why"
            )

    @property
    def process_id(self) -> int:
        """Process ID of the audio process."""
        assert self._process.pid is not None
        return self._process.pid

    def send(self, command: Command) -> None:
        """Send the session a command, from any thread; it is handled between two blocks, unless the session is gone.

        Never blocks: if hundreds of commands are waiting because the session hangs, this one is dropped.
        """
        with contextlib.suppress(queue.Full):
            self._commands.put_nowait(command)
            if isinstance(command, commands.Command):
                self.commands_sent += 1

    def status(self) -> Status:
        """The newest status that the session has reported."""
        return self._status

    def stop(self) -> None:
        """End the session and free the devices."""
        self.send(Stop())
        is_starting = self.status().state == "starting"  # it holds no device yet and may not read commands
        if not wait([self._process.sentinel], 0.0 if is_starting else _STOP_TIMEOUT_S):
            self.was_killed = not is_starting
            self._process.kill()
        self._process.join()
        for thread in self._threads[1:]:
            thread.join(_STOP_TIMEOUT_S)  # it takes in the last status
        with contextlib.suppress(queue.Full):
            self._commands.put_nowait(None)

    def _has_ended(self) -> bool:
        """Whether the audio process has ended; `is_alive` is wrong for a moment where two threads ask it at once."""
        return bool(wait([self._process.sentinel], 0.0))

    def _send_all(self) -> None:
        with contextlib.suppress(OSError):  # `check` reports that the process is gone
            while (command := self._commands.get()) is not None:
                self._to_process.send(command)

    def _receive_all(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._status = self._from_process.recv()
                self._heard(False)
        self._process.join()  # so that its exit code is known to whoever waits for this thread
        self._heard(True)
