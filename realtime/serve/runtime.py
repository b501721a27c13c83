"""How programs of this user find the server on this machine: a file with its address and token, for as long as it runs.

Every server has a file of its own in the user's runtime folder. Beside it lies a lock that the system releases with the
process, whatever its end, so that what a killed server leaves behind misleads nobody and is swept up.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ...kernels.errors import ServerError
from ...models.paths import runtime_folder

DEFAULT_PORT = 7788
PROTOCOL = 1
SOCKET_PATH = "/v1"  # of the WebSocket; "/" leads there, too
SUBPROTOCOL = "altervox.v1"
_MOST_BYTES = 65_536  # of a runtime file: far more than a certificate takes


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that runs on this machine.

    Attributes:
        port: TCP port.
        token: Token of the owner, good for everything until the server ends.
        host: Host name or address to connect to.
        certificate: The server's certificate in PEM form, to be trusted as it is; empty without TLS.
        process_id: Process ID of the server.
    """

    port: int
    token: str
    host: str = "127.0.0.1"
    certificate: str = ""
    process_id: int = 0

    @property
    def socket_url(self) -> str:
        """Address of the WebSocket."""
        return f"{'wss' if self.certificate else 'ws'}://{self._authority}{SOCKET_PATH}"

    @property
    def page_url(self) -> str:
        """Address of the panel, and of commands over HTTP below it; it ends in a slash."""
        return f"{'https' if self.certificate else 'http'}://{self._authority}/"

    @property
    def _authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@contextmanager
def announced(server: LocalServer) -> Iterator[None]:
    """Let programs of this user find a server as long as the context lasts or until this process ends.

    Raises:
        ServerError: The runtime folder cannot be written.
    """
    from filelock import FileLock

    try:
        path = runtime_folder() / f"remote-{server.port}-{os.getpid()}.json"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        lock = FileLock(path.with_suffix(".lock"), mode=0o600)
        lock.acquire(timeout=1.0)
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump({**asdict(server), "process_id": os.getpid()}, file)
        part.replace(path)
    except OSError as error:
        raise ServerError(
            f"the runtime folder cannot be written ({error.strerror or error}): set XDG_RUNTIME_DIR to one of yours"
        ) from None
    try:
        yield
    finally:
        for left in (path, part):
            with suppress(OSError):
                left.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            path.with_suffix(".lock").unlink(missing_ok=True)


def local_servers() -> list[LocalServer]:
    """The servers of this user that run, newest first. Files of servers that were killed are removed."""
    found = []
    try:
        folder = runtime_folder()
    except OSError:  # somebody else's
        return []
    for path in folder.glob("remote-*.json"):
        try:
            if _is_left_behind(path):
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
                continue
            found.append((path.stat().st_mtime, _read(path)))
        except (
            OSError,
            ValueError,
            TypeError,
            RecursionError,
        ):  # it has gone meanwhile, is damaged, or is another user's
            continue
    return [server for _, server in sorted(found, key=lambda pair: pair[0], reverse=True)]


def local_server(port: int | None = None) -> LocalServer:
    """The server of this user that runs on a port, or the newest.

    Raises:
        ServerError: There is none.
    """
    servers = local_servers()
    server = next((server for server in servers if port in (None, server.port)), None)
    if server is None:
        others = ", ".join(str(server.port) for server in servers)
        raise ServerError(
            f"no altervox of yours serves port {port}, only {others}: choose that one"
            if others
            else "no running altervox was found: start `altervox serve`, or `altervox live --remote`, first"
        )
    return server


def _is_left_behind(path: Path) -> bool:
    """Whether the process that wrote a runtime file has ended."""
    from filelock import FileLock, Timeout

    lock = FileLock(path.with_suffix(".lock"), mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True


def _read(path: Path) -> LocalServer:
    """The content of a runtime file that nobody but this user can have written or read.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged, or another user could have written or read it.
        TypeError: It is damaged.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, encoding="utf-8") as file:
        if sys.platform != "win32":  # there it lies in the user's own profile
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
                raise ValueError(f"{path} is not this user's own")
        content = json.loads(file.read(_MOST_BYTES))
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no record")
    server = LocalServer(**content)
    kinds = {"port": int, "token": str, "host": str, "certificate": str, "process_id": int}
    if any(type(getattr(server, name)) is not kind for name, kind in kinds.items()):
        raise ValueError(f"{path} is damaged")
    return server
