"""Events that the server sends, and the queue in which they wait until the program takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_MERGED = ("state",)  # each event holds what has changed only
_QUEUED = ("log",)  # each event counts; of all other topics only the newest does
_MOST_QUEUED = 100


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        topic: A topic of the protocol; or "connection", of a client that reconnects: its data are
            `{"is_open": bool, "message": str}`.
        data: What has changed; of the topic "state" all of it if `is_full`.
        rev: Revision of the session's state; None where the topic has none.
        seq: Number of the event on this connection and topic.
        is_full: Whether the data replace all that was known of the topic.
        by: Name of the client that caused a change of the state; empty for none.
    """

    topic: str
    data: Mapping[str, Any] = field(default_factory=dict)
    rev: int | None = None
    seq: int = 0
    is_full: bool = False
    by: str = ""


def event_of(message: Mapping[str, Any]) -> Event:
    """The event that a message is; what is not as the protocol says is left out."""
    data, rev, seq = (message.get(name) for name in ("data", "rev", "seq"))
    return Event(
        topic=str(message.get("event")),
        data=data if isinstance(data, Mapping) else {"list": data},
        rev=rev if isinstance(rev, int) else None,
        seq=seq if isinstance(seq, int) else 0,
        is_full=message.get("full") is True,
        by=str(message.get("by") or ""),
    )


class Inbox:
    """Events of some topics on their way from the connection to the program, for one event loop.

    A program that takes its time finds one event of each topic: the newest meters, all changes of the state in one.
    Lines of the log are kept, the last 100 of them.

    Args:
        topics: What to take in.
    """

    def __init__(self, topics: frozenset[str]) -> None:
        self.topics = topics
        self._waiting: dict[object, Event] = {}
        self._queued = 0
        self._something = asyncio.Event()
        self._end: Exception | None = None

    def put(self, event: Event) -> None:
        """Take in an event; never blocks."""
        if event.topic not in self.topics:
            return
        if event.topic in _QUEUED:
            queued = [key for key in self._waiting if isinstance(key, tuple)]
            if len(queued) >= _MOST_QUEUED:
                del self._waiting[queued[0]]
            self._queued += 1
            self._waiting[event.topic, self._queued] = event
        else:
            before = self._waiting.pop(event.topic, None)
            if before is not None and event.topic in _MERGED and not event.is_full:
                event = replace(event, data={**before.data, **event.data}, is_full=before.is_full)
            self._waiting[event.topic] = event
        self._something.set()

    def end(self, error: Exception) -> None:
        """No more will come: `get` raises this once the rest has been taken."""
        self._end = error
        self._something.set()

    async def get(self) -> Event:
        """The next event, once there is one."""
        while not self._waiting:
            if self._end is not None:
                raise self._end
            self._something.clear()
            await self._something.wait()
        return self._waiting.pop(next(iter(self._waiting)))
