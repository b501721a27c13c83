"""What runs in the server's thread: sockets, a clock and threads around the protocol."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as SocketRequest
from websockets.http11 import Response as SocketResponse
from websockets.protocol import OPEN
from websockets.typing import Subprotocol

from ...kernels.printable import printable
from ..session.settings import SessionSettings
from .access import Access
from .audio.pipe import Kind
from .audio.pool import WorkerPool
from .audio.session import Line
from .audio.workers import AudioLimits
from .errors import FULL
from .executor import Effect
from .faces import Faces
from .http import HttpRoutes, Response, unavailable
from .port import RemoteSession
from .protocol import MOST_CONNECTIONS, Hub
from .runtime import SOCKET_PATH, SUBPROTOCOL
from .settings import ServerSettings
from .tcp import CLOSE_S, Link, Socket, socket_limit

log = logging.getLogger(__name__)
# Of the library: its debug messages show all that is sent, and that is the token first of all.
_LIBRARY_LOG = logging.getLogger(f"{__name__}.websockets")
_LIBRARY_LOG.setLevel(logging.ERROR)

_MOST_SOCKETS = MOST_CONNECTIONS + 64  # with those that have not asked for anything yet, and HTTP
_MOST_MESSAGE_BYTES = 131_072  # beyond the protocol's own limit, which closes with a code of its own
_ANSWER_S = 10.0  # in which an answer over HTTP must have been read
_PING_S = 10.0
_CALL_S = 10.0  # for what is asked of the server's thread
_LEAST_WAIT_S = 0.001
_FREQUENT = (Kind.OUTPUT, Kind.TAKEN, Kind.PONG)  # messages of a worker that change nothing else

_Value = TypeVar("_Value")


class Shell:
    """What runs in the server's thread.

    Args:
        session: The session.
        access: Tokens.
        settings: Settings of the server.
        address: Address of the panel.
        faces: What is spoken beside the protocol.
        audio: What audio sessions have in common.
    """

    def __init__(
        self,
        session: RemoteSession,
        access: Access,
        settings: ServerSettings,
        address: str,
        faces: Faces,
        audio: SessionSettings,
    ) -> None:
        self.started: Future[None] = Future()
        self.sockets: set[Socket] = set()
        self.most_sockets = socket_limit(_MOST_SOCKETS)
        self._session = session
        self._access = access
        self._settings = settings
        self._address = address
        self._faces = faces
        self._audio = audio
        self._loop: asyncio.AbstractEventLoop
        self._hub: Hub
        self._workers: WorkerPool
        self._sockets_of: dict[Line, Socket] = {}
        self._http: HttpRoutes
        self._ending: asyncio.Event
        self._tasks: set[asyncio.Task[None]] = set()
        self._unanswered: set[asyncio.Future[Response]] = set()
        self._turn_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._encoded = ("", b"")  # the last text and its bytes: a broadcast is one text for all

    # Any thread

    def run(self, where: Mapping[str, Any]) -> None:
        """Serve until `stop`, where these options of `serve` say. The whole of the thread."""
        try:
            asyncio.run(self._run(where))
        except Exception as error:
            if self.started.done():
                log.error("the remote control has ended", exc_info=error)
            else:
                self.started.set_exception(error)

    def stop(self) -> None:
        """Have `run` end soon."""
        with suppress(RuntimeError):  # it has ended already
            self._loop.call_soon_threadsafe(self._ending.set)

    def call(self, work: Callable[[Hub, float], _Value]) -> _Value:
        """The result of a function that is given the hub and the time, called in the server's thread."""
        found: Future[_Value] = Future()

        def do() -> None:
            try:
                found.set_result(work(self._hub, self._loop.time()))
            except Exception as error:
                found.set_exception(error)
            self.wake()

        self._loop.call_soon_threadsafe(do)
        return found.result(_CALL_S)

    # The server's thread

    async def _run(self, where: Mapping[str, Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_report)
        self._ending = asyncio.Event()
        self._workers = WorkerPool(self._audio, self._from_worker, self._worker_ended)
        limits = AudioLimits(self._settings.audio_workers, self._settings.most_audio_sessions, self._audio.state.voice)
        self._hub = Hub(
            self._session, self._access, self._loop.time(), self._settings.url_buttons, self._workers, limits
        )
        self._hub.set_panel_address(self._address)
        self._http = HttpRoutes(self._hub, self._settings, self.carry_out)
        self._faces.begin(self._hub, self.carry_out, lambda: self._soon(self.wake), self._loop.time())
        options: dict[str, Any] = {
            "handler": self._serve_socket,
            "create_connection": partial(Socket, self),
            "select_subprotocol": lambda socket, offered: Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None,
            "compression": None,
            "server_header": None,
            "max_size": (_MOST_MESSAGE_BYTES, _MOST_MESSAGE_BYTES),
            "max_queue": 8,
            "write_limit": 1,  # so that `paused` says whether anything waits for a client; TLS takes 0 for always
            "open_timeout": None,  # `Socket` has deadlines of its own: a command over HTTP may take longer
            "close_timeout": CLOSE_S,
            "ping_interval": _PING_S,
            "ping_timeout": _PING_S,
            "logger": _LIBRARY_LOG,
        }
        servers: list[Server] = [await serve(process_request=self._process_request, **options, **where)]
        for opened in self._faces.sockets:
            servers.append(await serve(process_request=self._process_voicemod, **options, sock=opened))
        end_listening = self._session.listen(self._heard)
        self.started.set_result(None)
        self.wake()
        try:
            await self._ending.wait()
        finally:
            end_listening()
            await self._end(servers)

    async def _end(self, servers: list[Server]) -> None:
        self._hub.shut_down()
        self._turn()
        self._workers.close()
        for answer in self._unanswered:
            if not answer.done():
                answer.set_result(unavailable("the server shuts down"))
        for server in servers:
            server.close(code=FULL, reason="the server shuts down")
        for timeout_s in (CLOSE_S, CLOSE_S):
            for socket in list(self.sockets):
                if socket.paused or socket.request is None:  # it does not read, or has not asked for anything yet
                    socket.transport.abort()
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*(server.wait_closed() for server in servers)), timeout_s)
                break
            for socket in list(self.sockets):
                socket.transport.abort()
        if self._timer is not None:
            self._timer.cancel()

    def _heard(self, by: str) -> None:
        """The session has changed; called on any thread."""
        self._soon(self._session_changed, by)

    def _soon(self, work: Callable[..., None], *arguments: Any) -> None:
        """Have something called in the server's thread; called on any thread."""
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            self._loop.call_soon_threadsafe(work, *arguments)

    def _session_changed(self, by: str) -> None:
        self._hub.session_changed(by, self._loop.time())
        self.wake()

    def wake(self) -> None:
        """Look after effects, deadlines and all sockets once the loop is done with what it does now."""
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_is_due = False
        now_s = self._loop.time()
        self._hub.tick(now_s)
        self._faces.turn(now_s)
        for effect in self._hub.take_effects():
            self.carry_out(effect)
        due_s = min(self._hub.next_due_s, self._faces.next_due_s)
        for socket in self.sockets:
            if (link := socket.link) is not None and not socket.paused:
                self.flush(socket, link, now_s)
                due_s = min(due_s, link.next_due_s)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if due_s < float("inf"):
            self._timer = self._loop.call_at(max(due_s, now_s + _LEAST_WAIT_S), self.wake)

    def flush(self, socket: Socket, link: Link, now_s: float) -> None:
        """Send what a connection has ready, as far as its client reads it, and close it if that is due."""
        while not socket.paused and socket.protocol.state is OPEN:
            ready = link.pull(now_s)
            if ready is None:
                if link.close is not None and not socket.is_ending:
                    socket.is_ending = True
                    self._spawn(socket.close(*link.close))
                return
            if isinstance(ready, bytes):
                socket.protocol.send_binary(ready)
            else:
                if ready is not self._encoded[0]:
                    self._encoded = (ready, ready.encode(errors="replace"))
                socket.protocol.send_text(self._encoded[1])
            socket.send_data()

    def _from_worker(self, number: int, messages: list[tuple[Kind, int, bytes]]) -> None:
        """Messages of a worker have arrived."""
        for kind, key, payload in messages:
            self._hub.audio.from_worker(number, kind, key, payload, self._loop.time())
            self._flush_audio()  # after each: many at once are no sign of a client that does not read
        if any(kind not in _FREQUENT for kind, _, _ in messages):
            self.wake()

    def _worker_ended(self, number: int) -> None:
        self._hub.audio.worker_ended(number, self._loop.time())
        self._flush_audio()
        self.wake()

    def _flush_audio(self) -> None:
        """Send what audio sessions have ready, without a look at all other sockets."""
        for line in self._hub.audio.take_touched():
            socket = self._sockets_of.get(line)
            if socket is not None and socket.link is not None:
                self.flush(socket, socket.link, self._loop.time())
                socket.room.set()

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)  # the loop itself holds no task
        task.add_done_callback(self._tasks.discard)

    def carry_out(self, effect: Effect) -> None:
        """Run an effect on a thread of its own, which no end of this process waits for."""

        def work() -> None:
            result, error = None, None
            try:
                result = effect.run()
            except BaseException as raised:
                error = raised
            self._soon(self._finish, effect, result, error)

        threading.Thread(target=work, name=f"altervox-{effect.name}", daemon=True).start()

    def _finish(self, effect: Effect, result: Any, error: BaseException | None) -> None:
        self._hub.finish(effect, result, error, self._loop.time())
        self.wake()

    async def _process_request(self, socket: ServerConnection, request: SocketRequest) -> SocketResponse | None:
        """Answer a request over HTTP, or let it become a WebSocket: None."""
        assert isinstance(socket, Socket)
        asked = socket.asked(request)
        # It may be gone by now: what it was given then, nobody would take back.
        response = self._http.refusal(asked) if socket in self.sockets else unavailable()
        if response is None and asked.wants_socket and asked.path in ("/", SOCKET_PATH):
            socket.link = self._hub.connect(self._loop.time(), socket.peer)
            if socket.link is not None:
                self._sockets_of[socket.link.core] = socket
                socket.expect(None)
                return None
            response = unavailable()
        if response is None:
            answer: asyncio.Future[Response] = self._loop.create_future()
            self._unanswered.add(answer)
            socket.expect(None)

            def give(found: Response) -> None:
                if not answer.done():  # the server may have answered that it shuts down
                    answer.set_result(found)

            try:
                self._http.handle(asked, self._loop.time(), give)
                self.wake()
                response = await answer
            except Exception as error:
                log.error("a request could not be answered", exc_info=error)
                response = Response(500)
            finally:
                self._unanswered.discard(answer)
        return self._answered(socket, response)

    def _answered(self, socket: Socket, response: Response) -> SocketResponse:
        socket.expect(_ANSWER_S)
        return SocketResponse(response.status, response.phrase, Headers(response.headers), response.body)

    def _process_voicemod(self, socket: ServerConnection, request: SocketRequest) -> SocketResponse | None:
        """Let a request become a client of the Voicemod-compatible API: None; or answer it."""
        assert isinstance(socket, Socket)
        found = self._faces.voicemod_client(socket.asked(request), self._loop.time())
        if isinstance(found, Response):
            return self._answered(socket, found)
        socket.link = found
        socket.expect(None)
        return None

    async def _serve_socket(self, socket: ServerConnection) -> None:
        """Take in the messages of one WebSocket until it ends."""
        assert isinstance(socket, Socket)
        link = socket.link
        assert link is not None
        self.wake()
        with suppress(ConnectionClosed):
            async for message in socket:
                now_s = self._loop.time()
                link.receive(message, now_s)
                self.flush(socket, link, now_s)  # the answer, before all else
                if isinstance(message, str) or link.close is not None:
                    self._flush_audio()
                    self.wake()
                await asyncio.sleep(0)  # others have their turn between two messages
                while link.core.audio is not None and link.core.audio.is_full and socket in self.sockets:
                    socket.room.clear()
                    await socket.room.wait()
                if not socket.has_deadlines:
                    await socket.drain()  # who does not read is not read from

    def forget(self, socket: Socket) -> None:
        """A socket is gone."""
        self.sockets.discard(socket)
        socket.room.set()
        if socket.link is not None:
            self._sockets_of.pop(socket.link.core, None)
            self._hub.disconnect(socket.link.core, self._loop.time())
            self.wake()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What has gone wrong in the loop itself, such as too many open files."""
    error = context.get("exception")
    if isinstance(error, OSError):
        log.warning("remote control: %s", printable(error))
    else:
        log.error("remote control: %s", printable(context.get("message", "")), exc_info=error)
