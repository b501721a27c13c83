"""Read sound through libsndfile: every part of a file, by where its samples lie rather than by what its header says."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...kernels.errors import AudioFileError
from ...kernels.types import Float64Array
from .ffmpeg import opened_by_ffmpeg
from .layout import MOST_PARTS, FileBytes, Part, Samples, ogg_faults, parts_of
from .source import PCM, AudioSource, block_frames, check_limits, described

if TYPE_CHECKING:
    from soundfile import SoundFile

_BYTES = {
    "PCM_S8": 1,
    "PCM_U8": 1,
    "PCM_16": 2,
    "PCM_24": 3,
    "PCM_32": 4,
    "FLOAT": 4,
    "DOUBLE": 8,
    "ULAW": 1,
    "ALAW": 1,
}
_MPEG_TAGS = (b"\x50\0", b"\x55\0")  # formats of WAV files
_SEARCHED_FOR_FORMAT = 4096  # bytes in which they stand
_BIG_ENDIAN = (b"RIFX", b"FORM", b".snd", b"caff")


class _View(io.RawIOBase):
    """A stretch of a file as a file. libsndfile cannot be told of errors, so that they are kept."""

    def __init__(self, content: FileBytes, start: int, end: int) -> None:
        self._content = content
        self._start = start
        self._size = end - start
        self._at = 0
        self.error: OSError | None = None

    def readinto(self, buffer: Any) -> int:
        into = memoryview(buffer).cast("B")
        try:
            found = self._content.at(self._start + self._at, max(min(len(into), self._size - self._at), 0))
        except OSError as error:
            self.error, found = error, b""
        into[: len(found)] = found
        self._at += len(found)
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class _Track:
    """What a part holds.

    Attributes:
        part: Position of the sound in the file.
        container: Container by libsndfile's name.
        encoding: Encoding by libsndfile's name.
        sample_rate: Hz.
        channels: Number of channels in the file.
        frames: Number of frames that can be read; None if unknown.
        stated: Number of frames by the header; None if it does not say.
        is_raw: Whether libsndfile gets the samples only, because it would stop where the header says.
        endian: Byte order of the samples.
    """

    part: Part
    container: str
    encoding: str
    sample_rate: int
    channels: int
    frames: int | None
    stated: int | None
    is_raw: bool
    endian: str


@contextmanager
def opened_by_sndfile(path: Path) -> Iterator[AudioSource | None]:
    """A file of the formats that libsndfile knows; None if it is none of them, or holds what FFmpeg reads better."""
    with path.open("rb") as file:
        content = FileBytes(file)
        try:
            parts = parts_of(content)
        except OSError as error:
            raise AudioFileError(f"{path} cannot be read: {described(error)}") from error
        if len(parts) > MOST_PARTS:
            raise AudioFileError(f"{path} is more than {MOST_PARTS} sound files joined end to end; cut it into pieces")
        if len(parts) == 1 and parts[0].holes:
            yield None  # FFmpeg tells where they are
            return
        known: list[_Track] = []
        for part in parts:
            track = _examined(content, part) if part.streams < 2 else None
            if track is None:
                yield None
                return
            known.append(track)
        for track in known:
            check_limits(path, track.sample_rate, track.channels)
        first = known[0]
        rate = first.sample_rate

        def total(frames: list[int | None]) -> int | None:
            if None in frames:
                return None
            return sum(round((n or 0) * rate / t.sample_rate) for n, t in zip(frames, known, strict=True))

        def raw_blocks() -> Iterator[Float64Array]:
            for track in known:
                blocks = _blocks(content, track, source, len(known) == 1)
                yield from blocks if track.sample_rate == rate else _resampled(blocks, track, rate)

        frames = total([track.frames for track in known])
        source = AudioSource(
            path,
            first.container,
            first.encoding,
            rate,
            max(track.channels for track in known),
            None if frames is None else total([track.stated for track in known]),
            None if frames is None else frames / rate,
            raw_blocks,
            warnings=[*(fault for track in known if (fault := _fault(track))), *ogg_faults(parts)],
        )
        yield source


def _examined(content: FileBytes, part: Part) -> _Track | None:
    """None if libsndfile does not know the format."""
    import soundfile

    if _holds_mp3(content.at(part.start, _SEARCHED_FOR_FORMAT)):
        return None
    end = part.end
    if part.samples is not None and content.at(part.start, 4) == b"caff":
        end = max(end, part.samples.start + (part.samples.stated or 0))  # libsndfile refuses one that was cut off
    with _View(content, part.start, end) as view:
        try:
            with soundfile.SoundFile(view) as file:
                found = file.format, file.subtype, file.samplerate, file.channels, file.frames
                endian = file.endian
        except (soundfile.LibsndfileError, RuntimeError, ValueError):
            return None
    container, encoding, rate, channels, frames = found
    if endian == "FILE":
        endian = "BIG" if content.at(part.start, 4) in _BIG_ENDIAN else "LITTLE"
    frame_bytes = _BYTES.get(encoding, 0) * channels
    if (end > part.end and not frame_bytes) or encoding.startswith("MPEG_LAYER"):
        return None
    samples = part.samples
    if samples is None or not frame_bytes:
        # Some formats announce a length that is unknown as the largest number there is.
        known = frames if 0 <= frames < 2**60 else None
        if samples is not None and samples.is_unfinished and not known:
            return None  # FFmpeg goes by what is there
        stated = _scaled(known, samples)
        return _Track(part, container, encoding, rate, channels, known, stated, False, endian)
    there = samples.length // frame_bytes
    stated = None if samples.stated is None or samples.is_unfinished else samples.stated // frame_bytes
    return _Track(part, container, encoding, rate, channels, there, stated, frames != there, endian)


def _holds_mp3(head: bytes) -> bool:
    """Whether a WAV file holds MP3: libsndfile's decoder prints what it thinks of it, already on opening."""
    return head.startswith(b"RIFF") and head[head.find(b"fmt ") + 8 :][:2] in _MPEG_TAGS


def _scaled(frames: int | None, samples: Samples | None) -> int | None:
    """Frames that a header announces, by what is there of its bytes; libsndfile counts what is there."""
    if frames is None or samples is None or not samples.stated or not samples.length:
        return frames
    return int(frames * max(samples.stated / samples.length, 1.0))


def _fault(track: _Track) -> str:
    """What is wrong with the sizes in a header that says less than there is; empty if nothing is."""
    samples = track.part.samples
    if samples is None or not track.frames:
        return ""
    seconds = track.frames / track.sample_rate
    if samples.is_unfinished:
        return (
            f"its header is unfinished, as of a recording that was cut off; all {seconds:.1f} s in the file were read"
        )
    if samples.stated is None or samples.stated >= samples.length:
        return ""
    if track.encoding not in _BYTES:
        return f"it goes on beyond the {seconds:.1f} s that its header states; what follows cannot be read"
    return (
        f"its header states {(track.stated or 0) / track.sample_rate:.1f} s; all {seconds:.1f} s in the file were read"
    )


def _blocks(content: FileBytes, track: _Track, source: AudioSource, is_only: bool) -> Iterator[Float64Array]:
    """The sound of a part [N, channels], which may be the only one."""
    import soundfile

    start, end, options = track.part.start, track.part.end, {}
    samples = track.part.samples
    if track.is_raw and samples is not None:
        start, end = samples.start, samples.start + samples.length
        options = {
            "samplerate": track.sample_rate,
            "channels": track.channels,
            "format": "RAW",
            "subtype": track.encoding,
            "endian": track.endian,
        }
    with _View(content, start, end) as view:
        try:
            file = soundfile.SoundFile(view, **options)
        except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:  # it was examined, but changed since
            source.warn(f"it is damaged and cannot be read further ({described(error)})")
            return
        with file:
            if track.frames is None:
                file.seekable = lambda: False  # soundfile seeks after each read, and fails at such a file's end
            yield from _read(file, track, source, is_only)
        if view.error is not None:
            source.warn(f"it cannot be read further: {described(view.error)}")


def _read(file: SoundFile, track: _Track, source: AudioSource, is_only: bool) -> Iterator[Float64Array]:
    import soundfile

    # Integers are scaled here: 2^-31 is exact for every width, which libsndfile's own conversion is not.
    is_pcm = track.encoding in PCM
    size = block_frames(track.sample_rate, track.channels)
    read = 0
    while True:
        try:
            block = file.read(size, dtype="int32" if is_pcm else "float64", always_2d=True)
        except soundfile.LibsndfileError as error:
            rest = _rest_of_flac(source, read) if is_only and track.container == "FLAC" else iter(())
            following = next(rest, None)
            if following is None:
                source.warn(f"it is damaged and cannot be read further ({described(error)})")
                return
            at_s = read / track.sample_rate
            source.warn(f"it is damaged after {at_s:.1f} s ({described(error)}); silence is put for what is lost")
            yield following
            yield from rest
            return
        if len(block) == 0:
            return
        read += len(block)
        yield block * 2.0**-31 if is_pcm else block


def _rest_of_flac(source: AudioSource, start: int) -> Iterator[Float64Array]:
    """What FFmpeg can read of a damaged file from a frame on [N, channels], holes as silence."""
    read = 0
    try:
        with opened_by_ffmpeg(source.path, b"fLaC", None) as other:
            other.is_quiet = True  # it has been said that there is damage
            if (other.sample_rate, other.channels) != (source.sample_rate, source.channels):
                return
            for block in other.raw_blocks():
                known = min(max(start - read, 0), len(block))
                read += len(block)
                if known < len(block):
                    yield block[known:]
    except AudioFileError:  # libsndfile has read what there is
        return


def _resampled(blocks: Iterator[Float64Array], track: _Track, rate: int) -> Iterator[Float64Array]:
    """Blocks [N, channels] at another rate."""
    import soxr

    stream = soxr.ResampleStream(track.sample_rate, rate, track.channels, dtype="float64", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block)).reshape(-1, track.channels)
    yield stream.resample_chunk(np.zeros((0, track.channels)), last=True).reshape(-1, track.channels)
