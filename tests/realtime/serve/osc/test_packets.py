"""OSC packets: those of python-osc are read, everything else is refused at once, whatever it claims to hold."""

from __future__ import annotations

import logging
import struct
from contextlib import suppress

import pytest
from altervox.realtime.serve.osc.packets import Malformed, read_packet, write_message
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

HEAD = b"#bundle\0" + bytes(8)


def message(address: str, *values: str | float | bool) -> OscMessage:
    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)
    return builder.build()


def test_messages_there_and_back() -> None:
    values = ("Ännie 🎤", 7, -1, True, False, 0.5)
    packet = write_message("/altervox/x", values)
    assert packet == message("/altervox/x", *values).dgram
    assert read_packet(packet) == [("/altervox/x", values)]
    assert read_packet(b"/a\0\0") == [("/a", ())]


def test_bundles_within_bundles() -> None:
    inner, outer = OscBundleBuilder(IMMEDIATELY), OscBundleBuilder(IMMEDIATELY)
    inner.add_content(message("/b", 2))
    outer.add_content(message("/a", 1))
    outer.add_content(inner.build())
    assert read_packet(outer.build().dgram) == [("/a", (1,)), ("/b", (2,))]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"/",
        b"/abc",  # no end
        b"abc\0",
        b"\0" * 64,
        b"/a\0\0,i\0\0",  # its number is missing
        b"/a\0\0xi\0\0" + bytes(4),
        b"/a\0\0,\x1b[0m\0\0\0" + bytes(16),
        b"/a\0\0,b\0\0" + struct.pack(">i", -1),
        b"/a\0\0,[[[[[[\0",
        b"/a\0\0,s\0\0\xff\xfe\0\0",  # no UTF-8
        b"/a\0\0," + b"T" * 30 + b"\0",
        b"/" + b"a" * 300 + b"\0\0\0",
        HEAD[:12],
        HEAD + struct.pack(">i", -4),
        HEAD + struct.pack(">i", 0),
        HEAD + struct.pack(">i", 1 << 30),
        HEAD + struct.pack(">i", 3) + b"/a\0\0",
        HEAD + struct.pack(">i", 16) + HEAD * 20,
        HEAD + (struct.pack(">i", 4) + b"/a\0\0") * 100,
        b"/a\0\0" * 2000,
    ],
)
def test_what_is_no_packet(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(Malformed):
        read_packet(data)
    assert not caplog.records


def nested(depth: int) -> bytes:
    packet = b"/a\0\0"
    for _ in range(depth):
        packet = HEAD + struct.pack(">i", len(packet)) + packet
    return packet


def test_nesting_is_bounded() -> None:
    assert len(read_packet(nested(4))) == 1
    with pytest.raises(Malformed):
        read_packet(nested(100))


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.binary(max_size=80), st.sampled_from([b"", HEAD, b"/a\0\0,"]))
def test_any_bytes(data: bytes, head: bytes) -> None:
    with suppress(Malformed):
        for address, _ in read_packet(head + data):
            assert address.startswith("/")
