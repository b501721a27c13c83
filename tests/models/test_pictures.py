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


def test_a_picture_of_too_many_pixels_is_not_decoded() -> None:
    """Whatever its head states, or another part of it."""
    assert square_png(Picture(gif(3900, 3900), "image/gif"), 72) is not None
    assert square_png(Picture(encoded("png", "rgb24", 500, 400), "image/png"), 72) is not None
    small = encoded("mjpeg", "yuvj420p", 16, 32)
    at = small.index(b"\xff\xc0") + 5
    large = small[:at] + struct.pack(">HH", 15_000, 15_000) + small[at + 4 :]
    assert square_png(Picture(small, "image/jpeg"), 72) is not None
    for data in (gif(4001, 4000), gif(15_000, 15_000), large, small[:-2] + large[2:]):
        assert square_png(Picture(data, ""), 72) is None


def test_a_file_that_was_put_there_by_hand_is_checked_too(home: Path) -> None:
    (home / "pictures").mkdir(parents=True)
    (home / "pictures" / "robot.png").write_bytes(b"<html>")
    assert picture_of("robot") is None
