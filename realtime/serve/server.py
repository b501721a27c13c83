"""The server of the remote control, in a thread of its own."""

from __future__ import annotations

import secrets
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ...kernels.errors import ServerError
from ..session.settings import SessionSettings
from .access import Access
from .faces import Faces
from .port import RemoteSession
from .runtime import LocalServer, announced
from .settings import ServerSettings
from .shell import Shell
from .tcp import CLOSE_S, REQUEST_S

_END_S = 5.0  # for the thread to end


class RemoteServer:
    """Serves the remote control of a session, as a context manager: leaving it closes all and frees the port.

    Args:
        session: The session.
        settings: Where to listen, and under which names.
        access_file: Where paired clients and buttons are kept; None keeps them until the server ends.
        audio: What audio sessions have in common: the voice that they begin with, compute device, backend and lengths.

    Attributes:
        port: TCP port that it listens on; 0 before it is entered.
        token: Token with all rights, which programs of this user find in the runtime folder.
        faces: What it speaks beside its own protocol.
    """

    def __init__(
        self,
        session: RemoteSession,
        settings: ServerSettings,
        access_file: Path | None = None,
        audio: SessionSettings | None = None,
    ) -> None:
        self.port = 0
        self.token = settings.token or secrets.token_urlsafe(32)
        self.faces = Faces(settings)
        self._session = session
        self._settings = settings
        self._access_file = access_file
        self._audio = audio or SessionSettings()
        self._local = LocalServer(0, self.token)
        self._shell: Shell | None = None
        self._thread: threading.Thread | None = None
        self._held = ExitStack()

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            ServerError: The port is taken, the certificate cannot be used, or the runtime folder cannot be written.
        """
        settings = self._settings
        tls = settings.tls()
        with ExitStack() as held:
            listening = held.enter_context(settings.listening_socket())
            self.port = listening.getsockname()[1]
            held.enter_context(self.faces)
            self._local = LocalServer(self.port, self.token, settings.local_host, settings.public_certificate())
            access = Access(self.token, self._access_file)
            address = self.address if settings.is_local else self.address_elsewhere
            shell = Shell(self._session, access, settings, address, self.faces, self._audio)
            where: dict[str, Any] = {"sock": listening}
            if tls is not None:
                where |= {"ssl": tls, "ssl_handshake_timeout": REQUEST_S, "ssl_shutdown_timeout": CLOSE_S}
            thread = threading.Thread(target=shell.run, args=(where,), name="altervox-server", daemon=True)
            thread.start()
            held.callback(thread.join, _END_S)
            held.callback(shell.stop)
            shell.started.result()
            held.enter_context(announced(self._local))
            self._shell, self._thread = shell, thread
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held.close()

    @property
    def address(self) -> str:
        """Address of the panel for a browser on this computer; it ends in a slash."""
        return self._local.page_url

    @property
    def address_elsewhere(self) -> str:
        """Address of the panel for other devices, as far as this computer knows its own; it ends in a slash."""
        return replace(self._local, host=self._settings.outer_host).page_url

    @property
    def is_running(self) -> bool:
        """Whether it serves; it ends by itself only because of a fault."""
        return self._thread is not None and self._thread.is_alive()

    def panel_link(self) -> str:
        """Address of the panel with a token that opens it once."""
        if self._shell is None:
            raise ServerError("the server does not run")
        return f"{self.address}#{self._shell.call(lambda hub, now_s: hub.panel_link_token(now_s))}"
