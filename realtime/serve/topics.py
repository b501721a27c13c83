"""What a connection can have sent: the table of topics, and what it has been sent of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .access import Right, Role, allows
from .errors import RemoteError

TOPICS: dict[str, tuple[str, Right, int]] = {  # what it brings, least role, most events a second (0: as they happen)
    "state": ("the requested and the actual state: all of it first, then what changes", "view", 0),
    "voices": ("the list of voices: at once, then whenever it has changed", "view", 0),
    "devices": ("the list of devices: at once, then whenever it has changed", "view", 0),
    "log": ("who changed what, and what went wrong: the last 100 lines, then each new one", "view", 0),
    "meters": ("levels and F0, `hz` times a second; the newest only", "view", 20),
    "stats": ("blocks, losses, latency and drift, `hz` times a second; the newest only", "view", 10),
    "audio_sessions": ("audio sessions that are open: at once, then whenever something has changed", "admin", 0),
    "pairings": ("programs that ask to be paired: at once, then whenever there are others", "admin", 0),
}
_LEAST_HZ = 1.0
DEFAULT_HZ = {"meters": 10.0, "stats": 2.0}


@dataclass(slots=True)
class Subscription:
    """A topic that a connection is sent.

    Attributes:
        period_s: Time between two events; 0 for whenever there is something new.
        next_s: When the next event may be sent.
        seq: Number of the next event.
        sent: What was sent last: state, text or number of a line, by topic; None for nothing.
    """

    period_s: float = 0.0
    next_s: float = float("-inf")
    seq: int = 0
    sent: Any = None


def subscription(name: str, options: object, role: Role) -> Subscription:
    """What a client of that role asks for.

    Raises:
        RemoteError: there is no such topic or option, the role may not, or the rate is out of range.
    """
    if name not in TOPICS:
        said = f"there is no topic {name[:64]!r}; choose from {', '.join(TOPICS)}"
        raise RemoteError("unknown_field", said, "topics")
    _, least, most_hz = TOPICS[name]
    if not allows(role, least):
        raise RemoteError("forbidden", f"the topic {name} needs the role {least}", "topics")
    if not isinstance(options, Mapping):
        raise RemoteError("bad_type", f"the options of {name} must be an object, such as {{}}", "topics")
    for option in options:
        if option != "hz" or not most_hz:
            raise RemoteError("unknown_field", f"the topic {name} has no option {option[:64]!r}", "topics")
    if not most_hz:
        return Subscription()
    hz = options.get("hz", DEFAULT_HZ[name])
    if isinstance(hz, bool) or not isinstance(hz, int | float):
        raise RemoteError("bad_type", f"hz of {name} must be a number", "hz")
    if not _LEAST_HZ <= hz <= most_hz:
        raise RemoteError("out_of_range", f"hz of {name} must lie between {_LEAST_HZ:g} and {most_hz}", "hz")
    return Subscription(period_s=1.0 / hz)
