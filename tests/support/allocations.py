"""What blocks allocate, as tracemalloc sees it: objects of Python and arrays of NumPy, whatever thread makes them."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable


def allocated(render: Callable[[int], object], blocks: int) -> tuple[int, int]:
    """Render blocks three times over: the first time to warm up, then twice measured.

    Args:
        render: Renders the block of a number.
        blocks: How many there are.

    Returns:
        The most that one block allocates each time, for the test runner's own threads allocate now and then, too;
        and what is held in the end, in bytes.
    """
    for i in range(blocks):
        render(i)
    peaks = [[0] * blocks for _ in range(2)]
    gc.collect()
    tracemalloc.start()
    try:
        for measured in peaks:
            for i in range(blocks):
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                render(i)
                measured[i] = tracemalloc.get_traced_memory()[1] - before
        return max(map(min, *peaks)), tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
