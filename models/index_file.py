"""The `.index` files that accompany RVC voices: faiss indexes, of which altervox takes the vectors only.

They are read here rather than by faiss, which believes the sizes in a file and ends the process on some. Known are the
kinds that RVC's trainers write (IVF with flat lists, also wrapped in an id map) and plain flat ones.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..kernels.errors import CheckpointError
from ..kernels.types import CounterArray, FloatArray
from .limits import MAX_INDEX_BYTES, MAX_INDEX_MAGNITUDE
from .retrieval import FeatureIndex

_FLAT, _INVERTED, _ID_MAPS = (b"IxF2", b"IxFI", b"IxFl"), b"IwFl", (b"IxMp", b"IxM2")
_HASHED = 2  # the kind of direct map that holds pairs


class _UnreadableError(Exception):
    """What the file holds is not what it says."""


def read_index(path: Path, width: int) -> FeatureIndex:
    """Read the vectors of an index, in the order of their ids.

    Args:
        path: The file.
        width: Size of the voice's features, 256 or 768.

    Raises:
        CheckpointError: the file is damaged, of another kind, too large or belongs to another kind of voice.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path} is not a file")
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise CheckpointError(f"{path} has {path.stat().st_size / 1e9:.1f} GB; an index has less than 4")
        lists, ids, found_width = _read(_Cursor(np.fromfile(path, dtype=np.uint8)), nested=0)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except _UnreadableError as error:
        raise CheckpointError(
            f"{path} is not a readable index ({error}); the voice's author may have a whole one"
        ) from error
    count = sum(map(len, lists))
    if count == 0 or found_width != width:
        raise CheckpointError(
            f"{path} holds {count} vectors of {found_width} values, the voice takes {width}: "
            "it belongs to another voice"
        )
    vectors = np.empty((count, width), dtype=np.float32)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(ids, kind="stable")] = np.arange(count)
    start = 0
    for part in lists:
        vectors[rank[start : start + len(part)]] = part
        start += len(part)
        largest = np.abs(part).max()
        if not largest <= MAX_INDEX_MAGNITUDE:  # also NaN
            raise CheckpointError(f"{path} is damaged: it holds the value {largest:g}")
    return FeatureIndex(torch.from_numpy(vectors))


class _Cursor:
    """Reads a file's bytes [N] one after another, never beyond their end."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._data = data
        self._at = 0

    def bytes(self, count: int) -> NDArray[np.uint8]:
        """The next bytes, as a view."""
        if count > len(self._data) - self._at:
            raise _UnreadableError("it states more than it holds")
        self._at += count
        return self._data[self._at - count : self._at]

    def numbers(self, form: str) -> tuple[Any, ...]:
        """The next numbers, little-endian and packed."""
        return struct.unpack(f"<{form}", self.bytes(struct.calcsize(f"<{form}")).data)

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """The next array, as a view."""
        return self.bytes(count * np.dtype(dtype).itemsize).view(dtype)

    def vector(self, dtype: str) -> NDArray[Any]:
        """The next array, whose length stands before it."""
        return self.array(dtype, *self.numbers("Q"))


def _read(cursor: _Cursor, nested: int) -> tuple[list[FloatArray], CounterArray, int]:
    """Vectors in parts [n, d], their ids [V], and d."""
    kind = bytes(cursor.bytes(4))
    if kind not in (*_FLAT, _INVERTED, *_ID_MAPS):
        raise _UnreadableError(f"it is of the kind {kind!r}; altervox reads flat and IVF,Flat ones")
    width, total, _, _, _, metric = cursor.numbers("iqqq?i")
    if metric > 1:
        cursor.numbers("f")
    if width <= 0 or total < 0:
        raise _UnreadableError("it states impossible sizes")
    # A map may hold inverted lists, and these a flat index of their centres (nested = 2).
    if kind not in _FLAT and nested > (kind == _INVERTED):
        raise _UnreadableError("it is nested too deeply")
    if kind in _ID_MAPS:
        lists, ids, width = _read(cursor, nested + 1)
        cursor.vector("<i8")  # the outer ids; those inside have the order in which vectors were added
    elif kind == _INVERTED:
        (_lists, _probes), _quantizer = cursor.numbers("QQ"), _read(cursor, 2)
        (map_kind,) = cursor.numbers("b")
        cursor.vector("<i8")
        if map_kind == _HASHED:
            cursor.array("<i8", 2 * cursor.numbers("Q")[0])
        lists, ids = _read_lists(cursor, width)
    else:
        values = cursor.vector("<f4")
        if len(values) != total * width:
            raise _UnreadableError("it states another number of vectors than it holds")
        lists, ids = [values.reshape(total, width)], np.arange(total)
    if sum(map(len, lists)) != total or math.prod((total, width)) != sum(part.size for part in lists):
        raise _UnreadableError("it states another number of vectors than it holds")
    return lists, ids, width


def _read_lists(cursor: _Cursor, width: int) -> tuple[list[FloatArray], CounterArray]:
    """The vectors of inverted lists and their ids."""
    kind = bytes(cursor.bytes(4))
    if kind == b"il00":
        return [], np.zeros(0, dtype=np.int64)
    if kind != b"ilar":
        raise _UnreadableError(f"its lists are of the kind {kind!r} and may lie in another file")
    count, code_size = cursor.numbers("QQ")
    form = bytes(cursor.bytes(4))
    if code_size != 4 * width or form not in (b"full", b"sprs"):
        raise _UnreadableError("its lists hold no plain vectors")
    sizes = cursor.vector("<u8")
    if form == b"sprs":
        if len(sizes) % 2:
            raise _UnreadableError("it states impossible sizes")
        sizes = sizes[1::2]
    elif len(sizes) != count:
        raise _UnreadableError("it states another number of lists than it holds")
    lists, ids = [], []
    for size in sizes[sizes > 0].tolist():
        lists.append(cursor.array("<f4", size * width).reshape(size, width))
        ids.append(cursor.array("<i8", size))
    return lists, np.concatenate(ids) if ids else np.zeros(0, dtype=np.int64)
