"""Read sound through FFmpeg (PyAV): compressed formats, and the sound of video files in step with the picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...kernels.errors import AudioFileError
from ...kernels.printable import printable
from ...kernels.types import Float64Array
from .layout import UNKNOWN, FileBytes, Part, matroska_end, ogg_faults, parts_of
from .source import AudioSource, block_frames, described
from .timeline import Timeline

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer

# What FFmpeg may take a file for: what holds sound, and nothing that refers to other files, as playlists do.
_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,oga,ogg,"
    "ogv,rm,tta,voc,w64,wav,webm,wv"
)
# Containers whose packets carry the time at which they are to be heard; the others only count samples or bytes.
_TIMED = {"asf", "flac", "flv", "matroska", "mov", "mpeg", "mpegts", "mxf", "rm", "webm"}
_WHOLE = 0.99  # of the bytes that a header announces: some count what fills up the last chunk and is not there
_LONGEST_FRAME = 8192  # samples of one packet of any codec


@contextmanager
def opened_by_ffmpeg(path: Path, head: bytes, track: int | None) -> Iterator[AudioSource]:
    """Anything that holds sound.

    Args:
        path: The file.
        head: First bytes of the file.
        track: Which audio track, from 1; None for the one that the file prefers.

    Raises:
        AudioFileError: it holds none, or not that track.
    """
    import av

    try:
        options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, OSError) as error:
        if head[4:8] == b"ftyp":
            raise AudioFileError(
                f"{path} is an MP4 file without its index: the recording or the download was cut off; fetch it again"
            ) from error
        raise AudioFileError(
            f"{path} is not audio that altervox can read; it reads WAV, FLAC, OGG, MP3, M4A, WebM and video files"
        ) from error
    with container:
        stream, warnings = _chosen(path, container, track)
        if stream.codec_context.name == "flac":  # silence rather than the noise that a damaged packet gives
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
        rate = int(stream.rate)
        duration_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        links = _ogg_links(path) if head.startswith(b"OggS") else []
        warnings += ogg_faults(links)
        if announced := _cut_off_riff(path, head):
            warnings.append(announced)
        # Ogg counts samples: in each link anew, so that a hole has a place in a single one only.
        has_holes = len(links) == 1 and links[0].holes > 0
        is_timed = has_holes or not _TIMED.isdisjoint(container.format.name.split(","))
        origin_s = _origin_s(container) if is_timed else 0.0
        late_s = _start_s(stream) - origin_s if is_timed else 0.0
        announced_s = None
        if duration_s and (container.format.name.startswith("mov") or _is_mp3_with_length(path)):
            announced_s = late_s + duration_s
        elif container.duration and _is_cut_off_matroska(path):
            # Of the longest track: others may be shorter in a file that is whole, but hardly where the rest is missing.
            announced_s = container.duration / av.time_base - origin_s
        expected_frames = round(announced_s * rate) if announced_s else None
        timeline = Timeline(rate, origin_s) if is_timed else None
        channels = max(int(stream.channels), 1)
        source = AudioSource(
            path,
            container.format.name,
            stream.codec_context.name,
            rate,
            channels,
            expected_frames,
            duration_s or (container.duration / av.time_base if container.duration else None),
            lambda: _gathered(
                _without_filling(_decoded(container, stream, source, timeline), expected_frames),
                block_frames(rate, channels),
            ),
            warnings=warnings,
        )
        yield source


def _chosen(path: Path, container: InputContainer, track: int | None) -> tuple[AudioStream, list[str]]:
    """The stream of an audio track, and what is to be said about the choice."""
    known = [stream for stream in container.streams.audio if stream.codec_context is not None]
    streams = [stream for stream in known if stream.rate]
    if not streams:
        if len(known) < len(container.streams.audio):
            raise AudioFileError(
                f"{path} has its sound in a codec that altervox does not know; export it again as WAV or M4A"
            )
        raise AudioFileError(f"{path} has no sound: {container.format.long_name} without an audio track")
    if track is not None:
        return streams[checked_track(path, track, len(streams), _names(streams)) - 1], []
    best = container.streams.best("audio")
    number = next((i for i, stream in enumerate(streams) if stream is best or stream.index == _index(best)), 0)
    if len(streams) == 1:
        return streams[0], []
    said = f"it has {len(streams)} audio tracks; track {number + 1} was taken, --track chooses another{_names(streams)}"
    return streams[number], [said]


def checked_track(path: Path, track: int, count: int, names: str = "") -> int:
    """The number of a track.

    Raises:
        AudioFileError: there are fewer.
    """
    if not 1 <= track <= count:
        tracks = "1 audio track" if count == 1 else f"{count} audio tracks"
        raise AudioFileError(f"{path} has no track {track}: it has {tracks}{names}")
    return track


def _index(stream: Any) -> int:
    return -1 if stream is None else int(stream.index)


def _names(streams: list[AudioStream]) -> str:
    """ " (1: Game, eng; 2: Microphone)" where any of them has a name or a language."""
    named = []
    for number, stream in enumerate(streams[:10], 1):
        tags = [stream.metadata.get(key, "") for key in ("title", "handler_name", "language")]
        kept = [printable(tag, 30) for tag in tags if tag and tag not in ("und", "SoundHandler")]
        if kept:
            named.append(f"{number}: {', '.join(dict.fromkeys(kept))}")
    return f" ({'; '.join(named)})" if named else ""


def _start_s(stream: Any) -> float:
    return float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0


def _origin_s(container: InputContainer) -> float:
    """Where sound and picture begin: the time stamp that a player shows as 0."""
    from av.stream import Disposition

    starts = [
        _start_s(stream)
        for stream in container.streams
        if stream.type in ("audio", "video")
        and stream.start_time is not None
        and not stream.disposition & Disposition.attached_pic
    ]
    return min(starts, default=0.0)


def _frames(container: InputContainer, stream: AudioStream, source: AudioSource) -> Iterator[AudioFrame]:
    """The frames of a track; damaged packets are left out."""
    import av

    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            source.warn(f"it is damaged and cannot be read further ({described(error)})")
            break
        except IndexError:  # PyAV's, at the end of a file in which FFmpeg found another track on the way
            source.warn("a track that begins in its midst was left out")
            break
        if packet is None:
            break
        try:
            frames: list[AudioFrame] = list(packet.decode())
        except av.FFmpegError:
            damaged += 1
            continue
        good = [frame for frame in frames if frame.sample_rate > 0]
        damaged += len(good) < len(frames)
        yield from good
    if damaged:
        source.warn(f"{damaged} damaged packets were left out")


def _decoded(
    container: InputContainer, stream: AudioStream, source: AudioSource, timeline: Timeline | None
) -> Iterator[Float64Array]:
    """What FFmpeg makes of a track, [N, channels], each frame in its place by the time stamps."""
    converter = _Converter(source.sample_rate)
    waiting: AudioFrame | None = None
    for following in _and_none(_frames(container, stream, source)):
        frame, waiting = waiting, following
        if frame is None:
            continue
        gap = 0
        if timeline is not None:
            frames = frame.samples * source.sample_rate // frame.sample_rate
            gap = timeline.gap(_stamp_s(frame), frames, _stamp_s(following))
        if gap > 0:
            yield from _counted(converter.rest(), timeline)
            yield from _counted(_silence(gap, source), timeline)
        for samples in _counted(converter.converted(frame), timeline, min(gap, 0)):
            yield samples[max(-gap, 0) :]
            gap = min(gap + len(samples), 0) if gap < 0 else 0
    yield from converter.rest()
    if converter.failures:
        source.warn(f"{converter.failures} damaged stretches were left out")
    if timeline is not None:
        for what in timeline.summary():
            source.warn(what)
        if timeline.notes:
            source.expected_frames = None  # for it went by the same time stamps


def _and_none(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame | None]:
    yield from frames
    yield None


def _stamp_s(frame: AudioFrame | None) -> float | None:
    if frame is None or frame.pts is None or frame.time_base is None:
        return None
    return float(frame.pts * frame.time_base)


def _counted(blocks: Iterator[Float64Array], timeline: Timeline | None, less: int = 0) -> Iterator[Float64Array]:
    """The blocks, their samples counted in the timeline."""
    if timeline is not None:
        timeline.position += less
    for block in blocks:
        if timeline is not None:
            timeline.position += len(block)
        yield block


def _silence(samples: int, source: AudioSource) -> Iterator[Float64Array]:
    size = block_frames(source.sample_rate, source.channels)
    for start in range(0, samples, size):
        yield np.zeros((min(size, samples - start), source.channels))


class _Converter:
    """Frames of whatever format as float64 [N, channels] at one rate.

    Attributes:
        failures: How often a frame, or what was held back, could not be converted and was left out.
    """

    def __init__(self, sample_rate: int) -> None:
        self.failures = 0
        self._sample_rate = sample_rate
        self._resampler: AudioResampler | None = None
        self._format: object = None

    def converted(self, frame: AudioFrame) -> Iterator[Float64Array]:
        """A frame; what was held back of those before comes first."""
        import av

        format_now = frame.format.name, frame.layout.name, frame.sample_rate
        if self._resampler is None or format_now != self._format:  # broadcasts change from mono to stereo and back
            yield from self.rest()
            # Packed, for PyAV crashes on planes beyond the eighth.
            self._resampler, self._format = av.AudioResampler(format="dbl", rate=self._sample_rate), format_now
        frame.pts = None  # the samples are in a row by now
        yield from self._resampled(frame)

    def rest(self) -> Iterator[Float64Array]:
        """What is held back."""
        if self._resampler is not None:
            yield from self._resampled(None)
            self._resampler = None

    def _resampled(self, frame: AudioFrame | None) -> Iterator[Float64Array]:
        import av

        assert self._resampler is not None
        try:
            frames = self._resampler.resample(frame)
        except av.FFmpegError:  # such as for a layout that FFmpeg cannot mix
            self.failures += 1
            self._resampler = None
            return
        yield from map(_samples, frames)


def _samples(frame: AudioFrame) -> Float64Array:
    packed: np.ndarray[Any, Any] = frame.to_ndarray()
    return packed.reshape(-1, frame.layout.nb_channels).astype(np.float64, copy=False)


def _without_filling(blocks: Iterator[Float64Array], end: int | None) -> Iterator[Float64Array]:
    """Blocks [N, channels] without what the encoder appended to fill its last frame, `end` being the stated length."""
    read = 0
    beyond: list[Float64Array] = []  # filling if it stays short, else more sound than the header knows of
    for block in blocks:
        kept = len(block) if end is None else min(max(end - read, 0), len(block))
        read += len(block)
        if kept:
            yield block[:kept]
        if kept < len(block):
            beyond.append(block[kept:])
            if end is not None and read - end >= _LONGEST_FRAME:
                yield from beyond
                beyond, end = [], None


def _gathered(blocks: Iterator[Float64Array], size: int) -> Iterator[Float64Array]:
    """Small blocks [N, channels] joined to at least `size` samples, unless the number of channels changes."""
    held: list[Float64Array] = []
    count = 0  # samples in them: there may be one in each
    for block in blocks:
        if held and (count >= size or block.shape[1] != held[0].shape[1]):
            yield np.concatenate(held)
            held, count = [], 0
        held.append(block)
        count += len(block)
    if held:
        yield np.concatenate(held)


def _ogg_links(path: Path) -> list[Part]:
    with path.open("rb") as file:
        return parts_of(FileBytes(file))


def _is_cut_off_matroska(path: Path) -> bool:
    """Whether a file is shorter than its header says; False for what is no Matroska or WebM file."""
    with path.open("rb") as file:
        content = FileBytes(file)
        return (matroska_end(content) or 0) > len(content)


def _cut_off_riff(path: Path, head: bytes) -> str:
    """What is to be said of a RIFF file, such as an AVI, that is shorter than its header says; empty if it is not."""
    stated, there = int.from_bytes(head[4:8], "little") + 8, path.stat().st_size
    if not head.startswith(b"RIFF") or stated >= UNKNOWN or there > _WHOLE * stated:
        return ""
    return f"it is cut short: {1 - there / stated:.0%} of the bytes that its header announces are missing"


def _is_mp3_with_length(path: Path) -> bool:
    """Whether the first frame of an MP3 tells the length; without, FFmpeg makes a guess from the bit rate."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":  # skip the tag: its size has seven bits in a byte
            file.seek(sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)), 1)
            head = b""
        first_frame = head + file.read(200)
    return any(mark in first_frame for mark in (b"Xing", b"Info", b"VBRI"))
