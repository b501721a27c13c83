"""A hub with its clock and its threads in the hands of a test: everything happens when the test says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from altervox.realtime.serve.access import ROLES, Access
from altervox.realtime.serve.audio.workers import AudioLimits
from altervox.realtime.serve.connection import STATE_GAP_S, Connection
from altervox.realtime.serve.protocol import Hub
from remote_audio import MemoryWorkers
from remote_session import MemorySession

OWNER = "owner-token"
PEER = "127.0.0.1"


class Desk:
    """A hub and a session in memory.

    Args:
        session: The session; None for one that runs.
        file: Where clients are kept; None for nowhere.
        has_buttons: Whether addresses of buttons work.
        audio_workers: Most workers of audio sessions.

    Attributes:
        now_s: Time of the hub's clock.
        workers: Workers of audio sessions.
        tokens: Tokens of the clients, by their IDs.
        heard: Who has changed the session, not passed on to the hub yet.
    """

    def __init__(
        self,
        session: MemorySession | None = None,
        file: Path | None = None,
        has_buttons: bool = True,
        audio_workers: int = 2,
    ) -> None:
        self.now_s = 1000.0
        self.session = session or MemorySession()
        self.access = Access(OWNER, file)
        self.workers = MemoryWorkers()
        self.tokens = {"owner": OWNER}
        limits = AudioLimits(audio_workers, 6, "woman")
        self.hub = Hub(
            self.session, self.access, self.now_s, has_buttons, self.workers, limits, wall_clock=lambda: 1.8e9
        )
        self.heard: list[str] = []
        self.session.listen(self.heard.append)
        self.settle()

    def settle(self) -> None:
        """Run effects and pass on changes until there are none; workers answer."""
        self.workers.settle(self.hub, self.now_s)
        while effects := self.hub.take_effects():
            for effect in effects:
                result, error = None, None
                try:
                    result = effect.run()
                except Exception as raised:
                    error = raised
                self.hub.finish(effect, result, error, self.now_s)
        while self.heard:
            self.hub.session_changed(self.heard.pop(0), self.now_s)

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        self.now_s += seconds
        self.hub.tick(self.now_s)
        self.settle()

    def connect(self, peer: str = PEER) -> Remote:
        """A connection that has been greeted and is not authenticated."""
        connection = self.hub.connect(self.now_s, peer)
        assert connection is not None
        remote = Remote(self, connection)
        (hello,) = remote.events()
        assert hello["hello"]["protocol"] == 1
        return remote

    def client(self, role: str = "control", name: str = "deck") -> Remote:
        """An authenticated connection of that role."""
        remote = self.connect()
        assert role in ROLES
        token = OWNER
        if role != "admin":
            client, token = self.access.add_client(name, role, "paired")
            self.tokens[client.id] = token
        assert remote.ask("auth", token=token, client=name)["ok"]
        return remote

    def http(self, command: str, query: Sequence[tuple[str, str]] = (), role: str = "control") -> tuple[int, Any]:
        """Status and JSON of a command without a connection."""
        token = OWNER if role == "admin" else self.access.add_client("curl", role, "paired")[1]  # type: ignore[arg-type]
        client = self.hub.authenticate(token, PEER, self.now_s)
        answers: list[tuple[int, Any]] = []
        self.hub.do_http(command, query, client, self.now_s, lambda status, body: answers.append((status, body)))
        self.settle()
        (answer,) = answers
        return answer


class Remote:
    """The other side of a connection."""

    def __init__(self, desk: Desk, connection: Connection) -> None:
        self.desk = desk
        self.connection = connection
        self.kept: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self._next_id = 0

    def send(self, message: object) -> None:
        """Send a message as it is: text, bytes, or what is made into JSON."""
        text = message if isinstance(message, str | bytes) else json.dumps(message)
        self.connection.receive(text, self.desk.now_s)
        self.desk.settle()

    def ask(self, cmd: str, /, **params: Any) -> dict[str, Any]:
        """The reply to a command; events that come with it are kept for `events`."""
        return self.ask_with(cmd, params)

    def ask_with(self, cmd: str, params: Any, **envelope: Any) -> dict[str, Any]:
        """The reply to a command with other fields in its message."""
        self._next_id += 1
        self.send({"id": self._next_id, "cmd": cmd, "params": params, **envelope})
        pulled = self._pulled()
        replies = [message for message in pulled if message.get("id") == self._next_id]
        self.kept += [message for message in pulled if message not in replies]
        assert len(replies) == 1, f"{cmd} was answered by {replies}; closed with {self.connection.close}"
        return replies[0]

    def events(self, topic: str = "", after_s: float = STATE_GAP_S) -> list[dict[str, Any]]:
        """What has arrived after that time; of one topic only, if it is named."""
        self.desk.now_s += after_s
        kept, self.kept = [*self.kept, *self._pulled()], []
        return [message for message in kept if not topic or message.get("event") == topic]

    def _pulled(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while (text := self.connection.pull(self.desk.now_s)) is not None:
            if isinstance(text, bytes):
                self.frames.append(text)
            else:
                found.append(json.loads(text))
        return found

    @property
    def close_code(self) -> int | None:
        """The code it is closed with; None while it is open."""
        return self.connection.close[0] if self.connection.close else None

    @property
    def is_closed(self) -> bool:
        """Whether it is closed or about to be."""
        return self.connection.close is not None
