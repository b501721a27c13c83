"""Limits of how much may come in a second."""

from __future__ import annotations

COMMANDS_PER_S, COMMANDS_AT_ONCE = 200.0, 400.0


class Bucket:
    """Lets through so many a second on average, and so many at once; by default as many as commands.

    Args:
        now_s: Time of the caller's clock.
        rate: How many a second.
        burst: How many at once.
    """

    def __init__(self, now_s: float, rate: float = COMMANDS_PER_S, burst: float = COMMANDS_AT_ONCE) -> None:
        self._rate = rate
        self._burst = self._level = burst
        self._then_s = now_s

    def takes(self, count: int, now_s: float) -> bool:
        """Whether there is room for so many; if so, they count."""
        self._level = min(self._level + max(now_s - self._then_s, 0.0) * self._rate, self._burst)
        self._then_s = now_s
        if self._level < count:
            return False
        self._level -= count
        return True
