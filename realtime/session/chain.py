"""The effects around a voice: noise suppression and gain before it; gates, gain and limiter after it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...kernels.delay import DelayState, delay_into
from ...kernels.gain import GainState, decibels, gain_into, linear
from ...kernels.gate import SpeechGateState, speech_gate_gain_into
from ...kernels.highpass import HighpassState, highpass_into
from ...kernels.limiter import LimiterState, limit_into
from ...kernels.limits import LOUDEST
from ...kernels.loudness import LoudnessState, level_speech_into
from ...kernels.types import FloatArray
from .denoise import FRAME, LATENCY_SAMPLES, NoiseSuppressor
from .gate import LevelGate
from .settings import ChainConfig
from .state import SessionState

LOOK_BACK_MS = 60  # by which the speech gate opens before speech is detected, as far as the voice's latency allows


@dataclass(slots=True)
class Chain:
    """The effects of a session, at the engine's rate. `before` and `after` are called once each per block.

    Attributes:
        config: Selected effects.
        state: Gains, gate threshold and mute; assign another one at any time, from any thread.
        input_gain: Microphone gain.
        highpass: Removes rumble from the microphone.
        suppressor: RNNoise; None if no effect uses it.
        leveller: Brings speech to `config.speech_level_db`.
        speech_gate: Opens for speech.
        speech_gate_line: Delays the speech gate's gains until the output shows the input that they were made for.
        gate: Opens above a level.
        output_gain: Output gain; 0 while muted.
        limiter: Keeps the output below full scale.
    """

    config: ChainConfig
    state: SessionState
    input_gain: GainState
    highpass: HighpassState
    suppressor: NoiseSuppressor | None
    leveller: LoudnessState
    speech_gate: SpeechGateState
    speech_gate_line: DelayState
    gate: LevelGate
    output_gain: GainState
    limiter: LimiterState
    _probability: FloatArray = field(repr=False)
    _gain_scratch: FloatArray = field(repr=False)
    _denoised_scratch: FloatArray = field(repr=False)

    @classmethod
    def allocate(
        cls, sample_rate: int, block_size: int, config: ChainConfig | None = None, state: SessionState | None = None
    ) -> Chain:
        """Effects at the start of a stream.

        Args:
            sample_rate: Hz.
            block_size: Samples per block.
            config: Selected effects; the default uses no RNNoise.
            state: Initial gains, gate threshold and mute.

        Raises:
            ParameterError: RNNoise does not support this rate.
            MissingDependencyError: RNNoise is not installed.
        """
        config, state = config or ChainConfig(), state or SessionState()
        chain = cls(
            config=config,
            state=state,
            input_gain=GainState(),
            highpass=HighpassState.allocate(sample_rate),
            suppressor=NoiseSuppressor(sample_rate) if config.needs_rnnoise else None,
            leveller=LoudnessState(sample_rate),
            speech_gate=SpeechGateState(sample_rate),
            speech_gate_line=DelayState.allocate(0),
            gate=LevelGate.allocate(sample_rate, block_size, state.gate_db),
            output_gain=GainState(),
            limiter=LimiterState.allocate(sample_rate),
            _probability=np.zeros(block_size // FRAME, dtype=np.float32),
            _gain_scratch=np.zeros(block_size, dtype=np.float32),
            _denoised_scratch=np.zeros(block_size, dtype=np.float32),
        )
        chain.reset()
        return chain

    @property
    def latency_samples(self) -> int:
        """Latency of all effects together. The gates add none."""
        return self.limiter.latency_samples + self._suppressor_latency

    @property
    def gate_gain_db(self) -> float:
        """Gain of the gates for the newest input in dB: 0 is open, -100 closed."""
        speech_db = decibels(self.speech_gate.gain) if self.config.speech_gate is not None else 0.0
        return min(speech_db, self.gate.gain_db)

    def reset(self) -> None:
        """Return to the start of a stream, in place."""
        self.input_gain.reset(linear(self.state.input_gain_db))
        self.output_gain.reset(_output_gain(self.state))
        self.gate.reset(self.state.gate_db)
        for part in (self.highpass, self.limiter, self.leveller, self.speech_gate, self.speech_gate_line):
            part.reset()
        if self.suppressor is not None:
            self.suppressor.reset()

    def before(self, block: FloatArray) -> None:
        """Apply the microphone effects to a block [block_size] of finite samples, in place."""
        state, config = self.state, self.config
        self.input_gain.target = linear(state.input_gain_db)
        gain_into(block, self.input_gain, block)
        np.clip(block, -LOUDEST, LOUDEST, out=block)  # one absurd sample would stay in the filters for minutes
        highpass_into(block, self.highpass, block)
        if self.suppressor is not None:
            denoised = block if config.suppress_noise else self._denoised_scratch
            np.copyto(denoised, block)
            self.suppressor.process(denoised, self._probability)
            if config.speech_level_db is not None:
                level_speech_into(block, self._probability, self.leveller, config.speech_level_db, block)
        self.gate.listen(block, state.gate_db)

    def after(self, block: FloatArray, engine_latency_samples: int) -> None:
        """Gate, amplify and limit a block of output [block_size], in place.

        Args:
            block: Output of the engine for the block that `before` processed last.
            engine_latency_samples: Latency of the engine.
        """
        self.gate.apply(block, engine_latency_samples)
        if self.config.speech_gate is not None:
            self._apply_speech_gate(block, engine_latency_samples, self.config.speech_gate)
        self.output_gain.target = _output_gain(self.state)
        gain_into(block, self.output_gain, block)
        limit_into(block, self.limiter, block)

    def _apply_speech_gate(self, block: FloatArray, engine_latency_samples: int, threshold: float) -> None:
        speech_gate_gain_into(self._probability, self.speech_gate, threshold, self._gain_scratch)
        look_back = LOOK_BACK_MS * self.speech_gate.sample_rate // 1000
        delay = max(self._suppressor_latency + engine_latency_samples - look_back, 0)
        if delay != len(self.speech_gate_line.sample_mem):  # the first block, or a voice with another latency
            self.speech_gate_line = self.speech_gate_line.resized(delay)
        delay_into(self._gain_scratch, self.speech_gate_line, self._gain_scratch)
        block *= self._gain_scratch

    @property
    def _suppressor_latency(self) -> int:
        return LATENCY_SAMPLES if self.config.suppress_noise else 0


def _output_gain(state: SessionState) -> float:
    return 0.0 if state.muted else linear(state.gain_db)
