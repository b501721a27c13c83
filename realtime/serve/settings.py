"""Where a server listens, under which names, and with which secrets: checked before anything is opened."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import secrets
import socket
import ssl
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ...kernels.errors import ParameterError, ServerError
from .osc.settings import OscSettings
from .private_file import write_private
from .runtime import DEFAULT_PORT

LOOPBACK = "127.0.0.1"
_UNSENT_BYTES = 65_536
_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-)){0,8}")
_ORIGIN = re.compile(r"(null|[a-z][a-z0-9+.-]{0,31}://[a-z0-9.:_\[\]-]{1,260})")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[\w+/=\s]+-----END CERTIFICATE-----", re.ASCII)
_TOKEN = re.compile(r"[!-~]{16,128}")


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of a server.

    Attributes:
        bind: Address to listen on, or "localhost".
        port: TCP port; 0 for any that is free.
        token: Token with all rights; empty for a new one at each start. Required where other computers can connect.
        certificate: Certificate chain for TLS in PEM form; None for none.
        key: Key of the certificate; None if it is in the same file.
        host_names: Further names under which the server is reached.
        origins: Origins of foreign web pages that may connect.
        url_buttons: Whether opening an address carries out the command that was prepared for it.
        voicemod_api: Whether to speak a Voicemod-compatible API on a port of its own.
        osc: Where to speak OSC; None for nowhere.
        audio_workers: Processes that convert audio sessions; 0 for no audio sessions.
        most_audio_sessions: Audio sessions at once.

    Raises:
        ParameterError: One of them makes no sense, or other computers could connect without a token.
    """

    bind: str = LOOPBACK
    port: int = DEFAULT_PORT
    token: str = ""
    certificate: Path | None = None
    key: Path | None = None
    host_names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    url_buttons: bool = False
    voicemod_api: bool = False
    osc: OscSettings | None = None
    audio_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    most_audio_sessions: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ParameterError(f"port {self.port}: choose one from 1 to 65535, or 0 for any that is free")
        try:
            ipaddress.ip_address(self.address)
        except ValueError:
            raise ParameterError(
                f"--bind {self.bind}: give an IP address of this computer, such as 192.168.1.5, or 0.0.0.0 for all of "
                "them"
            ) from None
        if not self.is_local and not self.token:
            raise ParameterError(
                f"--bind {self.bind} lets other computers connect: give a token with --token-file FILE (it is made if "
                "it is missing), and --cert and --key for TLS, without which anybody in the network can read the "
                f"token; or leave out --bind and use a tunnel: ssh -L {self.port}:{LOOPBACK}:{self.port} USER@HOST"
            )
        if self.key is not None and self.certificate is None:
            raise ParameterError(f"--key {self.key}: give its certificate with --cert, too")
        for name in self.host_names:
            if not _HOST_NAME.fullmatch(name.lower().rstrip(".")):
                raise ParameterError(f"--host-name {name}: give a name without port, such as studio.local")
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin.lower()):
                raise ParameterError(
                    f"--allow-origin {origin}: give scheme and host of the page, such as https://twitchat.fr"
                )

    @property
    def address(self) -> str:
        """The IP address to listen on."""
        return LOOPBACK if self.bind.lower() == "localhost" else self.bind

    @property
    def is_local(self) -> bool:
        """Whether only programs on this computer can connect."""
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def local_host(self) -> str:
        """The address under which programs on this computer reach the server."""
        address = ipaddress.ip_address(self.address)
        if not address.is_unspecified:
            return self.address
        return LOOPBACK if address.version == 4 else "::1"

    @property
    def outer_host(self) -> str:
        """The name or address under which other computers reach the server, as far as this one knows it."""
        address = ipaddress.ip_address(self.address)
        if self.host_names or not address.is_unspecified:
            return self.host_names[0] if self.host_names else self.address
        family, elsewhere = (socket.AF_INET, "192.0.2.1") if address.version == 4 else (socket.AF_INET6, "2001:db8::1")
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((elsewhere, 9))  # sends nothing: the system says from which address it would
            except OSError:  # there is no network
                return self.local_host
            return str(probe.getsockname()[0])

    def tls(self) -> ssl.SSLContext | None:
        """What TLS needs; None without a certificate.

        Raises:
            ServerError: Certificate or key cannot be read, or do not belong together.
        """
        if self.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        files = f"--cert {self.certificate}" + (f" --key {self.key}" if self.key else "")
        try:
            # A key with a password would be asked for on the terminal.
            context.load_cert_chain(self.certificate, self.key, password="")
        except ssl.SSLError as error:
            reason = (error.reason or "not readable").lower().replace("_", " ")
            raise ServerError(
                f"{files}: {reason}; give a certificate and its key, both as PEM, the key without a password"
            ) from None
        except OSError as error:
            raise ServerError(f"{files}: {error.strerror or 'one of them cannot be read'}") from None
        return context

    def public_certificate(self) -> str:
        """The certificates in PEM form, without the key that may be in the same file; empty for none."""
        if self.certificate is None:
            return ""
        text = self.certificate.read_text(encoding="ascii", errors="replace")
        return "".join(f"{block}\n" for block in _CERTIFICATE.findall(text))

    def listening_socket(self) -> socket.socket:
        """A socket that listens.

        Raises:
            ServerError: The port is taken, or the address is not one of this computer.
        """
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        try:
            listening = socket.create_server((self.address, self.port), family=family, backlog=128)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ServerError(f"--bind {self.bind}: this computer has no such address") from None
            if isinstance(error, PermissionError) and self.port < 1024:
                raise ServerError(f"port {self.port} is not open to you: choose one above 1023 with --port") from None
            raise ServerError(
                f"port {self.port} is taken by another program, perhaps another altervox: choose another with --port, "
                "0 for any that is free"
            ) from None
        # Of each connection: what a slow client has not taken in yet is old news, and there should not be much of it.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT_BYTES)
        return listening


def read_token_file(path: Path) -> str:
    """The token in a file, which is made if it is missing.

    Raises:
        ServerError: It cannot be read or made, others can read it, or it holds no usable token.
    """
    try:
        if not path.exists():
            token = secrets.token_urlsafe(32)
            write_private(path, f"{token}\n")
            return token
        with path.open("rb") as stored:
            if sys.platform != "win32" and stat.S_IMODE(os.fstat(stored.fileno()).st_mode) & 0o077:
                raise ServerError(f"{path} can be read by other users: chmod 600 {path}")
            token = stored.read(4096).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise ServerError(f"{path}: {error.strerror or 'the token cannot be read or written'}") from None
    if not _TOKEN.fullmatch(token):
        raise ServerError(f"{path} holds no token: one line of 16 to 128 characters, without spaces")
    return token
