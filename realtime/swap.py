"""Another voice or geometry in a running stream, and the way around the voice: neither echoes, skips nor repeats.

Engines differ in delay. Here every engine is fed the input late enough for all outputs to have one common delay, which
the untouched input is given too: whatever is faded into something else shows the same instant. All of it is read from
one ring of past input, from which a new engine's windows are filled as well, before it is heard.

The common delay is the largest of the engines so far. An engine that needs more makes it grow by a gap: the old one
fades out, silence lasts for as long as the delay grows, the new one fades in with the instant at which the old one
ended. It never shrinks on its own, for then a stretch of input would have to be skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..kernels.errors import ParameterError, VoiceError
from ..kernels.fades import fade_in_curve
from ..kernels.finite import silence_nonfinite
from ..kernels.types import FloatArray
from ..models.voice import VoiceParams
from .engine import FADE_IN_MS, Engine

FADE_MS = 30
PAST_MS = 3000  # of input that a new engine gets to see, and the largest delay
RENDERED_MS = 200  # of it that is rendered, not only taken in: what voices carry of their own sound
_MARGIN_MS = 500  # of the ring, for what arrives while a new engine reads its oldest samples
_CATCHING_UP_STEPS = 200  # after which a new engine that is only just fast enough is taken as it is


@dataclass(slots=True)
class _Lane:
    """An engine and where it reads.

    Attributes:
        engine: The engine.
        latency: Delay at which it and the untouched input beside it are heard, in samples.
        position: Of the next sample that the engine takes, counted from the start of the stream; negative before it.
    """

    engine: Engine
    latency: int
    position: int


class SwappableEngine:
    """An engine that can be replaced and bypassed while the stream runs. Takes blocks as `Engine` does.

    The bypassed engine goes on working, so that it is there at once when it is wanted again.

    Attributes:
        sample_rate: Hz.
        block_size: Samples.
        bypass: Whether the untouched input is heard instead; assign it at any time, from any thread.

    Args:
        engine: The first engine, fresh or reset.
        least_latency: Common delay to start with, in samples, if the engine's own is smaller: with the largest delay of
            the engines to come it never has to grow.
    """

    def __init__(self, engine: Engine, least_latency: int = 0) -> None:
        self.sample_rate, self.block_size = engine.sample_rate, engine.block_size
        self.bypass = False
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
        self._cut_fade = fade_in_curve(int(FADE_IN_MS * ms))
        self._input, self._other, self._dry = np.zeros((3, block), dtype=np.float32)
        self._out = np.zeros(block, dtype=np.float32)
        latency = max(engine.latency_samples, least_latency)
        self._check_latency(latency)
        self._current = _Lane(engine, latency, engine.latency_samples - latency)
        self._incoming: _Lane | None = None
        self._incoming_at = 0  # samples of the swap that are done
        # Written by `prepare` alone, and compared with what the stream has seen of it: one assignment hands it over.
        self._offered: _Lane | None = None
        self._seen: _Lane | None = None
        self._target_latency = latency
        self._retired: Engine | None = None
        self._bypass_at = 0  # of the fade to the untouched input, 0 .. fade
        self._is_cut = False

    @property
    def engine(self) -> Engine:
        """The engine that is heard; during a swap the one that goes."""
        return self._current.engine

    @property
    def is_swapping(self) -> bool:
        """Whether a prepared engine is not yet the only one."""
        return self._incoming is not None or self._offered is not self._seen

    @property
    def latency_samples(self) -> int:
        """How much later than the input the output is; grows at the end of a swap to an engine of greater delay."""
        return self._current.latency

    @property
    def f0_hz(self) -> float:
        """See `Engine.f0_hz`; of the engine that is heard."""
        return self._current.engine.f0_hz

    @property
    def gate_gain_db(self) -> float:
        """See `Engine.gate_gain_db`; of the engine that is heard, 0 while it is bypassed."""
        return 0.0 if self.bypass else self._current.engine.gate_gain_db

    @property
    def params(self) -> VoiceParams:
        """How to render. Assigned to the engine that is heard and to the one that comes."""
        return (self._incoming or self._current).engine.params

    @params.setter
    def params(self, params: VoiceParams) -> None:
        for lane in (self._current, self._incoming, self._offered):
            if lane is not None:
                lane.engine.params = params

    def prepare(self, engine: Engine) -> None:
        """Hand over another engine. It is faded in from the next block boundary on.

        Called from any thread, one at a time, beside `process`: here the engine renders a block to have everything
        compiled and bound, takes in the past of the stream and catches up with it. A second engine that comes before a
        swap has begun takes the place of the first; during a swap it waits.

        Args:
            engine: Of this rate and block size; nobody else uses it from now on.

        Raises:
            ParameterError: its rate, block size or delay does not fit.
            VoiceError: it is too slow to catch up with the stream.
        """
        if (engine.sample_rate, engine.block_size) != (self.sample_rate, self.block_size):
            raise ParameterError(
                f"blocks of {engine.block_size} samples at {engine.sample_rate} Hz do not fit a running stream of "
                f"{self.block_size} at {self.sample_rate} Hz; stop it and start it anew"
            )
        self._check_latency(engine.latency_samples)
        self.release()
        block, scratch = np.zeros((2, self.block_size), dtype=np.float32)
        engine.process(block, scratch)
        engine.reset()
        latency = max(self._target_latency, engine.latency_samples)
        lane = _Lane(engine, latency, self._where_to_start(engine, latency))
        for _ in range(PAST_MS // engine.config.block_ms + _CATCHING_UP_STEPS):
            behind = self._behind(lane)
            if behind == 0:
                break
            self._read(lane.position, block)
            if lane.position < self._taken + self.block_size - len(self._past):
                raise VoiceError("the new voice is too slow on this computer to be made ready beside a running stream")
            if behind > self._rendered_blocks:
                engine.skip(block)
            else:
                engine.process(block, scratch)
            lane.position += self.block_size
        self._target_latency = latency
        self._offered = lane

    def release(self) -> None:
        """Let go of the engine that was replaced. Called by the thread that prepares: to free it takes long."""
        self._retired = None

    def process(self, block: FloatArray, out: FloatArray) -> None:
        """Convert the next block.

        Args:
            block: Mono [block_size]; samples that are no number count as silence.
            out: Filled [block_size].

        Raises:
            ValueError: a length is not `block_size`.
        """
        if len(block) != self.block_size or len(out) != self.block_size:
            raise ValueError(f"blocks of {len(block)} and {len(out)} samples; this engine takes {self.block_size}")
        self._accept()
        self._take(block)
        is_bypassed, bypass_at = self.bypass, self._bypass_at
        self._render(self._current, is_bypassed, bypass_at, self._out)
        if self._incoming is not None:
            self._render(self._incoming, is_bypassed, bypass_at, self._other)
            self._mix(self._incoming)
        self._advance_fades(is_bypassed)
        if self._is_cut:
            self._is_cut = False
            self._out[: len(self._cut_fade)] *= self._cut_fade
        out[:] = self._out

    def skip(self, block: FloatArray) -> None:
        """Let the next block pass without rendering it; see `Engine.skip`. A swap and a bypass go on meanwhile.

        Args:
            block: Mono [block_size].

        Raises:
            ValueError: its length is not `block_size`.
        """
        if len(block) != self.block_size:
            raise ValueError(f"a block of {len(block)} samples; this engine takes {self.block_size}")
        self._accept()
        self._take(block)
        for lane in (self._current, self._incoming):
            if lane is not None:
                self._skip(lane)
        self._advance_fades(self.bypass)
        self._is_cut = True

    def reset(self) -> None:
        """Return to the start of a stream with the newest engine and its own delay, in place. Not beside `prepare`."""
        lane = self._offered if self._offered is not self._seen else self._incoming
        engine = (lane or self._current).engine
        engine.reset()
        self._past[:] = 0.0
        self._taken = self._incoming_at = 0
        self._current = _Lane(engine, engine.latency_samples, 0)
        self._incoming = self._offered = self._seen = self._retired = None
        self._target_latency = engine.latency_samples
        self._bypass_at = self._fade if self.bypass else 0
        self._is_cut = False

    def _check_latency(self, latency: int) -> None:
        most = self.sample_rate * PAST_MS // 1000
        if latency > most:
            raise ParameterError(f"a delay of {latency} samples is too long; {most} at most at {self.sample_rate} Hz")

    def _where_to_start(self, engine: Engine, latency: int) -> int:
        """Position, whole blocks before what the engine will take next, as far back as there is past."""
        delay = latency - engine.latency_samples
        past = min(self._taken, self.sample_rate * PAST_MS // 1000) - delay
        return self._taken - delay - max(past, 0) // self.block_size * self.block_size

    def _behind(self, lane: _Lane) -> int:
        """Blocks that the lane's engine could take by now."""
        newest = self._taken - (lane.latency - lane.engine.latency_samples)
        return (newest - lane.position) // self.block_size

    def _read(self, position: int, out: FloatArray) -> None:
        """Past input from a position on; silence before the stream."""
        start = position % len(self._past)
        first = min(len(self._past) - start, len(out))
        out[:first] = self._past[start : start + first]
        out[first:] = self._past[: len(out) - first]

    def _take(self, block: FloatArray) -> None:
        start = self._taken % len(self._past)  # the ring holds whole blocks
        slot = self._past[start : start + self.block_size]
        np.copyto(slot, block)
        silence_nonfinite(slot)
        self._taken += self.block_size

    def _accept(self) -> None:
        """Begin a swap if an engine is offered and none is coming already."""
        offered = self._offered
        if self._incoming is not None or offered is None or offered is self._seen:
            return
        self._seen = self._incoming = offered
        self._incoming_at = 0
        while self._behind(offered) > 0:  # blocks came since it had caught up
            self._skip(offered)

    def _skip(self, lane: _Lane) -> None:
        self._read(lane.position, self._input)
        lane.engine.skip(self._input)
        lane.position += self.block_size

    def _render(self, lane: _Lane, is_bypassed: bool, bypass_at: int, out: FloatArray) -> None:
        """A lane's next block, with the untouched input of the same instant faded in as far as it is wanted."""
        self._read(lane.position, self._input)
        lane.engine.process(self._input, out)
        lane.position += self.block_size
        if is_bypassed and bypass_at == self._fade:
            self._read(self._taken - self.block_size - lane.latency, out)
        elif is_bypassed or bypass_at > 0:
            self._read(self._taken - self.block_size - lane.latency, self._dry)
            weight = self._bypass_weight(is_bypassed, bypass_at)
            self._dry -= out
            self._dry *= weight
            out += self._dry

    def _bypass_weight(self, is_bypassed: bool, bypass_at: int) -> FloatArray:
        start = self.block_size + bypass_at
        if is_bypassed:
            return self._rise[start : start + self.block_size]
        return self._rise[bypass_at + 1 : start + 1][::-1]  # back on the same way, from wherever it was

    def _mix(self, incoming: _Lane) -> None:
        """Fade from the current lane's block to the incoming one's."""
        at, grows_by = self._incoming_at, incoming.latency - self._current.latency
        if grows_by == 0:
            self._other -= self._out
            self._other *= self._slice(self._rise, at)
        else:
            # The new one starts with the instant at which the old one ends.
            self._out *= self._slice(self._fall, at)
            self._other *= self._slice(self._rise, at - self._fade - grows_by)
        self._out += self._other

    def _slice(self, fade: FloatArray, at: int) -> FloatArray:
        start = self.block_size + min(max(at, -self.block_size), self._fade)
        return fade[start : start + self.block_size]

    def _advance_fades(self, is_bypassed: bool) -> None:
        step = self.block_size if is_bypassed else -self.block_size
        self._bypass_at = min(max(self._bypass_at + step, 0), self._fade)
        if self._incoming is None:
            return
        self._incoming_at += self.block_size
        grows_by = self._incoming.latency - self._current.latency
        if self._incoming_at >= self._fade + (self._fade + grows_by if grows_by else 0):
            self._retired = self._current.engine
            self._current, self._incoming = self._incoming, None
