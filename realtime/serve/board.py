"""The newest data of every topic, made into JSON once for all connections; each takes from it what it has not sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...kernels.printable import printable
from ..session.status import Status
from .facts import meters_data, stats_data
from .messages import dump

MOST_LINES = 100
_GATHERED_S = 0.5  # changes of one field by one client within this time are one line of the log


@dataclass(slots=True)
class _Change:
    """A line of the log that may still be replaced by a newer value."""

    by: str
    keys: tuple[str, ...]
    text: str
    since_s: float


@dataclass(slots=True)
class Board:
    """The newest data of every topic.

    Attributes:
        wall_clock: Seconds since 1970, for the log.
        state: Data of the topic `state`; replaced as a whole, never changed.
        rev: Revision of the session's state.
        by: Who caused the newest change of each field of the state; empty for nobody.
        status: The newest status.
        lists: JSON of the topics that are sent as a whole, by topic.
        lines: The last lines of the log, each with its number.
        next_line: Number of the next line.
    """

    wall_clock: Callable[[], float]
    state: Mapping[str, Any] = field(default_factory=dict)
    rev: int = 0
    by: dict[str, str] = field(default_factory=dict)
    status: Status = field(default_factory=lambda: Status(state="stopped"))
    lists: dict[str, str] = field(default_factory=dict)
    lines: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    next_line: int = 0
    _texts: dict[str, str] = field(default_factory=dict)  # of meters and stats, for the newest status
    _seq: int = 0  # of meters and stats
    _change: _Change | None = None

    def set_state(self, state: Mapping[str, Any], rev: int, by: str) -> dict[str, Any]:
        """Take over a new state; returns what has changed. `by` is empty for what no command caused."""
        changed = {key: value for key, value in state.items() if key not in self.state or self.state[key] != value}
        self.rev = rev
        if changed:
            self.state = state
            self.by |= dict.fromkeys(changed, by)
        return changed

    def set_status(self, status: Status) -> None:
        """Take over a new status."""
        if status is not self.status:
            self.status = status
            self._texts.clear()
            self._seq += 1

    def rated_text(self, topic: str) -> str:
        """The event of the topic `meters` or `stats`; the same object until there is a newer status."""
        if topic not in self._texts:
            data = (meters_data if topic == "meters" else stats_data)(self.status)
            self._texts[topic] = dump({"event": topic, "seq": self._seq, "data": data})
        return self._texts[topic]

    def log(self, text: str, by: str = "") -> None:
        """Add a line to the log."""
        self.flush(float("inf"))
        self._add(text, by)

    def log_change(self, changed: Mapping[str, object], by: str, now_s: float) -> None:
        """Add what a command has changed to the log; a slider that moves makes one line, not hundreds."""
        keys = tuple(changed)
        text = ", ".join(f"{key} = {_shown(value)}" for key, value in changed.items())
        if self._change is None or (self._change.by, self._change.keys) != (by, keys):
            self.flush(float("inf"))
            self._change = _Change(by, keys, text, now_s)
        self._change.text = text

    def flush(self, now_s: float) -> None:
        """Add the line that waits for newer values, once it has waited long enough."""
        change = self._change
        if change is not None and now_s >= change.since_s + _GATHERED_S:
            self._change = None
            self._add(change.text, change.by)

    @property
    def next_flush_s(self) -> float:
        """When `flush` has something to do; infinite for never."""
        return float("inf") if self._change is None else self._change.since_s + _GATHERED_S

    def _add(self, text: str, by: str) -> None:
        entry = {"at": round(self.wall_clock(), 3), "by": by, "text": printable(text, 300)}
        self.lines.append((self.next_line, dump(entry)))
        self.next_line += 1


def _shown(value: object) -> str:
    return printable(value if isinstance(value, str) else dump(value), 60)
