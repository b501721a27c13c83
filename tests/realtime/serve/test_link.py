"""Servers that are not there, are others, or send what no altervox sends: one sentence each, and soon."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import pytest
from altervox.realtime.serve.client import RemoteClient
from altervox.realtime.serve.errors import RemoteError
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

Handler = Callable[[ServerConnection], Awaitable[None]]
HELLO = '{"hello": {"protocol": 1, "min": 1, "server": "altervox 9"}}'
WELCOME = '{"id": 0, "ok": true, "result": {"role": "view"}, "rev": 7}'


def refusal_of(handler: Handler, command: str = "ping", status: HTTPStatus | None = None) -> RemoteError:
    """What a client says that sends a command to such a server."""

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(status, "no") if status else None

    async def run() -> None:
        async with serve(handler, "127.0.0.1", 0, process_request=answer) as server:
            port = server.sockets[0].getsockname()[1]
            async with asyncio.timeout(5), RemoteClient(f"ws://127.0.0.1:{port}", "secret") as remote:
                await remote.do(command)

    with pytest.raises(RemoteError) as caught:
        asyncio.run(run())
    assert caught.value.message.count("\n") == 0
    return caught.value


def saying(*texts: str | bytes, then: tuple[int, str] | None = None) -> Handler:
    """A server that sends this whatever it hears."""

    async def handler(connection: ServerConnection) -> None:
        for text in texts:
            await connection.send(text)
        if then is not None:
            await connection.close(*then)
        await connection.wait_closed()

    return handler


@pytest.mark.parametrize(
    "greeting",
    ["{}", "[]", "hello", '{"hello": 1}', '{"hello": {"protocol": "1"}}', b"\xff", '{"a": 1, "a": 2}', "[" * 2000],
)
def test_another_greeting(greeting: str | bytes) -> None:
    assert refusal_of(saying(greeting)).code in ("unreachable", "not_ours")


def test_a_later_protocol() -> None:
    error = refusal_of(saying('{"hello": {"protocol": 3, "min": 2}}'))
    assert error.message.endswith("it speaks protocol 3 and this altervox protocol 1")


def test_no_web_socket() -> None:
    assert "HTTP 404" in refusal_of(saying(HELLO), status=HTTPStatus.NOT_FOUND).message


@pytest.mark.parametrize(
    ("close", "expected"),
    [
        ((4401, "denied"), "a wrong token"),
        ((4503, "\x1b[31mfull"), "too many connections"),
        ((1001, ""), "close code 1001"),
    ],
)
def test_the_server_ends_the_connection(close: tuple[int, str], expected: str) -> None:
    error = refusal_of(saying(HELLO, WELCOME, then=close))
    assert error.code == "closed"
    assert expected in error.message
    assert error.message.isprintable()


@pytest.mark.parametrize(
    "reply", ['{"id": 1}', '{"id": 1, "ok": false, "error": "x"}', '{"id": 1, "ok": 1, "result": {}}', "42"]
)
def test_replies_without_sense(reply: str) -> None:
    assert refusal_of(saying(HELLO, WELCOME, reply)).code == "not_ours"


@pytest.mark.parametrize("welcome", ['{"id": 0, "ok": true}', '{"id": 0, "ok": true, "result": ["role"]}'])
def test_a_welcome_without_sense(welcome: str) -> None:
    assert refusal_of(saying(HELLO, welcome)).code == "not_ours"


def test_a_pairing_without_a_token() -> None:
    async def run() -> None:
        async with serve(saying(HELLO, WELCOME), "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await RemoteClient.pair(f"ws://127.0.0.1:{port}", "deck")

    with pytest.raises(RemoteError, match="sent no token"):
        asyncio.run(run())


@pytest.mark.parametrize("noise", ['{"id": [1]}', '{"id": 5, "ok": true}', '{"event": 3}', '{"event": "x", "data": 1}'])
def test_messages_that_nobody_waits_for_do_no_harm(noise: str) -> None:
    refused = '{"id": 1, "ok": false, "error": {"code": "forbidden", "field": "f", "message": "no"}}'
    error = refusal_of(saying(HELLO, WELCOME, noise, refused))
    assert (error.code, error.field, error.message) == ("forbidden", "f", "no")


def test_no_server() -> None:
    async def run() -> None:
        async with RemoteClient("http://127.0.0.1:9", "x"):
            pass

    with pytest.raises(RemoteError, match=r"no altervox to control at 127\.0\.0\.1:9: .*refused"):
        asyncio.run(run())


@pytest.mark.parametrize(
    "url", ["ftp://here", "ws://", "ws://here:port", "ws://here:99999", "ws://me@here", "http://a/?b"]
)
def test_addresses_that_are_none(url: str) -> None:
    async def run() -> None:
        async with RemoteClient(url, "x"):
            pass

    with pytest.raises(RemoteError, match="is not the address of a server: write it as ws://") as caught:
        asyncio.run(run())
    assert caught.value.code == "bad_request"


def test_a_file_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing", encoding="utf-8")

    async def run() -> None:
        async with RemoteClient("wss://127.0.0.1:9", "x", ca=tmp_path / "ca.pem"):
            pass

    with pytest.raises(RemoteError, match=r"ca\.pem holds no certificates"):
        asyncio.run(run())


def test_the_token_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        refusal_of(saying(HELLO, WELCOME, then=(1001, "")))
    client = [record for record in caplog.records if record.name != "websockets.server"]
    assert not any("secret" in record.getMessage() for record in client)


def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("altervox.realtime.serve.link._OPEN_S", 0.3)
    began = time.monotonic()
    assert "it does not greet" in refusal_of(saying()).message
    assert time.monotonic() - began < 3.0


def test_a_server_that_soon_ends_every_connection_is_asked_less_and_less() -> None:
    connections = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await connection.send(HELLO)
        await connection.recv()
        await saying(WELCOME, then=(4429, "too fast"))(connection)

    async def run() -> None:
        async with serve(handler, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with RemoteClient(f"ws://127.0.0.1:{port}", "secret", reconnect=True):
                await asyncio.sleep(1.0)

    asyncio.run(run())
    assert 2 <= connections <= 4
