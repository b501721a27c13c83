"""Read the sound of almost any file as mono blocks: libsndfile for what it knows well, FFmpeg (PyAV) for the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.errors import AudioFileError

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from soundfile import SoundFile

log = logging.getLogger(__name__)

MonoBlock = NDArray[np.float64]

EXTENSIONS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"),
    *(".m4a", ".aac", ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".mka", ".wma", ".avi", ".3gp"),
)
_BLOCK_S = 1.0
_MAX_RATE = 768_000
_NEGLIGIBLE_S = 0.1  # of missing sound: lossy formats announce their length in whole frames, or with their padding
_PCM = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32")
# What libsndfile is given, by the first bytes. Not MP3: its decoder prints to stderr what it thinks of sound files.
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"fLaC", b"OggS", b".snd", b"caff")
# What FFmpeg may take a file for: what holds sound, and nothing that refers to other files, as playlists do.
_FFMPEG_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,oga,ogg,"
    "ogv,rm,tta,voc,w64,wav,webm,wv"
)
_LONGEST_FRAME = 8192  # samples of one packet of any codec
_NO_LENGTH = 0x7FFFF000  # sizes from here on are what writers put that could not know


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
        estimated_s: How long it is, about; None if nobody knows.
        raw_blocks: Reads [N, channels] float64 to the end, once.
        warnings: What was found wrong on the way and not fatal.
    """

    path: Path
    container: str
    encoding: str
    sample_rate: int
    channels: int
    expected_frames: int | None
    estimated_s: float | None
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
            AudioFileError: there is no audio, or it holds NaN or infinity.
        """
        read = repaired = 0
        for block in self.raw_blocks():
            with np.errstate(invalid="ignore"):  # infinities of both signs
                mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
            good = np.isfinite(mono)
            if not good.all():
                if not repair:
                    first_s = (read + int(np.argmin(good))) / self.sample_rate
                    raise AudioFileError(
                        f"{self.path} holds samples that are no number (NaN or infinity), the first at "
                        f"{first_s:.3f} s; --repair puts silence in their place"
                    )
                repaired += int((~good).sum())
                mono = np.where(good, mono, 0.0)
            read += len(mono)
            if len(mono):
                yield mono
        if read == 0:
            raise AudioFileError(f"{self.path} holds no audio: it has 0 samples")
        if repaired:
            self.warn(f"{repaired} samples that were no number are silence now")
        missing_s = ((self.expected_frames or 0) - read) / self.sample_rate
        if missing_s > _NEGLIGIBLE_S:
            self.warn(f"it is cut short: {missing_s:.1f} s of what its header announces are missing")

    def warn(self, what: str) -> None:
        """Note something that is wrong and not fatal."""
        self.warnings.append(what)
        log.warning("%s: %s", self.path, what)


@contextmanager
def open_audio(path: Path) -> Iterator[AudioSource]:
    """Open a file for reading.

    Raises:
        AudioFileError: it is missing, unreadable, or no audio.
    """
    head = _first_bytes(path)
    opened = _open_soundfile(path) if head.startswith(_SNDFILE_MAGIC) else None
    with opened or _open_ffmpeg(path, head) as source:
        if not 0 < source.sample_rate <= _MAX_RATE:
            raise AudioFileError(f"{path} claims a rate of {source.sample_rate} Hz; up to {_MAX_RATE} can be read")
        yield source


def _first_bytes(path: Path) -> bytes:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise AudioFileError(f"{str(path)!r} has a name that is no valid Unicode; rename it") from error
    try:
        if path.is_dir():
            raise AudioFileError(f"{path} is a folder, not an audio file")
        if not path.exists():
            raise AudioFileError(f"{path} does not exist; check the name")
        if not path.is_file():
            raise AudioFileError(f"{path} is a device or a pipe; give a file")
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise AudioFileError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise AudioFileError(f"{path} is empty: the file has 0 bytes")
    return head


def _open_soundfile(path: Path) -> AbstractContextManager[AudioSource] | None:
    """None if libsndfile does not know the format."""
    import soundfile

    if path.suffix.lower() == ".raw":  # soundfile would ask for the format instead of looking
        return None
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
                source.warn(f"it is damaged and cannot be read further ({error.error_string.strip()})")
                return
            if len(block) == 0:
                return
            yield block * 2.0**-31 if is_pcm else block

    # Some formats announce a length that is unknown as the largest number there is.
    frames = _announced_frames(path, file) if 0 <= file.frames < 2**60 else None
    if frames is None:
        file.seekable = lambda: False  # soundfile seeks after each read, and fails at such a file's end
    estimated_s = file.frames / file.samplerate if frames is not None else None
    source = AudioSource(
        path, file.format, file.subtype, file.samplerate, file.channels, frames, estimated_s, raw_blocks
    )

    @contextmanager
    def opened() -> Iterator[AudioSource]:
        with file:
            yield source

    return opened()


def _announced_frames(path: Path, file: SoundFile) -> int:
    """Frames by the header of WAV and AIFF; libsndfile counts what is there, and a file cut short would seem whole."""
    with path.open("rb") as raw:
        head = raw.read(8)
    size = path.stat().st_size
    announced = 8 + int.from_bytes(head[4:8], "big" if head[:4] in (b"FORM", b"RIFX") else "little")
    if head[:4] not in (b"RIFF", b"RIFX", b"FORM") or announced >= _NO_LENGTH:
        return int(file.frames)
    return int(file.frames * max(announced / size, 1.0))


def _open_ffmpeg(path: Path, head: bytes) -> AbstractContextManager[AudioSource]:
    import av

    try:
        options = {"protocol_whitelist": "file", "format_whitelist": _FFMPEG_FORMATS}
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")  # nobody reads the tags
    except (av.FFmpegError, ValueError, OSError) as error:
        if head[4:8] == b"ftyp":
            raise AudioFileError(
                f"{path} is an MP4 file without its index: the recording or the download was cut off; fetch it again"
            ) from error
        raise AudioFileError(
            f"{path} is no audio that altervox can read; it reads WAV, FLAC, OGG, MP3, M4A, WebM and video files"
        ) from error
    stream = container.streams.best("audio")
    if not isinstance(stream, av.AudioStream) or not stream.rate:
        container.close()
        raise AudioFileError(f"{path} has no sound: {container.format.long_name} without an audio track")
    rate = int(stream.rate)
    estimated_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    is_announced = container.format.name.startswith("mov") or _is_mp3_with_length(path)
    expected_frames = round(estimated_s * rate) if estimated_s and is_announced else None
    source = AudioSource(
        path,
        container.format.name,
        stream.codec_context.name,
        rate,
        max(int(stream.channels), 1),
        expected_frames,
        estimated_s or (container.duration / av.time_base if container.duration else None),
        lambda: _gathered(_without_filling(_decoded(container, stream, source), expected_frames), int(_BLOCK_S * rate)),
    )

    @contextmanager
    def opened() -> Iterator[AudioSource]:
        with container:
            yield source

    return opened()


def _decoded(container: InputContainer, stream: AudioStream, source: AudioSource) -> Iterator[NDArray[np.float64]]:
    """What FFmpeg makes of a track, [N, channels]; damaged packets are left out."""
    import av

    damaged = 0
    converter: AudioResampler | None = None
    format_before: object = None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            source.warn(f"it is damaged and cannot be read further ({error.strerror})")
            break
        if packet is None:
            break
        try:
            frames: list[AudioFrame] = list(packet.decode())
        except av.FFmpegError:
            damaged += 1
            continue
        for frame in frames:
            format_now = frame.format.name, frame.layout.name, frame.sample_rate
            if converter is None or format_now != format_before:  # broadcasts change from mono to stereo and back
                if converter is not None:
                    yield from (_samples(out) for out in converter.resample(None))
                converter, format_before = av.AudioResampler(format="dblp", rate=source.sample_rate), format_now
            yield from (_samples(out) for out in converter.resample(frame))
    if converter is not None:
        yield from (_samples(out) for out in converter.resample(None))
    if damaged:
        source.warn(f"{damaged} damaged packets were left out")


def _without_filling(blocks: Iterator[NDArray[np.float64]], end: int | None) -> Iterator[NDArray[np.float64]]:
    """Blocks [N, channels] without what the encoder appended to fill its last frame, `end` being the stated length."""
    read = 0
    for block in blocks:
        kept = len(block)
        if end is not None and read + kept - end < _LONGEST_FRAME:
            kept = min(max(end - read, 0), kept)
        read += len(block)
        yield block[:kept]


def _samples(frame: AudioFrame) -> NDArray[np.float64]:
    planes: NDArray[Any] = frame.to_ndarray()
    return planes.T.astype(np.float64, copy=False)


def _gathered(blocks: Iterator[NDArray[np.float64]], size: int) -> Iterator[NDArray[np.float64]]:
    """Small blocks [N, channels] joined to at least `size` samples, unless the number of channels changes."""
    held: list[NDArray[np.float64]] = []
    for block in blocks:
        if held and (sum(map(len, held)) >= size or block.shape[1] != held[0].shape[1]):
            yield np.concatenate(held)
            held = []
        held.append(block)
    if held:
        yield np.concatenate(held)


def _is_mp3_with_length(path: Path) -> bool:
    """Whether the first frame of an MP3 tells the length; without, FFmpeg makes a guess from the bit rate."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":  # skip the tag: its size has seven bits in a byte
            file.seek(sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)), 1)
            head = b""
        first_frame = head + file.read(200)
    return any(mark in first_frame for mark in (b"Xing", b"Info", b"VBRI"))
