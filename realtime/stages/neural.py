"""Neural voices block by block: features, F0, one step of the networks, and WORLD's synthesis, all with carried state.

A block that ends at T renders the frames from T - block - 50 ms on: the encoder hears 45 ms beyond the middle of each
pair of frames that it describes, and F0 is known 40 ms late.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...kernels.pitch_range import MOST_SPREADS, PitchRangeState, map_f0_into
from ...kernels.salience import halfway_f0_into
from ...kernels.speaker import SpeakerState, loudness_into
from ...kernels.synthesis import LATENCY_SAMPLES, SynthesisState, SynthesisWorkspace, skip_frames, synthesize_into
from ...kernels.types import Float64Array, FloatArray
from ...kernels.world import BINS, HOP, SAMPLE_RATE, SpeechFrames, warp_envelope_into
from ...models.neural import features
from ...models.neural.bands import BandsWorkspace, frames_into
from ...models.neural.graph_file import graph_path
from ...models.neural.network import DELAY, PAIR
from ...models.neural.step import NeuralStep
from ...models.neural.voice import NeuralVoice
from ...models.pitch.rmvpe import RMVPE
from ...models.voice import VoiceParams
from ..config import FRAME_MS, StreamConfig
from ..runners import Runner, make_runner
from ..runners.onnx import OnnxRunner, has_onnx_runtime
from .pitch import PitchStreamState, StreamingRMVPE, streaming_pitch
from .staging import Download, Upload

LATE_FRAMES = PAIR * DELAY + 1  # of 10 ms, by which what a block renders lags behind what it takes in
PITCH_RIGHT_FRAMES = LATE_FRAMES - 4  # F0 is known one frame beyond the last that is rendered, for what lies between
_PITCH_REFERENCE_HZ = 200.0
_MIX_STEP = 0.02  # per frame of 5 ms: from one voice to the other in a quarter of a second


@dataclass(slots=True)
class NeuralState:
    """What is carried.

    Attributes:
        features: Newest audio and running level.
        level_mem: Levels in nepers of the frames that were taken in and not yet rendered [LATE_FRAMES].
        loudness_mem: Their loudness [LATE_FRAMES].
        pitch: State of the pitch network.
        f0_mem: Newest F0 of the pitch network in Hz.
        range: Estimate of the speaker, and how F0 is mapped by it.
        mix_mem: Part of the second voice at the last frame; NaN before the first.
        encoder_mem: What the encoder remembers `[1, N]`: the very buffer that the network reads.
        decoder_mem: What the decoder remembers, likewise.
        decoder_mem_2: What the decoder of a mix's second voice remembers, likewise; empty without one.
        synthesis: Pulse phase, frame index and overlap.
    """

    features: features.FeatureState
    level_mem: FloatArray
    loudness_mem: Float64Array
    pitch: PitchStreamState
    f0_mem: float
    range: PitchRangeState
    mix_mem: float
    encoder_mem: Tensor
    decoder_mem: Tensor
    decoder_mem_2: Tensor
    synthesis: SynthesisState

    def reset(self) -> None:
        """Return to the start of a stream."""
        for part in (self.features, self.pitch, self.range, self.synthesis):
            part.reset()
        self.level_mem[:] = features.LOWEST_LEVEL
        self.loudness_mem[:] = 0.0
        self.f0_mem, self.mix_mem = 0.0, math.nan
        for memory in (self.encoder_mem, self.decoder_mem, self.decoder_mem_2):
            memory.zero_()
        # The first frames rendered lie before the stream, so that every block renders as many as it takes in.
        self.synthesis.frame = -2 * LATE_FRAMES


class NeuralStage:
    """A neural voice as a stage. Delay: 50 ms of lookahead and 5.7 ms of synthesis.

    Args:
        step: What runs the `NeuralStep` of a voice, or of a mix of two, on the CPU.
        tracker: Its pitch network, likewise, with `PITCH_RIGHT_FRAMES`.
        f0_log2: Mean and standard deviation of log2 of F0 in Hz, of each voice.

    Attributes:
        frames: The frames that were rendered with the last block: all of F0, and what was needed of the rest.
    """

    input_rate = features.SAMPLE_RATE
    output_rate = SAMPLE_RATE
    latency_samples = 2 * LATE_FRAMES * HOP + LATENCY_SAMPLES

    def __init__(self, step: Runner, tracker: StreamingRMVPE, f0_log2: Sequence[tuple[float, float]]) -> None:
        self.runner, self.tracker, self._f0_log2 = step, tracker, f0_log2
        inputs, taken = step.inputs, step.inputs["features"].shape[1]
        rendered = 2 * taken
        self._features, self._pitch = Upload(inputs["features"]), Upload(inputs["pitch"])
        self._mix = Upload(inputs["mix"]) if "mix" in inputs else None
        self._bands = Download(self.runner.outputs["bands"])
        self.state = NeuralState(
            features=features.FeatureState.allocate(),
            level_mem=np.zeros(LATE_FRAMES, dtype=np.float32),
            loudness_mem=np.zeros(LATE_FRAMES),
            pitch=self.tracker.state,
            f0_mem=0.0,
            range=PitchRangeState(),
            mix_mem=math.nan,
            encoder_mem=inputs["encoder_mem_in"],
            decoder_mem=inputs["decoder_mem_in"],
            decoder_mem_2=inputs.get("decoder_mem_2_in", torch.zeros(1, 0)),
            synthesis=SynthesisState(),
        )
        self.state.reset()
        self._extract = features.Features(taken)
        self._levels_scratch = np.zeros(LATE_FRAMES + taken, dtype=np.float32)
        self._louds_scratch = np.zeros(LATE_FRAMES + taken)
        self._level_scratch, self._loudness_scratch = np.zeros((2, rendered))
        self._known_scratch, self._found_scratch = np.zeros((2, taken + 1), dtype=np.float32)
        self._halfway_scratch = np.zeros(taken, dtype=np.float32)
        self._f0_scratch, self._mean_scratch, self._spread_scratch, self._mix_scratch = np.zeros((4, rendered))
        self.frames = SpeechFrames(np.zeros(rendered), *np.zeros((2, rendered, BINS)))
        self._to_frames, self._to_last_frame = BandsWorkspace.allocate(rendered), BandsWorkspace.allocate(1)
        self._ratio_scratch = np.zeros(rendered)
        self._warped_scratch, self._log_scratch = np.zeros((2, rendered, BINS))
        self._synthesis = SynthesisWorkspace.allocate(rendered)

    @classmethod
    def of(cls, voice: NeuralVoice, config: StreamConfig, rmvpe: RMVPE | None = None) -> NeuralStage:
        """The stage of a voice whose networks are in torch.

        Args:
            voice: The voice.
            config: Lengths and backend: `eager`, else ONNX Runtime on the CPU where it is installed, twice as fast.
            rmvpe: Pitch network, on the CPU; None for the small one that ships, with which voices are trained.
        """
        frames = config.block_ms // FRAME_MS
        backend = "auto" if "cuda" in config.backend else config.backend
        tracker = streaming_pitch(rmvpe, frames, PITCH_RIGHT_FRAMES, torch.device("cpu"), backend)
        step = NeuralStep(voice.networks, frames)
        if backend == "eager" or not has_onnx_runtime():
            return cls(make_runner(step.spec, step, "eager"), tracker, voice.f0_log2)
        graph = graph_path(len(voice.f0_log2))
        runner = OnnxRunner(step.spec, graph, weights=step.state_dict())
        return cls(runner, tracker, voice.f0_log2)

    @property
    def f0_hz(self) -> float:
        """See `VoiceStage`."""
        return self.state.f0_mem

    @property
    def output_f0_hz(self) -> float:
        """See `VoiceStage`."""
        return float(self.frames.f0_hz[-1])

    @property
    def speaker(self) -> SpeakerState:
        """See `VoiceStage`."""
        return self.state.range.speaker

    def process(self, block: FloatArray, params: VoiceParams, out: FloatArray) -> None:
        """See `VoiceStage.process`."""
        self._take(block, params)
        frames = self._rendered(self._to_frames, params)
        synthesize_into(frames, self.state.synthesis, params.seed, self._synthesis, out)

    def advance(self, block: FloatArray, params: VoiceParams) -> None:
        """See `VoiceStage.advance`.

        The networks run, for what they remember depends on every frame; of what they say, only the last frame's bands
        are used, which the next one joins.
        """
        self._take(block, params)
        skip_frames(self._rendered(self._to_last_frame, params), self.state.synthesis, self._synthesis)

    def reset(self) -> None:
        """See `VoiceStage.reset`."""
        self.state.reset()

    def _take(self, block: FloatArray, params: VoiceParams) -> None:
        """Take in a block: afterwards bands, levels and F0 of the frames that are rendered with it are known."""
        state, levels, louds = self.state, self._levels_scratch, self._louds_scratch
        levels[:LATE_FRAMES] = state.level_mem
        self._extract.push_into(block, state.features, self._features.array[0], levels[LATE_FRAMES:])
        state.level_mem[:] = levels[-LATE_FRAMES:]
        self._level_scratch[::2] = self._level_scratch[1::2] = levels[:-LATE_FRAMES]
        louds[:LATE_FRAMES] = state.loudness_mem
        loudness_into(block, 0, features.HOP, features.HOP, louds[LATE_FRAMES:])
        state.loudness_mem[:] = louds[-LATE_FRAMES:]
        self._loudness_scratch[::2] = self._loudness_scratch[1::2] = louds[:-LATE_FRAMES]
        self._find_f0(block)
        self._set_range(params)
        mean, spread = self._mean_scratch, self._spread_scratch
        map_f0_into(self._f0_scratch, self._loudness_scratch, mean, spread, state.range, self.frames.f0_hz)
        self.frames.f0_hz *= 2.0 ** (params.pitch_semitones / 12.0)
        self._tell_pitch()
        self._features.send()
        self.runner.run()

    def _find_f0(self, block: FloatArray) -> None:
        """F0 of the frames that are rendered, into `_f0_scratch`."""
        state, found = self.state, self._found_scratch
        known = self.tracker.push_into(block, self._known_scratch)
        found[:] = 0.0  # the first blocks render what lies before the stream
        found[0] = state.f0_mem
        found[len(found) - known :] = self._known_scratch[:known]
        state.f0_mem = float(found[-1])
        halfway_f0_into(found[:-1], found[1:], self._halfway_scratch)
        self._f0_scratch[::2] = found[:-1]
        self._f0_scratch[1::2] = self._halfway_scratch

    def _set_range(self, params: VoiceParams) -> None:
        """Mean and spread of the voice's F0 in every frame, and the part of the second voice."""
        state, mean, spread = self.state, self._mean_scratch, self._spread_scratch
        mean[:], spread[:] = self._f0_log2[0]
        if self._mix is None:
            return
        (first_mean, first_spread), (second_mean, second_spread) = self._f0_log2
        mix = self._mix_scratch
        now = params.mix if math.isnan(state.mix_mem) else state.mix_mem
        for i in range(len(mix)):
            now += min(max(params.mix - now, -_MIX_STEP), _MIX_STEP)
            mix[i] = now
            mean[i] += now * (second_mean - first_mean)
            spread[i] += now * (second_spread - first_spread)
        state.mix_mem = now
        self._mix.array[0] = mix
        self._mix.send()

    def _tell_pitch(self) -> None:
        """What the decoder hears of F0: with a pitch shift, too, no further off the mean than it knows."""
        pitch, f0 = self._pitch.array[0], self.frames.f0_hz
        for i in range(len(pitch)):
            hz = f0[2 * i]
            pitch[i, 0] = pitch[i, 1] = 0.0
            if hz > 0.0:
                mean, reach = self._mean_scratch[2 * i], MOST_SPREADS * self._spread_scratch[2 * i]
                at = min(max(math.log2(hz), mean - reach), mean + reach)
                pitch[i] = at - math.log2(_PITCH_REFERENCE_HZ), 1.0
        self._pitch.send()

    def _rendered(self, workspace: BandsWorkspace, params: VoiceParams) -> SpeechFrames:
        """F0 of all frames; envelope and aperiodicity of as many of the last ones as a workspace is for."""
        count = len(workspace.log_amplitude)
        power, aperiodicity = self.frames.power[-count:], self.frames.aperiodicity[-count:]
        frames = SpeechFrames(self.frames.f0_hz, power, aperiodicity)
        frames_into(self._bands.receive()[0, -count:], self._level_scratch[-count:], workspace, frames)
        if params.formant_semitones:
            ratio, warped = self._ratio_scratch[-count:], self._warped_scratch[-count:]
            ratio[:] = 2.0 ** (params.formant_semitones / 12.0)
            warp_envelope_into(power, ratio, self._log_scratch[-count:], warped)
            frames.power = warped
        return frames
