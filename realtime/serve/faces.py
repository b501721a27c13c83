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
from .osc.face import OscFace
from .osc.port import OscPort
from .osc.settings import Endpoint, OscSettings
from .protocol import Hub
from .settings import LOOPBACK, ServerSettings
from .voicemod.face import VoicemodFace
from .voicemod.link import VoicemodLink
from .voicemod.messages import PORTS

_VOICEMOD, _OSC = "Voicemod API", "OSC"  # who changes something, to other clients
_MOST_REFUSALS = 16  # that are logged
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
        self._refusals: set[str] = set()
        self._hub: Hub
        self._voicemod: VoicemodFace | None = None
        self._osc: OscFace | None = None
        self._osc_in: socket.socket | None = None
        self._osc_out: list[tuple[socket.socket, Endpoint]] = []
        self._osc_port: OscPort | None = None

    def __enter__(self) -> Self:
        """Take the ports.

        Raises:
            ServerError: none of them is free.
        """
        with ExitStack() as held:
            if self._settings.voicemod_api:
                self.sockets = [held.enter_context(opened) for opened in _first_free()]
                self.voicemod_port = self.sockets[0].getsockname()[1]
            if (osc := self._settings.osc) is not None:
                self._osc_in = held.enter_context(_listening(osc.listens)) if osc.listens is not None else None
                self._osc_out = [(held.enter_context(_udp(target)), target) for target in osc.sends]
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._osc_port is not None:
            self._osc_port.stop()
        self._held.close()

    @property
    def described(self) -> list[str]:
        """A line about each of them, for whoever started the server."""
        lines = [f"Voicemod-compatible API: port {self.voicemod_port}"] if self.voicemod_port else []
        if (osc := self._settings.osc) is not None:
            listens = [f"listens on {osc.listens}"] if osc.listens is not None else []
            sends = [f"sends to {' and '.join(map(str, osc.sends))}"] if osc.sends else []
            lines.append(f"OSC: {', '.join([*listens, *sends])}")
        return lines

    # The server's thread

    def begin(self, hub: Hub, run: Callable[[Effect], None], wake: Callable[[], None], now_s: float) -> None:
        """Connect the faces with the protocol.

        Args:
            hub: The protocol.
            run: Runs an effect on a thread of its own and has the hub finish it.
            wake: Has `turn` called soon, on any thread.
            now_s: Time of the server's clock.
        """
        self._hub = hub
        inside = Inside.connected(hub, _VOICEMOD, now_s) if self._settings.voicemod_api else None
        self._voicemod = VoicemodFace(inside, run) if inside is not None else None
        if self._settings.osc is not None:
            self._begin_osc(self._settings.osc, wake, now_s)

    def _begin_osc(self, settings: OscSettings, wake: Callable[[], None], now_s: float) -> None:
        inside = Inside.connected(self._hub, _OSC, now_s)
        if inside is None:
            return
        self._osc = OscFace(inside, settings.map, self._send, now_s, is_shared=len(settings.sends) > 1)
        if self._osc_in is not None:
            self._osc_port = OscPort(self._osc_in, self._osc.is_wanted, wake)

    def _send(self, packet: bytes) -> None:
        for opened, target in self._osc_out:
            with suppress(OSError):  # nobody listens there, or does not read
                opened.sendto(packet, (target.host, target.port))

    def voicemod_client(self, request: Request, now_s: float) -> VoicemodLink | Response:
        """A client of the Voicemod-compatible API that asks to be let in; otherwise what it is answered."""
        if said := self._refusal(request):
            self._tell_of(said)
            return refused(said)
        if not request.wants_socket or request.path.rstrip("/") not in _VOICEMOD_PATHS:
            return refused("here is a Voicemod-compatible API: connect by WebSocket to /v1")
        inside = Inside.connected(self._hub, _VOICEMOD, now_s, request.peer)
        if inside is None or self._voicemod is None:
            return unavailable()
        return VoicemodLink(self._voicemod, inside, now_s)

    def _tell_of(self, refusal: str) -> None:
        """Log why a program does not get in, once: it tries again and again, and says nothing about it itself."""
        if self._voicemod is not None and refusal not in self._refusals and len(self._refusals) < _MOST_REFUSALS:
            self._refusals.add(refusal)
            self._voicemod.log(refusal)

    def turn(self, now_s: float) -> None:
        """Look after what is due."""
        if self._voicemod is not None:
            self._voicemod.turn(now_s)
        if self._osc is not None:
            if self._osc_port is not None:
                self._osc.receive(self._osc_port.take(), now_s)
            self._osc.turn(now_s)

    @property
    def next_due_s(self) -> float:
        """When `turn` has something to do; infinite for not before something happens."""
        return float("inf") if self._osc is None else self._osc.next_due_s

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


def _udp(endpoint: Endpoint) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    return opened


def _listening(endpoint: Endpoint) -> socket.socket:
    """A UDP socket that is bound.

    Raises:
        ServerError: the port is taken, or not open to this user.
    """
    opened = _udp(endpoint)
    try:
        opened.bind((endpoint.host, endpoint.port))
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise ServerError(
                f"--osc-in {endpoint}: another program listens there; choose another port and have it sent to, too"
            ) from None
        raise ServerError(f"--osc-in {endpoint}: {error.strerror or 'it cannot be opened'}") from None
    return opened
