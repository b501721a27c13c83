"""OSC packets to messages and back; whatever else arrives is refused, and none of it is logged as it is."""

from __future__ import annotations

from collections.abc import Sequence

MOST_BYTES = 4096  # of a packet
_MOST_MESSAGES = 64  # of a packet
_MOST_NESTED = 4  # bundles within bundles
_MOST_ARGUMENTS = 16
_LONGEST = 256  # characters of an address or a text
_BUNDLE = b"#bundle\0"
_TYPES = set("ifhdsTFN")

Value = int | float | str | bool | None
Message = tuple[str, tuple[Value, ...]]  # address and arguments


class Malformed(Exception):  # noqa: N818 - it says what the packet is
    """The packet is no OSC, or has what nothing here understands."""


def read_packet(data: bytes) -> list[Message]:
    """The messages of a packet, those of bundles included; their times are not waited for.

    Raises:
        Malformed: it is no OSC packet.
    """
    found: list[Message] = []
    _read(data, found, 0)
    return found


def _read(data: bytes, found: list[Message], depth: int) -> None:
    if len(data) % 4 or len(data) > MOST_BYTES or len(found) >= _MOST_MESSAGES or depth > _MOST_NESTED:
        raise Malformed
    if not data.startswith(_BUNDLE):
        found.append(_message(data))
        return
    at = len(_BUNDLE) + 8  # behind its time
    if len(data) < at:
        raise Malformed
    while at < len(data):
        # The library's own reading of bundles does not end where a size is negative.
        size = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if size % 4 or not 0 < size <= len(data) - at:
            raise Malformed
        _read(data[at : at + size], found, depth + 1)
        at += size


def _message(data: bytes) -> Message:
    from pythonosc.osc_message import OscMessage
    from pythonosc.parsing.osc_types import get_string

    try:
        address, at = get_string(data, 0)
        types = get_string(data, at)[0] if data[at:] else ","
        # The library writes types that it does not know to the terminal.
        if not address.startswith("/") or not types.startswith(",") or set(types[1:]) - _TYPES:
            raise Malformed
        if len(address) > _LONGEST or len(types) > _MOST_ARGUMENTS:
            raise Malformed
        values = tuple(OscMessage(data))
    except Exception:
        raise Malformed from None
    if any(isinstance(value, str) and len(value) > _LONGEST for value in values):
        raise Malformed
    return address, values


def write_message(address: str, values: Sequence[Value]) -> bytes:
    """A packet of one message: text as s, whole numbers as i, others as f, true and false as T and F."""
    from pythonosc.osc_message_builder import OscMessageBuilder

    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)
    return builder.build().dgram
