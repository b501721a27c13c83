"""What stands before and behind the voice: cleaning of the microphone, and what keeps the output within bounds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...kernels.delay import DelayState, delay_into
from ...kernels.finite import silence_nonfinite
from ...kernels.gain import GainState, decibels, gain_into, linear
from ...kernels.gate import SpeechGateState, speech_gate_gain_into
from ...kernels.highpass import HighpassState, highpass_into
from ...kernels.limiter import LimiterState, limit_into
from ...kernels.loudness import LoudnessState, level_speech_into
from ...kernels.types import FloatArray
from .denoise import FRAME, LATENCY_SAMPLES, NoiseSuppressor

LOOK_BACK_MS = 60  # by which the gate opens before speech is detected, as far as the voice's own delay allows


@dataclass(slots=True)
class Chain:
    """The effects of a live stream, at the engine's rate.

    Attributes:
        input_gain: Before everything.
        highpass: Of the microphone.
        limiter: Of the output.
        suppressor: RNNoise, if its output or its probability of speech is wanted.
        suppress_noise: Whether its output is.
        speech_level_db: RMS that speech is brought to; None to leave it.
        leveller: Does that.
        speech_gate: Probability of speech below which nothing is heard; None for no gate.
        gate: Makes its gains from the input.
        gate_delay: Holds them back until the output shows the input that they were made for.
    """

    input_gain: GainState
    highpass: HighpassState
    limiter: LimiterState
    suppressor: NoiseSuppressor | None
    suppress_noise: bool
    speech_level_db: float | None
    leveller: LoudnessState
    speech_gate: float | None
    gate: SpeechGateState
    gate_delay: DelayState
    _probability: FloatArray = field(repr=False)
    _gate_gain: FloatArray = field(repr=False)
    _unheard: FloatArray = field(repr=False)

    @classmethod
    def allocate(
        cls,
        sample_rate: int,
        block_size: int,
        suppress_noise: bool = False,
        input_gain_db: float = 0.0,
        speech_level_db: float | None = None,
        speech_gate: float | None = None,
    ) -> Chain:
        """Effects at the start of a stream.

        Raises:
            ParameterError: noise suppression and speech detection do not work at this rate.
            MissingDependencyError: they are not installed.
        """
        needs_rnnoise = suppress_noise or speech_level_db is not None or speech_gate is not None
        return cls(
            input_gain=GainState(linear(input_gain_db), linear(input_gain_db)),
            highpass=HighpassState.allocate(sample_rate),
            limiter=LimiterState.allocate(sample_rate),
            suppressor=NoiseSuppressor(sample_rate) if needs_rnnoise else None,
            suppress_noise=suppress_noise,
            speech_level_db=speech_level_db,
            leveller=LoudnessState(sample_rate),
            speech_gate=speech_gate,
            gate=SpeechGateState(sample_rate),
            gate_delay=DelayState.allocate(0),
            _probability=np.zeros(block_size // FRAME, dtype=np.float32),
            _gate_gain=np.zeros(block_size, dtype=np.float32),
            _unheard=np.zeros(block_size, dtype=np.float32),
        )

    @property
    def latency_samples(self) -> int:
        """Of all of them. The gate adds none."""
        return self.limiter.latency_samples + self._suppressor_latency

    @property
    def gate_gain_db(self) -> float:
        """What the gate does to the newest input: 0 is open, -100 closed."""
        return decibels(self.gate.gain) if self.speech_gate is not None else 0.0

    def reset(self) -> None:
        """Return to the start of a stream, in place."""
        self.input_gain.reset(self.input_gain.target)
        for state in (self.highpass, self.limiter, self.leveller, self.gate, self.gate_delay):
            state.reset()
        if self.suppressor is not None:
            self.suppressor.reset()

    def before(self, block: FloatArray) -> None:
        """Clean a block of the microphone [block_size], in place; samples that are no number count as silence."""
        silence_nonfinite(block)
        gain_into(block, self.input_gain, block)
        highpass_into(block, self.highpass, block)
        if self.suppressor is None:
            return
        cleaned = block if self.suppress_noise else self._unheard
        np.copyto(cleaned, block)
        self.suppressor.process(cleaned, self._probability)
        if self.speech_level_db is not None:
            level_speech_into(block, self._probability, self.leveller, self.speech_level_db, block)

    def after(self, block: FloatArray, engine_latency_samples: int) -> None:
        """Gate and limit a block of the output [block_size], in place.

        Args:
            block: What the engine made of the block that `before` cleaned last.
            engine_latency_samples: How much later than that the engine's output is.
        """
        if self.speech_gate is not None:
            speech_gate_gain_into(self._probability, self.gate, self.speech_gate, self._gate_gain)
            look_back = LOOK_BACK_MS * self.gate.sample_rate // 1000
            delay = max(self._suppressor_latency + engine_latency_samples - look_back, 0)
            if delay != len(self.gate_delay.sample_mem):  # the first block, and another voice of more delay
                self.gate_delay = self.gate_delay.resized(delay)
            delay_into(self._gate_gain, self.gate_delay, self._gate_gain)
            block *= self._gate_gain
        limit_into(block, self.limiter, block)

    @property
    def _suppressor_latency(self) -> int:
        return LATENCY_SAMPLES if self.suppress_noise else 0
