"""Pictures of voices for keys."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from altervox.models.pictures import Picture, square_png
from altervox.realtime.serve.voicemod.tile import SIDE, tile
from numpy.typing import NDArray


def pixels(png: bytes) -> NDArray[np.uint8]:
    """RGBA of a PNG, decoded by FFmpeg."""
    with av.open(io.BytesIO(png), "r") as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (SIDE, SIDE)
    return frame.reformat(format="rgba").to_ndarray().astype(np.uint8)


def test_a_tile_shows_the_first_letter() -> None:
    robot, rabbit, anna = (pixels(tile(name)) for name in ("robot", "rabbit", "anna"))
    white = [np.all(image == 255, axis=2) for image in (robot, rabbit, anna)]
    assert np.array_equal(white[0], white[1])
    assert not np.array_equal(white[0], white[2])
    assert not np.array_equal(robot, rabbit)  # each name has a colour of its own
    assert 1000 < white[0].sum() < 3500
    assert set(np.unique(pixels(tile("robot", is_transparent=True))[..., 3])) == {0, 255}


@pytest.mark.parametrize("name", ["", " ", "é", "🎤", "9 lives"])
def test_any_name_has_a_tile(name: str) -> None:
    pixels(tile(name))


def test_a_picture_of_another_shape_and_format_becomes_a_square_png() -> None:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 200, 100, "yuvj420p", Fraction(1, 1)
    red = av.VideoFrame.from_ndarray(np.full((100, 200, 3), (255, 0, 0), dtype=np.uint8), "rgb24")
    packets = [*encoder.encode(red.reformat(format="yuvj420p")), *encoder.encode(None)]
    found = square_png(Picture(b"".join(bytes(packet) for packet in packets), "image/jpeg"), SIDE)
    assert found is not None
    image = pixels(found)
    assert image[:20, :, 3].max() == 0  # above and below there is nothing
    assert np.allclose(image[SIDE // 2, SIDE // 2], (255, 0, 0, 255), atol=6)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xffnothing", tile("robot")[:60]])
def test_what_is_no_picture_has_none(data: bytes) -> None:
    assert square_png(Picture(data, "image/png"), SIDE) is None
