"""One connection without its socket: texts in, texts out, and the code it is to be closed with.

What is broadcast is not queued: a connection notes what it has sent last, and takes the newest from the board whenever
its socket has room. Only replies are queued, and a client that does not read them is closed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .access import Client
from .board import Board
from .bucket import Bucket
from .errors import BAD_MESSAGE, TOO_BIG, TOO_FAST, RemoteError
from .facts import sendable
from .messages import MOST_BYTES, BadMessage, dump, parse
from .pairing import Pairing
from .topics import Subscription
from .voice_names import VoiceNames

if TYPE_CHECKING:
    from .audio.session import AudioSession
    from .audio.sessions import AudioSessions

AUTH_S = 5.0  # until a connection must have sent `auth` or `pair`
_MOST_QUEUED = 262_144  # characters of replies of one connection
_MOST_QUEUED_BY_ALL = 5_000_000
STATE_GAP_S = 0.02  # between two events of the state: a slider that is dragged makes a hundred changes a second
MOST_SLOW = 4  # commands of one connection that wait for a thread
_ENVELOPE = {"id", "cmd", "params", "if_rev"}
_LONGEST_ID = 64
_INFINITE = float("inf")
_ROUNDING = 1e-6  # of a period: what is due a moment early has had its turn


@dataclass(slots=True)
class Budget:
    """What all connections together hold in queues.

    Attributes:
        queued: Characters.
    """

    queued: int = 0


@dataclass(slots=True)
class Message:
    """A command as it arrived, with its envelope checked.

    Attributes:
        id: Chosen by the client, for the reply.
        cmd: Name of the command.
        params: Its fields, not checked yet.
        if_rev: Revision that the session's state must have; None for any.
    """

    id: int | str
    cmd: str
    params: Mapping[str, Any]
    if_rev: int | None


@dataclass(slots=True, eq=False)
class Connection:
    """One connection. The server calls `receive`, `pull` and `Hub.disconnect`, and closes with `close` once it is set.

    Attributes:
        peer: Address of the other side, for limits and lists.
        board: What there is to send.
        voices: Names of voices.
        budget: Limit that it shares with all others.
        handle: Called with each message.
        sessions: Audio sessions, one of which may be this connection's.
        deadline_s: Until when it must be authenticated; infinite once it is.
        bucket: Limits its rate.
        client: Who it is; None until it is authenticated.
        name: Name for lists and the log.
        close: Code and reason to close the socket with, once `pull` returns None; None to keep it open.
        pairing: The pairing that it waits for; None for none.
        slow: Commands that wait for a thread.
        topics: Topics that it is sent.
        audio: Its audio session; None for none.
    """

    peer: str
    board: Board
    voices: VoiceNames
    budget: Budget
    handle: Callable[[Connection, Message, float], None]
    sessions: AudioSessions
    deadline_s: float
    bucket: Bucket
    client: Client | None = None
    name: str = ""
    close: tuple[int, str] | None = None
    pairing: Pairing | None = None
    slow: int = 0
    topics: dict[str, Subscription] = field(default_factory=dict)
    audio: AudioSession | None = None
    _replies: deque[str] = field(default_factory=deque)
    _queued: int = 0

    @property
    def core(self) -> Connection:
        """Itself; of a face's client it is the connection that stands for it."""
        return self

    def receive(self, message: str | bytes, now_s: float) -> None:
        """Take in a message. Never raises: what is wrong with it is answered, or closes the connection."""
        if self.close is not None:
            return
        if isinstance(message, bytes):
            self.sessions.receive(self, message, now_s)
        elif len(message) > MOST_BYTES or len(message.encode(errors="replace")) > MOST_BYTES:
            self.close_with(TOO_BIG, "message of more than 64 KiB")
        elif not self.bucket.takes(1, now_s):
            self.close_with(TOO_FAST, "too many commands")
        else:
            try:
                content = parse(message)
            except BadMessage as error:
                self.close_with(BAD_MESSAGE, str(error))
            else:
                self._handle(content, now_s)

    def _handle(self, content: dict[str, Any], now_s: float) -> None:
        try:
            message = _checked(content)
        except RemoteError as error:
            self.refuse(content["id"] if _is_id(content.get("id")) else None, error)
        else:
            self.handle(self, message, now_s)

    def pull(self, now_s: float) -> str | bytes | None:
        """The next text or frame to send; None if there is nothing (more) to send now."""
        if self._replies:
            text = self._replies.popleft()
            self._queued -= len(text)
            self.budget.queued -= len(text)
            return text
        if self.close is not None:
            return None
        if self.audio is not None and (sent := self.sessions.pull(self.audio)) is not None:
            return sent
        for topic, subscription in self.topics.items():
            if (event := self._event(topic, subscription, now_s)) is not None:
                return event
        return None

    @property
    def next_due_s(self) -> float:
        """When `pull` has something to send: in the past for now, infinite for not before something happens."""
        if self._replies:
            return -_INFINITE
        due_s = _INFINITE
        for topic, subscription in self.topics.items() if self.close is None else ():
            if self._has_news(topic, subscription):
                due_s = min(due_s, subscription.next_s)
        return due_s

    def answer(self, message_id: int | str | None, result: Mapping[str, Any]) -> None:
        """Queue the reply to a command that was carried out."""
        self.queue(dump({"id": message_id, "ok": True, "result": result, "rev": self.board.rev}))

    def refuse(self, message_id: int | str | None, error: RemoteError) -> None:
        """Queue the reply to a command that was refused."""
        self.queue(dump({"id": message_id, "ok": False, "error": error.as_json(), "rev": self.board.rev}))

    def queue(self, text: str) -> None:
        """Queue a text that must not be lost; a client that reads nothing is closed instead."""
        if self.close is not None:
            return
        if self._replies and (
            self._queued + len(text) > _MOST_QUEUED or self.budget.queued + len(text) > _MOST_QUEUED_BY_ALL
        ):
            self.drop_queue()
            self.close_with(TOO_FAST, "replies are not read")
            return
        self._replies.append(text)
        self._queued += len(text)
        self.budget.queued += len(text)

    def drop_queue(self) -> None:
        """Forget replies that will not be sent any more."""
        self.budget.queued -= self._queued
        self._queued = 0
        self._replies.clear()

    def close_with(self, code: int, reason: str) -> None:
        """Have the socket closed once what is queued has been sent; the first reason counts."""
        if self.close is None:
            self.close = (code, reason)
            self.topics.clear()

    def _has_news(self, topic: str, subscription: Subscription) -> bool:
        match topic:
            case "state":
                return subscription.sent is not self.board.state
            case "meters" | "stats":
                return subscription.sent is not self.board.rated_text(topic)
            case "log":
                return (subscription.sent or 0) < self.board.next_line
        return topic in self.board.lists and subscription.sent is not self.board.lists[topic]

    def _event(self, topic: str, subscription: Subscription, now_s: float) -> str | None:
        if now_s < subscription.next_s or not self._has_news(topic, subscription):
            return None
        match topic:
            case "meters" | "stats":
                # On a common grid: whoever asked for the same rate is due at the same time.
                period_s = subscription.period_s
                subscription.next_s = (math.floor(now_s / period_s + _ROUNDING) + 1) * period_s
                subscription.sent = self.board.rated_text(topic)
                return str(subscription.sent)
            case "state":
                return self._state_event(subscription, now_s)
            case "log":
                return self._log_event(subscription)
        subscription.sent = self.board.lists[topic]
        return self._numbered(topic, subscription, f'"data":{subscription.sent}')

    def _state_event(self, subscription: Subscription, now_s: float) -> str:
        before, state = subscription.sent, self.board.state
        subscription.next_s = now_s + STATE_GAP_S
        subscription.sent = state
        event: dict[str, Any] = {"event": "state", "rev": self.board.rev, "seq": subscription.seq}
        subscription.seq += 1
        if before is None:
            return dump({**event, "full": True, "data": sendable(dict(state), self.voices, now_s)})
        changed = {key: value for key, value in state.items() if before[key] != value}
        # Several changes may have become one event, and not all of them have somebody to name.
        named = [name for key in changed if (name := self.board.by[key])]
        by = {"by": named[-1]} if named else {}
        return dump({**event, "data": sendable(changed, self.voices, now_s), **by})

    def _log_event(self, subscription: Subscription) -> str:
        wanted = subscription.sent or 0
        number, text = next((number, text) for number, text in self.board.lines if number >= wanted)
        subscription.sent = number + 1
        lost = number - wanted if subscription.seq else 0
        return self._numbered("log", subscription, f'"lost":{lost},"data":{text}')

    def _numbered(self, topic: str, subscription: Subscription, rest: str) -> str:
        seq = subscription.seq
        subscription.seq += 1
        return f'{{"event":"{topic}","seq":{seq},{rest}}}'


def _is_id(value: object) -> bool:
    match value:
        case bool():
            return False
        case int():
            return abs(value) < 1 << 53
        case str():
            return len(value) <= _LONGEST_ID
    return False


def _checked(content: dict[str, Any]) -> Message:
    if not _is_id(content.get("id")):
        raise RemoteError(
            "bad_request", f"id must be a whole number, or text of at most {_LONGEST_ID} characters", "id"
        )
    for name in content.keys() - _ENVELOPE:
        raise RemoteError("unknown_field", f"a message has no field {name[:64]!r}; put it into params", name)
    cmd, params, if_rev = content.get("cmd"), content.get("params", {}), content.get("if_rev")
    if not isinstance(cmd, str):
        raise RemoteError("bad_request", "cmd must be the name of a command", "cmd")
    if not isinstance(params, dict):
        raise RemoteError("bad_type", "params must be an object", "params")
    if if_rev is not None and (isinstance(if_rev, bool) or not isinstance(if_rev, int)):
        raise RemoteError("bad_type", "if_rev must be a whole number", "if_rev")
    return Message(content["id"], cmd, params, if_rev)
