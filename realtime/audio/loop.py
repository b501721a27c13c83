"""The rendering loop: takes blocks from the input's ring buffer, processes them, fills the outputs' ring buffers.

It depends on the states and clocks of callbacks only, not on devices, so that simulated devices can drive it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ...kernels.types import FloatArray
from ..session.block_times import BlockTimes
from .paths import InputPath, OutputPath


class BlockProcessor(Protocol):
    """Interface of the processor that the loop drives; see `Processor`."""

    block_size: int
    times: BlockTimes

    def process(self, block: FloatArray, out: FloatArray, is_late: bool = False) -> None:
        """Convert the next block; never raises."""
        ...


class LiveLoop:
    """Runs a processor between an input and some outputs.

    Args:
        processor: Processor of blocks at the session's rate.
        source: Path of the input.
        outputs: Paths of the outputs, the cable first.
    """

    def __init__(self, processor: BlockProcessor, source: InputPath, outputs: list[OutputPath]) -> None:
        self.processor = processor
        self.source = source
        self.outputs = outputs
        self._block_scratch, self._rendered_scratch = np.zeros((2, processor.block_size), dtype=np.float32)

    def step(self, now_s: float) -> bool:
        """Convert a block if one is complete; returns whether one was.

        Args:
            now_s: The time on the clock that the callbacks tick with.
        """
        source = self.source
        lost_s = source.take_lost()
        if lost_s:
            for path in self.outputs:
                if path.is_started:
                    path.send_silence(int(lost_s * path.rate))
        if not source.has_block:
            return False
        source.read_into(self._block_scratch)
        is_late = source.has_block and self.outputs[0].is_behind(now_s)
        self.processor.process(self._block_scratch, self._rendered_scratch, is_late)
        for path in self.outputs:
            path.send(self._rendered_scratch, source, self.processor.times, now_s)
        return True
