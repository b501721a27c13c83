"""The output latency target: how much output is held ready, enough for the slowest blocks and no more."""

from __future__ import annotations

from dataclasses import dataclass

MARGIN_MS = 5.0  # scheduling jitter: callbacks and blocks wait that long now and then, however short they are
BLOCK_MARGIN = 1.5  # over the slowest block of the warm-up: in half an hour there are slower ones
GROWTH_STEP_MS = 5.0
MAX_MS = 250.0
_QUIET_S = 120.0  # without an underrun before anything is given back
_RELEASED_MS = 2.0  # given back at a time


@dataclass(slots=True)
class PrefillTarget:
    """The prefill as it is steered: up in steps after underruns, slowly down when there were none for long.

    Attributes:
        slowest_block_ms: Slowest block of the warm-up.
        wanted_ms: Prefill that the user asked for; None to work it out.
        first_ms: Prefill at the start.
        ms: Prefill that is aimed at.
        floor_ms: What the callbacks need, even if blocks took no time at all.
        last_underrun_s: When the last underrun was, or when something was last given back.
    """

    slowest_block_ms: float
    wanted_ms: float | None = None
    first_ms: float = 0.0
    ms: float = 0.0
    floor_ms: float = 0.0
    last_underrun_s: float = 0.0

    def begin(self, callback_in_ms: float, callback_out_ms: float, now_s: float) -> None:
        """Work out the first prefill: both devices run, and call at these intervals."""
        self.floor_ms = min(callback_in_ms + callback_out_ms + MARGIN_MS, MAX_MS)
        worked_out_ms = min(self.floor_ms + BLOCK_MARGIN * self.slowest_block_ms, MAX_MS)
        self.first_ms = self.ms = worked_out_ms if self.wanted_ms is None else self.wanted_ms
        self.last_underrun_s = now_s

    @property
    def grown_ms(self) -> float:
        """By how much underruns have lengthened it, less what was given back."""
        return self.ms - self.first_ms

    @property
    def may_grow_ms(self) -> float:
        """By how much the next underrun may lengthen it."""
        return min(GROWTH_STEP_MS, MAX_MS - self.ms)

    def is_calm(self, now_s: float) -> bool:
        """Whether something may be given back if it is not needed."""
        return now_s - self.last_underrun_s > _QUIET_S

    def release_ms(self, slow_block_ms: float, now_s: float) -> float:
        """How much is given back now.

        Args:
            slow_block_ms: How long the slowest blocks of the last minutes took.
            now_s: The time.
        """
        self.last_underrun_s = now_s
        if self.ms - self.floor_ms - BLOCK_MARGIN * slow_block_ms < _RELEASED_MS:
            return 0.0
        self.ms -= _RELEASED_MS
        return _RELEASED_MS
