"""Windows over a stream: what they keep tiles the stream, whatever the blocks are."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from altervox.models.windows import Window, overlapping_windows

CORE, CONTEXT = 100, 30


def cut(x: np.ndarray, block: int) -> list[Window]:
    return list(overlapping_windows((x[i : i + block] for i in range(0, len(x), block)), CORE, CONTEXT))


@pytest.mark.parametrize("block", [1, 7, 100, 130, 1000])
@pytest.mark.parametrize("length", [1, 29, 99, 100, 101, 129, 150, 151, 179, 180, 181, 230, 250, 251, 280, 1000, 1049])
def test_cores_tile_the_stream(length: int, block: int) -> None:
    x = np.arange(length, dtype=np.float32)
    windows = cut(x, block)
    assert windows[0].core_start == windows[0].start == 0
    assert windows[-1].core_end == length
    assert all(a.core_end == b.core_start for a, b in pairwise(windows))
    assert [w.is_last for w in windows] == [False] * (len(windows) - 1) + [True]
    for w in windows:
        stop = w.start + len(w.samples)
        np.testing.assert_array_equal(w.samples, x[w.start : stop])
        assert w.samples.flags["C_CONTIGUOUS"]
        assert w.start == max(w.core_start - CONTEXT, 0)
        assert stop == min(w.core_end + CONTEXT, length)
        assert w.core_end - w.core_start <= CORE + CORE // 2


@pytest.mark.parametrize("length", [180, 250, 1049])
def test_blocks_do_not_matter(length: int) -> None:
    x = np.arange(length, dtype=np.float32)
    bounds = [[(w.start, w.core_start, w.core_end, len(w.samples)) for w in cut(x, block)] for block in (1, 64, 2000)]
    assert bounds[0] == bounds[1] == bounds[2]


def test_nothing_gives_nothing() -> None:
    assert cut(np.zeros(0, dtype=np.float32), 10) == []
    assert list(overlapping_windows([np.zeros(0, dtype=np.float32)] * 3, CORE, CONTEXT)) == []


def test_it_holds_no_more_than_it_needs() -> None:
    """A lazy reader: when a window comes out, little beyond it has been read."""
    read = 0

    def blocks() -> object:
        nonlocal read
        for _ in range(100):
            read += 10
            yield np.zeros(10, dtype=np.float32)

    for window in overlapping_windows(blocks(), CORE, CONTEXT):  # type: ignore[arg-type]
        assert read <= window.core_start + CORE + CORE // 2 + CONTEXT + 10
