"""Where the sound lies in a file, whatever its header says: unfinished or wrapped sizes, files joined end to end."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from struct import Struct, unpack
from typing import BinaryIO, NamedTuple
from zlib import crc32

_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of the identifiers of most W64 chunks
UNKNOWN = 0x7FFFF000  # 32-bit sizes from here on are what writers put that could not know
_UNKNOWN_64 = 2**62
_MOST_CHUNKS = 4096  # before the samples, and after them
_PADDING_BYTES = 4096  # zeros after the samples, up to so many, fill a sector or a cluster
MOST_PARTS = 1000  # files joined end to end
_JOINED = ((b"RIFF", b"WAVE"), (b"RIFX", b"WAVE"), (b"RF64", b"WAVE"), (b"FORM", b"AIFF"), (b"FORM", b"AIFC"))
_AFTER_SAMPLES = b"LIST bext cue  fact iXML id3  ID3  smpl inst plst JUNK PAD  COMT MARK NAME AUTH ANNO".split(b" ")
_ID3V1_BYTES = 128
_SEARCHED_BYTES = 2**20  # at once
_OGG_HEAD = 27
_OGG_FIRST, _OGG_LAST = 2, 4  # flags of pages that begin and end a logical stream
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_MOST_DAMAGED = 1000  # pages, before the rest of a file is taken as it is


class FileBytes:
    """A file that can be sliced as bytes are. Unlike mapped memory, it fails with OSError where the file is cut."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        self._searched = b""  # what was read to search in it, and its offset: hits may lie a few bytes apart
        self._searched_from = 0

    def __len__(self) -> int:
        return self._size

    def at(self, start: int, count: int) -> bytes:
        """Bytes from an offset on; fewer at the end."""
        self._file.seek(start)
        return self._file.read(count)

    def find(self, what: bytes, start: int) -> int:
        """Offset of the next place that holds these bytes, -1 if there is none."""
        while start <= self._size - len(what):
            last = self._searched_from + len(self._searched) - len(what)
            if not self._searched_from <= start <= last:
                self._searched, self._searched_from = self.at(start, _SEARCHED_BYTES), start
                last = start + len(self._searched) - len(what)
            found = self._searched.find(what, start - self._searched_from)
            if found >= 0:
                return self._searched_from + found
            if last < start:  # the file has become shorter
                break
            start = last + 1
        return -1


class _Chunks(NamedTuple):
    """How a container writes its chunks down."""

    first: int  # where the first one begins
    head: Struct  # identifier and size
    align: int
    counts_head: bool  # whether the size includes the head
    samples: bytes  # identifier of the chunk that holds the samples


_RIFF = _Chunks(12, Struct("<4sI"), 2, False, b"data")
_CONTAINERS = {
    b"RIFF": _RIFF,
    b"RF64": _RIFF,
    b"RIFX": _RIFF._replace(head=Struct(">4sI")),
    b"FORM": _Chunks(12, Struct(">4sI"), 2, False, b"SSND"),
    b"riff": _Chunks(40, Struct("<16sQ"), 8, True, b"data" + _W64_TAIL),
    b"caff": _Chunks(8, Struct(">4sq"), 1, False, b"data"),
}


@dataclass(frozen=True, slots=True)
class Samples:
    """Where uncompressed samples lie.

    Attributes:
        start: Offset of the first one in bytes.
        length: Number of bytes in the file.
        stated: Number of bytes by the header; None if it does not say.
        is_unfinished: Whether the header was not completed.
    """

    start: int
    length: int
    stated: int | None
    is_unfinished: bool


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a file that is a complete sound file of its own.

    Attributes:
        start: Offset of the first byte.
        end: Offset behind the last byte.
        samples: Position of the samples by the part's own header; None if not needed.
        streams: Number of logical streams in parallel.
        holes: How often pages are missing between others.
        is_ended: Whether the last page of each of these streams is there.
    """

    start: int
    end: int
    samples: Samples | None = None
    streams: int = 1
    holes: int = 0
    is_ended: bool = True


def parts_of(content: FileBytes) -> list[Part]:
    """The sound files that lie in a file one after the other, nearly always one; `MOST_PARTS` + 1 stand for more."""
    magic = content.at(0, 4)
    if magic == b"OggS":
        return list(islice(_ogg_links(content), MOST_PARTS + 1))
    if magic == b"fLaC":
        starts = [0, *islice(_flac_starts(content), MOST_PARTS)]
        return [Part(start, end) for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]
    if magic in _CONTAINERS:
        return list(islice(_chunked(content), MOST_PARTS + 1))
    return [Part(0, len(content), _au_samples(content) if magic == b".snd" else None)]


def _ogg_links(content: FileBytes) -> Iterator[Part]:
    """The links of an Ogg chain (RFC 3533): pages that begin streams come together, before all others of a link."""
    start = streams = ended = at = damaged = holes = 0
    following: dict[bytes, int] = {}  # number of the page that comes next in each stream
    in_heads = True
    while 0 <= at <= len(content) - _OGG_HEAD and damaged < _MOST_DAMAGED:
        page = _ogg_page(content, at)
        if page is None:  # go on at the next one
            at = content.find(b"OggS\0", at + 1)
            damaged += 1
            continue
        flags, serial, number = page[5], page[14:18], unpack("<I", page[18:22])[0]
        begins = bool(flags & _OGG_FIRST)
        if begins and not in_heads:
            yield Part(start, at, streams=streams, holes=holes, is_ended=ended >= streams)
            start, streams, ended, holes, following = at, 0, 0, 0, {}
        streams += begins
        in_heads = begins
        holes += following.get(serial, number) != number
        following[serial] = number + 1
        ended += bool(flags & _OGG_LAST)
        at += len(page)
    yield Part(start, len(content), streams=streams, holes=holes, is_ended=ended >= streams)


def ogg_faults(parts: list[Part]) -> list[str]:
    """What is wrong with the links of an Ogg chain, in sentences."""
    faults = []
    if holes := sum(part.holes for part in parts):
        faults.append(f"it is damaged: pages are missing in {holes} place{'s' if holes > 1 else ''}")
    if not all(part.is_ended for part in parts):
        faults.append("its last page is missing: the download or the recording was cut off")
    return faults


def _ogg_page(content: FileBytes, at: int) -> bytes | None:
    """A page; None if there is none, or it is damaged."""
    head = content.at(at, _OGG_HEAD + 255)
    body = _OGG_HEAD + (head[26] if len(head) > 26 else 0)
    if head[:5] != b"OggS\0" or len(head) < body:
        return None
    page = content.at(at, body + sum(head[_OGG_HEAD:body]))
    # The checksum takes the highest bit of each byte first, zlib's the lowest, and begins and ends inverted.
    summed = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED)
    checksum = (crc32(summed, 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "big").translate(_MIRRORED)
    return page if checksum == page[22:26] else None


def matroska_end(content: FileBytes) -> int | None:
    """Offset behind the last byte of a Matroska or WebM file (RFC 8794) by its header; None if that does not say."""
    at = 0
    for name in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):  # the head, and what holds all the rest
        first = content.at(at + 4, 1)
        if content.at(at, 4) != name or not first or not first[0]:
            return None
        size_bytes = 9 - first[0].bit_length()
        most = (1 << 7 * size_bytes) - 1  # it stands for an unknown size, as of a live stream
        size = int.from_bytes(content.at(at + 4, size_bytes)) & most
        at += 4 + size_bytes + size
    return at if size < most else None


def _flac_starts(content: FileBytes) -> Iterator[int]:
    """Where further FLAC files begin: the mark, and the head of the block that comes first in each."""
    at = 4
    while (at := content.find(b"fLaC", at)) >= 0:
        if content.at(at + 4, 4) in (b"\0\0\0\x22", b"\x80\0\0\x22"):
            yield at
        at += 4


def _au_samples(content: FileBytes) -> Samples | None:
    if len(content) < 24:
        return None
    start, stated = unpack(">2I", content.at(4, 8))
    length = max(len(content) - start, 0)
    if stated >= UNKNOWN:
        return Samples(start, length, None, False)
    return Samples(start, length, stated, stated == 0)


def _chunked(content: FileBytes) -> Iterator[Part]:
    begin: int | None = 0
    while begin is not None:
        samples, following = _find_samples(content, begin)
        yield Part(begin, following or len(content), samples)
        begin = following


def _chunk(content: FileBytes, at: int, kind: _Chunks) -> tuple[bytes, int, int, int] | None:
    """Identifier, where the body begins, its stated size, and where the next chunk would begin; None at the end."""
    body = at + kind.head.size
    if body > len(content):
        return None
    name, size = kind.head.unpack(content.at(at, kind.head.size))
    size -= kind.head.size if kind.counts_head else 0
    return name, body, size, body + size + -size % kind.align


def _find_samples(content: FileBytes, begin: int) -> tuple[Samples | None, int | None]:
    """Where the samples of the file lie that begins there, and where another one begins after it."""
    magic = content.at(begin, 4)
    kind = _CONTAINERS[magic]
    at, long_size = begin + kind.first, None
    for _ in range(_MOST_CHUNKS):
        chunk = _chunk(content, at, kind)
        if chunk is None or (chunk[2] < 0 and chunk[0] != kind.samples):
            return None, None
        name, start, size, at = chunk
        if name == b"ds64" and start + 16 <= len(content):
            long_size = unpack("<Q", content.at(start + 8, 8))[0]
        if name == kind.samples:
            break
    else:
        return None, None
    stated: int | None = max(size, 0)
    outer = unpack("<I" if kind.head.format.startswith("<") else ">I", content.at(begin + 4, 4))[0]
    can_be_open = outer >= UNKNOWN and magic != b"RF64"
    if kind.samples == b"SSND":
        offset = unpack(">I", content.at(start, 4))[0] if start + 8 <= len(content) else 0
        start, stated = start + 8 + offset, max(size - 8 - offset, 0)
    elif magic == b"caff":
        start, stated, can_be_open = start + 4, max(size - 4, 0), True
        if size == -1:
            stated = None
    elif size == 0xFFFFFFFF and long_size is not None:
        stated = long_size
    unknown = _UNKNOWN_64 if magic in (b"riff", b"caff") or long_size is not None else UNKNOWN
    if stated is not None and stated >= unknown and start + stated > len(content):
        stated = None
    available = max(len(content) - start, 0)
    if stated is None:
        return Samples(start, available, None, not can_be_open), None
    if stated >= available:
        return Samples(start, available, stated, False), None
    for length in _possible_lengths(stated, available):
        ends, following = _ends_there(content, start + length, kind)
        if ends:
            return Samples(start, length, stated, False), following
    return Samples(start, available, stated, stated == 0), None


def _possible_lengths(stated: int, available: int) -> Iterator[int]:
    """The stated length, and those of which 32 bits would state the same, longest first."""
    yield stated
    yield from range(stated + (available - stated >> 32 << 32), stated, -(2**32))


def _ends_there(content: FileBytes, end: int, kind: _Chunks) -> tuple[bool, int | None]:
    """Whether what follows is no sound but chunks, tags or padding; and where another file begins after it."""
    for start in dict.fromkeys((end + -end % kind.align, end)):  # some writers forget to fill up
        at = start
        for _ in range(_MOST_CHUNKS):
            rest, head = len(content) - at, content.at(at, 12)
            if rest < kind.head.size or (rest <= _PADDING_BYTES and not any(content.at(at, rest))):
                return True, None
            if (head[:4], head[8:]) in _JOINED:
                return True, at
            if head.startswith((b"ID3", b"APETAGEX")) or (rest == _ID3V1_BYTES and head.startswith(b"TAG")):
                return True, None
            chunk = _chunk(content, at, kind)
            if chunk is None or not _is_name(chunk[0]) or chunk[2] < 0:
                break
            if chunk[1] + chunk[2] > len(content):
                if chunk[0] in _AFTER_SAMPLES:  # cut off in the midst of it
                    return True, None
                break
            at = chunk[3]
    return False, None


def _is_name(identifier: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in identifier[:4]) and identifier[4:] in (b"", _W64_TAIL)
