"""DSP voices block by block: WORLD's analysis on a sliding window, synthesis that carries its state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels.f0_world import recent_f0
from ..kernels.world import HOP, LATENCY_SAMPLES, SAMPLE_RATE, SynthesisState, analyse, synthesize
from ..models.dsp import F0_CEILING_HZ, F0_FLOOR_HZ, DspPreset, SpeakerState
from ..models.voice import VoiceParams
from .config import StreamConfig

LOOKAHEAD_FRAMES = 6  # 30 ms: CheapTrick and D4C see 22 ms beyond a frame's centre
CONTEXT_FRAMES = 40  # 200 ms of past, for the F0 contour
_FRAME_MS = 1000.0 * HOP / SAMPLE_RATE


@dataclass(slots=True)
class DspState:
    """What is carried.

    Attributes:
        window_mem: The newest audio at 24 kHz, in WORLD's own precision.
        speaker: What is known of the speaker.
        synthesis: Pulse phase and overlap.
    """

    window_mem: NDArray[np.float64]
    speaker: SpeakerState
    synthesis: SynthesisState

    @classmethod
    def allocate(cls, window_frames: int) -> DspState:
        """State at the start of a stream."""
        state = cls(np.zeros(window_frames * HOP), SpeakerState(), SynthesisState())
        state.reset()
        return state

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.window_mem[:] = 0.0
        self.speaker.reset()
        self.synthesis.reset()
        # The first frames rendered lie before the stream, so that every block renders as many as it takes in.
        self.synthesis.frame = -LOOKAHEAD_FRAMES


class DspStage:
    """A preset as a stage. Delay: 30 ms of look-ahead and 5.7 ms of synthesis."""

    def __init__(self, preset: DspPreset, config: StreamConfig) -> None:
        self.preset = preset
        self.block_frames = config.block_ms * SAMPLE_RATE // (1000 * HOP)
        self.state = DspState.allocate(CONTEXT_FRAMES + self.block_frames + LOOKAHEAD_FRAMES)
        self._unheard_scratch = np.zeros(self.block_frames * HOP, dtype=np.float32)

    input_rate = SAMPLE_RATE
    output_rate = SAMPLE_RATE
    latency_samples = LOOKAHEAD_FRAMES * HOP + LATENCY_SAMPLES

    def process(self, block: NDArray[np.float32], params: VoiceParams, out: NDArray[np.float32]) -> None:
        """See `VoiceStage.process`."""
        window = self.state.window_mem
        window[: -len(block)] = window[len(block) :]
        window[-len(block) :] = block
        # Frame k of the window is centred on its sample k * HOP.
        wanted = (CONTEXT_FRAMES, self.block_frames, _FRAME_MS, F0_FLOOR_HZ, F0_CEILING_HZ)
        f0 = recent_f0(window, SAMPLE_RATE, *wanted)
        frames = self.preset.apply(analyse(window, f0, CONTEXT_FRAMES), self.state.speaker, params)
        out[:] = synthesize(frames, self.state.synthesis, params.seed)

    def advance(self, block: NDArray[np.float32], params: VoiceParams) -> None:
        """See `VoiceStage.advance`.

        It renders all the same: voicing, the phase and the speaker's F0 need the analysis, which is three quarters of
        the work, and the rest leaves every pulse whole that rings into the next block.
        """
        self.process(block, params, self._unheard_scratch)

    def reset(self) -> None:
        """See `VoiceStage.reset`."""
        self.state.reset()
