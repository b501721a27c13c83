"""A client of the protocol within the server: what a face, which speaks another protocol, gives commands with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from .access import Client
from .connection import Connection
from .errors import RemoteError
from .link import result_of
from .messages import dump
from .protocol import Hub

Then = Callable[[Mapping[str, Any] | RemoteError], None]


class Inside:
    """One client within the server; what it may do is what `control` may.

    Args:
        connection: Its connection, from `connected`.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._last_id = 0
        self._waiting: dict[int, Then] = {}

    @classmethod
    def connected(cls, hub: Hub, name: str, now_s: float, peer: str = "") -> Inside | None:
        """A new client; None if there are too many connections.

        Args:
            hub: The protocol.
            name: Name for the log and for other clients.
            now_s: Time of the server's clock.
            peer: Address of the other side, without its port.
        """
        connection = hub.connect(now_s, peer, Client("face", name, "control", "face"))
        return None if connection is None else cls(connection)

    def follow_voices(self, now_s: float) -> None:
        """Have the list of voices kept up to date, which takes reading files every now and then."""
        self.ask("subscribe", {"topics": {"voices": {}}}, now_s)

    @property
    def state(self) -> Mapping[str, Any]:
        """The newest data of the topic `state`; another object whenever something has changed."""
        return self.connection.board.state

    @property
    def voices(self) -> list[str]:
        """Names of the voices that there are, and last the session's own if it is none of them."""
        names, current = self.connection.voices.names, self.state["voice"]
        return names if current in names else [*names, current]

    def ask(self, command: str, params: Mapping[str, Any], now_s: float, then: Then = lambda answer: None) -> None:
        """Give a command.

        Args:
            command: Name of the command.
            params: Its fields.
            now_s: Time of the server's clock.
            then: Called by `hear` with the result, or with the reason why it was refused.
        """
        self._last_id += 1
        self._waiting[self._last_id] = then
        self.connection.receive(dump({"id": self._last_id, "cmd": command, "params": params}), now_s)

    def hear(self, now_s: float) -> None:
        """Take in what the core has answered so far."""
        while (text := self.connection.pull(now_s)) is not None:
            message = json.loads(text)
            then = self._waiting.pop(message.get("id"), None)
            if then is not None:
                then(_answer(message))


def _answer(message: Mapping[str, Any]) -> Mapping[str, Any] | RemoteError:
    try:
        return result_of(message)
    except RemoteError as error:
        return error
