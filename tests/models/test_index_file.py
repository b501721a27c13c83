"""Indexes from somebody else: their vectors, whatever faiss wrote them as, and what damaged ones may cost."""

from __future__ import annotations

import random
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from altervox.kernels.errors import CheckpointError
from altervox.models.index_file import read_index

BANK = np.random.default_rng(1).standard_normal((300, 256)).astype(np.float32)


def written(kind: str, metric: int = faiss.METRIC_L2) -> bytes:
    index = faiss.index_factory(256, kind, metric)
    index.train(BANK)
    if kind.startswith("IDMap"):
        index.add_with_ids(BANK, np.arange(len(BANK), dtype=np.int64)[::-1] * 7 + 3)
    else:
        index.add(BANK)
    data: bytes = faiss.serialize_index(index).tobytes()
    return data


@pytest.mark.parametrize("metric", [faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L1])
@pytest.mark.parametrize("kind", ["Flat", "IVF4,Flat", "IVF100,Flat", "IDMap,Flat", "IDMap2,Flat", "IDMap,IVF4,Flat"])
def test_vectors_come_in_the_order_in_which_they_were_added(kind: str, metric: int, tmp_path: Path) -> None:
    (tmp_path / "имя.index").write_bytes(written(kind, metric))
    np.testing.assert_array_equal(read_index(tmp_path / "имя.index", 256).vectors.numpy(), BANK)


def test_every_direct_map_and_sparse_lists_are_read(tmp_path: Path) -> None:
    for kind in (1, 2):  # an array, a hash table
        index: Any = faiss.index_factory(256, "IVF64,Flat")
        index.train(BANK)
        index.add(BANK[:3])
        index.set_direct_map_type(kind)
        (tmp_path / "a.index").write_bytes(faiss.serialize_index(index).tobytes())
        np.testing.assert_array_equal(read_index(tmp_path / "a.index", 256).vectors.numpy(), BANK[:3])


@pytest.mark.parametrize("kind", ["IVF4,SQ8", "HNSW16,Flat", "PCA64,Flat"])
def test_other_kinds_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.index").write_bytes(written(kind))
    with pytest.raises(CheckpointError, match=r"of the kind b'\w+'; altervox reads flat and IVF,Flat ones"):
        read_index(tmp_path / "a.index", 256)


def test_lists_in_another_file_are_not_followed(tmp_path: Path) -> None:
    good = written("IVF4,Flat")
    (tmp_path / "a.index").write_bytes(good.replace(b"ilar", b"ilod"))
    with pytest.raises(CheckpointError, match="may lie in another file"):
        read_index(tmp_path / "a.index", 256)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_values_that_are_no_features_are_refused(value: float, tmp_path: Path) -> None:
    good = written("Flat")
    (tmp_path / "a.index").write_bytes(good[:-4] + struct.pack("<f", value))
    with pytest.raises(CheckpointError, match="is damaged: it holds the value"):
        read_index(tmp_path / "a.index", 256)


def test_a_tower_of_nested_indexes_is_refused(tmp_path: Path) -> None:
    header = struct.pack("<iqqq?i", 256, 1, 0, 0, True, 1)
    for level in (b"IxMp" + header, b"IwFl" + header + struct.pack("<QQ", 1, 1)):
        (tmp_path / "a.index").write_bytes(level * 20_000)
        with pytest.raises(CheckpointError, match="nested too deeply"):
            read_index(tmp_path / "a.index", 256)


@pytest.mark.parametrize("kind", ["Flat", "IVF4,Flat", "IDMap2,IVF4,Flat"])
def test_every_size_that_lies_is_refused_at_no_cost(kind: str, tmp_path: Path) -> None:
    """Each byte of the header and of what stands between the vectors in turn, as 255 and as 127."""
    good = written(kind)
    path = tmp_path / "a.index"
    places = [*range(4, 120), *range(len(good) - 400, len(good), 3)]
    places += [at + i for at in (good.find(b"ilar"),) if at > 0 for i in range(-40, 70)]
    tracemalloc.start()
    try:
        for place in places:
            for value in (255, 127):
                bad = bytearray(good)
                bad[place] = value
                path.write_bytes(bad)
                with suppress(CheckpointError):
                    read_index(path, 256)
        assert tracemalloc.get_traced_memory()[1] < 6 * len(good)
    finally:
        tracemalloc.stop()


def test_random_damage_and_cuts_are_named(tmp_path: Path) -> None:
    rng, path, good, refused = random.Random(3), tmp_path / "a.index", written("IVF4,Flat"), 0
    for _ in range(200):
        bad = bytearray(good)
        for _ in range(rng.choice((1, 2, 4))):
            bad[rng.randrange(4, 220) if rng.random() < 0.7 else rng.randrange(len(bad))] = rng.randrange(256)
        path.write_bytes(bad[: rng.choice((len(bad), len(bad), rng.randrange(len(bad))))])
        try:
            read_index(path, 256)
        except CheckpointError:
            refused += 1
    assert 60 < refused < 200
