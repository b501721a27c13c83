"""Write mono audio beside its place and move it there when it is complete."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.errors import OutputError, ParameterError

if TYPE_CHECKING:
    from soundfile import SoundFile


@dataclass(frozen=True, slots=True)
class Container:
    """A format that can be written.

    Attributes:
        name: Name in soundfile's terms.
        subtypes: Sample formats that it keeps, the default one first.
        rates: Sample rates in Hz that it takes, None for any up to the highest.
        highest_rate: Hz; libsndfile's Vorbis encoder crashes beyond 200 kHz, others refuse.
        tens_above: Hz; of higher rates it takes multiples of ten only.
    """

    name: str
    subtypes: tuple[str, ...]
    rates: tuple[int, ...] | None = None
    highest_rate: int = 768_000
    tens_above: int = 768_000


CONTAINERS = {
    ".wav": Container("WAV", ("PCM_16", "PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    ".flac": Container("FLAC", ("PCM_16", "PCM_S8", "PCM_24"), highest_rate=655_350, tens_above=65_535),
    ".aiff": Container("AIFF", ("PCM_16", "PCM_S8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    ".ogg": Container("OGG", ("VORBIS",), highest_rate=192_000),
    ".opus": Container("OGG", ("OPUS",), (8000, 12000, 16000, 24000, 48000)),
    ".mp3": Container("MP3", ("MPEG_LAYER_III",), (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
}
CONTAINERS[".aif"] = CONTAINERS[".aiff"]

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_BYTES = {"FLOAT": 4, "DOUBLE": 8} | {subtype: bits // 8 for subtype, bits in _BITS.items()}
_NEAREST = {  # where a container does not keep a sample format
    "PCM_U8": ("PCM_S8", "PCM_16"),
    "PCM_S8": ("PCM_U8", "PCM_16"),
    "PCM_32": ("PCM_24",),
    "FLOAT": ("PCM_24",),
    "DOUBLE": ("PCM_24",),
}
_LIMIT_BYTES = 4_000_000_000  # of WAV and AIFF, whose sizes have 32 bits
_LIMITED = ("WAV", "AIFF")
_WRITE_FRAMES = 16384  # at once: libsndfile's Vorbis encoder keeps them on the stack and crashes on a minute

_SYSTEM_ERROR = 2  # of libsndfile: it cannot tell more
_PROBE_BYTES = 1 << 20


def container_of(path: Path) -> Container:
    """The format that a path's extension stands for.

    Raises:
        ParameterError: there is none, or the path is not valid Unicode.
    """
    check_name(path)
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        what = f"ends in {path.suffix!r}" if path.suffix else "has no file extension"
        raise ParameterError(f"output {path} {what}; use one of {' '.join(CONTAINERS)}")
    return container


def check_name(path: Path) -> None:
    """Raises ParameterError for a path that is not valid Unicode: libraries and JSON could not name it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ParameterError(f"output {path} is not valid Unicode; give another name") from error


def accepted_rate(container: Container, rate: int) -> int:
    """The rate itself, or the next higher one that the container takes (its highest if there is none)."""
    if container.rates is None:
        return min(rate if rate <= container.tens_above else -(-rate // 10) * 10, container.highest_rate)
    return min((r for r in container.rates if r >= rate), default=container.rates[-1])


def kept_subtype(container: Container, subtype: str | None) -> str:
    """The sample format to write, given the input's."""
    candidates = (subtype, *_NEAREST.get(subtype or "", ()))
    return next((s for s in candidates if s in container.subtypes), container.subtypes[0])


class AudioWriter:
    """Quantises and writes blocks; use `open_writer`."""

    def __init__(self, file: SoundFile, part: Path, path: Path, subtype: str) -> None:
        self._file = file
        self._part = part
        self._path = path
        self._bits = _BITS.get(subtype)
        is_limited = file.format in _LIMITED
        self._most_frames = _LIMIT_BYTES // _BYTES[subtype] if is_limited else None
        self.frames = 0

    def write(self, block: NDArray[np.floating[Any]]) -> None:
        """Append mono samples [N]; integer formats round to the nearest step and clip.

        Raises:
            OutputError: they did not all arrive, or are more than the format holds.
        """
        from soundfile import LibsndfileError

        if self._most_frames is not None and self.frames + len(block) > self._most_frames:
            raise _too_long(self._path)
        samples: NDArray[Any] = block
        if self._bits is not None:
            steps = 2.0 ** (self._bits - 1)
            rounded = np.rint(block.astype(np.float64) * steps).clip(-steps, steps - 1)
            samples = (rounded.astype(np.int64) << (32 - self._bits)).astype(np.int32)
        elif self._file.subtype not in ("FLOAT", "DOUBLE"):
            samples = block.clip(-1.0, 1.0)  # encoders wrap or complain beyond
        try:
            for start in range(0, len(samples), _WRITE_FRAMES):
                self._file.write(samples[start : start + _WRITE_FRAMES])
        except (LibsndfileError, AssertionError) as error:  # the latter where libsndfile wrote less than it was given
            raise _incomplete(self._part, self._path) from error
        self.frames += len(block)


@contextmanager
def open_writer(
    path: Path, container: Container, subtype: str, sample_rate: int, expected_frames: int | None
) -> Iterator[AudioWriter]:
    """Write a file under a temporary name in the same folder; it takes its place only if all goes well.

    The folder is made if need be; if the block is left by an exception, nothing that was made stays.

    Args:
        path: Path of the finished file.
        container: Format of the file.
        subtype: Sample format.
        sample_rate: Hz.
        expected_frames: To choose RF64 where WAV's 4 GB would not do; None if unknown.

    Raises:
        OutputError: the folder or the file cannot be written, or the format does not hold so much.
    """
    name = container.name
    if name in _LIMITED and (expected_frames or 0) * _BYTES[subtype] > _LIMIT_BYTES:
        if name != "WAV":
            raise _too_long(path)
        name = "RF64"
    with _part_beside(path) as part:
        with _encoder(part, path, name, subtype, sample_rate) as file:
            writer = AudioWriter(file, part, path, subtype)
            yield writer
        if not writer.frames:
            short = f"the input is too short for a sample at {sample_rate} Hz"
            raise OutputError(f"{path} would be empty, for {short}; give a longer one")
        _verify(part, path, writer.frames)
        with _naming(path):
            with part.open("r+b") as written:
                os.fsync(written.fileno())
            part.replace(path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Says of the system's errors which file they befell."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


@contextmanager
def _part_beside(path: Path) -> Iterator[Path]:
    """An empty file beside a path, gone in the end unless it has been moved; so are new folders that stay empty."""
    part = path.with_name(f".altervox-{secrets.token_hex(4)}.part")
    with _naming(path):
        new_folders = [folder for folder in path.parents if not folder.exists()]  # innermost first
    try:
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.touch()
        yield part
    finally:
        with suppress(OSError):  # it was moved, or could not be made
            part.unlink()
        for folder in new_folders:
            with suppress(OSError):  # it holds the result
                folder.rmdir()


@contextmanager
def _encoder(part: Path, path: Path, name: str, subtype: str, sample_rate: int) -> Iterator[SoundFile]:
    import soundfile

    try:
        file = soundfile.SoundFile(part, "w", sample_rate, 1, subtype, format=name)
    except soundfile.LibsndfileError as error:
        if error.code == _SYSTEM_ERROR:
            raise _incomplete(part, path) from error
        reason = error.error_string.strip() or "libsndfile does not say why"
        raise OutputError(f"{path} cannot be written as {name} {subtype} at {sample_rate} Hz: {reason}") from error
    try:
        yield file
    finally:
        try:
            file.close()
        except soundfile.LibsndfileError as error:
            raise _incomplete(part, path) from error


def _too_long(path: Path) -> OutputError:
    others = "a .flac" if path.suffix.lower() == ".wav" else "a .flac, or a .wav, which becomes RF64"
    return OutputError(
        f"{path} would be larger than the {_LIMIT_BYTES // 10**9} GB that its format holds; name {others}"
    )


def _verify(part: Path, path: Path, frames: int) -> None:
    """A full disk can pass unnoticed while closing, so count what is there: all formats keep the exact length."""
    import soundfile

    try:
        found = soundfile.info(part).frames
    except soundfile.LibsndfileError as error:
        raise _incomplete(part, path) from error
    if found != frames:
        raise OutputError(f"{_incomplete(part, path)} ({found} of {frames} samples arrived)")


def _incomplete(part: Path, path: Path) -> OutputError:
    """Says why a file is not complete: libraries do not tell, so the system is asked by writing on."""
    reason = "the encoder does not say why; name another format, such as .wav"
    try:
        with part.open("ab") as file:
            file.write(bytes(_PROBE_BYTES))
    except OSError as error:
        is_full = error.errno == errno.ENOSPC
        reason = "the disk is full; make room or name another place" if is_full else str(error.strerror or error)
    return OutputError(f"{path} could not be written completely: {reason}")
