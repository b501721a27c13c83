"""Another voice in a running stream, and the bypass around the voice: neither echoes, skips nor repeats.

Engines differ in latency. Here every engine is fed the input late enough for all outputs to have one common latency,
which the bypassed input is given too: whatever is faded into something else shows the same instant. All of it is read
from one ring of past input, from which a new engine's windows are filled as well, before it is heard.

The common latency is the largest of the engines so far. An engine that needs more makes it grow by a gap: the old one
fades out, silence lasts for as long as the latency grows, the new one fades in with the instant at which the old one
ended. It never shrinks on its own, for then a stretch of input would have to be skipped.

An engine that raises is silent for that block and starts anew with the next; its place in the stream is kept.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np

from ..kernels.errors import ParameterError, VoiceError
from ..kernels.fades import fade_in_curve
from ..kernels.speaker import SpeakerState
from ..kernels.types import FloatArray
from .engine import FADE_IN_MS, Engine

log = logging.getLogger(__name__)

FADE_MS = 30
PAST_MS = 3000  # of input that is kept for new engines; also the largest latency
RENDERED_MS = 200  # of it that is rendered, not only taken in: what voices carry of their own sound
RETRY_S = 1.0  # after several failures in a row, an engine is tried again that often
_MARGIN_MS = 500  # of the ring, for what arrives while a new engine reads its oldest samples
_FAILURES_IN_A_ROW = 3  # blocks that may fail before an engine is left alone for a while
_AFFORDABLE = 0.9  # of a block's duration that a new engine's blocks may take
_TIMED_BLOCKS = 5  # rendered blocks, from which on their median counts
_CATCH_UP_BLOCKS = 2  # that a waiting engine may take in beside a rendered block
_CATCH_UP_S = 5.0  # after which a new engine goes without what it has not taken in yet


@dataclass(slots=True)
class _Reader:
    """An engine and where it reads.

    Attributes:
        engine: The engine.
        latency: Latency at which it and the bypassed input beside it are heard, in samples.
        position: Position of the next sample that the engine takes, counted from the start of the stream; negative
            before it.
        unprimed: Blocks that the engine takes in before it can be heard, where it was not fed the past.
        failures: Blocks in a row that the engine has failed.
        retry_at: Number of samples taken from which on a failing engine is tried again.
    """

    engine: Engine
    latency: int
    position: int
    unprimed: int = 0
    failures: int = 0
    retry_at: int = 0


class SwappableEngine:
    """An engine that can be replaced and bypassed while the stream runs. Takes blocks as `Engine` does.

    The bypassed engine goes on working, so that it is there at once when it is wanted again.

    Attributes:
        sample_rate: Hz.
        block_size: Samples.
        bypass: Whether the input is heard instead of the voice; assign it at any time, from any thread.
        params: Parameters of the voice; assign another `VoiceParams` at any time, from any thread. All engines use it
            from their next block on.
        failed_blocks: Blocks that an engine has failed to convert; they are silent.
        cause: Message of the sounding engine's last failure; empty while it works.
        gap: Start and end of the silence in the last block by which a swap makes the latency grow.

    Args:
        engine: The first engine, fresh or reset.
        least_latency: Common latency to start with, in samples, if the engine's own is smaller: with the largest
            latency of the engines to come it never has to grow.
    """

    def __init__(self, engine: Engine, least_latency: int = 0) -> None:
        self.sample_rate, self.block_size = engine.sample_rate, engine.block_size
        self.bypass = False
        self.params = engine.params
        self.failed_blocks = 0
        self.cause = ""
        self.gap = (0, 0)
        ms = self.sample_rate / 1000
        block, fade = self.block_size, int(FADE_MS * ms)
        self._past = np.zeros(int((PAST_MS + _MARGIN_MS) * ms) // block * block + 2 * block, dtype=np.float32)
        self._taken = 0  # samples, since the start of the stream
        self._rendered_blocks = max(int(RENDERED_MS * ms) // block, 1)
        curve = fade_in_curve(fade)
        # A block of any stretch of a fade, before, in and behind it, is a slice.
        self._rise = np.concatenate((np.zeros(block), curve, np.ones(block))).astype(np.float32)
        self._fall = 1.0 - self._rise
        self._fade = fade
        self._cut_fade = fade_in_curve(int(FADE_IN_MS * ms)).astype(np.float32)
        self._in_scratch, self._other_scratch, self._dry_scratch = np.zeros((3, block), dtype=np.float32)
        self._out_scratch = np.zeros(block, dtype=np.float32)
        latency = max(engine.latency_samples, least_latency)
        self._check_latency(latency)
        self._current = _Reader(engine, latency, engine.latency_samples - latency)
        self._incoming: _Reader | None = None
        self._incoming_at = 0  # samples of the swap that are done
        # Written by `swap_to` alone, and compared with what the stream has seen of it: one assignment hands it over.
        self._offered: _Reader | None = None
        self._seen: _Reader | None = None
        self._target_latency = latency
        self._retired: list[Engine] = []
        self._retired_nonfinite = 0
        self._bypass_at = 0  # of the fade to the input, 0 .. fade
        self._is_cut = False
        self._last_sample = 0.0  # of the engine that is heard
        self._last_heard = 0.0  # of the output, which a swap and the bypass are part of
        self._speaker: SpeakerState | None = None  # as the last engine knew it that depends on it

    @property
    def engine(self) -> Engine:
        """The engine that is heard; during a swap the one that goes."""
        return self._current.engine

    @property
    def is_swapping(self) -> bool:
        """Whether an engine that was handed over is not yet the only one."""
        return self._incoming is not None or self._offered is not self._seen

    @property
    def latency_samples(self) -> int:
        """How much later than the input the output is; grows at the end of a swap to an engine of greater latency."""
        return self._current.latency

    @property
    def nonfinite_blocks(self) -> int:
        """Blocks of all engines so far that were silenced because they held NaN or infinite samples."""
        return self._retired_nonfinite + self._current.engine.nonfinite_blocks

    @property
    def f0_hz(self) -> float:
        """F0 of the engine that is heard, see `Engine.f0_hz`."""
        return self._current.engine.f0_hz

    @property
    def output_f0_hz(self) -> float:
        """F0 of what is heard, see `Engine.output_f0_hz`; in bypass, the speaker's."""
        return self.f0_hz if self.bypass else self._current.engine.output_f0_hz

    def swap_to(self, engine: Engine) -> None:
        """Hand over another engine. It fades in from the next block boundary on.

        Called from any thread, one at a time, beside `process`: here the engine renders a block to have everything
        compiled and bound, takes in the past of the stream and catches up with it. A second engine that comes before a
        swap has begun takes the place of the first; during a swap it waits.

        Args:
            engine: An engine of this rate and block size; nobody else uses it from now on.

        Raises:
            ParameterError: its rate, block size or latency does not fit.
            VoiceError: its blocks take longer than they last.
        """
        if (engine.sample_rate, engine.block_size) != (self.sample_rate, self.block_size):
            raise ParameterError(
                f"blocks of {engine.block_size} samples at {engine.sample_rate} Hz do not fit a running stream of "
                f"{self.block_size} at {self.sample_rate} Hz; stop it and start it anew"
            )
        self._check_latency(engine.latency_samples)
        self.release()
        engine.params = self.params
        block, out = np.zeros((2, self.block_size), dtype=np.float32)
        engine.process(block, out)
        engine.reset()
        stage = self._current.engine.stage
        if stage is not None and stage.speaker is not None:
            self._speaker = stage.speaker
        engine.adopt_speaker(self._speaker)
        latency = max(self._target_latency, engine.latency_samples)
        reader = _Reader(engine, latency, self._where_to_start(engine, latency))
        self._catch_up(reader, block, out)
        self._target_latency = latency
        self._offered = reader

    def release(self) -> None:
        """Free the engines that were replaced. Never called by the audio thread: to free one may take long."""
        self._retired.clear()

    def process(self, block: FloatArray, out: FloatArray) -> None:
        """Convert the next block.

        Args:
            block: Mono [block_size].
            out: Filled [block_size].

        Raises:
            ValueError: a length is not `block_size`.
        """
        if len(block) != self.block_size or len(out) != self.block_size:
            raise ValueError(f"blocks of {len(block)} and {len(out)} samples; this engine takes {self.block_size}")
        self._accept()
        self._take(block)
        is_bypassed, bypass_at = self.bypass, self._bypass_at
        self._render(self._current, self._out_scratch)
        self._bypass_into(self._current, is_bypassed, bypass_at, self._out_scratch)
        if self._incoming is not None:
            self._render(self._incoming, self._other_scratch)
            self._bypass_into(self._incoming, is_bypassed, bypass_at, self._other_scratch)
            self._mix(self._incoming)
        self._advance_fades(is_bypassed)
        if self._is_cut:
            self._is_cut = False
            self._out_scratch[: len(self._cut_fade)] *= self._cut_fade
        out[:] = self._out_scratch
        self._last_heard = float(out[-1])

    def skip(self, block: FloatArray, out: FloatArray) -> None:
        """Let the next block pass without rendering it; see `Engine.skip`. A swap and a bypass go on meanwhile.

        Args:
            block: Mono [block_size].
            out: Filled [block_size] with silence, into which what was heard last fades out.

        Raises:
            ValueError: a length is not `block_size`.
        """
        if len(block) != self.block_size or len(out) != self.block_size:
            raise ValueError(f"blocks of {len(block)} and {len(out)} samples; this engine takes {self.block_size}")
        self._accept()
        self._take(block)
        for reader in (self._current, self._incoming):
            if reader is not None:
                self._run(reader, None)
        self._advance_fades(self.bypass)
        out[:] = 0.0
        fade = len(self._cut_fade)
        np.multiply(self._cut_fade[::-1], self._last_heard, out=out[:fade])
        self._last_sample = self._last_heard = 0.0
        self._is_cut = True

    def reset(self) -> None:
        """Return to the start of a stream with the newest engine and its own latency. Not called beside `swap_to`."""
        reader = self._offered if self._offered is not self._seen else self._incoming
        engine = (reader or self._current).engine
        engine.reset()
        self._past[:] = 0.0
        self._taken = self._incoming_at = self.failed_blocks = 0
        self.cause = ""
        self._current = _Reader(engine, engine.latency_samples, 0)
        self._incoming = self._offered = self._seen = None
        self.release()
        self._target_latency = engine.latency_samples
        self._bypass_at = self._fade if self.bypass else 0
        self._is_cut = False
        self._last_sample = self._last_heard = 0.0
        self._speaker = None

    def retry(self) -> None:
        """Try an engine that was left alone after failures again with the next block."""
        for reader in (self._current, self._incoming):
            if reader is not None:
                reader.retry_at = 0

    def _check_latency(self, latency: int) -> None:
        most = self.sample_rate * PAST_MS // 1000
        if latency > most:
            raise ParameterError(f"a latency of {latency} samples is too long; {most} at most at {self.sample_rate} Hz")

    def _where_to_start(self, engine: Engine, latency: int) -> int:
        """Position, whole blocks before what the engine will take next, as far back as it makes use of the past."""
        delay = latency - engine.latency_samples
        useful = self.sample_rate * (engine.config.context_ms + RENDERED_MS) // 1000
        past = min(self._taken - delay, useful, self.sample_rate * PAST_MS // 1000 - delay)
        return self._taken - delay - max(past, 0) // self.block_size * self.block_size

    def _catch_up(self, reader: _Reader, block: FloatArray, out: FloatArray) -> None:
        """Feed an engine the past of the stream until it has taken all there is, or for as long as this makes sense.

        Raises:
            VoiceError: its blocks take longer than they last.
        """
        engine, block_s = reader.engine, self.block_size / self.sample_rate
        times_s: list[float] = []
        end_s = time.monotonic() + _CATCH_UP_S
        while (behind := self._behind(reader)) > 0:
            if time.monotonic() > end_s or reader.position < self._taken + self.block_size - len(self._past):
                # Busy processes leave this thread too little time: the stream feeds the engine from now on.
                engine.recover()
                reader.position += behind * self.block_size
                reader.unprimed = -(-engine.latency_samples // self.block_size) + 1
                return
            self._read(reader.position, block)
            if behind > self._rendered_blocks:
                engine.skip(block)
            else:
                # Time of this thread, not of the clock: that is what the block costs, also beside busy processes.
                started_s = time.thread_time()
                engine.process(block, out)
                times_s.append(time.thread_time() - started_s)
            reader.position += self.block_size
            if len(times_s) >= _TIMED_BLOCKS and (cost_s := sorted(times_s)[len(times_s) // 2]) > _AFFORDABLE * block_s:
                raise VoiceError(
                    f"a block takes {1000 * cost_s:.0f} ms of processor time on this computer and lasts "
                    f"{1000 * block_s:.0f} ms: choose longer blocks with --block-ms, or another voice"
                )

    def _behind(self, reader: _Reader) -> int:
        """Blocks that the reader's engine could take by now."""
        newest = self._taken - (reader.latency - reader.engine.latency_samples)
        return (newest - reader.position) // self.block_size

    def _read(self, position: int, out: FloatArray) -> None:
        """Past input from a position on; silence before the stream."""
        start = position % len(self._past)
        first = min(len(self._past) - start, len(out))
        out[:first] = self._past[start : start + first]
        out[first:] = self._past[: len(out) - first]

    def _take(self, block: FloatArray) -> None:
        start = self._taken % len(self._past)  # the ring holds whole blocks
        self._past[start : start + self.block_size] = block
        self._taken += self.block_size

    def _accept(self) -> None:
        """Begin a swap if an engine is offered, none is coming already, and it has taken all of the past."""
        offered = self._offered
        if self._incoming is not None or offered is None or offered is self._seen:
            return
        for _ in range(_CATCH_UP_BLOCKS):  # blocks came since it had caught up
            if self._behind(offered) > 0:
                self._run(offered, None)
                offered.unprimed -= 1
        if self._behind(offered) > 0 or offered.unprimed > 0:
            return
        self._seen = self._incoming = offered
        self._incoming_at = 0

    def _run(self, reader: _Reader, out: FloatArray | None) -> None:
        """Let a reader's engine convert its next block, or with None for `out` skip it.

        Whatever the engine raises, the reader moves on by one block and the engine starts anew: it then lacks some of
        its past, but its latency stays what it was.
        """
        self._read(reader.position, self._in_scratch)
        reader.position += self.block_size
        engine = reader.engine
        if reader.failures >= _FAILURES_IN_A_ROW and self._taken < reader.retry_at:
            if out is not None:
                out[:] = 0.0
            return
        try:
            engine.params = self.params
            if out is None:
                engine.skip(self._in_scratch)
            else:
                engine.process(self._in_scratch, out)
            reader.failures = 0
            if reader is self._current:
                self.cause = ""
        except Exception as error:
            reader.failures += 1
            reader.retry_at = self._taken + int(RETRY_S * self.sample_rate)
            self.failed_blocks += 1
            self.cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.warning("the voice failed: %s", self.cause, exc_info=reader.failures == 1)
            if out is not None:
                out[:] = 0.0
            try:
                engine.recover()
            except Exception as reset_error:
                log.warning("the voice could not be reset: %s", reset_error)

    def _render(self, reader: _Reader, out: FloatArray) -> None:
        """A reader's next block; where its engine fails or gives NaN, what was heard last fades out."""
        silenced = reader.engine.nonfinite_blocks
        self._run(reader, out)
        if reader is self._current:
            is_silent = reader.failures or reader.engine.nonfinite_blocks > silenced
            if is_silent and self._last_sample:
                fade = len(self._cut_fade)
                np.multiply(self._cut_fade[::-1], self._last_sample, out=out[:fade])
            self._last_sample = float(out[-1])

    def _bypass_into(self, reader: _Reader, is_bypassed: bool, bypass_at: int, out: FloatArray) -> None:
        """Fade a reader's block into the input of the same instant, as far as it is wanted."""
        if is_bypassed and bypass_at == self._fade:
            self._read(self._taken - self.block_size - reader.latency, out)
        elif is_bypassed or bypass_at > 0:
            self._read(self._taken - self.block_size - reader.latency, self._dry_scratch)
            weight = self._bypass_weight(is_bypassed, bypass_at)
            self._dry_scratch -= out
            self._dry_scratch *= weight
            out += self._dry_scratch

    def _bypass_weight(self, is_bypassed: bool, bypass_at: int) -> FloatArray:
        start = self.block_size + bypass_at
        if is_bypassed:
            return self._rise[start : start + self.block_size]
        return self._rise[bypass_at + 1 : start + 1][::-1]  # back on the same way, from wherever it was

    def _mix(self, incoming: _Reader) -> None:
        """Fade from the current reader's block to the incoming one's."""
        at, grows_by = self._incoming_at, incoming.latency - self._current.latency
        if grows_by == 0:
            self._other_scratch -= self._out_scratch
            self._other_scratch *= self._slice(self._rise, at)
        else:
            # The new one starts with the instant at which the old one ends.
            self._out_scratch *= self._slice(self._fall, at)
            self._other_scratch *= self._slice(self._rise, at - self._fade - grows_by)
        self._out_scratch += self._other_scratch

    def _slice(self, fade: FloatArray, at: int) -> FloatArray:
        start = self.block_size + min(max(at, -self.block_size), self._fade)
        return fade[start : start + self.block_size]

    def _advance_fades(self, is_bypassed: bool) -> None:
        step = self.block_size if is_bypassed else -self.block_size
        self._bypass_at = min(max(self._bypass_at + step, 0), self._fade)
        self.gap = (0, 0)
        if self._incoming is None:
            return
        grows_by = self._incoming.latency - self._current.latency
        silence = (self._fade - self._incoming_at, self._fade - self._incoming_at + grows_by)
        self.gap = (min(max(silence[0], 0), self.block_size), min(max(silence[1], 0), self.block_size))
        self._incoming_at += self.block_size
        if self._incoming_at >= self._fade + (self._fade + grows_by if grows_by else 0):
            self._retired.append(self._current.engine)
            self._retired_nonfinite += self._current.engine.nonfinite_blocks
            self._current, self._incoming = self._incoming, None
