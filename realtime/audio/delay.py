"""Controls the latency between two devices: prefill, drift, underruns, backlogs, dropped input.

The controller reads the buffer fill, the samples between the input's clock and the output's, and decides about the
output: a resampling ratio, samples to discard, silence to insert. It touches no buffer itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..session.block_times import BlockTimes
from .prefill import PrefillTarget
from .rate_lock import RateLock

_DISCARD_ABOVE_MS = 120.0  # over the target: a device has paused, and stale samples are discarded at once
_TOO_LATE_MS = 20.0  # over the target: a device has paused, which would remain as latency ...
_BACKLOG_S = 0.5  # ... after so long
_OWING_S = 0.3  # after which samples to discard will not come any more: the input device itself has lost them
_SETTLE_S = 10.0  # until the clocks are smooth enough to be controlled by
_ROUGHLY_SMOOTH_S = 3.0  # until they are right within some milliseconds


@dataclass(frozen=True, slots=True)
class Correction:
    """Correction of an output besides resampling.

    Attributes:
        discard: Samples to leave out.
        insert: Samples of silence to add.
    """

    discard: int = 0
    insert: int = 0


_NONE = Correction()


@dataclass(slots=True)
class DelayController:
    """Controls the latency of one output.

    Attributes:
        rate: Rate of the output in Hz.
        block: Samples of a block at that rate.
        lock: Drift compensation, which sets the resampling ratio.
        prefill: The output latency target.
        started_s: When the output began to play.
        updated_s: When the controller was last asked.
        settled_s: When there was last nothing left to discard.
        late_since_s: When a backlog was first seen; 0 while there is none.
    """

    rate: int
    block: int
    lock: RateLock
    prefill: PrefillTarget
    started_s: float = 0.0
    updated_s: float = 0.0
    settled_s: float = 0.0
    late_since_s: float = 0.0

    def begin(self, now_s: float) -> None:
        """The output begins to play."""
        self.started_s = self.updated_s = self.settled_s = now_s

    @property
    def may_grow(self) -> int:
        """Samples by which the next underrun may lengthen the latency."""
        return int(self.prefill.may_grow_ms * self.rate / 1000.0)

    def note_growth(self, samples: int) -> None:
        """An underrun has lengthened the latency, and it is to stay so."""
        self.prefill.ms += 1000.0 * samples / self.rate
        self.lock.raise_target(samples)

    def release(self, times: BlockTimes, now_s: float) -> None:
        """Lower the latency a little if there was no underrun for long and blocks are quick."""
        if self.prefill.is_calm(now_s):
            (slow_block_ms,) = times.quantiles_ms(0.999)
            self.lock.target -= self.prefill.release_ms(slow_block_ms, now_s) * self.rate / 1000.0

    def correct(self, fill: float, is_discarding: bool, available: int, now_s: float) -> Correction:
        """Check the buffer fill before a block is written.

        Args:
            fill: Buffer fill in samples.
            is_discarding: Whether late samples are still to be discarded.
            available: Samples in the ring buffer; no more can be discarded.
            now_s: The time.
        """
        per_ms, lock = self.rate / 1000.0, self.lock
        if not is_discarding:
            self.settled_s = now_s
        excess = fill - lock.target
        is_late = excess > _TOO_LATE_MS * per_ms
        self.late_since_s = (self.late_since_s or now_s) if is_late else 0.0
        correction = _NONE
        if now_s - self.settled_s > _OWING_S and excess < 0.0:
            self.settled_s = now_s
            correction = Correction(insert=int(-excess))
        elif now_s - self.started_s < _SETTLE_S:
            correction = self._settle(fill, available, now_s)
        elif excess > _DISCARD_ABOVE_MS * per_ms or (is_late and now_s - self.late_since_s > _BACKLOG_S):
            correction = Correction(discard=int(min(excess, available)))
        else:
            lock.update(fill, now_s - self.updated_s)
        self.updated_s = now_s
        return correction

    def _settle(self, fill: float, available: int, now_s: float) -> Correction:
        """While the clocks settle, the current buffer fill becomes the target; only a large excess is discarded."""
        per_ms = self.rate / 1000.0
        excess = fill - self.prefill.ms * per_ms - self.block
        correction = _NONE
        if now_s - self.started_s > _ROUGHLY_SMOOTH_S and excess > _TOO_LATE_MS * per_ms:
            correction = Correction(discard=int(min(excess, available)))
            fill -= excess
        self.lock.start(fill)
        return correction
