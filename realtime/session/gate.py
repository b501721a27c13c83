"""The level gate around a voice: it measures the input and acts on the output that this input became."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...kernels.delay import DelayState, delay_into
from ...kernels.gain import decibels
from ...kernels.gate import GateState, gate_gain_into
from ...kernels.limits import GATE_OFF_DB
from ...kernels.types import FloatArray


@dataclass(slots=True)
class LevelGate:
    """A noise gate whose gains are delayed by the latency of the voice.

    Attributes:
        state: Level follower of the input.
        line: Delays the gains by the latency between `listen` and `apply`.
    """

    state: GateState
    line: DelayState
    _gain: FloatArray = field(repr=False)

    @classmethod
    def allocate(cls, sample_rate: int, block_size: int, threshold_db: float) -> LevelGate:
        """A gate at the start of a stream.

        Args:
            sample_rate: Hz.
            block_size: Samples per call of `listen` and `apply`.
            threshold_db: Initial threshold, see `listen`.
        """
        gate = cls(GateState.allocate(sample_rate), DelayState.allocate(0), np.zeros(block_size, dtype=np.float32))
        gate.reset(threshold_db)
        return gate

    @property
    def gain_db(self) -> float:
        """Gain for the newest input: 0 is open, -100 closed."""
        return decibels(self.state.gain)

    def reset(self, threshold_db: float) -> None:
        """Return to the start of a stream, in place. A gate that is off has always been open."""
        is_open = threshold_db <= GATE_OFF_DB
        self.state.reset(is_open)
        self.line.reset(float(is_open))

    def listen(self, block: FloatArray, threshold_db: float) -> None:
        """Compute the gains for a block of input [block_size]; at `GATE_OFF_DB` and below the gate is open."""
        gate_gain_into(block, self.state, threshold_db, self._gain)

    def apply(self, block: FloatArray, latency_samples: int) -> None:
        """Multiply a block of output [block_size] by the gains of its input, in place.

        Args:
            block: Output for the block that `listen` heard last.
            latency_samples: Latency between input and output; a change resizes the delay line.
        """
        if latency_samples != len(self.line.sample_mem):
            self.line = self.line.resized(latency_samples)
        delay_into(self._gain, self.line, self._gain)
        block *= self._gain
