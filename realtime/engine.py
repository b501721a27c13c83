"""The engine: one block of audio in, one block of another voice out, whoever feeds it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.delay import DelayState, delay_into
from ..kernels.fades import fade_in_curve
from ..kernels.finite import silence_nonfinite
from ..kernels.gain import GainState, decibels, gain_into, linear
from ..kernels.gate import GateState, gate_gain_into
from ..kernels.level import GATE_OFF_DB
from ..kernels.polyphase import ResamplerState, resample_block
from ..models.voice import Voice, VoiceParams
from .config import StreamConfig
from .stages import make_stage
from .stages.stage import VoiceStage
from .state import restore, snapshot

log = logging.getLogger(__name__)

# Of the resamplers: 1.6 ms at 16 kHz, and what folds stays above their pass band. A multiple of 5, so that 40 kHz and
# 48 kHz meet on whole samples.
HALF_PERIODS = 30
FADE_IN_MS = 5  # after skipped blocks; longer than the resamplers ring


@dataclass(slots=True)
class EngineState:
    """All that an engine carries from block to block.

    Attributes:
        to_stage: Resampler from the device's rate.
        stage: State of the voice; None when it has none.
        from_stage: Resampler to the device's rate.
        gate: The gate, which listens to the input.
        gate_delay: Holds its gains back until the output shows the input they were made for.
        gain: Of the output.
        is_cut: Whether the last block was skipped, so that the next fades in.
        muted_blocks: Blocks in which the voice produced something that is no number.
    """

    to_stage: ResamplerState | None
    stage: Any
    from_stage: ResamplerState | None
    gate: GateState
    gate_delay: DelayState
    gain: GainState
    is_cut: bool
    muted_blocks: int


class Engine:
    """Converts a stream of mono audio block by block.

    Attributes:
        params: How to render; assign another `VoiceParams` at any time, from any thread. It is read once per block.
        stage: Of the voice; None for one that changes nothing.
        latency_samples: How much later than the input the output is, at the engine's rate, to the nearest sample. It
            does not hold the block itself: who feeds the engine waits for a block to be full.

    Args:
        voice: From `altervox.models.load_voice`.
        config: What needs a new engine when it changes.
        params: The first parameters. Their `f0_method` holds for as long as the engine.

    Raises:
        VoiceError: the voice cannot be streamed.
        BaseModelError: an RVC voice's content encoder cannot be had, or the full-size pitch network that is asked for.
        ParameterError: the F0 method needs whole files, or the backend cannot run here.
    """

    def __init__(self, voice: Voice, config: StreamConfig | None = None, params: VoiceParams | None = None) -> None:
        self.config = config or StreamConfig()
        self.params = params or VoiceParams()
        self.sample_rate = self.config.sample_rate
        self.block_size = self.config.block_size
        self.stage = make_stage(voice, self.config, self.params.f0_method)
        to_stage = from_stage = None
        if self.stage is not None:
            inside = self.config.block_ms * self.stage.input_rate // 1000
            outside = self.config.block_ms * self.stage.output_rate // 1000
            self._stage_in = np.zeros(inside, dtype=np.float32)
            self._stage_out = np.zeros(outside, dtype=np.float32)
            to_stage = ResamplerState.allocate(self.sample_rate, self.stage.input_rate, self.block_size, HALF_PERIODS)
            from_stage = ResamplerState.allocate(self.stage.output_rate, self.sample_rate, outside, HALF_PERIODS)
        self._block, self._gate_gain, self._rendered = np.zeros((3, self.block_size), dtype=np.float32)
        self._fade_in = fade_in_curve(self.sample_rate * FADE_IN_MS // 1000)
        self.latency_samples = _latency(self.stage, to_stage, from_stage, self.sample_rate)
        self._state = EngineState(
            to_stage=to_stage,
            stage=self.stage.state if self.stage is not None else None,
            from_stage=from_stage,
            gate=GateState.allocate(self.sample_rate),
            gate_delay=DelayState.allocate(self.latency_samples),
            gain=GainState(),
            is_cut=False,
            muted_blocks=0,
        )
        self._reset_levels()

    @property
    def muted_blocks(self) -> int:
        """Blocks that were silenced because the voice produced something that is no number."""
        return self._state.muted_blocks

    @property
    def f0_hz(self) -> float:
        """The speaker's F0 now, as far as it is known; 0 where unvoiced, and with a voice that does not ask for it."""
        return self.stage.f0_hz if self.stage is not None else 0.0

    @property
    def gate_gain_db(self) -> float:
        """What the gate does to the newest input: 0 is open, -100 closed."""
        return decibels(self._state.gate.gain)

    def process(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Convert the next block.

        Args:
            block: Mono [block_size]; samples that are no number count as silence.
            out: Filled [block_size].

        Raises:
            ValueError: a length is not `block_size`.
        """
        if len(block) != self.block_size or len(out) != self.block_size:
            raise ValueError(f"blocks of {len(block)} and {len(out)} samples; this engine takes {self.block_size}")
        params, state, stage = self.params, self._state, self.stage
        self._take(block, params)
        if stage is None or state.to_stage is None or state.from_stage is None:
            self._rendered[:] = self._block
        else:
            resample_block(self._block, state.to_stage, self._stage_in)
            stage.process(self._stage_in, params, self._stage_out)
            if silence_nonfinite(self._stage_out):
                state.muted_blocks += 1
                if state.muted_blocks == 1:
                    log.warning("the voice produced something that is no number; such blocks are silent")
                self._stage_out[:] = 0.0
                stage.reset()
            resample_block(self._stage_out, state.from_stage, self._rendered)
        self._rendered *= self._gate_gain
        state.gain.target = linear(params.gain_db)
        gain_into(self._rendered, state.gain, self._rendered)
        if state.is_cut:
            state.is_cut = False
            self._rendered[: len(self._fade_in)] *= self._fade_in
        out[:] = self._rendered

    def skip(self, block: NDArray[np.float32]) -> None:
        """Let the next block pass without rendering it, because its time to be heard is over.

        All that is known of the input goes on: windows, F0, phase, frame indices, gate. What follows is as if it had
        been rendered, with the same delay, except that the next block fades in over 5 ms and that an RVC voice lacks
        the sound of its own past there. What was heard before breaks off: whoever plays the output must fade it out,
        for it has left the engine.

        Args:
            block: Mono [block_size], as for `process`.

        Raises:
            ValueError: its length is not `block_size`.
        """
        if len(block) != self.block_size:
            raise ValueError(f"a block of {len(block)} samples; this engine takes {self.block_size}")
        params, state, stage = self.params, self._state, self.stage
        self._take(block, params)
        if stage is not None and state.to_stage is not None and state.from_stage is not None:
            resample_block(self._block, state.to_stage, self._stage_in)
            stage.advance(self._stage_in, params)
            # Silence in place of the rendering: the filter must not hold what was heard before.
            self._stage_out[:] = 0.0
            resample_block(self._stage_out, state.from_stage, self._rendered)
        state.gain.reset(linear(params.gain_db))
        state.is_cut = True

    def reset(self) -> None:
        """Return to the start of a stream, in place."""
        for part in (self._state.to_stage, self._state.from_stage, self.stage):
            if part is not None:
                part.reset()
        self._state.muted_blocks = 0
        self._reset_levels()

    def state(self) -> EngineState:
        """A copy of all that is carried, for `restore`."""
        return snapshot(self._state)

    def restore(self, state: EngineState) -> None:
        """Go on from a copied state: the same blocks then give the same output."""
        restore(self._state, state)

    def _reset_levels(self) -> None:
        """Gain and gate at the start of a stream. A gate that is off has always been open."""
        params, state = self.params, self._state
        is_open = params.gate_db <= GATE_OFF_DB
        state.gate.reset(is_open)
        state.gate_delay.reset(float(is_open))
        state.gain.reset(linear(params.gain_db))
        state.is_cut = False

    def _take(self, block: NDArray[np.float32], params: VoiceParams) -> None:
        """Clean a block, and find the gate's gains for the output that leaves with it."""
        state = self._state
        np.copyto(self._block, block)
        silence_nonfinite(self._block)
        gate_gain_into(self._block, state.gate, params.gate_db, self._gate_gain)
        delay_into(self._gate_gain, state.gate_delay, self._gate_gain)


def _latency(
    stage: VoiceStage | None, to_stage: ResamplerState | None, from_stage: ResamplerState | None, sample_rate: int
) -> int:
    """Delay of stage and resamplers together, in samples at the engine's rate."""
    if stage is None or to_stage is None or from_stage is None:
        return 0
    seconds = to_stage.delay_samples_out / stage.input_rate + stage.latency_samples / stage.output_rate
    return round(seconds * sample_rate + from_stage.delay_samples_out)
