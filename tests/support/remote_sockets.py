"""Clients of the server: well-behaved ones, and sockets that do what no client library would."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import pytest
from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
from remote_session import MemorySession
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Frame, Opcode
from websockets.sync.client import ClientConnection, connect


@dataclass(frozen=True)
class Served:
    """A server in this process, and the session that it serves."""

    server: RemoteServer
    session: MemorySession

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def token(self) -> str:
        return self.server.token

    def client(self, role: str = "admin", **options: Any) -> Client:
        """A client that is authenticated."""
        client = Client(connect(f"ws://127.0.0.1:{self.port}/v1", proxy=None, compression=None, **options))
        assert client.ask("auth", token=self.token, client="test")["result"]["role"] == role
        return client

    def raw(self, timeout: float = 10.0) -> RawSocket:
        """A socket that has sent nothing yet."""
        return RawSocket.open(self.port, timeout)

    def web_socket(self, *headers: str) -> RawSocket:
        """A WebSocket that has been greeted, at the level of its frames."""
        raw = self.raw()
        raw.ask("GET", "/v1", *UPGRADE, *headers)
        head, _ = raw.response_head()
        assert head == HTTPStatus.SWITCHING_PROTOCOLS, head
        assert "hello" in raw.message()
        return raw

    def http(self, method: str, target: str, *headers: str, token: str | None = None) -> Reply:
        """The answer to a request, with the server's token unless another is given; "" for none."""
        token = self.token if token is None else token
        sent = (*headers, *([f"Authorization: Bearer {token}"] if token else []))
        with self.raw() as raw:
            raw.ask(method, target, *sent)
            return raw.reply()


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Client:
    """A client that behaves; it has been greeted."""

    def __init__(self, connecting: AbstractContextManager[ClientConnection]) -> None:
        self._connecting = connecting
        self._id = 0
        self.socket = connecting.__enter__()
        assert self.next()["hello"]["protocol"] == 1

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._connecting.__exit__(None, None, None)

    def next(self, timeout: float = 10.0) -> dict[str, Any]:
        """The next message."""
        message: dict[str, Any] = json.loads(self.socket.recv(timeout))
        return message

    def rest(self) -> list[dict[str, Any]]:
        """What has come, until nothing does for a moment or the connection ends."""
        found = []
        with suppress(TimeoutError, ConnectionClosed):
            while True:
                found.append(self.next(0.1))
        return found

    def send(self, cmd: str, /, **params: Any) -> int:
        """Send a command; returns its ID."""
        self._id += 1
        self.socket.send(json.dumps({"id": self._id, "cmd": cmd, "params": params}))
        return self._id

    def ask(self, cmd: str, /, **params: Any) -> dict[str, Any]:
        """The reply to a command; events before it are dropped."""
        number = self.send(cmd, **params)
        while (message := self.next()).get("id") != number:
            pass
        return message

    def event(self, topic: str, holds: Callable[[dict[str, Any]], bool] = lambda message: True) -> dict[str, Any]:
        """The next event of a topic for which something holds."""
        while (message := self.next()).get("event") != topic or not holds(message):
            pass
        return message


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, str]:
        """Code, field and message of an error."""
        content = self.json
        assert content["ok"] is False
        found: dict[str, str] = content["error"]
        return found


class RawSocket:
    """A TCP connection, byte by byte."""

    def __init__(self, tcp: socket.socket) -> None:
        self.tcp = tcp
        self._read = b""

    @classmethod
    def open(cls, port: int, timeout: float = 10.0) -> Self:
        """A connection to a server on this computer."""
        return cls(socket.create_connection(("127.0.0.1", port), timeout))

    def __enter__(self) -> RawSocket:
        return self

    def __exit__(self, *error: object) -> None:
        self.tcp.close()

    def send(self, data: bytes) -> None:
        self.tcp.sendall(data)

    def ask(self, method: str, target: str, *headers: str) -> None:
        """Send a request; a Host is added unless there is one."""
        has_host = any(header.lower().startswith("host:") for header in headers)
        host = [] if has_host else [f"Host: 127.0.0.1:{self.tcp.getpeername()[1]}"]
        self.send("\r\n".join([f"{method} {target} HTTP/1.1", *host, *headers, "", ""]).encode("latin-1"))

    def read(self, size: int) -> bytes:
        """So many bytes."""
        while len(self._read) < size:
            more = self.tcp.recv(65536)
            if not more:
                raise EOFError(f"only {len(self._read)} of {size} bytes came")
            self._read += more
        data, self._read = self._read[:size], self._read[size:]
        return data

    def read_to_end(self) -> bytes:
        """All that comes until the server closes."""
        while more := self.tcp.recv(65536):
            self._read += more
        data, self._read = self._read, b""
        return data

    def is_closed(self) -> bool:
        """Whether the server closes it within the time-out, whatever it sends before."""
        try:
            self.read_to_end()
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    def response_head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of an answer."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(first.split()[1]), headers

    def reply(self) -> Reply:
        """A whole answer."""
        status, headers = self.response_head()
        return Reply(status, headers, self.read_to_end())

    def send_frame(self, opcode: Opcode, data: bytes = b"", is_last: bool = True) -> None:
        """Send one frame, masked as a client must."""
        self.send(Frame(opcode, data, is_last).serialize(mask=True))

    def send_json(self, message: object) -> None:
        self.send_frame(Opcode.TEXT, json.dumps(message).encode())

    def frame(self) -> tuple[Opcode, bytes]:
        """The next frame from the server."""
        first, second = self.read(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self.read(2 if size == 126 else 8), "big")
        return Opcode(first & 0x0F), self.read(size)

    def message(self) -> dict[str, Any]:
        """The next message."""
        while (found := self.frame())[0] is not Opcode.TEXT:
            pass
        message: dict[str, Any] = json.loads(found[1])
        return message

    def close_code(self) -> int:
        """The code that the server closes with; messages before it are dropped."""
        while (found := self.frame())[0] is not Opcode.CLOSE:
            pass
        with suppress(OSError):  # it may have gone at once
            self.send_frame(*found)
        return Close.parse(found[1]).code


@contextmanager
def serving(folder: Path, session: MemorySession | None = None, **settings: Any) -> Iterator[Served]:
    """A server on a port of its own; its runtime file and its clients are in that folder."""
    session = session or MemorySession()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("altervox.realtime.serve.runtime.runtime_folder", lambda: folder / "runtime")
        with RemoteServer(session, ServerSettings(port=0, **settings), folder / "remote.json") as server:
            yield Served(server, session)


def open_files() -> int:
    """How many files and sockets this process has open (Linux)."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path for each would be a file more


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it has not come to that"
        time.sleep(0.01)
