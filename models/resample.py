"""Rate conversion of a stream of blocks, with the exact length and no delay (soxr)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from ..kernels.types import AnyFloatArray
from .voice import rescaled_length


def resampled(blocks: Iterable[AnyFloatArray], from_rate: int, to_rate: int) -> Iterator[AnyFloatArray]:
    """Resample mono blocks, float32, to `rescaled_length` samples in total, time-aligned."""
    if from_rate == to_rate:
        yield from (np.asarray(block, dtype=np.float32) for block in blocks)
        return
    stream = soxr.ResampleStream(from_rate, to_rate, num_channels=1, dtype="float32", quality="HQ")
    total_in = total_out = 0
    for block in blocks:
        total_in += len(block)
        out = stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
        total_out += len(out)
        if len(out):
            yield out
    wanted = rescaled_length(total_in, from_rate, to_rate) - total_out
    rest = stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
    rest = np.pad(rest, (0, max(wanted - len(rest), 0)))[: max(wanted, 0)]
    if len(rest):
        yield rest
