"""Pictures of voices as keys show them: the voice's own, made square, or a tile with its first letter."""

from __future__ import annotations

import colorsys
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIDE = 96  # pixels of a picture's edges
_SCALE = 10  # pixels of a dot of a letter
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
# 7 rows of 5 dots for each letter, from the top left, as one number each.
_DOTS = (  # noqa: SIM905 - a table of 36 lines would hide the code
    "3A31FC631 7A31F463E 3A308422E 7A318C63E 7E10F421F 7E10F4210 3A30BC62E 4631FC631 38842108E "
    "1C4210A4C 4654C5251 42108421F 4775AC631 4735ACE31 3A318C62E 7A31F4210 3A318D64D 7A31F5251 "
    "3E107043E 7C8421084 46318C62E 46318C544 4631AD771 462A22A31 462A21084 7C222221F 3A33AE62E "
    "11842108E 3A213221F 7C443062E 08CA97C42 7E1E0862E 1910F462E 7C2222108 3A317462E 3A317844C"
).split()
_ROWS, _COLUMNS = 7, 5


def tile(name: str, is_transparent: bool = False, is_bright: bool = False) -> bytes:
    """A PNG with the first letter of a name, in a colour that depends on all of it.

    Args:
        name: The name.
        is_transparent: Whether the letter alone is drawn.
        is_bright: Whether it is to look chosen.
    """
    hue = zlib.crc32(name.encode(errors="replace")) / 2**32
    colour = np.array([*colorsys.hls_to_rgb(hue, 0.62 if is_bright else 0.38, 0.65), 1.0])
    pixels: NDArray[np.float64] = np.zeros((SIDE, SIDE, 4))
    if not is_transparent:
        pixels[:] = colour
    ink = colour if is_transparent else np.ones(4)
    dots = np.kron(_letter(name), np.ones((_SCALE, _SCALE), dtype=bool))
    top, left = (SIDE - dots.shape[0]) // 2, (SIDE - dots.shape[1]) // 2
    pixels[top : top + dots.shape[0], left : left + dots.shape[1]][dots] = ink
    return _png((pixels * 255).round().astype(np.uint8))


def _letter(name: str) -> NDArray[np.bool_]:
    """Its dots; a bar for what is neither of A to Z nor a digit."""
    first = name.strip()[:1].upper()
    if first not in _LETTERS or not first:
        return np.ones((1, _COLUMNS), dtype=bool)
    number = int(_DOTS[_LETTERS.index(first)], 16)
    count = _ROWS * _COLUMNS
    bits = [number >> (count - 1 - at) & 1 for at in range(count)]
    return np.array(bits, dtype=bool).reshape(_ROWS, _COLUMNS)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    rows = np.pad(pixels.reshape(SIDE, SIDE * 4), ((0, 0), (1, 0))).tobytes()  # a byte before each row: no filter

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
