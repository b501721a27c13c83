"""A client of audio sessions at the level of messages and frames, for tests of the server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from altervox.kernels.types import FloatArray
from altervox.realtime.config import StreamConfig
from altervox.realtime.serve.audio.frames import INPUT, LAST, OUTPUT, Frame, data_of, pack, samples_of, unpack
from altervox.realtime.session.commands import Set
from altervox.realtime.session.processor import Processor
from altervox.realtime.session.settings import SessionSettings
from altervox.realtime.session.state import SessionState
from remote_sockets import Client

SECONDS = 60.0  # a worker that starts beside busy processes may take some


def directly(x: FloatArray, rate: int, voice: str, block_ms: int = 20, **values: float) -> FloatArray:
    """Samples [n] through a processor of the same block size in this process, without its latency [n]."""
    state = SessionState(voice=voice).after(Set(values))
    config = StreamConfig(sample_rate=rate, block_ms=block_ms)
    processor = Processor(SessionSettings(state=state, config=config))
    size, latency = processor.block_size, processor.latency_samples
    blocks = np.pad(x, (0, -(len(x) + latency) % size + latency)).reshape(-1, size)
    out = np.zeros_like(blocks)
    for number, block in enumerate(blocks):
        processor.process(block, out[number])
    processor.close()
    return out.ravel()[latency : latency + len(x)]


class AudioClient:
    """A connection with an audio session.

    Args:
        client: An authenticated connection.
        command: `audio.open` or `audio.resume`.
        options: Fields of the command.

    Attributes:
        client: The connection.
        facts: Answer to `audio.open`.
        events: Messages that were no frames.
        frames: Frames that have come.
    """

    def __init__(self, client: Client, command: str = "audio.open", **options: Any) -> None:
        self.client = client
        self.events: list[dict[str, Any]] = []
        self.frames: list[Frame] = []
        self._seq = 0
        self.facts = self.ask(command, **options)
        self.position = self.facts.get("position", 0)

    @classmethod
    def resumed(cls, client: Client, before: AudioClient) -> AudioClient:
        """A connection that goes on with the session of another one, from the output that had come there."""
        last = before.frames[-1]
        return cls(client, "audio.resume", token=before.facts["resume"], position=last.position + last.samples)

    def __enter__(self) -> AudioClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.__exit__(None, None, None)

    def ask(self, cmd: str, /, **params: Any) -> dict[str, Any]:
        """The result of a command."""
        number = self.client.send(cmd, **params)
        reply = self.until(lambda message: message.get("id") == number)
        assert reply["ok"], reply
        result: dict[str, Any] = reply["result"]
        return result

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next message for which something holds; frames before it are kept."""
        while True:
            message = self.next()
            if message is not None and holds(message):
                return message

    def next(self, seconds: float = SECONDS) -> dict[str, Any] | None:
        """Take in what comes next; returns a message that is no frame."""
        found = self.client.socket.recv(seconds)
        if isinstance(found, bytes):
            self.frames.append(unpack(found, OUTPUT))
            return None
        message: dict[str, Any] = json.loads(found)
        self.events.append(message)
        return message

    def send(self, samples: FloatArray, flags: int = 0, position: int | None = None) -> None:
        """Send samples as one frame."""
        self.position = self.position if position is None else position
        form = self.facts["format"]
        data = data_of(samples, form)
        frame = Frame(form, flags, self.facts["session"], self._seq, self.position, data)
        self.client.socket.send(pack(INPUT, frame))
        self._seq += 1
        self.position += len(samples)

    def send_all(self, samples: FloatArray, size: int | None = None) -> None:
        """Send samples as frames, the last of them marked as such."""
        size = size or self.facts["frame_samples"]
        for at in range(0, len(samples), size):
            self.send(samples[at : at + size], LAST if at + size >= len(samples) else 0)

    def receive(self, samples: int) -> None:
        """Take in what comes until the output has reached that position."""
        while not self.frames or self.frames[-1].position + self.frames[-1].samples < samples:
            self.next()

    def output(self) -> FloatArray:
        """All that has come, as one piece: every frame begins where the one before ended."""
        position = self.frames[0].position
        for frame in self.frames:
            assert frame.position == position, "a gap in the output"
            position += frame.samples
        return np.concatenate([samples_of(frame) for frame in self.frames])
