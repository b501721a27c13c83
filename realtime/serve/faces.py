"""Faces of the server: protocols of other programs, each a thin shell over the one protocol; off unless asked for."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from ...kernels.errors import ServerError
from .executor import Effect
from .http import Request, Response, refused, unavailable
from .inside import Inside
from .origin import OriginCheck
from .protocol import Hub
from .settings import LOOPBACK, ServerSettings
from .voicemod.face import VoicemodFace
from .voicemod.link import VoicemodLink
from .voicemod.messages import PORTS

_VOICEMOD = "Voicemod API"  # who changes something, to other clients
_VOICEMOD_PATHS = ("/v1", "/vmsd", "")


class Faces:
    """The faces that a server was asked for, as a context manager that holds their ports.

    Args:
        settings: Settings of the server.

    Attributes:
        sockets: Sockets that listen for clients of the Voicemod-compatible API.
        voicemod_port: Port of that API; 0 if it is off.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.sockets: list[socket.socket] = []
        self.voicemod_port = 0
        self._settings = settings
        self._check = OriginCheck(settings)
        self._held = ExitStack()
        self._hub: Hub
        self._voicemod: VoicemodFace | None = None

    def __enter__(self) -> Self:
        """Take the ports.

        Raises:
            ServerError: none of them is free.
        """
        with ExitStack() as held:
            if self._settings.voicemod_api:
                self.sockets = [held.enter_context(opened) for opened in _first_free()]
                self.voicemod_port = self.sockets[0].getsockname()[1]
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def described(self) -> list[str]:
        """A line about each of them, for whoever started the server."""
        return [f"Voicemod-compatible API: port {self.voicemod_port}"] if self.voicemod_port else []

    # The server's thread

    def begin(self, hub: Hub, run: Callable[[Effect], None], now_s: float) -> None:
        """Connect the faces with the protocol.

        Args:
            hub: The protocol.
            run: Runs an effect on a thread of its own and has the hub finish it.
            now_s: Time of the server's clock.
        """
        self._hub = hub
        inside = Inside.connected(hub, _VOICEMOD, now_s) if self._settings.voicemod_api else None
        self._voicemod = VoicemodFace(inside, run) if inside is not None else None

    def voicemod_client(self, request: Request, now_s: float) -> VoicemodLink | Response:
        """A client of the Voicemod-compatible API that asks to be let in; otherwise what it is answered."""
        if said := self._refusal(request):
            return refused(said)
        if not request.wants_socket or request.path.rstrip("/") not in _VOICEMOD_PATHS:
            return refused("here is a Voicemod-compatible API: connect by WebSocket to /v1")
        inside = Inside.connected(self._hub, _VOICEMOD, now_s, request.peer)
        if inside is None or self._voicemod is None:
            return unavailable()
        return VoicemodLink(self._voicemod, inside, now_s)

    def turn(self, now_s: float) -> None:
        """Look after what is due."""
        if self._voicemod is not None:
            self._voicemod.turn(now_s)

    def _refusal(self, request: Request) -> str:
        """Why a request is refused; pages of this computer may use this API, those of other sites only if listed."""
        headers = request.headers
        if _is_local(headers.get("origin", "")):
            headers = {name: value for name, value in headers.items() if name not in ("origin", "sec-fetch-site")}
        return self._check.refusal(headers)


def _is_local(origin: str) -> bool:
    """Whether a page comes from this computer: from a server on it, or out of a file."""
    if origin.lower() == "file://":
        return True
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _first_free() -> list[socket.socket]:
    """Sockets that listen on the first of the ports that is free; "localhost" may mean IPv6 to a client.

    Raises:
        ServerError: none is free.
    """
    for port in PORTS:
        try:
            found = [socket.create_server((LOOPBACK, port), backlog=32)]
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise ServerError(f"--voicemod-api: no port can be opened ({error.strerror})") from None
        with suppress(OSError):  # there is no IPv6
            found.append(socket.create_server(("::1", port), family=socket.AF_INET6, backlog=32))
        return found
    ports = ", ".join(map(str, PORTS))
    raise ServerError(f"--voicemod-api: all ports that its clients look at are taken ({ports}): end what listens there")
