"""How much output is held ready: enough for the slowest blocks, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...kernels.errors import ParameterError

MARGIN_MS = 5.0  # the system lets callbacks and blocks wait that long now and then, however short they are
BLOCK_MARGIN = 1.5  # over the slowest block of the warm-up: in half an hour there are slower ones
GROWTH_STEP_MS = 5.0
MAX_MS = 250.0
_KEPT_BLOCKS = 6000  # 2 minutes at 20 ms
_QUIET_S = 120.0  # without a shortage before anything is given back
_RELEASED_MS = 2.0  # at a time


@dataclass(slots=True)
class BlockTimes:
    """Durations of the last blocks.

    Attributes:
        seconds: A ring of them.
        count: Blocks so far.
    """

    seconds: np.ndarray = field(default_factory=lambda: np.zeros(_KEPT_BLOCKS))
    count: int = 0

    def note(self, seconds: float) -> None:
        """Take note of a block."""
        self.seconds[self.count % len(self.seconds)] = seconds
        self.count += 1

    def quantiles_ms(self, *q: float) -> list[float]:
        """Quantiles over the last blocks, 0 before the first."""
        known = self.seconds[: min(self.count, len(self.seconds))]
        return [float(t) * 1000.0 for t in np.quantile(known, q)] if len(known) else [0.0] * len(q)


def check_block_time(worst_block_ms: float, block_ms: int) -> None:
    """Raises ParameterError if blocks take longer than they last."""
    if worst_block_ms > block_ms:
        least = -(-int(worst_block_ms * 1.3) // 20) * 20
        raise ParameterError(
            f"block_ms is {block_ms}, and this machine needs {worst_block_ms:.0f} ms for such a block: "
            f"choose blocks of {least} ms or more, or another voice"
        )


@dataclass(slots=True)
class PrefillTarget:
    """The prefill as it is steered: up in steps after shortages, slowly down when there were none for long.

    Attributes:
        slowest_block_ms: Of the warm-up.
        wanted_ms: What to begin with; None to work it out.
        first_ms: What it began with.
        ms: What is aimed at.
        floor_ms: What the callbacks need, even if blocks took no time at all.
        last_shortage_s: When the last shortage was, or when something was last given back.
    """

    slowest_block_ms: float
    wanted_ms: float | None = None
    first_ms: float = 0.0
    ms: float = 0.0
    floor_ms: float = 0.0
    last_shortage_s: float = 0.0

    def begin(self, callback_in_ms: float, callback_out_ms: float, now_s: float) -> None:
        """Both devices run, and call at these intervals."""
        self.floor_ms = min(callback_in_ms + callback_out_ms + MARGIN_MS, MAX_MS)
        worked_out_ms = min(self.floor_ms + BLOCK_MARGIN * self.slowest_block_ms, MAX_MS)
        self.first_ms = self.ms = worked_out_ms if self.wanted_ms is None else self.wanted_ms
        self.last_shortage_s = now_s

    def shortage(self, now_s: float) -> None:
        """Take note of a shortage."""
        self.last_shortage_s = now_s

    @property
    def for_blocks_ms(self) -> float:
        """How long a block may take without a shortage, as long as the devices keep to their callbacks."""
        return self.ms - self.floor_ms

    @property
    def may_grow_ms(self) -> float:
        """By how much the next shortage may lengthen the delay."""
        return min(GROWTH_STEP_MS, MAX_MS - self.ms)

    def grew(self, ms: float) -> None:
        """A shortage has lengthened the delay."""
        self.ms += ms

    def is_calm(self, now_s: float) -> bool:
        """Whether something may be given back if it is not needed."""
        return now_s - self.last_shortage_s > _QUIET_S

    def release_ms(self, slow_block_ms: float, now_s: float) -> float:
        """How much is given back now.

        Args:
            slow_block_ms: How long the slowest blocks of the last minutes took.
            now_s: The time.
        """
        self.last_shortage_s = now_s
        if self.for_blocks_ms - BLOCK_MARGIN * slow_block_ms < _RELEASED_MS:
            return 0.0
        self.ms -= _RELEASED_MS
        return _RELEASED_MS
