"""Processing times of the last blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...kernels.types import Float64Array

_KEPT_BLOCKS = 6000  # 2 minutes at 20 ms


@dataclass(slots=True)
class BlockTimes:
    """Processing times of the last blocks.

    Attributes:
        seconds: Ring of processing times.
        count: Number of blocks noted so far.
    """

    seconds: Float64Array = field(default_factory=lambda: np.zeros(_KEPT_BLOCKS), repr=False)
    count: int = 0

    def note(self, seconds: float) -> None:
        """Note the processing time of a block."""
        self.seconds[self.count % len(self.seconds)] = seconds
        self.count += 1

    def quantiles_ms(self, *q: float) -> list[float]:
        """Quantiles over the last blocks in ms, 0 before the first."""
        known = self.seconds[: min(self.count, len(self.seconds))]
        return [float(t) * 1000.0 for t in np.quantile(known, q)] if len(known) else [0.0] * len(q)
