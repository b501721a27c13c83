"""What a session keeps for each of its devices: the state that its callback works on, and what brings sound there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...kernels.callbacks import CaptureState, PlayoutState
from ...kernels.clock import DeviceClock
from ...kernels.drift import DELAY_SAMPLES, DriftState
from ...kernels.gain import GainState
from ...kernels.polyphase import ResamplerState
from ...kernels.ring import RingBuffer
from ...kernels.types import FloatArray
from .prefill import PrefillTarget
from .rate_lock import MAX_CORRECTION, RateLock

RING_S = 2.0


@dataclass(slots=True)
class InputLane:
    """The input device's side.

    Attributes:
        capture: Filled by the callback.
        clock: Ticked by the callback.
        resampler: From the device's rate to the engine's.
        device_block: Samples at the device's rate that make a block.
        taken: Samples that went to the engine or were lost.
        lost_seen: Of them, lost ones.
    """

    capture: CaptureState
    clock: DeviceClock
    resampler: ResamplerState
    device_block: int
    samples: FloatArray = field(repr=False)
    taken: int = 0
    lost_seen: int = 0

    @property
    def block_s(self) -> float:
        """How long a block lasts."""
        return self.device_block / self.clock.nominal_rate

    @classmethod
    def allocate(cls, device_rate: int, engine_rate: int, block_ms: int, channel: int = 0) -> InputLane:
        """A lane before the first callback."""
        block = device_rate * block_ms // 1000
        ring = RingBuffer.allocate(int(RING_S * device_rate) + block)
        resampler = ResamplerState.allocate(device_rate, engine_rate, block)
        return cls(
            CaptureState.allocate(ring, channel),
            DeviceClock.allocate(device_rate),
            resampler,
            block,
            np.zeros(block, dtype=np.float32),
        )


@dataclass(slots=True)
class OutputLane:
    """An output device's side: the cable, or a monitor.

    Attributes:
        playout: Emptied by the callback.
        clock: Ticked by the callback.
        resampler: From the engine's rate to the device's.
        drift: Holds the device's clock to the input's.
        lock: Steers it.
        prefill: What is aimed at.
        gain: Of this output alone.
        samples: Of a block at the device's nominal rate.
        stretched: The same, as many as the device's clock wants.
        is_started: Whether the device plays what is written.
        shortages_seen: That the prefill knows of, and whose cause is known.
        own_shortages: Of them, those that a block made which took longer than the prefill has room for.
        grown_seen: Samples of delay that came from shortages and that the lock knows of.
        opened_s: When both devices were first seen to run.
        started_s: When it began to play.
        updated_s: When the lock was last updated.
        settled_s: When nothing was owed last.
        late_since_s: When a backlog was first seen; 0 while there is none.
    """

    playout: PlayoutState
    clock: DeviceClock
    resampler: ResamplerState
    drift: DriftState
    lock: RateLock
    prefill: PrefillTarget
    gain: GainState
    samples: FloatArray = field(repr=False)
    stretched: FloatArray = field(repr=False)
    is_started: bool = False
    shortages_seen: int = 0
    own_shortages: int = 0
    grown_seen: int = 0
    opened_s: float = 0.0
    started_s: float = 0.0
    updated_s: float = 0.0
    settled_s: float = 0.0
    late_since_s: float = 0.0

    @classmethod
    def allocate(
        cls,
        engine_rate: int,
        device_rate: int,
        block_ms: int,
        slowest_block_ms: float,
        prefill_ms: float | None = None,
    ) -> OutputLane:
        """A lane before the first callback.

        Args:
            engine_rate: Hz.
            device_rate: Hz.
            block_ms: Of the engine.
            slowest_block_ms: Of the warm-up.
            prefill_ms: To begin with; else worked out once the devices run.
        """
        block = device_rate * block_ms // 1000
        ring = RingBuffer.allocate(int(RING_S * device_rate) + 2 * block)
        return cls(
            playout=PlayoutState.allocate(ring, device_rate),
            clock=DeviceClock.allocate(device_rate),
            resampler=ResamplerState.allocate(engine_rate, device_rate, engine_rate * block_ms // 1000),
            drift=DriftState.allocate(block),
            lock=RateLock(device_rate),
            prefill=PrefillTarget(slowest_block_ms, prefill_ms),
            gain=GainState(),
            samples=np.zeros(block, dtype=np.float32),
            stretched=np.zeros(int(block * (1.0 + 2.0 * MAX_CORRECTION)) + 2, dtype=np.float32),
        )

    @property
    def rate(self) -> int:
        """Of the device, Hz."""
        return self.clock.nominal_rate

    @property
    def delay_ms(self) -> float:
        """Of both resamplers."""
        return 1000.0 * (self.resampler.delay_samples_out + DELAY_SAMPLES) / self.rate
