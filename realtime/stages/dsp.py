"""DSP voices block by block: WORLD's analysis on a sliding window, synthesis that carries its state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...kernels.f0_world import refine_f0_into
from ...kernels.polyphase import ResamplerState, resample_block
from ...kernels.salience import halfway_f0_into
from ...kernels.speaker import SpeakerState, loudness_into
from ...kernels.synthesis import LATENCY_SAMPLES, SynthesisState, SynthesisWorkspace, skip_frames, synthesize_into
from ...kernels.world import (
    HOP,
    SAMPLE_RATE,
    AnalysisWorkspace,
    SpeechFrames,
    analyse_into,
    samples_to_analyse,
    voicing_into,
)
from ...models.dsp.change import PresetState, PresetWorkspace, apply_preset
from ...models.dsp.presets import DspPreset
from ...models.pitch import mel
from ...models.pitch.rmvpe import RMVPE
from ...models.voice import VoiceParams
from ..config import FRAME_MS, StreamConfig
from .pitch import PitchStreamState, streaming_pitch

LOOKAHEAD_FRAMES = 6  # 30 ms, which a mel frame waits for; CheapTrick and D4C see 22 ms beyond a centre
CONTEXT_FRAMES = 10  # 50 ms of past: CheapTrick and D4C see up to 43 ms before a centre, of a very low voice
RESAMPLER_HALF_PERIODS = 30  # 1.9 ms at 16 kHz
# The frames of the pitch network lie in the middle between every other two of the frames rendered: half a hop later,
# so that all of a block are known, or lie between two that are, when the last one's mel window is full.
_HALF_HOP = mel.HOP // 2
_DROPPED_SAMPLES = _HALF_HOP + RESAMPLER_HALF_PERIODS  # at 16 kHz, at the start of the stream


@dataclass(slots=True)
class DspState:
    """What is carried.

    Attributes:
        window_mem: The newest audio at 24 kHz, in WORLD's own precision, and zeros that the analysis may read.
        to_pitch: Resampler to the pitch network's rate.
        to_drop: Samples at that rate still to be left out before the network's first one.
        pitch: State of the pitch network.
        f0_mem: Newest F0 of the pitch network in Hz.
        preset: Estimate of the speaker, and the shift that follows from it.
        synthesis: Pulse phase and overlap.
    """

    window_mem: NDArray[np.float64]
    to_pitch: ResamplerState
    to_drop: int
    pitch: PitchStreamState
    f0_mem: float
    preset: PresetState
    synthesis: SynthesisState

    @classmethod
    def allocate(cls, block_frames: int, lookahead_frames: int, pitch: PitchStreamState) -> DspState:
        """State at the start of a stream, for blocks and lookahead of that many frames of 5 ms."""
        newest = (CONTEXT_FRAMES + block_frames + lookahead_frames) * HOP
        window = np.zeros(max(newest, samples_to_analyse(CONTEXT_FRAMES, block_frames)))
        to_pitch = ResamplerState.allocate(SAMPLE_RATE, mel.SAMPLE_RATE, block_frames * HOP, RESAMPLER_HALF_PERIODS)
        state = cls(window, to_pitch, 0, pitch, 0.0, PresetState(), SynthesisState())
        state.reset(lookahead_frames)
        return state

    def reset(self, lookahead_frames: int) -> None:
        """Return to the start of a stream."""
        self.window_mem[:] = 0.0
        self.to_drop = _DROPPED_SAMPLES
        self.f0_mem = 0.0
        for part in (self.to_pitch, self.pitch, self.preset, self.synthesis):
            part.reset()
        # The first frames rendered lie before the stream, so that every block renders as many as it takes in.
        self.synthesis.frame = -lookahead_frames


class DspStage:
    """A preset as a stage. Delay: 30 ms of lookahead, or more for more right context, and 5.7 ms of synthesis.

    Args:
        preset: Preset of the voice.
        config: Lengths. A backend that needs a GPU is not for this stage, which has none.
        rmvpe: Pitch network, on the CPU; None for the small one that ships.
        pitch_right_frames: Frames of 10 ms that its backward GRU sees beyond a block. Each adds 10 ms of delay.
    """

    input_rate = SAMPLE_RATE
    output_rate = SAMPLE_RATE

    def __init__(
        self, preset: DspPreset, config: StreamConfig, rmvpe: RMVPE | None = None, pitch_right_frames: int = 0
    ) -> None:
        self.preset = preset
        self.lookahead_frames = LOOKAHEAD_FRAMES + 2 * pitch_right_frames
        self.latency_samples = self.lookahead_frames * HOP + LATENCY_SAMPLES
        self.block_frames = config.block_ms * SAMPLE_RATE // (1000 * HOP)
        block = config.block_ms // FRAME_MS
        backend = "auto" if "cuda" in config.backend else config.backend
        self.tracker = streaming_pitch(
            rmvpe, block, pitch_right_frames, torch.device("cpu"), backend, early_samples=_DROPPED_SAMPLES
        )
        self.state = DspState.allocate(self.block_frames, self.lookahead_frames, self.tracker.state)
        frames, samples = self.block_frames, len(self.state.window_mem)
        self._newest = (CONTEXT_FRAMES + frames + self.lookahead_frames) * HOP
        self._times_s = np.asarray((CONTEXT_FRAMES + np.arange(frames)) * (HOP / SAMPLE_RATE), dtype=np.float64)
        self._found_scratch = np.zeros(block + 1, dtype=np.float32)
        self._known_scratch = np.zeros(block + 1, dtype=np.float32)
        self._halfway_scratch = np.zeros(block, dtype=np.float32)
        self._rough_scratch, self._f0_scratch, self._loudness_scratch = np.zeros((3, frames))
        self._low_scratch = np.zeros(block * mel.HOP, dtype=np.float32)
        self._analysis = AnalysisWorkspace.allocate(frames, samples)
        self._last_analysis = AnalysisWorkspace.allocate(1, samples)
        self._change = PresetWorkspace.allocate(frames)
        self._synthesis = SynthesisWorkspace.allocate(frames)

    @property
    def f0_hz(self) -> float:
        """See `VoiceStage`."""
        return self.state.f0_mem

    @property
    def output_f0_hz(self) -> float:
        """See `VoiceStage`."""
        return float(self._analysis.frames.f0_hz[-1])

    @property
    def speaker(self) -> SpeakerState:
        """See `VoiceStage`."""
        return self.state.preset.speaker

    def process(self, block: NDArray[np.float32], params: VoiceParams, out: NDArray[np.float32]) -> None:
        """See `VoiceStage.process`."""
        state, frames = self.state, self._analysis.frames
        analyse_into(state.window_mem, self.take(block), CONTEXT_FRAMES, self._analysis)
        apply_preset(self.preset, frames, self._loudness_scratch, state.preset, params, self._change)
        synthesize_into(frames, state.synthesis, params.seed, self._synthesis, out)

    def advance(self, block: NDArray[np.float32], params: VoiceParams) -> None:
        """See `VoiceStage.advance`.

        F0 and voicing of all frames decide what follows; of envelopes, only the last frame's, which the next one joins.
        """
        state, last = self.state, self._last_analysis.frames
        f0 = self.take(block)
        voicing_into(state.window_mem, f0, CONTEXT_FRAMES, self._analysis)
        analyse_into(state.window_mem, f0[-1:], CONTEXT_FRAMES + len(f0) - 1, self._last_analysis)
        frames = SpeechFrames(self._analysis.frames.f0_hz, last.power, last.aperiodicity)
        apply_preset(self.preset, frames, self._loudness_scratch, state.preset, params, self._change)
        skip_frames(frames, state.synthesis, self._synthesis)

    def take(self, block: NDArray[np.float32]) -> NDArray[np.float64]:
        """Take in a block. Afterwards the loudness of the frames that are rendered with it is known, too.

        Frame k of the window is centred on its sample k * HOP; the frames that are rendered begin at `CONTEXT_FRAMES`.

        Returns:
            F0 in Hz of the frames that are rendered with the block [block_frames], 0 where unvoiced; valid until the
            next call.
        """
        window = self.state.window_mem[: self._newest]
        window[: -len(block)] = window[len(block) :]
        window[-len(block) :] = block
        loudness_into(window, (CONTEXT_FRAMES - 1) * HOP, HOP, 2 * HOP, self._loudness_scratch)
        self._find_rough_f0(block)
        refine_f0_into(window, SAMPLE_RATE, self._rough_scratch, self._times_s, self._f0_scratch)
        return self._f0_scratch

    def _find_rough_f0(self, block: NDArray[np.float32]) -> None:
        """The network's F0 of the same frames, into `_rough_scratch`."""
        state, found, f0 = self.state, self._found_scratch, self._rough_scratch
        count = resample_block(block, state.to_pitch, self._low_scratch)
        dropped = min(state.to_drop, count)
        state.to_drop -= dropped
        known = self.tracker.push_into(self._low_scratch[dropped:count], self._known_scratch)
        found[:] = 0.0  # the first blocks render what lies before the stream
        found[0] = state.f0_mem
        found[len(found) - known :] = self._known_scratch[:known]
        state.f0_mem = float(found[-1])
        halfway_f0_into(found[:-1], found[1:], self._halfway_scratch)
        f0[::2] = self._halfway_scratch
        f0[1::2] = found[1:]

    def reset(self) -> None:
        """See `VoiceStage.reset`."""
        self.state.reset(self.lookahead_frames)
