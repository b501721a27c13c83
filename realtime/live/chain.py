"""What stands before and behind the voice: cleaning of the microphone, and what keeps the output within bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...kernels.highpass import HighpassState, highpass_into
from ...kernels.limiter import LimiterState, limit_into
from .denoise import LATENCY_SAMPLES, NoiseSuppressor

FloatArray = NDArray[np.float32]


@dataclass(slots=True)
class Chain:
    """The effects of a live stream, at the engine's rate.

    Attributes:
        highpass: Of the microphone.
        suppressor: Of its noise, if wanted.
        limiter: Of the output.
        input_gain: Linear, before everything.
    """

    highpass: HighpassState
    suppressor: NoiseSuppressor | None
    limiter: LimiterState
    input_gain: float = 1.0

    @classmethod
    def allocate(cls, sample_rate: int, suppress_noise: bool, input_gain_db: float = 0.0) -> Chain:
        """Effects at the start of a stream.

        Raises:
            ParameterError: noise suppression does not work at this rate.
            MissingDependencyError: it is not installed.
        """
        suppressor = NoiseSuppressor(sample_rate) if suppress_noise else None
        return cls(
            HighpassState.allocate(sample_rate),
            suppressor,
            LimiterState.allocate(sample_rate),
            10.0 ** (input_gain_db / 20.0),
        )

    @property
    def latency_samples(self) -> int:
        """Of all of them."""
        return self.limiter.latency_samples + (LATENCY_SAMPLES if self.suppressor is not None else 0)

    def before(self, block: FloatArray) -> None:
        """Clean a block of the microphone, in place."""
        block *= np.float32(self.input_gain)
        highpass_into(block, self.highpass, block)
        if self.suppressor is not None:
            self.suppressor.process(block)

    def after(self, block: FloatArray) -> None:
        """Limit a block of the output, in place."""
        limit_into(block, self.limiter, block)
