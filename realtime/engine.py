"""The engine: one block of audio in, one block of another voice out, whoever feeds it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.fades import fade_in_curve
from ..kernels.finite import silence_nonfinite
from ..kernels.polyphase import ResamplerState, resample_block
from ..kernels.speaker import SpeakerState
from ..models.voice import Voice, VoiceParams, check_speaker
from .config import StreamConfig, with_lengths
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
        to_stage: Resampler from the engine's rate to the stage's input rate; None without a stage.
        stage: State of the stage; None without a stage.
        from_stage: Resampler from the stage's output rate to the engine's rate; None without a stage.
        is_cut: Whether the last block was skipped or failed, so that the next fades in.
        nonfinite_blocks: Blocks that were silenced because the voice produced NaN or infinite samples.
    """

    to_stage: ResamplerState | None
    stage: Any
    from_stage: ResamplerState | None
    is_cut: bool
    nonfinite_blocks: int


class Engine:
    """Converts a stream of mono audio block by block: resamples, and runs the voice's stage.

    Gates, gains and limiting are effects of a session (`realtime.session.chain`), not of the engine.

    Attributes:
        params: Parameters of the voice, read once per block; assign another `VoiceParams` at any time, from any thread.
        voice: The voice.
        stage: Streaming stage of the voice; None for a voice that changes nothing.
        latency_samples: Latency of the output in samples at the engine's rate, rounded. It does not include the block
            itself, which the caller waits for.

    Args:
        voice: From `altervox.models.load_voice`.
        config: Settings of the engine.
        params: The first parameters. Their `f0_method` holds for as long as the engine.

    Raises:
        VoiceError: the voice cannot be streamed.
        BaseModelError: a base model that the voice needs cannot be obtained.
        ParameterError: the F0 method does not stream, the voice has no such speaker, or the backend cannot run here.
    """

    def __init__(self, voice: Voice, config: StreamConfig | None = None, params: VoiceParams | None = None) -> None:
        self.config = config or with_lengths(StreamConfig(), voice.lengths)
        self.params = params or VoiceParams()
        self.voice = voice
        check_speaker(voice, self.params)
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
        self._in_scratch, self._out_scratch = np.zeros((2, self.block_size), dtype=np.float32)
        self._fade_in = fade_in_curve(self.sample_rate * FADE_IN_MS // 1000)
        self.latency_samples = _latency(self.stage, to_stage, from_stage, self.sample_rate)
        self._state = EngineState(
            to_stage=to_stage,
            stage=self.stage.state if self.stage is not None else None,
            from_stage=from_stage,
            is_cut=False,
            nonfinite_blocks=0,
        )

    @property
    def nonfinite_blocks(self) -> int:
        """Blocks that were silenced because the voice produced NaN or infinite samples."""
        return self._state.nonfinite_blocks

    @property
    def f0_hz(self) -> float:
        """The speaker's newest F0; 0 where unvoiced, and with a voice that does not track pitch."""
        return self.stage.f0_hz if self.stage is not None else 0.0

    @property
    def output_f0_hz(self) -> float:
        """F0 at the end of the last rendered block; 0 where unvoiced, and with a voice that does not track pitch."""
        return self.stage.output_f0_hz if self.stage is not None else 0.0

    def process(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Convert the next block.

        A block that comes out with NaN or infinite samples is replaced by silence, and the voice starts anew.

        Args:
            block: Mono [block_size]; NaN and infinite samples count as silence.
            out: Filled [block_size].

        Raises:
            ValueError: a length is not `block_size`.
        """
        if len(block) != self.block_size or len(out) != self.block_size:
            raise ValueError(f"blocks of {len(block)} and {len(out)} samples; this engine takes {self.block_size}")
        params, state, stage = self.params, self._state, self.stage
        self._take(block)
        if stage is None or state.to_stage is None or state.from_stage is None:
            self._out_scratch[:] = self._in_scratch
        else:
            resample_block(self._in_scratch, state.to_stage, self._stage_in)
            stage.process(self._stage_in, params, self._stage_out)
            resample_block(self._stage_out, state.from_stage, self._out_scratch)
        if silence_nonfinite(self._out_scratch):
            state.nonfinite_blocks += 1
            if state.nonfinite_blocks == 1:
                log.warning("the voice produced NaN or infinite samples; such blocks are silent")
            self._out_scratch[:] = 0.0
            self.recover()
        elif state.is_cut:
            state.is_cut = False
            self._out_scratch[: len(self._fade_in)] *= self._fade_in
        out[:] = self._out_scratch

    def skip(self, block: NDArray[np.float32]) -> None:
        """Let the next block pass without rendering it, because it would come too late to be played.

        Everything that follows from the input goes on: windows, F0, phase, frame indices. The next block has the same
        latency, fades in over 5 ms, and lacks what the skipped one would have left ringing: a DSP voice is the same as
        without the skip after 120 ms, an RVC voice after 400 ms. Whoever plays the output fades out what was played
        before.

        Args:
            block: Mono [block_size], as for `process`.

        Raises:
            ValueError: its length is not `block_size`.
        """
        if len(block) != self.block_size:
            raise ValueError(f"a block of {len(block)} samples; this engine takes {self.block_size}")
        params, state, stage = self.params, self._state, self.stage
        self._take(block)
        if stage is not None and state.to_stage is not None and state.from_stage is not None:
            resample_block(self._in_scratch, state.to_stage, self._stage_in)
            stage.advance(self._stage_in, params)
            # Silence in place of the output: the filter must not hold what was played before.
            self._stage_out[:] = 0.0
            resample_block(self._stage_out, state.from_stage, self._out_scratch)
        state.is_cut = True

    def recover(self) -> None:
        """Start anew after a block that failed: what is known of the speaker stays, and the next block fades in."""
        speaker = snapshot(self.stage.speaker) if self.stage is not None else None
        self._reset_parts()
        self.adopt_speaker(speaker)
        self._state.is_cut = True

    def adopt_speaker(self, speaker: SpeakerState | None) -> None:
        """Go on from what another engine knows of the speaker, where both depend on it."""
        own = self.stage.speaker if self.stage is not None else None
        if own is not None and speaker is not None:
            own.adopt(speaker)

    def reset(self) -> None:
        """Return to the start of a stream, in place."""
        self._reset_parts()
        self._state.nonfinite_blocks = 0
        self._state.is_cut = False

    def state(self) -> EngineState:
        """A copy of all that is carried, for `restore`."""
        return snapshot(self._state)

    def restore(self, state: EngineState) -> None:
        """Go on from a copied state: the same blocks then give the same output."""
        restore(self._state, state)

    def _take(self, block: NDArray[np.float32]) -> None:
        """Copy a block, without the NaN that some libraries behind a stage crash on."""
        np.copyto(self._in_scratch, block)
        silence_nonfinite(self._in_scratch)

    def _reset_parts(self) -> None:
        for part in (self._state.to_stage, self._state.from_stage, self.stage):
            if part is not None:
                part.reset()


def _latency(
    stage: VoiceStage | None, to_stage: ResamplerState | None, from_stage: ResamplerState | None, sample_rate: int
) -> int:
    """Delay of stage and resamplers together, in samples at the engine's rate."""
    if stage is None or to_stage is None or from_stage is None:
        return 0
    seconds = to_stage.delay_samples_out / stage.input_rate + stage.latency_samples / stage.output_rate
    return round(seconds * sample_rate + from_stage.delay_samples_out)
