"""Programs that ask for a token: shown in the panel with a code, until the user answers."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from ...kernels.printable import printable
from .access import Client, Role
from .commands import NAME_LENGTH
from .errors import RemoteError

ANSWER_S = 60.0  # how long the user may take
MOST_OPEN = 3
_REFUSED_S = 30.0  # how long an address may not ask again after a refusal
_MOST_REFUSED = 64
_MOST_ICON_BYTES = 24_576
_PNG = b"\x89PNG\r\n\x1a\n"

Grant = tuple[Client, str]  # and its token


@dataclass(frozen=True, slots=True)
class Pairing:
    """A program that waits for an answer.

    Attributes:
        id: Names it for `pair_answer`.
        client: Name that the program gave itself.
        peer: Address that it connects from.
        code: Six digits that both the program and the panel show.
        icon: PNG in base64; empty for none.
        role: Role that it asks for.
        ends_s: When it is over, on the caller's clock.
        answered: Called once with what was granted, None for nothing, and whether the time was over.
    """

    id: str
    client: str
    peer: str
    code: str
    icon: str
    role: Role
    ends_s: float
    answered: Callable[[Grant | None, bool], None]

    def as_json(self, now_s: float) -> dict[str, object]:
        """The pairing as the panel gets it."""
        return {
            "id": self.id,
            "client": self.client,
            "peer": self.peer,
            "code": self.code,
            "icon": self.icon,
            "role": self.role,
            "remaining_s": round(max(self.ends_s - now_s, 0.0), 1),
        }


class Pairings:
    """Pairings that wait for an answer."""

    def __init__(self) -> None:
        self._open: dict[str, Pairing] = {}
        self._refused: dict[str, float] = {}  # addresses, and until when they may not ask again

    @property
    def open(self) -> tuple[Pairing, ...]:
        """Those that wait, the oldest first."""
        return tuple(self._open.values())

    @property
    def next_end_s(self) -> float:
        """When the next one is over; infinite without any."""
        return min((pairing.ends_s for pairing in self._open.values()), default=float("inf"))

    def ask(
        self,
        client: str,
        icon: str,
        role: Role,
        peer: str,
        now_s: float,
        answered: Callable[[Grant | None, bool], None],
    ) -> Pairing:
        """Begin to wait for an answer.

        Args:
            client: Name of the program.
            icon: PNG in base64; empty for none.
            role: Role that it asks for.
            peer: Address that it connects from.
            now_s: Time of the caller's clock.
            answered: Called once with what was granted, None for nothing, and whether the time was over.

        Raises:
            RemoteError: name or icon is unusable, too many wait, or the address was refused a moment ago.
        """
        name = printable(client, NAME_LENGTH)
        if not name:
            raise RemoteError("out_of_range", "client is empty; give the name of the program", "client")
        _check_icon(icon)
        if (wait_s := self._refused.get(peer, 0.0) - now_s) > 0.0:
            raise RemoteError("wait", f"the user has refused; ask again in {wait_s:.0f} s or later")
        if len(self._open) >= MOST_OPEN:
            raise RemoteError("too_many", f"{MOST_OPEN} programs wait to be paired already; answer them in the panel")
        code = f"{secrets.randbelow(1_000_000):06d}"
        pairing = Pairing(secrets.token_hex(8), name, peer, code, icon, role, now_s + ANSWER_S, answered)
        self._open[pairing.id] = pairing
        return pairing

    def check(self, pairing_id: str) -> Pairing:
        """The pairing of that ID.

        Raises:
            RemoteError: there is none.
        """
        if pairing_id not in self._open:
            said = f"there is no pairing {printable(pairing_id, 64)!r}; its time may be over"
            raise RemoteError("not_found", said, "id")
        return self._open[pairing_id]

    def answer(self, pairing: Pairing, grant: Grant | None, now_s: float) -> None:
        """Answer a program; None refuses."""
        del self._open[pairing.id]
        if grant is None:
            self._refused = {peer: end_s for peer, end_s in self._refused.items() if end_s > now_s}
            if len(self._refused) >= _MOST_REFUSED:
                del self._refused[next(iter(self._refused))]
            self._refused[pairing.peer] = now_s + _REFUSED_S
        pairing.answered(grant, False)

    def withdraw(self, pairing: Pairing) -> None:
        """Forget one whose program has gone."""
        self._open.pop(pairing.id, None)

    def expire(self, now_s: float) -> bool:
        """End those whose time is over; returns whether there were any."""
        ended = [pairing for pairing in self._open.values() if pairing.ends_s <= now_s]
        for pairing in ended:
            del self._open[pairing.id]
            pairing.answered(None, True)
        return bool(ended)


def _check_icon(icon: str) -> None:
    if not icon:
        return
    try:
        content = base64.b64decode(icon, validate=True)
    except (binascii.Error, ValueError):
        raise RemoteError("out_of_range", "icon is not base64", "icon") from None
    if not content.startswith(_PNG) or len(content) > _MOST_ICON_BYTES:
        raise RemoteError("out_of_range", f"icon must be a PNG of at most {_MOST_ICON_BYTES // 1024} KiB", "icon")
