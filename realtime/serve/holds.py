"""Holds: values that are set for some time, after which each field returns to its base.

The base of a field is what a command gave it last, whoever sent it. Among holds the newest decides; one that ends gives
way to the newest that is left. A command on a held field ends its holds: what a person sets, stays.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ...models.parameters import Value
from .errors import RemoteError

MOST_HOLDS = 32
VOICE = "voice"  # field beside the names of parameters; its value is what `SetVoice` takes


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold.

    Attributes:
        id: Names it for `release`.
        by: Name of the client.
        values: What it sets: parameters by their long names, and `VOICE`.
        ends_s: When it ends, on the caller's clock.
    """

    id: str
    by: str
    values: Mapping[str, Value | str]
    ends_s: float


class Holds:
    """All holds of a session. Only bookkeeping: the caller applies the values that the methods return."""

    def __init__(self) -> None:
        self._holds: list[Hold] = []  # the newest last
        self._base: dict[str, Value | str] = {}  # of each held field

    @property
    def all(self) -> tuple[Hold, ...]:
        """Holds, the newest last."""
        return tuple(self._holds)

    @property
    def next_end_s(self) -> float:
        """When the next one ends; infinite without holds."""
        return min((hold.ends_s for hold in self._holds), default=float("inf"))

    def check_room(self) -> None:
        """Raises RemoteError if there are too many holds."""
        if len(self._holds) >= MOST_HOLDS:
            raise RemoteError("too_many", f"there are {MOST_HOLDS} holds already; wait, or release one")

    def add(
        self, by: str, values: Mapping[str, Value | str], current: Mapping[str, Value | str], ends_s: float
    ) -> Hold:
        """Note a hold whose values have just been applied.

        Args:
            by: Name of the client.
            values: What it sets.
            current: Values of the same fields before; the base of those that no hold had.
            ends_s: When it ends.
        """
        self.check_room()
        for name in values:
            if name not in self._base:
                self._base[name] = current[name]
        hold = Hold(secrets.token_hex(6), by, dict(values), ends_s)
        self._holds.append(hold)
        return hold

    def release(self, hold_id: str) -> dict[str, Value | str]:
        """End a hold; returns the values that its fields now take.

        Raises:
            RemoteError: there is no such hold.
        """
        ended = [hold for hold in self._holds if hold.id == hold_id]
        if not ended:
            raise RemoteError("not_found", f"there is no hold {hold_id!r}; it may have ended", "hold")
        return self._end(ended)

    def release_all(self) -> dict[str, Value | str]:
        """End all holds; returns the values that their fields now take."""
        return self._end(self._holds)

    def expire(self, now_s: float) -> dict[str, Value | str]:
        """End the holds whose time is over; returns the values that their fields now take."""
        return self._end([hold for hold in self._holds if hold.ends_s <= now_s])

    def taken_over(self, names: Iterable[str]) -> None:
        """End the holds of fields that a command has set; other fields of the same holds stay held."""
        taken = self._base.keys() & set(names)
        if not taken:
            return
        kept = (
            replace(hold, values={name: value for name, value in hold.values.items() if name not in taken})
            for hold in self._holds
        )
        self._holds = [hold for hold in kept if hold.values]
        for name in taken:
            del self._base[name]

    def held(self) -> dict[str, Value | str]:
        """What each held field should be: the value of its newest hold."""
        return {name: value for hold in self._holds for name, value in hold.values.items()}

    def _end(self, ended: Iterable[Hold]) -> dict[str, Value | str]:
        gone = {hold.id: hold for hold in ended}
        self._holds = [hold for hold in self._holds if hold.id not in gone]
        held = self.held()
        changes: dict[str, Value | str] = {}
        for name in {name for hold in gone.values() for name in hold.values}:
            changes[name] = held[name] if name in held else self._base.pop(name)
        return changes
