"""Processing times of the last blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...kernels.types import Float64Array

HISTOGRAM_BINS = 20
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
        known = self._known
        return [float(t) * 1000.0 for t in np.quantile(known, q)] if len(known) else [0.0] * len(q)

    def histogram(self, deadline_s: float) -> tuple[int, ...]:
        """How many of the last blocks took which share of the deadline: `HISTOGRAM_BINS` bins from 0 to all of it.

        Blocks that took longer than the deadline count in the last bin.
        """
        shares = np.minimum(self._known / deadline_s, np.nextafter(1.0, 0.0))
        return tuple(int(count) for count in np.histogram(shares, HISTOGRAM_BINS, (0.0, 1.0))[0])

    @property
    def _known(self) -> Float64Array:
        return self.seconds[: min(self.count, len(self.seconds))]
