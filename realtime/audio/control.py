"""The other side of a live session: starts the audio process, sends it commands, reads its status, ends it."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ...kernels.errors import AltervoxError, AudioDeviceError
from ..session.status import LiveStatus
from .process import run_audio_process
from .settings import Command, LiveSettings, Stop

_START_TIMEOUT_S = 1800.0  # networks that are fetched over a slow line
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.05


class LiveControl:
    """A running session, as a context manager: leaving it ends the session and frees the devices.

    Args:
        settings: What is wanted.
    """

    def __init__(self, settings: LiveSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self._status = LiveStatus.create()
        self._commands, other_end = context.Pipe()
        self._sending = threading.Lock()
        self._process = context.Process(
            target=run_audio_process, args=(settings, other_end, self._status.memory.name), name="altervox-audio"
        )
        self._process.start()
        other_end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until_running(self, is_given_up: Callable[[], bool] = lambda: False) -> None:
        """Return once sound goes through, or nobody wants it any more.

        Args:
            is_given_up: Asked meanwhile.

        Raises:
            AltervoxError: it could not start; the message is the cause.
        """
        end = time.monotonic() + _START_TIMEOUT_S
        while (status := self.status())["state"] == "starting":
            if is_given_up():
                return
            if not self._process.is_alive():
                break
            if time.monotonic() > end:
                raise AudioDeviceError(
                    f"the voice is not ready after {_START_TIMEOUT_S / 60.0:.0f} minutes: start again with "
                    "`altervox -v live` to see what it waits for"
                )
            time.sleep(_POLL_S)
        self.check(self.status() if status["state"] == "starting" else status)

    def check(self, status: dict[str, Any]) -> None:
        """Raises AltervoxError if the session has ended by itself."""
        if status["state"] == "failed":
            raise AltervoxError(status["cause"])
        if not self._process.is_alive() and status["state"] != "stopped":
            raise AudioDeviceError(
                f"the audio process ended by itself (exit code {self._process.exitcode}): start again with "
                "`altervox -v live` to see why"
            )

    @property
    def process_id(self) -> int:
        """Of the audio process."""
        assert self._process.pid is not None
        return self._process.pid

    def send(self, command: Command) -> None:
        """Give the session a command, from any thread; it is carried out within 20 ms, unless the session is gone."""
        with self._sending, contextlib.suppress(OSError):  # `check` tells that it is gone
            self._commands.send(command)

    def status(self) -> dict[str, Any]:
        """What the session tells of itself."""
        return self._status.read()

    def stop(self) -> None:
        """End the session and free the devices."""
        self.send(Stop())
        if self.status()["state"] != "starting":  # else it holds no device yet, and does not listen
            self._process.join(_STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._commands.close()
        self._status.close(unlink=True)
