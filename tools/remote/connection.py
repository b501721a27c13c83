"""Which server `altervox remote` means, with which token, and work that is done there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import click

from ...kernels.printable import printable
from ...realtime.serve.client import RemoteClient
from ...realtime.serve.errors import RemoteError
from ...realtime.serve.link import socket_url
from ...realtime.serve.runtime import local_server, local_servers

NAME = "altervox remote"  # how other clients see it
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_BYTES = 4096  # of a token file
_USAGE = (
    "bad_request",
    "unknown_command",
    "unknown_field",
    "missing_field",
    "bad_type",
    "out_of_range",
    "unknown_voice",
    "not_found",
)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Connection:
    """What the command line says about the server.

    Attributes:
        url: Address; empty for the server of this user on this computer.
        token_file: File with a token; None for the token of a server on this computer.
        ca: File of certificates to trust instead of the system's.
    """

    url: str = ""
    token_file: Path | None = None
    ca: Path | None = None

    def client(self, *, reconnect: bool = False) -> RemoteClient:
        """A client, not yet connected.

        Raises:
            UsageError: there is no token for that server.
        """
        token = read_token(self.token_file) if self.token_file is not None else ""
        if not self.url:
            return RemoteClient.local(token=token, name=NAME, reconnect=reconnect)
        if not token:
            return RemoteClient.local(port=self._local_port(), name=NAME, reconnect=reconnect)
        return RemoteClient(self.url, token, name=NAME, reconnect=reconnect, ca=self.ca)

    def page_url(self) -> str:
        """Address of the panel, with a slash at its end."""
        url = socket_url(self.url) if self.url else local_server().socket_url
        parts = urlsplit(url)
        return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}/"

    def _local_port(self) -> int:
        """The port of this user's server on this computer that the address means."""
        parts = urlsplit(socket_url(self.url))
        for server in local_servers():
            if parts.hostname in (*_LOOPBACK, server.host) and parts.port == server.port:
                return server.port
        raise click.UsageError(
            f"{printable(self.url)} needs a token: --token-file names a file with one, and `altervox remote --url "
            f"{printable(self.url)} --token-file FILE pair NAME` asks the user there for one"
        )


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    try:
        with path.open(encoding="utf-8") as file:
            token = file.read(_MOST_BYTES).strip()
    except (OSError, ValueError) as error:
        raise click.UsageError(f"the token file {path} cannot be read: {getattr(error, 'strerror', error)}") from None
    if not token or not token.isprintable() or " " in token:
        raise click.UsageError(f"{path} holds no token: it must be one line with nothing but the token")
    return token


def run(
    connection: Connection, work: Callable[[RemoteClient], Awaitable[Result]], *, reconnect: bool = False
) -> Result:
    """Connect, do the work and disconnect.

    Raises:
        AltervoxError: there is no server, or the work raised it; the exit code says whether the usage was wrong.
    """

    async def connected() -> Result:
        async with connection.client(reconnect=reconnect) as remote:
            return await work(remote)

    try:
        return asyncio.run(connected())
    except RemoteError as error:
        raise as_failure(error) from None


def as_failure(error: RemoteError) -> RemoteError:
    """The error with the exit code that it means."""
    error.exit_code = 2 if error.code in _USAGE else 1
    return error
