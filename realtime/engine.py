"""The engine: one block of audio in, one block of another voice out, whoever feeds it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.errors import VoiceError
from ..kernels.polyphase import ResamplerState, resample_block
from ..models.voice import Voice, VoiceParams
from .config import StreamConfig
from .stage import VoiceStage
from .state import restore, snapshot

log = logging.getLogger(__name__)

# Of the resamplers: 1.6 ms at 16 kHz, and what folds stays above their pass band. A multiple of 5, so that 40 kHz and
# 48 kHz meet on whole samples.
HALF_PERIODS = 30


@dataclass(slots=True)
class EngineState:
    """All that an engine carries from block to block.

    Attributes:
        to_stage: Resampler from the device's rate.
        stage: State of the voice; None when it has none.
        from_stage: Resampler to the device's rate.
        gain: Output gain at the end of the last block.
        muted_blocks: Blocks in which the voice produced something that is no number.
    """

    to_stage: ResamplerState | None
    stage: Any
    from_stage: ResamplerState | None
    gain: float
    muted_blocks: int


class Engine:
    """Converts a stream of mono audio block by block.

    Attributes:
        params: How to render; assign another `VoiceParams` at any time, from any thread. It is read once per block.

    Args:
        voice: From `altervox.models.load_voice`.
        config: What needs a new engine when it changes.
        params: The first parameters.

    Raises:
        VoiceError: the voice cannot be streamed.
        BaseModelError: an RVC voice's base models cannot be had.
    """

    def __init__(self, voice: Voice, config: StreamConfig | None = None, params: VoiceParams | None = None) -> None:
        self.config = config or StreamConfig()
        self.params = params or VoiceParams()
        self.sample_rate = self.config.sample_rate
        self.block_size = self.config.block_size
        self._stage = make_stage(voice, self.config)
        to_stage = from_stage = None
        if self._stage is not None:
            inside = self.config.block_ms * self._stage.input_rate // 1000
            outside = self.config.block_ms * self._stage.output_rate // 1000
            self._stage_in = np.zeros(inside, dtype=np.float32)
            self._stage_out = np.zeros(outside, dtype=np.float32)
            to_stage = ResamplerState.allocate(self.sample_rate, self._stage.input_rate, self.block_size, HALF_PERIODS)
            from_stage = ResamplerState.allocate(self._stage.output_rate, self.sample_rate, outside, HALF_PERIODS)
        self._block = np.zeros(self.block_size, dtype=np.float32)
        self._ramp = np.linspace(0.0, 1.0, self.block_size + 1, dtype=np.float32)[1:]
        stage_state = self._stage.state if self._stage is not None else None
        self._state = EngineState(to_stage, stage_state, from_stage, _gain(self.params), 0)

    @property
    def latency_samples(self) -> int:
        """How much later than the input the output is, at the engine's rate, to the nearest sample.

        It does not hold the block itself: who feeds the engine waits for a block to be full.
        """
        state, stage = self._state, self._stage
        if stage is None or state.to_stage is None or state.from_stage is None:
            return 0
        seconds = state.to_stage.delay_samples_out / stage.input_rate + stage.latency_samples / stage.output_rate
        return round(seconds * self.sample_rate + state.from_stage.delay_samples_out)

    @property
    def muted_blocks(self) -> int:
        """Blocks that were silenced because the voice produced something that is no number."""
        return self._state.muted_blocks

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
        params, state, stage = self.params, self._state, self._stage
        np.copyto(self._block, block)
        np.nan_to_num(self._block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        if stage is None or state.to_stage is None or state.from_stage is None:
            out[:] = self._block
        else:
            resample_block(self._block, state.to_stage, self._stage_in)
            stage.process(self._stage_in, params, self._stage_out)
            if not np.isfinite(self._stage_out).all():
                state.muted_blocks += 1
                if state.muted_blocks == 1:
                    log.warning("the voice produced something that is no number; such blocks are silent")
                self._stage_out[:] = 0.0
                stage.reset()
            resample_block(self._stage_out, state.from_stage, out)
        self._apply_gain(out, _gain(params))

    def reset(self) -> None:
        """Return to the start of a stream, in place."""
        for part in (self._state.to_stage, self._state.from_stage, self._stage):
            if part is not None:
                part.reset()
        self._state.gain = _gain(self.params)
        self._state.muted_blocks = 0

    def state(self) -> EngineState:
        """A copy of all that is carried, for `restore`."""
        return snapshot(self._state)

    def restore(self, state: EngineState) -> None:
        """Go on from a copied state: the same blocks then give the same output."""
        restore(self._state, state)

    def _apply_gain(self, out: NDArray[np.float32], gain: float) -> None:
        """Glide from the last block's gain over this block."""
        if gain == self._state.gain:
            if gain != 1.0:
                out *= np.float32(gain)
            return
        out *= np.float32(self._state.gain) + np.float32(gain - self._state.gain) * self._ramp
        self._state.gain = gain


def make_stage(voice: Voice, config: StreamConfig) -> VoiceStage | None:
    """The stage of a voice; None for one that changes nothing.

    Raises:
        VoiceError: it cannot be streamed.
    """
    from ..models.dsp import DspVoice, PassThrough

    if isinstance(voice, PassThrough):
        return None
    if isinstance(voice, DspVoice):
        from .dsp_stage import DspStage

        return DspStage(voice.preset, config)
    from ..models.rvc_voice import RvcVoice

    if isinstance(voice, RvcVoice):
        from ..models import base_models
        from .rvc_stage import RvcStage

        content = base_models.content_encoder(base_models.CONTENT_ENCODER.fetch(), voice.device)
        rmvpe = None
        if voice.synthesizer.has_f0:
            rmvpe = base_models.pitch_network(base_models.PITCH_NETWORK.fetch(), voice.device)
        return RvcStage(voice, content, rmvpe, config)
    raise VoiceError(f"{voice.name} cannot be streamed")


def _gain(params: VoiceParams) -> float:
    return float(10.0 ** (params.gain_db / 20.0))
