"""The path of samples between a device's callback and the session: one per device."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...kernels.callbacks import CaptureState, PlayoutState
from ...kernels.clock import DeviceClock, buffer_fill
from ...kernels.drift import DELAY_SAMPLES, DriftState, resample_near_one
from ...kernels.errors import ParameterError
from ...kernels.gain import GainState, gain_into
from ...kernels.polyphase import ResamplerState, resample_block
from ...kernels.ring import RingBuffer
from ...kernels.types import FloatArray
from ..session.block_times import BlockTimes
from .delay import DelayController
from .prefill import MAX_MS, PrefillTarget
from .rate_lock import MAX_CORRECTION, RateLock

RING_S = 2.0
_OPENING_S = 0.5  # in which a device that has just opened works in bursts: a pause would remain as latency
_OPENED_S = 3.0  # after which blocks that still wait for their turn are late
_WATCHED_S = 0.4  # at the end of it, in which the callback intervals are measured
_UNUSUAL_S = 0.1  # between callbacks: looked at again, whether it is a pause ...
_PATIENT_S = 2.0  # ... until the device has been open for so long
_SILENT_S = 3.0


def _block_samples(device_rate: int, block_ms: int) -> int:
    samples, rest = divmod(device_rate * block_ms, 1000)
    if rest:
        raise ParameterError(
            f"blocks of {block_ms} ms at {device_rate} Hz are not a whole number of samples: use a rate that is a "
            "multiple of 50 Hz"
        )
    return samples


@dataclass(slots=True)
class InputPath:
    """Samples from the input device to the session.

    Attributes:
        capture: Ring buffer and counters that the callback fills.
        clock: Device clock that the callback ticks.
        resampler: Resampler from the device's rate to the session's.
        session_rate: Rate of the session in Hz.
        device_block: Samples at the device's rate that make a block.
        taken: Samples that the session has read or that were dropped.
        lost_seen: Dropped samples that were already replaced by silence.
        overruns: Number of overruns.
        silent_samples: Consecutive zero samples up to now.
        is_settled: Whether the clock was restarted after the devices had opened.
    """

    capture: CaptureState
    clock: DeviceClock
    resampler: ResamplerState
    session_rate: int
    device_block: int
    _samples_scratch: FloatArray = field(repr=False)
    taken: int = 0
    lost_seen: int = 0
    overruns: int = 0
    silent_samples: int = 0
    is_settled: bool = False

    @classmethod
    def allocate(cls, device_rate: int, session_rate: int, block_ms: int, channel: int = 0) -> InputPath:
        """A path before the first callback.

        Args:
            device_rate: Hz; a multiple of 50, so that blocks of multiples of 20 ms are whole samples.
            session_rate: Hz.
            block_ms: Block size of the session in ms.
            channel: Channel of the device, from 0.

        Raises:
            ParameterError: blocks are no whole number of samples at that rate.
        """
        block = _block_samples(device_rate, block_ms)
        ring = RingBuffer.allocate(int(RING_S * device_rate) + block)
        resampler = ResamplerState.allocate(device_rate, session_rate, block)
        return cls(
            CaptureState.allocate(ring, channel),
            DeviceClock.allocate(device_rate),
            resampler,
            session_rate,
            block,
            np.zeros(block, dtype=np.float32),
        )

    @property
    def has_block(self) -> bool:
        """Whether the ring buffer holds a complete block."""
        return self.capture.ring.available >= self.device_block

    @property
    def latency_ms(self) -> float:
        """Latency of the resampler."""
        return 1000.0 * self.resampler.delay_samples_out / self.session_rate

    @property
    def overrun_ms(self) -> float:
        """Duration of the input dropped in overruns."""
        return 1000.0 * self.capture.overrun_samples / self.clock.nominal_rate

    @property
    def is_silent(self) -> bool:
        """Whether the input has been digital silence for 3 seconds: the microphone is denied or muted, not quiet."""
        return self.silent_samples > _SILENT_S * self.clock.nominal_rate

    def take_lost(self) -> float:
        """Seconds of input dropped since the last call, to be replaced by silence."""
        lost = self.capture.overrun_samples - self.lost_seen
        if lost <= 0:
            return 0.0
        self.overruns += 1
        self.lost_seen += lost
        self.taken += lost
        return lost / self.clock.nominal_rate

    def read_into(self, block: FloatArray) -> None:
        """Read the next block at the session's rate; `has_block` must be true."""
        samples = self._samples_scratch
        self.capture.ring.read_into(samples)
        self.taken += self.device_block
        self.silent_samples = 0 if samples.any() else self.silent_samples + len(samples)
        resample_block(samples, self.resampler, block)


@dataclass(slots=True)
class OutputPath:
    """Samples from the session to an output device: the cable or a monitor.

    Attributes:
        playout: Ring buffer and counters that the callback empties.
        clock: Device clock that the callback ticks.
        resampler: Resampler from the session's rate to the device's.
        drift: Resampler that compensates clock drift.
        delay: Controller of the latency; sets the ratio of `drift`.
        gain: Gain of this output only.
        is_started: Whether the device plays samples from the ring buffer.
        opened_s: When both devices were first seen to run.
        underruns_seen: Underruns that were reported to the controller.
        grown_seen: Samples of latency added after underruns that were reported to the controller.
    """

    playout: PlayoutState
    clock: DeviceClock
    resampler: ResamplerState
    drift: DriftState
    delay: DelayController
    gain: GainState
    _samples_scratch: FloatArray = field(repr=False)
    _stretched_scratch: FloatArray = field(repr=False)
    _zeros: FloatArray = field(repr=False)
    is_started: bool = False
    opened_s: float = 0.0
    underruns_seen: int = 0
    grown_seen: int = 0

    @classmethod
    def allocate(
        cls,
        session_rate: int,
        device_rate: int,
        block_ms: int,
        slowest_block_ms: float,
        prefill_ms: float | None = None,
    ) -> OutputPath:
        """A path before the first callback.

        Args:
            session_rate: Hz.
            device_rate: Hz.
            block_ms: Block size of the session in ms.
            slowest_block_ms: Slowest block of the warm-up.
            prefill_ms: Initial prefill; None to compute it once the devices run.

        Raises:
            ParameterError: blocks are no whole number of samples at that rate.
        """
        block = _block_samples(device_rate, block_ms)
        ring = RingBuffer.allocate(int(RING_S * device_rate) + 2 * block)
        lock, prefill = RateLock(device_rate), PrefillTarget(slowest_block_ms, prefill_ms, max(MAX_MS, block_ms))
        return cls(
            playout=PlayoutState.allocate(ring, device_rate),
            clock=DeviceClock.allocate(device_rate),
            resampler=ResamplerState.allocate(session_rate, device_rate, session_rate * block_ms // 1000),
            drift=DriftState.allocate(block),
            delay=DelayController(device_rate, block, lock, prefill),
            gain=GainState(),
            _samples_scratch=np.zeros(block, dtype=np.float32),
            _stretched_scratch=np.zeros(int(block * (1.0 + 2.0 * MAX_CORRECTION)) + 2, dtype=np.float32),
            _zeros=np.zeros(max(int(MAX_MS * device_rate / 1000.0), block), dtype=np.float32),
        )

    @property
    def rate(self) -> int:
        """Rate of the device in Hz."""
        return self.clock.nominal_rate

    @property
    def latency_ms(self) -> float:
        """Latency of both resamplers."""
        return 1000.0 * (self.resampler.delay_samples_out + DELAY_SAMPLES) / self.rate

    @property
    def underruns(self) -> int:
        """Number of underruns."""
        return self.playout.counters.underruns

    @property
    def underrun_ms(self) -> float:
        """Duration of the samples missing in underruns."""
        return 1000.0 * self.playout.counters.underrun_samples / self.rate

    def is_behind(self, now_s: float) -> bool:
        """Whether the next block, with others waiting, is so late that all of it would be discarded.

        Before the output has started, that is so if it has been open for long: it starts once no block waits.
        """
        if not self.is_started:
            return self.opened_s > 0.0 and now_s - self.opened_s > _OPENED_S
        return self.playout.counters.to_discard - self.playout.ring.available >= len(self._samples_scratch)

    def fill(self, source: InputPath, now_s: float) -> float:
        """Buffer fill: samples between the input's clock and this output's, at the output's rate."""
        return buffer_fill(source.clock, source.taken, self.playout, self.clock, now_s)

    def send(self, block: FloatArray, source: InputPath, times: BlockTimes, now_s: float) -> None:
        """Write a block for the device, resampled to its clock.

        Args:
            block: Samples at the session's rate.
            source: Input path that the block came from.
            times: Processing times of blocks.
            now_s: The time on the clock that the callbacks tick with.
        """
        resample_block(block, self.resampler, self._samples_scratch)
        gain_into(self._samples_scratch, self.gain, self._samples_scratch)
        starts = not self.is_started
        if starts and not self._is_ready(source, now_s):
            return
        if starts:
            self._begin(now_s)
        else:
            self._steer(source, times, now_s)
        count = resample_near_one(self._samples_scratch, self.drift, self.delay.lock.ratio, self._stretched_scratch)
        self.playout.ring.write(self._stretched_scratch[:count])
        if starts:
            self.playout.started[0] = 1

    def send_silence(self, samples: int) -> None:
        """Write silence, as far as the ring buffer has space."""
        while samples > 0:
            samples -= self.playout.ring.write(self._zeros[: min(samples, len(self._zeros))]) or samples

    def _is_ready(self, source: InputPath, now_s: float) -> bool:
        """Whether both devices have settled; samples that arrive while they open would remain as latency."""
        if not (self.clock.is_running and source.clock.is_running):
            return False
        self.opened_s = self.opened_s or now_s
        if source.has_block or now_s - self.opened_s < _OPENING_S:
            return False
        in_s, out_s = (clock.interval_s(now_s - _WATCHED_S) for clock in (source.clock, self.clock))
        if not (in_s and out_s):
            return False  # one of them sleeps
        if max(in_s, out_s) > _UNUSUAL_S and now_s - self.opened_s < _PATIENT_S:
            return False  # a pause, which would count as the usual interval for as long as the session lasts
        self.delay.prefill.begin(1000.0 * in_s, 1000.0 * out_s, now_s)
        self.clock.restart()
        if not source.is_settled:  # another output that is ready later must not disturb those that run
            source.is_settled = True
            source.clock.restart()
        return True

    def _begin(self, now_s: float) -> None:
        self.send_silence(int(self.delay.prefill.ms * self.rate / 1000.0))
        self.is_started = True
        self.delay.begin(now_s)
        self.playout.allowance[0] = self.delay.may_grow

    def _steer(self, source: InputPath, times: BlockTimes, now_s: float) -> None:
        """Let the controller hold the latency at its target."""
        playout, delay = self.playout, self.delay
        counters = playout.counters
        grown = counters.added - self.grown_seen
        if grown:
            self.grown_seen += grown
            delay.note_growth(grown)
        if counters.underruns != self.underruns_seen:
            self.underruns_seen = counters.underruns
            delay.prefill.last_underrun_s = now_s
        elif counters.to_discard == 0:
            # The last underrun is over: the next one may raise the prefill by another step.
            playout.allowance[0] = counters.added + delay.may_grow
            delay.release(times, now_s)
        fill = self.fill(source, now_s)
        correction = delay.correct(fill, counters.to_discard > 0, playout.ring.available, now_s)
        playout.trim[0] += correction.discard
        self.send_silence(correction.insert)
