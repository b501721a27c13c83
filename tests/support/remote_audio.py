"""Audio sessions in memory: workers that answer at once and convert nothing, and clients of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from altervox.realtime.serve.audio.frames import INPUT, OUTPUT, Format, Frame, pack
from altervox.realtime.serve.audio.pipe import Kind, Unpacker
from altervox.realtime.serve.protocol import Hub

if TYPE_CHECKING:
    from remote_hub import Desk, Remote

LATENCY_MS = 59.67
RATE = 16000
BLOCK = bytes(640)  # 20 ms


class MemoryWorkers:
    """A `WorkerPort` without processes.

    Attributes:
        load: Load of the sessions to come.
        refusal: What they refuse to open; None for nothing.
        answers: Whether they answer at all.
        running: Numbers of workers that run.
        killed: Numbers of workers that were killed.
        received: Messages that were sent to them: number, kind, key, payload.
    """

    def __init__(self) -> None:
        self.load = 0.1
        self.refusal: dict[str, str] | None = None
        self.answers = True
        self.running: list[int] = []
        self.killed: list[int] = []
        self.received: list[tuple[int, Kind, int, bytes]] = []
        self._open: list[tuple[int, Kind, int, bytes]] = []

    def start(self, number: int, is_live: bool) -> None:
        self.running.append(number)

    def send(self, number: int, data: bytes) -> None:
        for kind, key, payload in Unpacker().feed(data):
            self.received.append((number, kind, key, payload))
            self._open.append((number, kind, key, payload))

    def kill(self, number: int) -> None:
        self.killed.append(number)
        self.running.remove(number)

    def settle(self, hub: Hub, now_s: float) -> None:
        """Answer what was sent."""
        while self.answers and self._open:
            number, kind, key, payload = self._open.pop(0)
            reply: tuple[Kind, Mapping[str, Any]] | None = None
            match kind:
                case Kind.PING:
                    hub.audio.from_worker(number, Kind.PONG, 0, b"", now_s)
                case Kind.OPEN if self.refusal is not None:
                    reply = Kind.REFUSED, self.refusal
                case Kind.OPEN:
                    reply = Kind.OPENED, {"latency_ms": LATENCY_MS, "load": self.load}
                case Kind.SET:
                    reply = Kind.ANSWER, {"request": json.loads(payload)["request"], "code": "", "message": ""}
            if reply is not None:
                hub.audio.from_worker(number, reply[0], key, json.dumps(reply[1]).encode(), now_s)

    def keys(self) -> list[int]:
        """Keys of the sessions that were opened, in their order."""
        return [key for _, kind, key, _ in self.received if kind is Kind.OPEN]

    def frames(self, key: int) -> list[bytes]:
        """Frames that came for a session."""
        return [payload for _, kind, found, payload in self.received if (kind, found) == (Kind.INPUT, key)]


def frame(
    direction: int = OUTPUT,
    form: Format = "s16",
    flags: int = 0,
    session: int = 1,
    seq: int = 0,
    position: int = 0,
    data: bytes = b"",
) -> bytes:
    """A packed frame."""
    return pack(direction, Frame(form, flags, session, seq, position, data))


def opened(desk: Desk, role: str = "audio", **options: Any) -> tuple[Remote, dict[str, Any]]:
    """A client with a session, and the answer to `audio.open`."""
    remote = desk.client(role)
    reply = remote.ask("audio.open", **{"rate": RATE, **options})
    assert reply["ok"], reply
    return remote, reply["result"]


def send(remote: Remote, facts: dict[str, Any], seq: int = 0, position: int | None = None, **fields: Any) -> None:
    """Send a frame, by default the next block."""
    position = seq * 320 if position is None else position
    remote.send(
        frame(INPUT, **{"session": facts["session"], "seq": seq, "position": position, "data": BLOCK, **fields})
    )


def output(desk: Desk, key: int, position: int, flags: int = 0, data: bytes = BLOCK) -> None:
    """Have the worker send a frame."""
    number = next(n for n, kind, found, _ in reversed(desk.workers.received) if (kind, found) == (Kind.OPEN, key))
    packed = frame(OUTPUT, flags=flags, position=position, data=data)
    desk.hub.audio.from_worker(number, Kind.OUTPUT, key, packed, desk.now_s)
