"""Floods, crowds, silence and noise: the server answers with a documented code, stays quick, and keeps nothing."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from altervox.realtime.serve.protocol import MOST_CONNECTIONS, MOST_UNAUTHENTICATED
from remote_sockets import UPGRADE, RawSocket, Served, open_files, serving, until
from websockets.frames import Frame, Opcode

pytestmark = pytest.mark.linux


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server whose patience is short."""
    monkeypatch.setattr("altervox.realtime.serve.tcp.REQUEST_S", 0.5)
    monkeypatch.setattr("altervox.realtime.serve.protocol.AUTH_S", 0.5)
    with serving(tmp_path) as found:
        yield found


def ping_s(served: Served) -> float:
    """How long a client that comes now waits for its third answer."""
    with served.client() as client:
        client.ask("ping")
        began_s = time.monotonic()
        assert client.ask("ping")["ok"]
        return time.monotonic() - began_s


def test_a_thousand_connections(served: Served) -> None:
    shell = served.server._shell
    assert shell is not None
    before = open_files()
    with served.client() as client:
        crowd, full = [], 0
        for _ in range(1000):
            crowd.append(served.raw(5.0))
            if len(crowd) % 100 == 0:
                assert client.ask("ping")["ok"]
                assert len(shell.sockets) <= shell.most_sockets
        for raw in crowd:
            status, headers = raw.response_head()  # too many at once, or silent for too long
            assert status in (503, 408)
            assert headers.get("Retry-After", "5") == "5"
            full += status == 503
            raw.tcp.close()
        assert full > 100
        assert client.ask("ping")["ok"]
    until(lambda: not shell.sockets)
    until(lambda: open_files() <= before)
    assert ping_s(served) < 1.0


def test_web_sockets_that_do_not_authenticate(served: Served) -> None:
    with served.client() as client:
        waiting = [served.web_socket() for _ in range(MOST_UNAUTHENTICATED)]
        reply = served.http("GET", "/v1", *UPGRADE)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        assert client.ask("ping")["ok"]
        assert {raw.close_code() for raw in waiting} == {4408}
    for raw in waiting:
        raw.tcp.close()
    assert ping_s(served) < 1.0


def test_as_many_clients_as_there_may_be(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        fill(served)


def fill(served: Served) -> None:
    """Make as many connections as there may be, and one more."""
    clients = []
    for _ in range(MOST_CONNECTIONS):
        raw = served.web_socket()
        raw.send_json({"id": 1, "cmd": "auth", "params": {"token": served.token}})
        assert raw.message()["ok"]
        clients.append(raw)
    assert served.http("GET", "/v1", *UPGRADE).status == 503
    assert served.http("POST", "/v1/do/set?pitch=3").status == 200  # there is room for that
    clients[0].tcp.close()
    until(lambda: served.http("GET", "/v1", *UPGRADE).status == 101)
    for raw in clients:
        raw.tcp.close()


def test_slow_requests_are_not_waited_for(served: Served) -> None:
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Slow: yes\r\n" * 100
    slow, began_s = [served.raw(5.0) for _ in range(20)], time.monotonic()
    for at in range(0, 60, 3):
        for raw in slow:
            try:
                raw.send(request[at : at + 3])
            except OSError:
                assert time.monotonic() - began_s > 0.4
        time.sleep(0.04)
    for raw in slow:
        assert raw.is_closed()
        raw.tcp.close()
    assert time.monotonic() - began_s < 3.0


def flood(raw: RawSocket, data: bytes, seconds: float) -> None:
    """Send it over and over, until the server has had enough."""
    end = time.monotonic() + seconds
    raw.tcp.settimeout(0.2)
    while time.monotonic() < end:
        try:
            raw.send(data)
        except TimeoutError:
            continue
        except OSError:
            return


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pings", 3000 * Frame(Opcode.PING, b"").serialize(mask=True)),
        ("pongs", 3000 * Frame(Opcode.PONG, b"x" * 100).serialize(mask=True)),
        ("pieces", 3000 * Frame(Opcode.CONT, b"x", False).serialize(mask=True)),
        ("commands", 3000 * Frame(Opcode.TEXT, b'{"id":1,"cmd":"get"}').serialize(mask=True)),
    ],
)
def test_floods(served: Served, name: str, data: bytes) -> None:
    with served.client() as client:
        raw = served.web_socket()
        raw.send_json({"id": 1, "cmd": "auth", "params": {"token": served.token}})
        raw.message()
        if name == "pieces":
            raw.send_frame(Opcode.TEXT, b"{", False)
        raw.send(data)
        began_s = time.monotonic()
        assert client.ask("ping")["ok"]
        assert time.monotonic() - began_s < 0.5
        with suppress(ConnectionError):  # it was still sending when the server left
            assert raw.close_code() in (4429, 1009)
        raw.tcp.close()


def test_pings_whose_answers_are_not_read(served: Served) -> None:
    shell = served.server._shell
    assert shell is not None
    with served.client() as client:
        raw = served.web_socket()
        flood(raw, 1000 * Frame(Opcode.PING, b"x" * 125).serialize(mask=True), 3.0)
        until(lambda: len(shell.sockets) == 1)
        assert client.ask("ping")["ok"]
        raw.tcp.close()


def random_bytes(random_: random.Random) -> bytes:
    return random_.randbytes(random_.choice([1, 10, 1000, 70_000]))


def random_request(random_: random.Random) -> bytes:
    words = [b"GET", b"POST", b" ", b"/", b"/v1", b"/v1/do/set?pitch=1", b"?", b"%", b"HTTP/1.1", b"\r\n", b"\n", b"\0"]
    words += [b"Host: localhost", b"Upgrade: websocket", b"Connection: Upgrade", b"Content-Length: 5", b": ", b"\xff"]
    return b"".join(random_.choices(words, k=random_.randrange(1, 60))) + b"\r\n\r\n"


def random_frames(random_: random.Random) -> bytes:
    """Frames of all kinds, right and wrong, after a handshake."""
    sent = ["GET /v1 HTTP/1.1", "Host: localhost", *UPGRADE, "", ""]
    data = "\r\n".join(sent).encode()
    for _ in range(random_.randrange(1, 8)):
        text = random_.choice([b'{"id":1,"cmd":"auth","params":{}}', b"{", b"[1,2", b'"', b"\xff", b"null", b""])
        opcode = random_.choice(list(Opcode))
        frame = bytearray(Frame(opcode, text).serialize(mask=True))
        frame[0] &= random_.choice([0xFF, 0xFF, 0xFF, 0x7F])  # not the last of its message
        for _ in range(random_.choice([0, 0, 1, 3])):
            frame[random_.randrange(len(frame))] ^= 1 << random_.randrange(8)
        data += bytes(frame)
    return data


@pytest.mark.parametrize("make", [random_bytes, random_request, random_frames])
def test_noise(served: Served, make: Callable[[random.Random], bytes]) -> None:
    seed = int(os.environ.get("ALTERVOX_FUZZ_SEED", random.randrange(1 << 32)))
    print(f"ALTERVOX_FUZZ_SEED={seed}")
    random_ = random.Random(seed)
    shell = served.server._shell
    assert shell is not None
    before = served.session.state()
    end, count = time.monotonic() + 0.8, 0
    with served.client() as client:
        while time.monotonic() < end:
            raw, count = served.raw(5.0), count + 1
            try:
                data = make(random_)
                cut = random_.randrange(len(data) + 1)
                raw.send(data[:cut])
                raw.send(data[cut:])
                if random_.randrange(2):
                    raw.tcp.shutdown(socket.SHUT_WR)
                    assert raw.is_closed()
            except OSError:  # the server has left before all was sent
                pass
            raw.tcp.close()
            assert count % 10 or client.ask("ping")["ok"]
        until(lambda: len(shell.sockets) == 1)
        assert shell.call(lambda hub, now_s: len(hub.connections)) == 1
        assert served.session.state() == before
