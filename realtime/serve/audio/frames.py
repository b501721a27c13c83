"""Binary frames of an audio session: a header of 24 bytes, little-endian, then mono samples."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from ....kernels.types import FloatArray

Format = Literal["s16", "f32"]
FORMATS: tuple[Format, ...] = get_args(Format)  # by the number that stands for them
SAMPLE_BYTES: dict[Format, int] = {"s16": 2, "f32": 4}
MOST_BYTES = 32_768  # of a frame, with its header
INPUT, OUTPUT = 1, 2  # from the client, to the client
DISCONTINUITY, LAST, LATE, MUTED, RESUMED = 1, 2, 4, 8, 16  # flags
_INPUT_FLAGS = DISCONTINUITY | LAST
_MAGIC, _VERSION = 0xA7, 1
# Magic, version, direction, format, flags, session, sequence number, reserved, position of the first sample.
_HEADER = struct.Struct("<BBBBHHIIQ")
HEADER_BYTES = _HEADER.size
_FLAGS_AT, _SEQ_AT, _POSITION_AT = 4, 8, 16
_FULL_SCALE = 32768.0


class BadFrame(Exception):  # noqa: N818 - it says what the bytes are
    """The bytes are not the frame that is due; the reason follows in a few words."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame.

    Attributes:
        format: Format of its samples.
        flags: Any of `DISCONTINUITY`, `LAST`, `LATE`, `MUTED` and `RESUMED`.
        session: Number of the session.
        seq: Number of the frame on its connection and direction.
        position: Position of its first sample in the input of the session.
        data: The samples as they are sent.
    """

    format: Format
    flags: int
    session: int
    seq: int
    position: int
    data: bytes = b""

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.data) // SAMPLE_BYTES[self.format]


def pack(direction: int, frame: Frame) -> bytes:
    """A frame as it is sent; `renumbered` can still change its number and flags."""
    number = FORMATS.index(frame.format)
    head = (_MAGIC, _VERSION, direction, number, frame.flags, frame.session, frame.seq, 0, frame.position)
    return _HEADER.pack(*head) + frame.data


def renumbered(packed: bytes, seq: int, flags: int = 0) -> bytes:
    """A packed frame with another sequence number, and with these flags beside its own."""
    changed = bytearray(packed)
    struct.pack_into("<I", changed, _SEQ_AT, seq)
    changed[_FLAGS_AT] |= flags
    return bytes(changed)


def is_last(packed: bytes) -> bool:
    """Whether a packed frame is the last one of its session."""
    return bool(packed[_FLAGS_AT] & LAST)


def position_of(packed: bytes) -> int:
    """Position of the first sample of a packed frame."""
    return int.from_bytes(packed[_POSITION_AT:HEADER_BYTES], "little")


def unpack(message: bytes, direction: int) -> Frame:
    """The frame that a message is.

    Args:
        message: What was received.
        direction: `INPUT` or `OUTPUT`: which of the two is due.

    Raises:
        BadFrame: it is none, or not of this protocol.
    """
    if len(message) > MOST_BYTES:
        raise BadFrame(f"frame of {len(message)} bytes, {MOST_BYTES} at most")
    if len(message) < HEADER_BYTES:
        raise BadFrame(f"frame of {len(message)} bytes, shorter than its header of {HEADER_BYTES}")
    magic, version, kind, number, flags, session, seq, reserved, position = _HEADER.unpack_from(message)
    for name, found, due in (
        ("magic", magic, _MAGIC),
        ("version", version, _VERSION),
        ("type", kind, direction),
        ("reserved field", reserved, 0),
    ):
        if found != due:
            raise BadFrame(f"{name} is {found}, not {due}")
    if number >= len(FORMATS):
        raise BadFrame(f"format is {number}, of 0 and 1")
    if direction == INPUT and flags & ~_INPUT_FLAGS:
        raise BadFrame(f"flags are {flags}, of 1 and 2")
    sample_format = FORMATS[number]
    data = message[HEADER_BYTES:]
    if len(data) % SAMPLE_BYTES[sample_format]:
        raise BadFrame(f"{len(data)} bytes are not a whole number of samples")
    if not data and not flags & LAST:
        raise BadFrame("no samples")
    return Frame(sample_format, flags, session, seq, position, data)


def is_finite(frame: Frame) -> bool:
    """Whether no sample is NaN or infinite."""
    import numpy as np

    return frame.format != "f32" or bool(np.isfinite(np.frombuffer(frame.data, dtype="<f4")).all())


def samples_of(frame: Frame) -> FloatArray:
    """Samples of a frame, nominally within -1..1 [n]."""
    import numpy as np

    if frame.format == "f32":
        return np.frombuffer(frame.data, dtype="<f4").astype(np.float32)
    return np.frombuffer(frame.data, dtype="<i2").astype(np.float32) / np.float32(_FULL_SCALE)


def data_of(samples: FloatArray, sample_format: Format) -> bytes:
    """Samples [n], nominally within -1..1, as they are sent; what exceeds that is clipped in the format s16."""
    import numpy as np

    if sample_format == "f32":
        return samples.astype("<f4").tobytes()
    clipped: bytes = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1.0).astype("<i2").tobytes()
    return clipped


def most_samples(sample_format: Format) -> int:
    """How many samples a frame holds at most."""
    return (MOST_BYTES - HEADER_BYTES) // SAMPLE_BYTES[sample_format]
