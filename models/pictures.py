"""Pictures of voices, which the web panel shows: one file for each voice, the embedded ones included."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from ..kernels.errors import OutputError, VoiceError
from .limits import MAX_PICTURE_BYTES, MAX_PICTURE_PIXELS
from .paths import expanded, library_folder

# By the bytes that such a file begins with. SVG is left out: it may hold scripts.
_KINDS = {"png": (b"\x89PNG\r\n\x1a\n",), "jpg": (b"\xff\xd8\xff",), "webp": (b"RIFF",), "gif": (b"GIF87a", b"GIF89a")}
_MEDIA_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it is served.

    Attributes:
        data: The file.
        media_type: Such as "image/png".
    """

    data: bytes
    media_type: str


def set_picture(name: str, source: Path) -> None:
    """Store the picture of a voice in place of an earlier one.

    Args:
        name: Name of a voice that exists.
        source: A PNG, JPEG, WebP or GIF file.

    Raises:
        VoiceError: the file is not there, too large or no such picture.
        OutputError: the library cannot be written.
    """
    try:
        with expanded(source).open("rb") as file:
            data = file.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        raise VoiceError(f"{source} cannot be read: {error.strerror}") from error
    if len(data) > MAX_PICTURE_BYTES:
        raise VoiceError(f"{source} is larger than {MAX_PICTURE_BYTES >> 10} KiB; make the picture smaller")
    kind = _kind_of(data)
    if kind is None:
        raise VoiceError(f"{source} is not an image that browsers can show; give a PNG, JPEG, WebP or GIF file")
    folder = _folder()
    part = folder / f".{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        remove_picture(name)
        part.replace(folder / f"{name}.{kind}")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def remove_picture(name: str) -> bool:
    """Delete the picture of a voice; returns whether there was one.

    Raises:
        OutputError: it cannot be deleted.
    """
    paths = [path for kind in _KINDS if (path := _folder() / f"{name}.{kind}").is_file()]
    try:
        for path in paths:
            path.unlink()
    except OSError as error:
        raise OutputError(f"{paths[0]} cannot be removed: {error.strerror}") from error
    return bool(paths)


def picture_of(name: str) -> Picture | None:
    """The picture of a voice; None if it has none or what is stored is no picture.

    Args:
        name: Name of a voice that exists: it decides which file is read.
    """
    for kind in _KINDS:
        try:
            with (_folder() / f"{name}.{kind}").open("rb") as file:
                data = file.read(MAX_PICTURE_BYTES + 1)
        except OSError:
            continue
        if len(data) <= MAX_PICTURE_BYTES and _kind_of(data) == kind:
            return Picture(data, _MEDIA_TYPES[kind])
    return None


def square_png(picture: Picture, side: int) -> bytes | None:
    """The picture as a square PNG, scaled to fit with transparent edges.

    None if it cannot be decoded or states more than `MAX_PICTURE_PIXELS`, for which no memory is taken then.

    Args:
        picture: A picture as it is stored.
        side: Width and height in pixels.
    """
    import av
    import numpy as np

    try:
        options = {"max_pixels": str(MAX_PICTURE_PIXELS)}
        with av.open(io.BytesIO(picture.data), "r", options=options) as stored:
            stored.streams.video[0].codec_context.options = options
            frame = next(stored.decode(video=0))
        scale = side / max(frame.width, frame.height)
        width, height = (max(round(length * scale), 1) for length in (frame.width, frame.height))
        pixels = np.zeros((side, side, 4), dtype=np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        scaled = frame.reformat(width, height, "rgba").to_ndarray()
        pixels[top : top + height, left : left + width] = scaled
        encoder = av.CodecContext.create("png", "w")
        encoder.width, encoder.height, encoder.pix_fmt = side, side, "rgba"
        encoder.time_base = Fraction(1, 1)
        packets = encoder.encode(av.VideoFrame.from_ndarray(pixels, "rgba"))
        return b"".join(bytes(packet) for packet in [*packets, *encoder.encode(None)])
    except (av.FFmpegError, StopIteration, ValueError, IndexError):
        return None


def _folder() -> Path:
    return library_folder() / "pictures"


def _kind_of(data: bytes) -> str | None:
    kind = next((kind for kind, starts in _KINDS.items() if data.startswith(starts)), None)
    return None if kind == "webp" and data[8:12] != b"WEBP" else kind  # RIFF holds sound, too
