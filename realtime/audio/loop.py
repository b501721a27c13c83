"""The engine between two devices: takes blocks from the input's ring, fills the rings of the outputs.

It knows nothing of devices, only of the callbacks' states and clocks, so that simulated ones can drive it.
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

import numpy as np

from ...kernels.clock import buffer_fill
from ...kernels.drift import resample_near_one
from ...kernels.errors import AltervoxError
from ...kernels.gain import GainState, gain_into
from ...kernels.polyphase import resample_block
from ...kernels.types import FloatArray
from ..session.chain import Chain
from ..session.recorder import Recorder
from .paths import InputLane, OutputLane
from .prefill import BlockTimes

log = logging.getLogger(__name__)


_CUT_ABOVE_MS = 120.0  # over the target: a device has paused, and nobody wants to hear what lay in between
_BACKLOG_S = 0.5  # as long as more than `_TOO_LATE_MS` may lie over the target
_OWING_S = 0.3  # after which what is owed will not come: the input device itself has lost it
_FAILURES_TOLERATED = 3  # blocks in a row that an engine may fail before it is left alone
_SILENT_S = 3.0
_DUE_APART = 0.99  # of a block: two are due that much after one another, however late the first has come
_OPENING_S = 0.5  # in which a device that has just opened takes audio in bursts: a pause would stay as delay
_WATCHED_S = 0.4  # at the end of that: how often the devices call
_SETTLE_S = 10.0  # until the clocks are smooth enough to hold on to
_ROUGHLY_SMOOTH_S = 3.0  # until they are right within some milliseconds
_TOO_LATE_MS = 20.0  # over the target: a device has paused, and that would stay as delay


class LiveEngine(Protocol):
    """What the loop drives: `Engine` or `SwappableEngine`."""

    sample_rate: int
    block_size: int

    @property
    def latency_samples(self) -> int:
        """How much later than the input the output is."""
        ...

    def process(self, block: FloatArray, out: FloatArray) -> None:
        """Convert the next block."""
        ...

    def skip(self, block: FloatArray) -> None:
        """Let the next block pass without rendering it."""
        ...


class LiveLoop:
    """Runs an engine between an input and some outputs.

    Args:
        engine: Takes blocks at its own rate.
        source: The input.
        outputs: The first one is the cable.
        chain: Effects around the engine; None for none.

    Attributes:
        recorder: Takes what comes in and goes out while it is set.
        muted: Whether silence goes out; it fades there and back.
        blocks: Blocks so far.
        late_blocks: Of them, those that were not rendered because their time was over.
        failed_blocks: Of them, those that the engine failed.
        cause: What the engine said when it failed last, empty while all is well.
        input_peak: Largest sample of the last block.
        output_peak: The same of what went out.
    """

    def __init__(
        self, engine: LiveEngine, source: InputLane, outputs: list[OutputLane], chain: Chain | None = None
    ) -> None:
        self.engine = engine
        self.chain = chain
        self.recorder: Recorder | None = None
        self.source = source
        self.outputs = outputs
        self.muted = False
        self.times = BlockTimes()
        self.blocks = self.late_blocks = self.failed_blocks = 0
        self.cause = ""
        self.input_peak = self.output_peak = 0.0
        self._failures = 0
        self._silent_samples = 0
        self._due_s = 0.0
        self._mute_gain = GainState()
        self._block, self._heard, self._rendered = np.zeros((3, engine.block_size), dtype=np.float32)
        self._zeros = np.zeros(engine.block_size * 4, dtype=np.float32)

    @property
    def input_is_silent(self) -> bool:
        """Whether nothing but zeros has come for 3 seconds: a microphone is denied or muted, not quiet."""
        return self._silent_samples > _SILENT_S * self.source.clock.nominal_rate

    def step(self, now_s: float) -> bool:
        """Convert a block if there is one; returns whether there was.

        Args:
            now_s: The time on the clock that the callbacks tick with.
        """
        source = self.source
        self._account_for_lost()
        if source.capture.ring.available < source.device_block:
            return False
        started = time.perf_counter()
        source.capture.ring.read_into(source.samples)
        source.taken += source.device_block
        self._note_input()
        resample_block(source.samples, source.resampler, self._block)
        recorder = self.recorder
        if recorder is not None:
            np.copyto(self._heard, self._block)
        if self.chain is not None:
            self.chain.before(self._block)
        self._convert(self._is_stale())
        if self.chain is not None:
            self.chain.after(self._rendered, self.engine.latency_samples)
        self.output_peak = max(float(self._rendered.max()), -float(self._rendered.min()))
        if recorder is not None:
            recorder.take(self._heard, self._rendered)
        due_s = max(source.clock.reached_s(source.taken), self._due_s + _DUE_APART * source.block_s)
        for lane in self.outputs:
            room_ms = lane.prefill.for_blocks_ms  # before a shortage lets it grow
            self._send(lane, now_s)
            self._judge_shortages(lane, room_ms, now_s, now_s + time.perf_counter() - started - due_s)
        self._due_s = due_s
        self.blocks += 1
        self.times.note(time.perf_counter() - started)
        return True

    def fill(self, lane: OutputLane, now_s: float) -> float:
        """Samples between the input's and the output's clock, at the output's rate."""
        return buffer_fill(self.source.clock, self.source.taken, lane.playout, lane.clock, now_s)

    def forget_failure(self) -> None:
        """The engine works, or is another one: it is no longer left alone for what it failed to do."""
        self._failures = 0
        self.cause = ""

    def _is_stale(self) -> bool:
        """Whether the block's time is over at the first output, and another one waits already."""
        playout = self.outputs[0].playout
        waiting = self.source.capture.ring.available >= self.source.device_block
        return waiting and playout.counters.to_discard - playout.ring.available >= len(self.outputs[0].samples)

    def _note_input(self) -> None:
        samples = self.source.samples
        self.input_peak = max(float(samples.max()), -float(samples.min()))
        self._silent_samples = self._silent_samples + len(samples) if self.input_peak == 0.0 else 0

    def _account_for_lost(self) -> None:
        """Samples that the input ring had no room for are missing in time as well: silence takes their place."""
        source = self.source
        lost = source.capture.overrun_samples - source.lost_seen
        if lost <= 0:
            return
        source.lost_seen += lost
        source.taken += lost
        for lane in self.outputs:
            if lane.is_started:
                self._send_silence(lane, lost * lane.rate / source.clock.nominal_rate)

    def _send_silence(self, lane: OutputLane, samples: float) -> None:
        """Write so much silence, as far as there is room."""
        due = int(samples)
        while due > 0:
            due -= lane.playout.ring.write(self._zeros[: min(due, len(self._zeros))]) or due

    def _convert(self, is_stale: bool) -> None:
        """Render the block, or let it pass."""
        if self._failures >= _FAILURES_TOLERATED:
            self._rendered[:] = 0.0
        else:
            try:
                if is_stale:
                    self.late_blocks += 1
                    self.engine.skip(self._block)
                    self._rendered[:] = 0.0
                else:
                    self.engine.process(self._block, self._rendered)
                self.forget_failure()
            except (AltervoxError, RuntimeError, ValueError, ArithmeticError, LookupError, OSError) as error:
                self._failures += 1
                self.failed_blocks += 1
                self.cause = str(error).splitlines()[0] if str(error) else type(error).__name__
                log.warning("the voice failed: %s", self.cause, exc_info=self._failures == 1)
                self._rendered[:] = 0.0
        self._mute_gain.target = 0.0 if self.muted else 1.0
        gain_into(self._rendered, self._mute_gain, self._rendered)

    def _send(self, lane: OutputLane, now_s: float) -> None:
        """Give the block to an output, as many samples as its clock wants."""
        playout, lock = lane.playout, lane.lock
        resample_block(self._rendered, lane.resampler, lane.samples)
        gain_into(lane.samples, lane.gain, lane.samples)
        if not lane.is_started:
            if not (lane.clock.is_running and self.source.clock.is_running):
                return
            lane.opened_s = lane.opened_s or now_s
            waiting = self.source.capture.ring.available >= self.source.device_block
            if waiting or now_s - lane.opened_s < _OPENING_S:
                return  # what has come while the devices opened would stay as delay
            in_s, out_s = (clock.interval_s(now_s - _WATCHED_S) for clock in (self.source.clock, lane.clock))
            if not (in_s and out_s):
                return  # one of them sleeps
            lane.prefill.begin(1000.0 * in_s, 1000.0 * out_s, now_s)
            lane.clock.restart()
            self.source.clock.restart()
            silence = int(lane.prefill.ms * lane.rate / 1000.0)
            playout.ring.write(np.zeros(silence, dtype=np.float32))
        else:
            self._steer(lane, now_s)
        count = resample_near_one(lane.samples, lane.drift, lock.ratio, lane.stretched)
        playout.ring.write(lane.stretched[:count])
        if not lane.is_started:
            lane.is_started = True
            lane.started_s = lane.updated_s = lane.settled_s = now_s
            playout.allowance[0] = int(lane.prefill.may_grow_ms * lane.rate / 1000.0)
            playout.started[0] = 1

    def _judge_shortages(self, lane: OutputLane, room_ms: float, now_s: float, answer_s: float) -> None:
        """Whose fault it is if this block came too late: ours, or that of a device that gave late or took early.

        Args:
            lane: That the block was just written to.
            room_ms: That the prefill had for blocks.
            now_s: The time.
            answer_s: From the callback that completed the block's input to now; of blocks that came together, each
                counts as having come when it should have.
        """
        shortages = lane.playout.counters.underruns
        if shortages != lane.shortages_seen:
            lane.prefill.shortage(now_s)
            if 1000.0 * answer_s > max(room_ms, lane.prefill.slowest_block_ms):
                lane.own_shortages += shortages - lane.shortages_seen
            lane.shortages_seen = shortages

    def _steer(self, lane: OutputLane, now_s: float) -> None:
        """Hold the level, let shortages lengthen the delay in steps, and shorten it again."""
        counters, lock, per_ms = lane.playout.counters, lane.lock, lane.rate / 1000.0
        grown = counters.added - lane.grown_seen
        if grown:
            lane.grown_seen += grown
            lane.prefill.grew(grown / per_ms)
            lock.raise_target(grown)
        if counters.underruns == lane.shortages_seen and counters.to_discard == 0:
            # The last shortage is over: the next one may take another step.
            lane.playout.allowance[0] = counters.added + int(lane.prefill.may_grow_ms * per_ms)
            if lane.prefill.is_calm(now_s):
                (slow_block_ms,) = self.times.quantiles_ms(0.999)
                lock.target -= lane.prefill.release_ms(slow_block_ms, now_s) * per_ms
        level = self.fill(lane, now_s)
        if lane.playout.counters.to_discard == 0:
            lane.settled_s = now_s
        is_late = level - lock.target > _TOO_LATE_MS * per_ms
        lane.late_since_s = (lane.late_since_s or now_s) if is_late else 0.0
        if now_s - lane.settled_s > _OWING_S and level < lock.target:
            self._send_silence(lane, lock.target - level)
            lane.settled_s = now_s
        elif now_s - lane.started_s < _SETTLE_S:
            excess = level - lane.prefill.ms * per_ms - len(lane.samples)
            if now_s - lane.started_s > _ROUGHLY_SMOOTH_S and excess > _TOO_LATE_MS * per_ms:
                lane.playout.trim[0] += int(min(excess, lane.playout.ring.available))
                level -= excess
            lock.start(level)
        elif level - lock.target > _CUT_ABOVE_MS * per_ms or (is_late and now_s - lane.late_since_s > _BACKLOG_S):
            lane.playout.trim[0] += int(min(level - lock.target, lane.playout.ring.available))
        else:
            lock.update(level, now_s - lane.updated_s)
        lane.updated_s = now_s
