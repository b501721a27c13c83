"""Read the sound of almost any file as mono blocks: soundfile first, FFmpeg (PyAV) for what it does not know."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.errors import AudioFileError

log = logging.getLogger(__name__)

MonoBlock = NDArray[np.float64]

EXTENSIONS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"),
    *(".m4a", ".aac", ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".mka", ".wma", ".avi", ".3gp", ".ts"),
)
_BLOCK_S = 1.0
_MAX_RATE = 768_000
_PCM = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32")


@dataclass(slots=True)
class AudioSource:
    """An open file.

    Attributes:
        path: The file.
        container: "WAV", "FLAC", "mov,mp4" ...
        encoding: "PCM_16", "aac" ...
        sample_rate: Hz.
        channels: As stored.
        expected_frames: What the header announces, None if it does not.
        raw_blocks: Reads [N, channels] float64 to the end, once.
        warnings: What was found wrong on the way and not fatal.
    """

    path: Path
    container: str
    encoding: str
    sample_rate: int
    channels: int
    expected_frames: int | None
    raw_blocks: Callable[[], Iterator[NDArray[np.float64]]] = field(repr=False)
    warnings: list[str] = field(default_factory=list)

    @property
    def subtype(self) -> str | None:
        """The sample format in soundfile's terms, None for compressed sound."""
        return self.encoding if self.encoding in (*_PCM, "FLOAT", "DOUBLE") else None

    def blocks(self, repair: bool = False) -> Iterator[MonoBlock]:
        """The mean of the channels, block by block, to the end. Integer samples stay exact in mono.

        Args:
            repair: Put silence in the place of samples that are no number.

        Raises:
            AudioFileError: there is no audio, it breaks off in an unreadable way, or it holds NaN or infinity.
        """
        read = repaired = 0
        for block in self.raw_blocks():
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
            good = np.isfinite(mono)
            if not good.all():
                if not repair:
                    first_s = (read + int(np.argmin(good))) / self.sample_rate
                    raise AudioFileError(
                        f"{self.path} holds samples that are no number (NaN or infinity), the first at {first_s:.3f} s; "
                        "--repair puts silence in their place"
                    )
                repaired += int((~good).sum())
                mono = np.where(good, mono, 0.0)
            read += len(mono)
            if len(mono):
                yield mono
        if read == 0:
            raise AudioFileError(f"{self.path} holds no audio: it has 0 samples")
        if repaired:
            self._warn(f"{repaired} samples that were no number are silence now")
        if self.expected_frames is not None and read < self.expected_frames:
            missing_s = (self.expected_frames - read) / self.sample_rate
            self._warn(f"it is cut short: {missing_s:.2f} s of what its header announces are missing")

    def _warn(self, what: str) -> None:
        self.warnings.append(what)
        log.warning("%s: %s", self.path, what)


@contextmanager
def open_audio(path: Path) -> Iterator[AudioSource]:
    """Open a file for reading.

    Raises:
        AudioFileError: it is missing, unreadable, or no audio.
    """
    _refuse_what_is_no_file(path)
    opened = _open_soundfile(path) or _open_ffmpeg(path)
    with opened as source:
        if not 0 < source.sample_rate <= _MAX_RATE:
            raise AudioFileError(f"{path} claims a rate of {source.sample_rate} Hz; up to {_MAX_RATE} can be read")
        yield source


def _refuse_what_is_no_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise AudioFileError(f"{path} is a folder, not an audio file")
        if path.stat().st_size == 0:
            raise AudioFileError(f"{path} is empty: the file has 0 bytes")
        path.open("rb").close()
    except FileNotFoundError as error:
        raise AudioFileError(f"{path} does not exist; check the name") from error
    except OSError as error:
        raise AudioFileError(f"{path} cannot be read: {error.strerror}") from error


def _open_soundfile(path: Path) -> AbstractContextManager[AudioSource] | None:
    """None if libsndfile does not know the format."""
    import soundfile

    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        return None

    def raw_blocks() -> Iterator[NDArray[np.float64]]:
        # Integers are scaled here: 2^-31 is exact for every width, which libsndfile's own conversion is not.
        is_pcm = file.subtype in _PCM
        size = max(int(_BLOCK_S * file.samplerate), 1)
        while True:
            try:
                block = file.read(size, dtype="int32" if is_pcm else "float64", always_2d=True)
            except soundfile.LibsndfileError as error:
                log.warning("%s: it cannot be read further (%s)", path, error)
                return
            if len(block) == 0:
                return
            yield block * 2.0**-31 if is_pcm else block

    @contextmanager
    def opened() -> Iterator[AudioSource]:
        with file:
            # Some formats announce a length that is unknown as the largest number there is.
            frames = file.frames if 0 <= file.frames < 2**60 else None
            yield AudioSource(path, file.format, file.subtype, file.samplerate, file.channels, frames, raw_blocks)

    return opened()


def _open_ffmpeg(path: Path) -> AbstractContextManager[AudioSource]:
    import av

    unreadable = f"{path} is no audio that altervox can read; it reads WAV, FLAC, OGG, MP3, M4A, WebM and video files"
    try:
        container = av.open(str(path))
    except (av.FFmpegError, ValueError, OSError) as error:
        raise AudioFileError(unreadable) from error
    stream = next(iter(container.streams.audio), None)
    if stream is None or not stream.rate:
        container.close()
        raise AudioFileError(f"{path} has no sound: {container.format.long_name} without an audio track")
    rate, channels = int(stream.rate), max(int(stream.channels), 1)

    def raw_blocks() -> Iterator[NDArray[np.float64]]:
        # Same rate and layout, only the sample format is made one: planes of doubles.
        converter = av.AudioResampler(format="dblp", layout=stream.layout, rate=rate)
        damaged = 0
        for packet in container.demux(stream):
            try:
                frames: list[Any] = [out for frame in packet.decode() for out in converter.resample(frame)]
            except av.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                yield frame.to_ndarray().T
        if damaged:
            log.warning("%s: %d damaged packets were left out", path, damaged)

    source = AudioSource(path, container.format.name, stream.codec_context.name, rate, channels, None, raw_blocks)

    @contextmanager
    def opened() -> Iterator[AudioSource]:
        with container:
            try:
                yield source
            except av.FFmpegError as error:
                raise AudioFileError(f"{path} is damaged: {error.strerror}") from error

    return opened()
