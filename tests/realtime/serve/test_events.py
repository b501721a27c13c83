"""What waits for a program that takes its time."""

from __future__ import annotations

import asyncio

import pytest
from altervox.realtime.serve.events import Event, Inbox, event_of


def taken(inbox: Inbox, count: int) -> list[Event]:
    async def take() -> list[Event]:
        async with asyncio.timeout(1):
            return [await inbox.get() for _ in range(count)]

    return asyncio.run(take())


def test_changes_of_the_state_become_one_event() -> None:
    inbox = Inbox(frozenset({"state"}))
    inbox.put(Event("state", {"pitch": 0.0, "mute": False}, rev=1, is_full=True))
    inbox.put(Event("state", {"pitch": 1.0}, rev=2, seq=1, by="a"))
    inbox.put(Event("state", {"pitch": 2.0}, rev=3, seq=2, by="b"))
    assert taken(inbox, 1) == [Event("state", {"pitch": 2.0, "mute": False}, rev=3, seq=2, is_full=True, by="b")]


def test_a_whole_state_replaces_what_waits() -> None:
    inbox = Inbox(frozenset({"state"}))
    inbox.put(Event("state", {"pitch": 1.0, "gone": 1}))
    inbox.put(Event("state", {"pitch": 2.0}, is_full=True))
    assert taken(inbox, 1) == [Event("state", {"pitch": 2.0}, is_full=True)]


def test_only_the_newest_meters_wait_but_every_line_of_the_log() -> None:
    inbox = Inbox(frozenset({"meters", "log"}))
    for i in range(150):
        inbox.put(Event("meters", {"f0_hz": i}))
        inbox.put(Event("log", {"text": str(i)}))
    inbox.put(Event("state"))  # of another subscription
    events = taken(inbox, 101)
    assert [e.data["text"] for e in events if e.topic == "log"] == [str(i) for i in range(50, 150)]
    assert [e.data["f0_hz"] for e in events if e.topic == "meters"] == [149]
    with pytest.raises(TimeoutError):
        taken(inbox, 1)


def test_the_end_comes_after_what_waits() -> None:
    inbox = Inbox(frozenset({"state"}))
    inbox.put(Event("state"))
    inbox.end(ValueError("over"))
    assert taken(inbox, 1) == [Event("state")]
    with pytest.raises(ValueError, match="over"):
        taken(inbox, 1)


def test_what_is_not_as_the_protocol_says_is_left_out() -> None:
    message = {"event": "state", "rev": "x", "seq": [], "data": [1], "full": "yes", "by": None}
    assert event_of(message) == Event("state", {"list": [1]})
