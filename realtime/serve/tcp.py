"""One TCP connection of the server, with the limits that the library does not have."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import InvalidMessage
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as SocketRequest
from websockets.protocol import OPEN, Event

from .audio.session import AudioSession
from .bucket import Bucket
from .connection import Connection
from .errors import TOO_FAST
from .http import Request, not_understood, timed_out, unavailable
from .room import has_room

REQUEST_S = 5.0  # until a socket must have sent a request, and TLS be agreed on
CLOSE_S = 1.0  # for a client to agree to be closed
_UNREAD_S = 20.0  # after which a client that reads nothing is cut off
_MOST_UNREAD_BYTES = 1_048_576  # more than the longest list
_MOST_UNREAD_HTTP_BYTES = 2_097_152  # more than the largest picture
_FRAMES, _FRAMES_PER_S = 1000, 500  # which a client may send at once, and on average
_SPARE_FILES = 128  # that this process may open beside its sockets
_SLICE_BYTES = 4096  # in which what has arrived is parsed, so that a flood is noticed before all of it is


class Link(Protocol):
    """What a WebSocket is to the protocol, or to a face of it; see `Connection`."""

    @property
    def core(self) -> Connection:
        """The connection of the protocol."""
        ...

    @property
    def close(self) -> tuple[int, str] | None:
        """Code and reason to close the socket with, once `pull` returns None; None to keep it open."""
        ...

    @property
    def next_due_s(self) -> float:
        """When `pull` has something to send."""
        ...

    def receive(self, message: str | bytes, now_s: float) -> None:
        """Take in a message; never raises."""
        ...

    def pull(self, now_s: float) -> str | bytes | None:
        """The next text or frame to send; None if there is nothing (more) to send now."""
        ...


class Owner(Protocol):
    """What a connection needs of the server.

    Attributes:
        sockets: All connections.
        most_sockets: How many there may be.
    """

    sockets: set[Socket]
    most_sockets: int

    def wake(self) -> None:
        """There is room to send again."""
        ...

    def forget(self, socket: Socket) -> None:
        """A connection is gone."""
        ...


class Socket(ServerConnection):
    """One TCP connection, with the limits that the library does not have.

    Attributes:
        link: What the protocol knows of it; None before it is a WebSocket.
        peer: Address of the other side.
        is_ending: Whether it is being closed.
        room: Set when its audio session may have room for more.
    """

    def __init__(self, owner: Owner, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.link: Link | None = None
        self.peer = ""
        self.is_ending = False
        self.room = asyncio.Event()
        self._owner = owner
        self._is_refused = False
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._frames = Bucket(self.loop.time(), _FRAMES_PER_S, _FRAMES)

    def asked(self, request: SocketRequest) -> Request:
        """The request that has come, as the rest of the server takes it."""
        return Request(request.method, request.path, _by_name(request.headers), self.peer)

    def expect(self, within_s: float | None) -> None:
        """Cut it off if it has not got further within this time; None for no such limit any more."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(within_s, self._expired) if within_s is not None else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take it in, or answer that there is no room."""
        assert isinstance(transport, asyncio.Transport)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if peer else ""
        if not has_room([other.peer for other in self._owner.sockets], self.peer, self._owner.most_sockets):
            transport.set_protocol(asyncio.Protocol())
            transport.write(unavailable().serialize())
            transport.close()
            return
        self._owner.sockets.add(self)
        # asyncio does so only for sockets that were made with the protocol's number. Without it an answer that follows
        # an event waits 40 ms for the client to acknowledge the event.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport  # `pause_writing` may be called before the library has set it
        super().connection_made(transport)
        self.expect(REQUEST_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self.expect(None)
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)
        self._owner.forget(self)

    def pause_writing(self) -> None:
        """Something waits for the client to read."""
        super().pause_writing()
        self._unread = self.loop.call_later(_UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read all of it."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
        self._owner.wake()

    def data_received(self, data: bytes) -> None:
        """Take in bytes, a few at a time."""
        for at in range(0, len(data), _SLICE_BYTES):
            if not self.transport.is_closing():
                super().data_received(data[at : at + _SLICE_BYTES])
        if self.protocol.close_expected() and self._deadline is None:  # the library alone waits for its next ping
            self.expect(CLOSE_S)

    def process_event(self, event: Event) -> None:
        """Take in a request or a frame, of which there must not be too many: each costs time, however small it is."""
        was_open = self.protocol.state is OPEN
        super().process_event(event)
        if isinstance(event, Frame) and event.opcode is Opcode.BINARY and self._session and not self.has_deadlines:
            return  # this client is made to wait instead
        if was_open and not self._frames.takes(1, self.loop.time()) and self.protocol.state is OPEN:
            self.protocol.fail(TOO_FAST, "too many frames")
            self.send_data()
            self.expect(CLOSE_S)

    @property
    def has_deadlines(self) -> bool:
        """Whether its audio session drops what comes too late, instead of having the client wait."""
        session = self._session
        return session is not None and session.spec.is_live

    @property
    def _session(self) -> AudioSession | None:
        return self.link.core.audio if self.link is not None else None

    def send_data(self) -> None:
        """Send what the library has ready, and an answer to what it refuses without one."""
        if isinstance(self.protocol.handshake_exc, InvalidMessage) and not self._is_refused:
            self._is_refused = True
            if not self.transport.is_closing():
                self.transport.write(not_understood().serialize())
        super().send_data()
        most = _MOST_UNREAD_HTTP_BYTES if self.link is None else _MOST_UNREAD_BYTES
        if self.transport.get_write_buffer_size() > most:  # it sends pings, and reads no answer
            self.transport.abort()

    def _expired(self) -> None:
        if self.request is None and not self._is_refused:
            self.transport.write(timed_out().serialize())
            self.transport.close()
        else:
            self.transport.abort()


def _by_name(headers: Headers) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.raw_items():
        before = found.get(name.lower())
        found[name.lower()] = value if before is None else f"{before}, {value}"
    return found


def socket_limit(most: int) -> int:
    """How many sockets this process can afford, at most `most`: systems let it open so many files, some only 256."""
    if sys.platform == "win32":
        return most
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else max(min(most, soft - _SPARE_FILES), 32)
