"""Open the sound of almost any file: libsndfile for what it knows well, FFmpeg (PyAV) for the rest."""

from __future__ import annotations

import errno
import logging
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...kernels.errors import AudioFileError
from .ffmpeg import checked_track, opened_by_ffmpeg
from .sndfile import opened_by_sndfile
from .source import AudioSource, bounded, check_limits, louder_than_the_mean

log = logging.getLogger(__name__)

EXTENSIONS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"),
    *(".m4a", ".aac", ".mp4", ".m4v", ".mov", ".webm", ".mkv", ".mka", ".wma", ".avi", ".3gp"),
)
# What libsndfile is given, by the first bytes. Not MP3: its decoder prints to stderr what it thinks of sound files.
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"fLaC", b"OggS", b".snd", b"caff")


@contextmanager
def open_audio(path: Path, track: int | None = None, is_quiet: bool = False) -> Iterator[AudioSource]:
    """Open a file for reading.

    Args:
        path: The file.
        track: Which audio track to read, from 1; None for the one that the file prefers.
        is_quiet: Whether warnings are only noted in the source, not logged.

    Raises:
        AudioFileError: it is missing, unreadable, no audio, beyond the limits, or has no such track.
    """

    def chosen_channel() -> int | None:
        with _opened(path, track) as again:
            again.is_quiet = True
            return louder_than_the_mean(bounded(again), again.sample_rate)

    with _opened(path, track) as source:
        source.is_quiet = is_quiet
        for what in () if is_quiet else source.warnings:
            log.warning("%s: %s", path, what)
        source.chosen_channel = chosen_channel
        yield source


@contextmanager
def _opened(path: Path, track: int | None) -> Iterator[AudioSource]:
    head = _first_bytes(path)
    if head.startswith(_SNDFILE_MAGIC):
        with opened_by_sndfile(path) as source:
            if source is not None:
                checked_track(path, track or 1, 1)
                yield source
                return
    with opened_by_ffmpeg(path, head, track) as source:
        check_limits(path, source.sample_rate, source.channels)
        yield source


def _first_bytes(path: Path) -> bytes:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise AudioFileError(f"{path} has a name that is not valid Unicode; rename it") from error
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise AudioFileError(f"{path} is a folder, not an audio file")
        if not stat.S_ISREG(mode):
            raise AudioFileError(f"{path} is a device or a pipe; give a file")
        with path.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError as error:
        if path.is_symlink():
            raise AudioFileError(f"{path} is a link to {path.readlink()}, which does not exist") from error
        raise AudioFileError(f"{path} does not exist; check the name") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise AudioFileError(f"{path} is a link that leads back to itself; name the file itself") from error
        raise AudioFileError(f"{path} cannot be read: {error.strerror}") from error
    if not head:
        raise AudioFileError(f"{path} is empty: the file has 0 bytes")
    return head
