"""Frames of audio as bytes: what is sent is what is received, and nothing else is accepted."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from altervox.realtime.serve.audio.frames import (
    DISCONTINUITY,
    FORMATS,
    INPUT,
    LAST,
    MOST_BYTES,
    MUTED,
    OUTPUT,
    BadFrame,
    Format,
    Frame,
    data_of,
    is_finite,
    is_last,
    most_samples,
    pack,
    position_of,
    renumbered,
    samples_of,
    unpack,
)

GOOD = pack(INPUT, Frame("s16", LAST, 513, 70_000, 1 << 40, b"\x01\x00\xff\x7f"))


def test_the_header_is_as_documented() -> None:
    assert struct.pack("<BBBBHHIIQ", 0xA7, 1, 1, 0, 2, 513, 70_000, 0, 1 << 40) + b"\x01\x00\xff\x7f" == GOOD
    frame = unpack(GOOD, INPUT)
    assert (frame.format, frame.flags, frame.session, frame.seq, frame.position, frame.samples) == (
        *("s16", LAST, 513, 70_000, 1 << 40, 2),
    )
    again = renumbered(GOOD, 7, DISCONTINUITY)
    assert unpack(again, INPUT).seq == 7
    assert unpack(again, INPUT).flags == LAST | DISCONTINUITY
    assert position_of(again) == 1 << 40
    assert is_last(again)


@pytest.mark.parametrize("sample_format", FORMATS)
def test_samples_come_back(sample_format: Format) -> None:
    samples = np.linspace(-1.0, 0.999, 301, dtype=np.float32)
    frame = Frame(sample_format, 0, 1, 0, 0, data_of(samples, sample_format))
    found = samples_of(unpack(pack(OUTPUT, frame), OUTPUT))
    np.testing.assert_allclose(found, samples, atol=0.5 / 32768 if sample_format == "s16" else 0.0)
    np.testing.assert_array_equal(data_of(found, sample_format), frame.data)
    loud = samples_of(Frame("s16", 0, 1, 0, 0, data_of(np.array([2.0, -2.0], dtype=np.float32), "s16")))
    np.testing.assert_array_equal(loud, np.array([32767 / 32768, -1.0], dtype=np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_seen(value: float) -> None:
    samples = np.zeros(5, dtype=np.float32)
    assert is_finite(Frame("f32", 0, 1, 0, 0, data_of(samples, "f32")))
    samples[3] = value
    assert not is_finite(Frame("f32", 0, 1, 0, 0, data_of(samples, "f32")))


def changed(at: int, value: int) -> bytes:
    found = bytearray(GOOD)
    found[at] = value
    return bytes(found)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "shorter than its header"),
        (GOOD[:23], "shorter than its header"),
        (GOOD[:-1], "not a whole number of samples"),
        (changed(0, 0xA8), "magic is 168"),
        (changed(1, 2), "version is 2"),
        (changed(2, OUTPUT), "type is 2, not 1"),
        (changed(3, 2), "format is 2"),
        (changed(4, MUTED), "flags are 8"),
        (changed(5, 0x80), "flags are"),
        (changed(12, 1), "reserved field is 1"),
        (changed(4, 0)[:24], "no samples"),
        (GOOD + bytes(MOST_BYTES), "32768 at most"),
    ],
)
def test_other_bytes_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(BadFrame, match=said):
        unpack(data, INPUT)


def test_a_last_frame_may_be_empty() -> None:
    assert unpack(GOOD[:24], INPUT).samples == 0


@pytest.mark.parametrize("sample_format", FORMATS)
def test_the_largest_frame_fits(sample_format: Format) -> None:
    samples = np.zeros(most_samples(sample_format), dtype=np.float32)
    packed = pack(INPUT, Frame(sample_format, 0, 1, 0, 0, data_of(samples, sample_format)))
    assert unpack(packed, INPUT).samples == len(samples)
    assert len(packed) + 4 > MOST_BYTES
