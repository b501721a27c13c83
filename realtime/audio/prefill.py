"""The output latency target: how much output is held ready, enough for the slowest blocks and no more."""

from __future__ import annotations

from dataclasses import dataclass

MARGIN_MS = 5.0  # scheduling jitter: callbacks and blocks wait that long now and then, however short they are
BLOCK_MARGIN = 1.5  # over the slowest block of the warm-up: in half an hour there are slower ones
GROWTH_STEP_MS = 5.0
MAX_MS = 250.0  # or a block, where that is longer: one that takes almost its own length needs as much
_QUIET_S = 120.0  # without an underrun before prefill is released
_RELEASED_MS = 2.0  # per step


@dataclass(slots=True)
class PrefillTarget:
    """The prefill: raised in steps after underruns, lowered slowly after a long time without any.

    Attributes:
        slowest_block_ms: Slowest block of the warm-up.
        wanted_ms: Prefill that the user set; None to compute it.
        most_ms: Upper limit of the prefill.
        first_ms: Prefill at the start.
        ms: Current target.
        floor_ms: Prefill that callback intervals and jitter need, without any processing time.
        last_underrun_s: Time of the last underrun, or of the last release.
    """

    slowest_block_ms: float
    wanted_ms: float | None = None
    most_ms: float = MAX_MS
    first_ms: float = 0.0
    ms: float = 0.0
    floor_ms: float = 0.0
    last_underrun_s: float = 0.0

    def begin(self, callback_in_ms: float, callback_out_ms: float, now_s: float) -> None:
        """Compute the first prefill from the callback intervals of both running devices."""
        self.floor_ms = min(callback_in_ms + callback_out_ms + MARGIN_MS, self.most_ms)
        worked_out_ms = min(self.floor_ms + BLOCK_MARGIN * self.slowest_block_ms, self.most_ms)
        self.first_ms = self.ms = worked_out_ms if self.wanted_ms is None else self.wanted_ms
        self.last_underrun_s = now_s

    @property
    def grown_ms(self) -> float:
        """Prefill added after underruns, less what was released."""
        return self.ms - self.first_ms

    @property
    def may_grow_ms(self) -> float:
        """Prefill that the next underrun may add."""
        return min(GROWTH_STEP_MS, self.most_ms - self.ms)

    def is_calm(self, now_s: float) -> bool:
        """Whether there was no underrun for so long that prefill may be released."""
        return now_s - self.last_underrun_s > _QUIET_S

    def release_ms(self, slow_block_ms: float, now_s: float) -> float:
        """Release a step of prefill if it is not needed; returns its length.

        Args:
            slow_block_ms: Processing time of the slowest blocks of the last minutes.
            now_s: The time.
        """
        self.last_underrun_s = now_s
        if self.ms - self.floor_ms - BLOCK_MARGIN * slow_block_ms < _RELEASED_MS:
            return 0.0
        self.ms -= _RELEASED_MS
        return _RELEASED_MS
