"""The processes of the workers, on the event loop of the server."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess

from ...processes import interrupts_blocked
from ...session.settings import SessionSettings
from .pipe import Kind, Unpacker
from .worker import run_worker

log = logging.getLogger(__name__)

_END_S = 1.0  # for a worker to end by itself
_BUFFER_BYTES = 1_048_576  # of the link: a worker that is busy with a long block must not hold up others


class WorkerPool:
    """Starts and ends workers, and carries messages; see `WorkerPort`. All on the thread of a running event loop.

    Args:
        settings: What all sessions have in common.
        received: Called with the number of a worker and its messages.
        ended: Called with the number of a worker that has ended, unless it was killed.
    """

    def __init__(
        self,
        settings: SessionSettings,
        received: Callable[[int, list[tuple[Kind, int, bytes]]], None],
        ended: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._received = received
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._links: dict[int, _Link] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, number: int, is_live: bool) -> None:
        """See `WorkerPort`."""
        link = self._links[number] = _Link(number, self._received, self._lost)
        task = self._loop.create_task(self._start(link, is_live))
        self._tasks.add(task)  # the loop itself holds no task
        task.add_done_callback(self._tasks.discard)

    def send(self, number: int, data: bytes) -> None:
        """See `WorkerPort`."""
        link = self._links.get(number)
        if link is not None:
            link.send(data)

    def kill(self, number: int) -> None:
        """See `WorkerPort`."""
        link = self._links.pop(number, None)
        if link is not None:
            link.end(0.0)

    def close(self) -> None:
        """End all workers."""
        links, self._links = self._links, {}
        for link in links.values():
            link.end(_END_S)

    async def _start(self, link: _Link, is_live: bool) -> None:
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        arguments = (theirs, self._settings, is_live, logging.getLogger().level)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=run_worker, args=arguments, name="altervox-audio-worker", daemon=True)
        try:
            await self._loop.run_in_executor(None, _started, process)
            link.process = process
            await self._loop.create_connection(lambda: link, sock=ours)
        except OSError as error:
            log.warning("an audio worker cannot be started: %s", error)
            ours.close()
            self._lost(link)
        finally:
            theirs.close()

    def _lost(self, link: _Link) -> None:
        if self._links.pop(link.number, None) is not None:
            link.end(0.0)
            self._ended(link.number)


class _Link(asyncio.Protocol):
    """The link to one worker.

    Attributes:
        number: Number of the worker.
        process: Its process; None until it has been started.
    """

    def __init__(
        self,
        number: int,
        received: Callable[[int, list[tuple[Kind, int, bytes]]], None],
        lost: Callable[[_Link], None],
    ) -> None:
        self.number = number
        self.process: BaseProcess | None = None
        self._received = received
        self._lost = lost
        self._unpacker = Unpacker()
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._end_s: float | None = None

    def send(self, data: bytes) -> None:
        """Send a message, or keep it until there is somebody to send it to."""
        if self._transport is None:
            self._early.append(data)
        else:
            self._transport.write(data)

    def end(self, within_s: float) -> None:
        """Close the link, and kill the process unless it ends by itself in time."""
        self._end_s = within_s
        if self._transport is not None:
            self._transport.abort()
        if self.process is not None:
            threading.Thread(target=_ended, args=(self.process, within_s), daemon=True).start()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what was kept."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._end_s is not None:  # it was ended before it had begun
            self.end(self._end_s)
            return
        transport.writelines(self._early)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Pass on messages."""
        if messages := self._unpacker.feed(data):
            self._received(self.number, messages)

    def connection_lost(self, error: Exception | None) -> None:
        """The worker has ended."""
        self._lost(self)


def _started(process: BaseProcess) -> None:
    with interrupts_blocked():  # the process inherits that, until it ignores them
        process.start()


def _ended(process: BaseProcess, within_s: float) -> None:
    """Wait for a process, and take its exit code; on a thread of its own."""
    with suppress(OSError, ValueError):
        process.join(within_s)
        process.kill()
        process.join()
