"""Messages between the server and a worker: a stream of bytes, cut into a kind, a session and a payload each.

Sessions have a key here that is never used again, other than their number on the wire: what a worker still sends for a
session that has ended reaches nobody.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

_HEAD = struct.Struct("<IBI")  # bytes of the payload, kind, key


class Kind(IntEnum):
    """Kinds of messages, with what the payload is."""

    OPEN = 1  # to the worker: what `opening` gives
    INPUT = 2  # to the worker: a frame
    SET = 3  # to the worker: {"request", "voice", "values"}
    CLOSE = 4  # to the worker
    PING = 5  # to the worker, which answers with PONG
    OPENED = 6  # to the server: {"latency_ms", "load"}
    REFUSED = 7  # to the server: {"code", "message"}
    OUTPUT = 8  # to the server: a frame
    TAKEN = 9  # to the server: number of input samples that are no longer on their way (u64)
    REPORT = 10  # to the server: state of the session
    ANSWER = 11  # to the server: {"request", "code", "message"}
    PONG = 12  # to the server


def message(kind: Kind, key: int = 0, payload: bytes = b"") -> bytes:
    """A message as it is sent."""
    return _HEAD.pack(len(payload), kind, key) + payload


def number_message(kind: Kind, key: int, number: int) -> bytes:
    """A message with a number."""
    return message(kind, key, number.to_bytes(8, "little"))


def json_message(kind: Kind, key: int, content: Mapping[str, Any]) -> bytes:
    """A message with a JSON object."""
    return message(kind, key, json.dumps(content).encode())


class Unpacker:
    """Cuts what arrives into messages."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[Kind, int, bytes]]:
        """Take in bytes; returns kind, key and payload of each message that is complete."""
        self._rest += data
        found = []
        at = 0
        while len(self._rest) - at >= _HEAD.size:
            size, kind, key = _HEAD.unpack_from(self._rest, at)
            end = at + _HEAD.size + size
            if len(self._rest) < end:
                break
            found.append((Kind(kind), key, bytes(self._rest[at + _HEAD.size : end])))
            at = end
        del self._rest[:at]
        return found
