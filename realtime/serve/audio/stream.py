"""An audio session inside its worker: frames in, frames out, each output sample at the position of its input sample."""

from __future__ import annotations

import math
import time
from collections import deque

import numpy as np

from ....kernels.fades import fade_in_curve
from ....kernels.polyphase import ResamplerState, resample_block
from ....kernels.ring import RingBuffer
from ....kernels.types import FloatArray
from ...engine import FADE_IN_MS
from ...session.processor import Processor
from .frames import DISCONTINUITY, LAST, LATE, MUTED, OUTPUT, Frame, data_of, most_samples, pack, samples_of
from .spec import GAP_S, AudioSpec

_BURST_S = 3.0  # of input that may arrive while this process has no time to look at it
_MOST_WAITING = 2048  # frames of a live session for which there is no room yet
_LOAD_WEIGHT = 0.02  # of a block in the average load


class AudioStream:
    """Converts the frames of a session.

    The latency of the processor is taken out at the start, so that output and input begin at position 0, and so is the
    silence by which a change of the voice makes it grow: the output then only comes later.

    Args:
        spec: What the client chose.
        processor: Fresh or reset; of the rate and block size of the spec.

    Attributes:
        spec: What the client chose.
        processor: Effects and voice.
        fed: Samples of the client that were taken out of their frames, with the silence in place of missing ones, or
            with a block where the voice starts anew.
        dropped_samples: Samples that the client or the server left out.
        load: Processor time per block in its durations, a moving average.
        is_finished: Whether all has been converted that the client will send.
    """

    def __init__(self, spec: AudioSpec, processor: Processor) -> None:
        self.spec = spec
        self.processor = processor
        self.fed = self.dropped_samples = 0
        self.load = 0.0
        self.is_finished = False
        self._is_last = False  # whether the client will send no more
        self._is_jump = False  # whether positions before the next frame are left out
        self._newest = 0  # samples of the newest frame, at the engine's rate
        rate, engine_rate, block = spec.rate, processor.sample_rate, processor.block_size
        self._frame_samples = most_samples(spec.format)
        self._to_engine = self._from_engine = None
        if engine_rate != rate:
            self._to_engine = ResamplerState.allocate(rate, engine_rate, self._frame_samples)
            self._from_engine = ResamplerState.allocate(engine_rate, rate, block)
        self._resampled_in = np.zeros(self._frame_samples * engine_rate // rate + 2, dtype=np.float32)
        self._resampled_out = np.zeros(block * rate // engine_rate + 2, dtype=np.float32)
        self._zeros = np.zeros(self._frame_samples, dtype=np.float32)
        room_s = GAP_S + (_BURST_S if spec.is_live else 0.0) + 2 * self._frame_samples / rate
        self._queue_limit = -(-spec.queue_samples * engine_rate // rate)
        self._ring = RingBuffer.allocate(self._queue_limit + int(room_s * engine_rate) + 2 * block)
        self._block, self._out = np.zeros((2, block), dtype=np.float32)
        self._fade_in = fade_in_curve(rate * FADE_IN_MS // 1000)
        self._waiting: deque[Frame] = deque()
        self._outputs: list[bytes] = []
        self._start_at(0)

    @property
    def latency_ms(self) -> float:
        """Time from an input sample to its output, the block included; without the time to render it."""
        return float(self.spec.block_ms) + 1000.0 * self._delay_s

    @property
    def has_block(self) -> bool:
        """Whether `step` has something to do."""
        return self._flush_to is not None or self._ring.available >= len(self._block)

    def take(self, frame: Frame) -> None:
        """Take in a frame, whose position is not before the end of the frame before."""
        if self.spec.is_live and len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()  # the one after it counts what is missing
        self._waiting.append(frame)
        self._feed()

    def step(self) -> None:
        """Convert a block; its frames are there for `take_outputs`."""
        started_s = time.thread_time()
        excess = self._backlog - self._newest - self._queue_limit
        is_late = self.spec.is_live and self._flush_to is None and excess > 0
        if is_late and excess > self._queue_limit:  # to skip blocks does not help: a voice may cost as much then
            self._drop(excess)
            is_late = False
        count = self._ring.read_into(self._block)
        self._block[count:] = 0.0
        self.processor.process(self._block, self._out, is_late)
        self._emit(self._without_gap(), LATE if is_late else 0)
        if self._flush_to is not None and self._position >= self._flush_to:
            self._flushed()
        self._feed()
        share = (time.thread_time() - started_s) * self.processor.sample_rate / len(self._block)
        self.load += _LOAD_WEIGHT * (share - self.load)

    def take_outputs(self) -> list[bytes]:
        """Frames that have become ready, in their order; their sequence numbers are still to be given."""
        outputs, self._outputs = self._outputs, []
        return outputs

    @property
    def _delay_s(self) -> float:
        seconds = self.processor.latency_samples / self.processor.sample_rate
        if self._to_engine is not None and self._from_engine is not None:
            seconds += self._to_engine.delay_samples_out / self.processor.sample_rate
            seconds += self._from_engine.delay_samples_out / self.spec.rate
        return seconds

    @property
    def _backlog(self) -> int:
        """Samples of the client that wait, at the engine's rate; silence in place of missing ones does not count."""
        read = int(self._ring.read_total[0])
        while self._silences and self._silences[0][1] <= read:
            self._silences.popleft()
        return self._ring.available - sum(stop - max(start, read) for start, stop in self._silences)

    def _start_at(self, position: int) -> None:
        """Begin at this position of the client's samples, with a processor at the start of a stream."""
        self._received = self._position = position  # of the next sample in, and out
        self._flush_to: int | None = None  # position up to which all is to come out without waiting for more
        self._skip = round(self._delay_s * self.spec.rate)  # samples of output that are still to be trimmed
        self._made = 0  # samples of the engine since then
        self._gaps: deque[tuple[int, int]] = deque()  # of the engine's samples, to be left out
        self._missing: deque[tuple[int, int]] = deque()  # positions that the client left out
        self._holes: deque[tuple[int, int]] = deque()  # positions that were dropped, and how many
        self._is_after_hole = False  # whether the next sample follows on one
        self._silences: deque[tuple[int, int]] = deque()  # the same in the ring's count
        self._ring.reset()

    def _feed(self) -> None:
        """Move frames into the ring, as far as there is room and nothing is to be flushed first."""
        while self._waiting and self._flush_to is None:
            frame = self._waiting[0]
            gap = frame.position - self._received
            if gap > GAP_S * self.spec.rate:
                self._flush_to = self._received
                return
            if (gap + frame.samples) * self.processor.sample_rate > (self._ring.free - 2) * self.spec.rate:
                return
            self._waiting.popleft()
            if gap:
                self._feed_silence(gap)
            if frame.samples:
                before = int(self._ring.written_total[0])
                self._put(samples_of(frame))
                self._newest = int(self._ring.written_total[0]) - before
            self.fed += gap + frame.samples
            if frame.flags & LAST:
                self._flush_to = self._received
                self._is_last = True

    def _feed_silence(self, samples: int) -> None:
        start = int(self._ring.written_total[0])
        self.dropped_samples += samples
        self._missing.append((self._received, self._received + samples))
        for at in range(0, samples, len(self._zeros)):
            self._put(self._zeros[: samples - at])
        self._silences.append((start, int(self._ring.written_total[0])))

    def _drop(self, samples: int) -> None:
        """Drop the oldest samples that wait, about so many of the engine's; their place in the output is silent."""
        rate, engine_rate = self.spec.rate, self.processor.sample_rate
        unit = math.lcm(len(self._block), engine_rate // math.gcd(rate, engine_rate))
        dropped = samples // unit * unit
        if dropped:
            position = self._received - self._ring.available * rate // engine_rate
            self._ring.skip(dropped)
            self._holes.append((position, dropped * rate // engine_rate))
            self.dropped_samples += dropped * rate // engine_rate

    def _put(self, samples: FloatArray) -> None:
        self._received += len(samples)
        if self._to_engine is not None:
            count = resample_block(samples, self._to_engine, self._resampled_in)
            samples = self._resampled_in[:count]
        self._ring.write(samples)

    def _without_gap(self) -> FloatArray:
        """The block that was made last, without the silence by which the latency grows."""
        made, size = self._made, len(self._out)
        self._made += size
        start, stop = self.processor.engine.gap
        if stop > start:
            delay = self.processor.chain.latency_samples
            self._gaps.append((made + start + delay, made + stop + delay))
        if not self._gaps:
            return self._out
        is_kept = np.ones(size, dtype=np.bool_)
        for start, stop in self._gaps:
            is_kept[max(start - made, 0) : max(stop - made, 0)] = False
        while self._gaps and self._gaps[0][1] <= made + size:
            self._gaps.popleft()
        return self._out[is_kept]

    def _emit(self, samples: FloatArray, flags: int) -> None:
        """Send what an engine's block has become."""
        if self._from_engine is not None:
            count = resample_block(samples, self._from_engine, self._resampled_out)
            samples = self._resampled_out[:count]
        trimmed = min(self._skip, len(samples))
        self._skip -= trimmed
        samples = samples[trimmed:]
        if self.processor.state.muted:
            flags |= MUTED
        while True:
            count = self._holes[0][0] - self._position if self._holes else len(samples)
            self._send_parts(self._faded(samples[:count], bool(self._holes) and count <= len(samples)), flags)
            samples = samples[count:]
            if not self._holes or self._holes[0][0] > self._position:
                return
            _, silent = self._holes.popleft()
            for at in range(0, silent, len(self._zeros)):
                self._send_parts(self._zeros[: silent - at], flags | LATE)
            self._is_after_hole = True

    def _faded(self, samples: FloatArray, fades_out: bool) -> FloatArray:
        """Samples beside a hole, with a fade instead of a step."""
        fade = min(len(self._fade_in), len(samples))
        if self._is_after_hole and fade:
            self._is_after_hole = False
            samples[:fade] *= self._fade_in[:fade]
        if fades_out and fade:
            samples[-fade:] *= self._fade_in[fade - 1 :: -1]
        return samples

    def _send_parts(self, samples: FloatArray, flags: int) -> None:
        if self._flush_to is not None:
            samples = samples[: self._flush_to - self._position]
        for at in range(0, len(samples), self._frame_samples):
            part = samples[at : at + self._frame_samples]
            missing = LATE if self._is_missing(self._position, len(part)) else 0
            self._send(part, flags | missing)

    def _is_missing(self, position: int, count: int) -> bool:
        while self._missing and self._missing[0][1] <= position:
            self._missing.popleft()
        return bool(self._missing) and self._missing[0][0] < position + count

    def _send(self, samples: FloatArray, flags: int) -> None:
        spec = self.spec
        if self._is_last and self._position + len(samples) == self._flush_to:
            flags |= LAST
            self.is_finished = True
        if self._is_jump:
            flags |= DISCONTINUITY | LATE
            self._is_jump = False
        frame = Frame(spec.format, flags, spec.number, 0, self._position, data_of(samples, spec.format))
        self._outputs.append(pack(OUTPUT, frame))
        self._position += len(samples)

    def _flushed(self) -> None:
        """All has come out that went in."""
        if self._is_last:
            if not self.is_finished:  # there was nothing
                self._send(self._zeros[:0], 0)
            self._waiting.clear()
            self._flush_to = None
            self._ring.reset()
            return
        position = self._waiting[0].position
        self.dropped_samples += position - self._received
        self.fed += self.spec.block_samples  # what it took to end
        self.processor.reset()
        for resampler in (self._to_engine, self._from_engine):
            if resampler is not None:
                resampler.reset()
        self._is_jump = True
        self._start_at(position)
