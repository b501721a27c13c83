"""One connection to a server, from the greeting to its end: messages out and in, as the client needs them."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from ...kernels.printable import printable
from .errors import CLOSE_CODES, FORBIDDEN_ORIGIN, UNAUTHORIZED, RemoteError
from .messages import BadMessage, dump, parse
from .runtime import DEFAULT_PORT, PROTOCOL, SOCKET_PATH, SUBPROTOCOL

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_OPEN_S = 5.0
_CLOSE_S = 2.0
_PING_S = 10.0
_MOST_BYTES = 2**22  # of a message: a library of thousands of voices
_SCHEMES = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}
_FINAL = (UNAUTHORIZED, FORBIDDEN_ORIGIN)

# A logger of its own, for debug messages of the library show all that is sent, and that is the token first of all.
_LOG = logging.getLogger("altervox.remote.link")
_LOG.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, what opens it, and what vouches for it.

    Attributes:
        url: Scheme ws, wss, http or https, host and port; a path other than "/" is taken as it is.
        token: Token of the owner or of a client.
        ca: File of certificates (PEM) to trust instead of the system's.
        certificate: The server's own certificate (PEM), to be trusted whatever name it is for; empty for none.
    """

    url: str
    token: str = ""
    ca: Path | None = None
    certificate: str = ""


class Link:
    """A connection whose server has greeted; opened by `Link.opened`.

    Attributes:
        hello: What the server said about itself.
    """

    def __init__(self, socket: ClientConnection, host: str) -> None:
        self.hello: Mapping[str, Any] = {}
        self._socket = socket
        self._host = host

    @classmethod
    async def opened(cls, address: Address) -> Self:
        """Connect to a server and wait for its greeting.

        Raises:
            RemoteError: there is no server, no permission, or no server of this protocol.
        """
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake

        url = socket_url(address.url)
        host = urlsplit(url).netloc
        try:
            socket = await connect(
                url,
                ssl=_trust(address) if url.startswith("wss:") else None,
                subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
                compression=None,
                proxy=None,  # a system's proxy does not know this computer by the name localhost
                open_timeout=_OPEN_S,
                close_timeout=_CLOSE_S,
                ping_interval=_PING_S,
                ping_timeout=_PING_S,
                max_size=_MOST_BYTES,
                user_agent_header=None,
                logger=_LOG,
            )
        except ssl.SSLError as error:
            why = printable(getattr(error, "verify_message", "") or error.reason or error)
            raise _unreachable(host, f"its certificate is not trusted ({why}): name what vouches for it") from None
        except InvalidHandshake as error:
            raise _unreachable(host, f"it answers, but not as altervox does ({printable(error)})") from None
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise _unreachable(host, _reason(error)) from None
        link = cls(socket, host)
        try:
            async with asyncio.timeout(_OPEN_S):
                link.hello = _hello(await link.receive(), host)
        except TimeoutError:
            await link.close()
            raise _unreachable(host, "it does not greet as altervox does") from None
        except BaseException:
            await link.close()
            raise
        return link

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a message.

        Raises:
            RemoteError: the connection has ended.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            await self._socket.send(dump(message))
        except ConnectionClosed:
            raise self._ended() from None

    async def send_frame(self, frame: bytes) -> None:
        """Send a binary frame.

        Raises:
            RemoteError: the connection has ended.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            await self._socket.send(frame)
        except ConnectionClosed:
            raise self._ended() from None

    async def receive(self) -> dict[str, Any]:
        """The next message, where no binary frame is due.

        Raises:
            RemoteError: the connection has ended, or the message is none of the protocol.
        """
        if isinstance(found := await self.receive_either(), bytes):
            await self._socket.close(1002)
            raise RemoteError("not_ours", f"{self._host} sent something that is not a message of altervox: binary")
        return found

    async def receive_either(self) -> dict[str, Any] | bytes:
        """The next message or binary frame.

        Raises:
            RemoteError: the connection has ended, or the message is none of the protocol.
        """
        from websockets.exceptions import ConnectionClosed

        try:
            found = await self._socket.recv()
            return found if isinstance(found, bytes) else parse(found)
        except ConnectionClosed:
            raise self._ended() from None
        except BadMessage as error:
            await self._socket.close(1002)
            raise RemoteError(
                "not_ours", f"{self._host} sent something that is not a message of altervox: {error}"
            ) from None

    async def exchange(
        self, command: str, params: Mapping[str, Any], seconds: float, heard: Callable[[dict[str, Any]], object]
    ) -> Mapping[str, Any]:
        """Send a command while no other waits for an answer, and return its result.

        Args:
            command: Name of the command.
            params: Fields of the command.
            seconds: How long to wait.
            heard: Takes the messages that come before the answer; frames are dropped.

        Raises:
            RemoteError: it was refused or not answered, or the connection has ended.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.send({"id": 0, "cmd": command, "params": params})
                while isinstance(message := await self.receive_either(), bytes) or message.get("id") != 0:
                    if not isinstance(message, bytes):
                        heard(message)
        except TimeoutError:
            raise RemoteError("timeout", f"{self._host} has not answered {command} within {seconds:g} s") from None
        return result_of(message)

    @property
    def is_over_for_good(self) -> bool:
        """Whether the server ended the connection for a reason that another attempt would meet again."""
        return self._socket.close_code in _FINAL

    async def close(self) -> None:
        """End the connection; may be called again."""
        await self._socket.close()

    def _ended(self) -> RemoteError:
        code, reason = self._socket.close_code, printable(self._socket.close_reason or "")
        why = CLOSE_CODES.get(code or 0, "the server is gone" if code in (None, 1006) else f"close code {code}")
        return RemoteError(
            "closed", f"the connection to {self._host} has ended: {why}{f' ({reason})' if reason else ''}"
        )


class Answers:
    """Commands that wait for an answer, any number of them at once."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._waiting: dict[object, asyncio.Future[Mapping[str, Any]]] = {}

    async def ask(
        self,
        when_open: Callable[[], Awaitable[Link]],
        command: str,
        params: Mapping[str, Any],
        seconds: float | None,
        **fields: Any,
    ) -> Mapping[str, Any]:
        """Send a command as soon as there is a connection, and return its result.

        Args:
            when_open: Gives the connection.
            command: Name of the command.
            params: Fields of the command.
            seconds: How long to wait; None for as long as it takes.
            fields: Further fields of the message.

        Raises:
            RemoteError: it was refused or not answered, or the connection has ended.
        """
        number = next(self._ids)
        try:
            async with asyncio.timeout(seconds):
                link = await when_open()
                answer = self._waiting[number] = asyncio.get_running_loop().create_future()
                await link.send({"id": number, "cmd": command, "params": dict(params), **fields})
                return result_of(await answer)
        except TimeoutError:
            raise RemoteError("timeout", f"the server has not answered {command} within {seconds:g} s") from None
        finally:
            self._waiting.pop(number, None)

    def take(self, message: Mapping[str, Any]) -> None:
        """Take in a message that may be an answer."""
        answer = self._waiting.get(message.get("id")) if isinstance(message.get("id"), int) else None
        if answer is not None and not answer.done():
            answer.set_result(message)

    def fail(self, error: RemoteError) -> None:
        """End all commands that wait."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result({"ok": False, "error": error.as_json()})


def result_of(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The result in an answer.

    Raises:
        RemoteError: the answer is a refusal, or none of the protocol.
    """
    result, error = message.get("result"), message.get("error")
    if message.get("ok") is True and isinstance(result, Mapping):
        return result
    if not isinstance(error, Mapping):
        raise RemoteError("not_ours", "the server answered with neither a result nor an error")
    raise RemoteError(*(str(error.get(name) or "") for name in ("code", "message", "field")))


def _hello(message: Mapping[str, Any], host: str) -> Mapping[str, Any]:
    hello = message.get("hello")
    if not isinstance(hello, Mapping) or not isinstance(hello.get("protocol"), int):
        raise _unreachable(host, "it does not greet as altervox does")
    oldest = hello.get("min")
    if hello["protocol"] < PROTOCOL or (isinstance(oldest, int) and oldest > PROTOCOL):
        raise _unreachable(host, f"it speaks protocol {hello['protocol']} and this altervox protocol {PROTOCOL}")
    return hello


def socket_url(url: str) -> str:
    """Address of the WebSocket, of whatever address of a server is given.

    Raises:
        RemoteError: it is none.
    """
    try:
        parts = urlsplit(url if "://" in url else f"ws://{url}")
        scheme, host, _ = _SCHEMES[parts.scheme], parts.hostname, parts.port
    except (ValueError, KeyError):
        host = None
    if not host or parts.query or parts.fragment or parts.username:
        raise RemoteError(
            "bad_request",
            f"{printable(url)!r} is not the address of a server: write it as ws://127.0.0.1:{DEFAULT_PORT}, or with "
            "wss:// for a server that has a certificate",
            "url",
        )
    return f"{scheme}://{parts.netloc}{parts.path if parts.path not in ('', '/') else SOCKET_PATH}"


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_OPEN_S:g} s"
    number = getattr(error, "errno", None) or 0  # asyncio's text has the address in it once more
    return os.strerror(number) if number > 0 else printable(getattr(error, "strerror", None) or error)


def _trust(address: Address) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=address.ca, cadata=address.certificate or None)
    except (OSError, ValueError) as error:
        raise RemoteError("bad_request", f"{address.ca} holds no certificates ({printable(error)})", "ca") from None
    if address.ca is not None or address.certificate:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the server's own certificate will do
    if address.certificate:
        context.check_hostname = False  # no other certificate is trusted
    return context


def _unreachable(host: str, why: str) -> RemoteError:
    return RemoteError("unreachable", f"there is no altervox to control at {host}: {why}")
