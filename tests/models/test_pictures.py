"""Pictures of voices: stored once each, checked by what they hold, gone with their voice."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest
from altervox.kernels.errors import VoiceError
from altervox.models.pictures import Picture, picture_of, remove_picture, set_picture, square_png

PNG, JPG = b"\x89PNG\r\n\x1a\n" + bytes(20), b"\xff\xd8\xff" + bytes(20)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_new_picture_takes_the_place_of_the_old(tmp_path: Path, home: Path) -> None:
    assert picture_of("robot") is None
    for data, media_type in ((PNG, "image/png"), (JPG, "image/jpeg"), (PNG + b"2", "image/png")):
        (tmp_path / "picture").write_bytes(data)
        set_picture("robot", tmp_path / "picture")
        found = picture_of("robot")
        assert found is not None
        assert (found.data, found.media_type) == (data, media_type)
    assert len(list((home / "pictures").iterdir())) == 1
    assert remove_picture("robot")
    assert not remove_picture("robot")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is not an image that browsers can show"),
        (b"<svg onload='alert(1)'/>", "is not an image that browsers can show"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "is not an image that browsers can show"),
        (PNG + bytes(1 << 20), "is larger than 1024 KiB"),
    ],
)
def test_what_is_no_picture_is_refused_and_the_old_one_stays(data: bytes | None, words: str, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(PNG)
    set_picture("robot", tmp_path / "old")
    if data is not None:
        (tmp_path / "new").write_bytes(data)
    with pytest.raises(VoiceError, match=words):
        set_picture("robot", tmp_path / "new")
    assert picture_of("robot") is not None


def test_a_picture_of_a_user_who_is_not_there_is_refused() -> None:
    with pytest.raises(VoiceError, match=r"~nosuchuser/a\.png cannot be read: No such file"):
        set_picture("robot", Path("~nosuchuser/a.png"))


def gif(width: int, height: int) -> bytes:
    """Of 35 bytes, whatever size it states."""
    image = struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff," + image


def encoded(codec: Literal["mjpeg", "png"], pixel_format: str, width: int, height: int) -> bytes:
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, pixel_format, Fraction(1, 1)
    grey = av.VideoFrame.from_ndarray(np.full((height, width, 3), 99, dtype=np.uint8), "rgb24")
    packets = [*encoder.encode(grey.reformat(format=pixel_format)), *encoder.encode(None)]
    return b"".join(bytes(packet) for packet in packets)


def webp(form: bytes, content: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 12 + len(content)) + b"WEBP" + form + struct.pack("<I", len(content)) + content


def with_size(width: int, height: int) -> list[bytes]:
    """A picture of each kind: headers only, but for JPEG, where the size is one of several segments."""
    jpeg = encoded("mjpeg", "yuvj420p", 16, 32)
    at = jpeg.index(b"\xff\xc0") + 5
    return [
        PNG[:8] + b"\0\0\0\x0dIHDR" + struct.pack(">II", width, height) + bytes(9),
        gif(width, height),
        jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :],
        webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height)),
        webp(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14)),
        webp(b"VP8X", bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")),
    ]


@pytest.mark.parametrize("form", range(6))
def test_a_picture_of_too_many_pixels_is_refused(form: int, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(with_size(4000, 4000)[form])
    set_picture("robot", path)
    path.write_bytes(with_size(4001, 4000)[form])
    with pytest.raises(VoiceError, match="picture has 4001 x 4000 pixels; make the picture smaller, no more than 16 "):
        set_picture("robot", path)


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    assert square_png(Picture(gif(4000, 4000), "image/gif"), 72) is not None
    assert square_png(Picture(encoded("png", "rgb24", 500, 400), "image/png"), 72) is not None
    small, jpeg = encoded("mjpeg", "yuvj420p", 16, 32), with_size(15_000, 15_000)[2]
    for data in (gif(4001, 4000), gif(15_000, 15_000), small[:-2] + jpeg[2:]):
        assert square_png(Picture(data, ""), 72) is None


def test_a_file_that_was_put_there_by_hand_is_checked_too(home: Path) -> None:
    (home / "pictures").mkdir(parents=True)
    (home / "pictures" / "robot.png").write_bytes(b"<html>")
    assert picture_of("robot") is None
