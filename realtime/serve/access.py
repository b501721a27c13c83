"""Who may do what: tokens and their roles, kept as SHA-256 in a file that only the user can read."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from ...kernels.printable import printable
from .errors import RemoteError
from .private_file import write_private

log = logging.getLogger(__name__)

Role = Literal["view", "control", "audio", "control+audio", "admin"]
Right = Literal["view", "control", "audio", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
PAIRED_ROLES: tuple[Role, ...] = ("control", "audio", "control+audio")  # what a program may ask for
_RIGHTS: dict[Role, tuple[Right, ...]] = {
    "view": ("view",),
    "control": ("view", "control"),
    "audio": ("view", "audio"),
    "control+audio": ("view", "control", "audio"),
    "admin": ("view", "control", "audio", "admin"),
}
PANEL_LINK_S = 3600.0  # how long a token that opens the panel waits to be used

MOST_CLIENTS = 64
MOST_BUTTONS = 64
_MOST_PANELS = 16  # browsers that stay signed in; the one that signed in first makes room
_MOST_LINKS = 16
_MOST_BYTES = 1 << 20  # of the file
_ATTEMPTS = 5  # wrong tokens of one address before it has to wait
_LONGEST_WAIT_S = 60.0
_FORGOTTEN_S = 300.0  # after the last wrong token of an address
_MOST_ADDRESSES = 1024

_Entry = TypeVar("_Entry")


def allows(role: Role, right: Right | None) -> bool:
    """Whether a role has a right; None stands for one that everybody has."""
    return right is None or right in _RIGHTS[role]


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who holds a token.

    Attributes:
        id: Names it in lists; "owner" for whoever holds a token with all rights.
        name: Name that it gave itself.
        role: What it may do.
        kind: "owner", "panel" (a browser), "paired" (a program) or "face" (a part of the server).
        created_s: When it got its token, in seconds since 1970.
        digest: SHA-256 of the token.
    """

    id: str
    name: str
    role: Role
    kind: Literal["owner", "panel", "paired", "face"]
    created_s: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Button:
    """A prepared command with a token of its own.

    Attributes:
        id: Names it in lists.
        label: Last part of its address.
        cmd: Name of the command.
        params: Fields of the command.
        digest: SHA-256 of the token.
    """

    id: str
    label: str
    cmd: str
    params: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_s: float = 0.0
    blocked_until_s: float = 0.0


class Access:
    """Tokens that open this server.

    Args:
        owner_token: Token with all rights, from the user's runtime folder or `--token-file`.
        file: Where paired clients and buttons are kept; None keeps them until the server ends.
    """

    def __init__(self, owner_token: str, file: Path | None = None) -> None:
        self._owner = Client("owner", "owner", "admin", "owner", digest=_digest(owner_token))
        self._file = file
        self._clients: dict[str, Client] = {}
        self._buttons: dict[str, Button] = {}
        self._links: dict[str, float] = {}  # digests of tokens that open the panel once, and when they expire
        self._failures: dict[str, _Failures] = {}
        self._stamp: tuple[int, ...] = ()  # of the file as it was read or written last
        self._read_again()

    @property
    def clients(self) -> tuple[Client, ...]:
        """Clients that hold a token, the owner not counted."""
        self._read_again()
        return tuple(self._clients.values())

    @property
    def buttons(self) -> tuple[Button, ...]:
        """Prepared commands."""
        self._read_again()
        return tuple(self._buttons.values())

    def authenticate(
        self, token: str, peer: str, now_s: float, name: str = "", may_exchange: bool = False
    ) -> tuple[Client, str]:
        """The client that a token belongs to, and the token to use from now on, empty if it stays the same.

        A token that opens the panel once is exchanged for one that the browser keeps.

        Args:
            token: What was sent.
            peer: Address that it came from.
            now_s: Time of the caller's clock.
            name: Name that the client gives itself.
            may_exchange: Whether the caller can pass on the token that replaces a token that opens the panel once.

        Raises:
            RemoteError: the token is wrong, or the address has to wait.
        """
        self._read_again()
        digest = _digest(token)
        found = [c for c in (self._owner, *self._clients.values()) if _is_same(c.digest, digest)]
        if found:
            self._failures.pop(peer, None)
            return found[0], ""
        self._drop_old_links(now_s)
        links = [link for link in self._links if _is_same(link, digest)]
        if links and may_exchange:
            self._make_room_for_panel()
            client, new_token = self.add_client(name or "panel", "admin", "panel")
            del self._links[links[0]]  # now that it has served
            return client, new_token
        self._refused(peer, now_s)
        raise RemoteError("denied", "the token is wrong or was revoked; pair again, or take the token of the server")

    def add_client(self, name: str, role: Role, kind: Literal["panel", "paired"]) -> tuple[Client, str]:
        """A new client and its token.

        Raises:
            RemoteError: there are too many, or the file cannot be written.
        """
        if len(self.clients) >= MOST_CLIENTS:
            raise RemoteError("too_many", f"there are {MOST_CLIENTS} clients already; remove one first")
        token = secrets.token_urlsafe(32)
        client = Client(
            secrets.token_hex(6), printable(name, 60) or "client", role, kind, int(time.time()), _digest(token)
        )
        self._change({**self._clients, client.id: client}, self._buttons)
        return client, token

    def remove_client(self, client_id: str) -> None:
        """Revoke a token.

        Raises:
            RemoteError: there is no such client, or the file cannot be written.
        """
        self._read_again()
        self._change(_without(self._clients, client_id, "client"), self._buttons)

    def panel_link_token(self, now_s: float) -> str:
        """A token that opens the panel once, within `PANEL_LINK_S`."""
        self._drop_old_links(now_s)
        while len(self._links) >= _MOST_LINKS:
            del self._links[next(iter(self._links))]
        token = secrets.token_urlsafe(32)
        self._links[_digest(token)] = now_s + PANEL_LINK_S
        return token

    def add_button(self, label: str, cmd: str, params: Mapping[str, Any]) -> tuple[Button, str]:
        """A new button and its token.

        Raises:
            RemoteError: there are too many, or the file cannot be written.
        """
        if len(self.buttons) >= MOST_BUTTONS:
            raise RemoteError("too_many", f"there are {MOST_BUTTONS} buttons already; remove one first")
        token = secrets.token_urlsafe(24)
        button = Button(secrets.token_hex(6), label, cmd, dict(params), _digest(token))
        self._change(self._clients, {**self._buttons, button.id: button})
        return button, token

    def remove_button(self, button_id: str) -> None:
        """Revoke a button's token.

        Raises:
            RemoteError: there is no such button, or the file cannot be written.
        """
        self._read_again()
        self._change(self._clients, _without(self._buttons, button_id, "button"))

    def button(self, token: str, label: str, peer: str, now_s: float) -> Button:
        """The button that an address names.

        Raises:
            RemoteError: token or label is wrong, or the sender has to wait.
        """
        digest = _digest(token)
        found = [button for button in self.buttons if _is_same(button.digest, digest)]
        if not found or found[0].label != label:
            self._refused(peer, now_s)
            raise RemoteError("denied", "the address is wrong or was revoked; make another one in the panel")
        return found[0]

    def _refused(self, peer: str, now_s: float) -> None:
        """Count a wrong token. The right one always gets in: no program can lock out another on the same address.

        Raises:
            RemoteError: there were too many from this address.
        """
        failures = self._failures.get(peer)
        if failures is None:
            if len(self._failures) >= _MOST_ADDRESSES:
                del self._failures[min(self._failures, key=lambda address: self._failures[address].last_s)]
            failures = self._failures[peer] = _Failures()
        if now_s < failures.blocked_until_s:
            wait_s = math.ceil(failures.blocked_until_s - now_s)
            raise RemoteError("wait", f"too many wrong tokens from this address; try again in {wait_s} s")
        if now_s - failures.last_s > _FORGOTTEN_S:
            failures.count = 0
        failures.count += 1
        failures.last_s = now_s
        if failures.count >= _ATTEMPTS:
            failures.blocked_until_s = now_s + min(2.0 ** (failures.count - _ATTEMPTS), _LONGEST_WAIT_S)

    def _drop_old_links(self, now_s: float) -> None:
        self._links = {link: end_s for link, end_s in self._links.items() if end_s > now_s}

    def _make_room_for_panel(self) -> None:
        panels = sorted((c for c in self._clients.values() if c.kind == "panel"), key=lambda client: client.created_s)
        for client in panels[: max(len(panels) - _MOST_PANELS + 1, 0)]:
            self.remove_client(client.id)

    def _change(self, clients: dict[str, Client], buttons: dict[str, Button]) -> None:
        """Write first, then believe: what could not be written has not happened."""
        if self._file is not None:
            content = {
                "version": 1,
                "clients": [asdict(client) for client in clients.values()],
                "buttons": [asdict(button) for button in buttons.values()],
            }
            try:
                write_private(self._file, json.dumps(content, indent=1))
                self._stamp = _stamp(self._file)
            except OSError as error:
                log.warning("%s cannot be written: %s", self._file, error)
                reason = error.strerror or type(error).__name__
                raise RemoteError("failed", f"the list of clients cannot be stored: {reason}") from None
        self._clients, self._buttons = clients, buttons

    def _read_again(self) -> None:
        """Take over what another server of this user has changed."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            stamp = _stamp(self._file)
            if stamp != self._stamp:
                self._stamp = stamp
                self._load(self._file)

    def _load(self, file: Path) -> None:
        try:
            with file.open("rb") as stored:
                content = json.loads(stored.read(_MOST_BYTES))
            clients = [_client(entry) for entry in content["clients"][:MOST_CLIENTS]]
            buttons = [_button(entry) for entry in content["buttons"][:MOST_BUTTONS]]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            kept = file.with_name(f"{file.name}.damaged")
            with contextlib.suppress(OSError):
                file.replace(kept)
            log.warning(
                "%s is damaged (%s) and was moved to %s: pair programs again", file, printable(error), kept.name
            )
            return
        self._clients = {client.id: client for client in clients}
        self._buttons = {button.id: button for button in buttons}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())


def _without(entries: Mapping[str, _Entry], entry_id: str, kind: str) -> dict[str, _Entry]:
    """The entries but one.

    Raises:
        RemoteError: there is no such entry.
    """
    if entry_id not in entries:
        raise RemoteError("not_found", f"there is no {kind} {printable(entry_id, 64)!r}", "id")
    return {key: entry for key, entry in entries.items() if key != entry_id}


def _stamp(file: Path) -> tuple[int, ...]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _client(entry: Mapping[str, Any]) -> Client:
    client = Client(**entry)
    is_known = client.role in ROLES and client.kind in ("panel", "paired")
    if not is_known or not all(isinstance(text, str) for text in (client.id, client.name, client.digest)):
        raise ValueError("not what altervox writes")
    return replace(client, name=printable(client.name, 60), created_s=int(client.created_s))


def _button(entry: Mapping[str, Any]) -> Button:
    button = Button(**entry)
    texts = (button.id, button.label, button.cmd, button.digest)
    if not all(isinstance(text, str) for text in texts) or not isinstance(button.params, dict):
        raise ValueError("not what altervox writes")
    return button
