"""RVC voices block by block: content features and pitch of a sliding window, rendered with carried phase.

F0, prior and phase of a frame are committed once and never revised. What lies beyond is provisional: it is the right
context of the flow and the decoder, and the crossfade into the next block.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.crossfade import CrossfadeState, crossfade_into
from ...kernels.level import rms_mix
from ...kernels.salience import coarse_pitch
from ...models.pitch.mel import HOP, SAMPLE_RATE
from ...models.pitch.rmvpe import RMVPE
from ...models.retrieval import protect
from ...models.rvc.content import ContentStep, Hubert
from ...models.rvc.prior import PriorStep
from ...models.rvc.voice import RvcVoice
from ...models.voice import VoiceParams
from ..config import FRAME_MS, StreamConfig
from ..runners import make_runner
from ..runners.precision import precision_for
from .pitch import MEL_WAIT_FRAMES, PitchStreamState, StreamingRMVPE, streaming_pitch
from .waveform import GeneratorState, StreamingGenerator

CONTENT_WAIT_FRAMES = 2  # the newest two frames have no content feature: its field of 400 samples is not complete
MAX_PITCH_RIGHT_FRAMES = 2
_LEVEL_REACH_FRAMES = 2  # loudness is taken over 40 ms around each frame
_LEVEL_LEAD_FRAMES = _LEVEL_REACH_FRAMES + 1  # the gain of the first sample lies between two frames


@dataclass(slots=True)
class RvcState:
    """What is carried.

    Attributes:
        audio_mem: The newest audio at 16 kHz, as long as the window.
        pitch: Of the pitch network; None for a voice without F0.
        f0_mem: F0 in Hz before the pitch shift of the newest frames, as long as the window [frames].
        generator: Of flow, decoder and source.
        wav_mem: Samples before the block, before loudness was matched.
        crossfade: Provisional rendering of the next frames, to fade from.
        frames_in: Frames taken in since the start.
    """

    audio_mem: NDArray[np.float32]
    pitch: PitchStreamState | None
    f0_mem: NDArray[np.float32]
    generator: GeneratorState
    wav_mem: NDArray[np.float32]
    crossfade: CrossfadeState
    frames_in: int

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.crossfade.reset()
        self.generator.reset()
        for array in (self.audio_mem, self.f0_mem, self.wav_mem):
            array[:] = 0.0
        if self.pitch is not None:
            self.pitch.reset()
        self.frames_in = 0


class RvcStage:
    """An RVC voice as a stage. Delay: the look-ahead of the config.

    Args:
        voice: The voice.
        content: Content encoder, on the voice's device.
        rmvpe: Pitch network, on the voice's device; None for the small one that ships. A voice without F0 needs none.
        config: Lengths.
    """

    input_rate = SAMPLE_RATE

    speaker = None  # the pitch shift is fixed

    def __init__(self, voice: RvcVoice, content: Hubert, rmvpe: RMVPE | None, config: StreamConfig) -> None:
        net = voice.synthesizer
        self.voice = voice
        self.block = config.block_frames
        self.lookahead = config.lookahead_ms // FRAME_MS
        self.crossfade = config.crossfade_ms // FRAME_MS
        window = config.context_ms // FRAME_MS + self.block + self.lookahead
        self.window = window + window % 2  # content slots lie on a grid of two frames
        per_frame = net.shape.samples_per_frame
        self.output_rate = net.shape.sample_rate
        self.latency_samples = self.lookahead * per_frame
        # What is exported for ONNX Runtime is the pitch network alone.
        backend = config.backend if config.backend in ("eager", "cuda-graph") else "auto"
        encoder = ContentStep(in_precision(content, config.precision), voice.version, self.window * HOP)
        self.content = make_runner(encoder.spec, encoder, backend)
        rendered = self.block + self.lookahead - CONTENT_WAIT_FRAMES
        known = self.window - CONTENT_WAIT_FRAMES
        prior = PriorStep(net.enc_p, known, known - rendered)
        self.prior = make_runner(prior.spec, prior, backend)
        features = self.content.outputs["features"].shape[1]
        self._slots = (torch.arange(known, device=voice.device) // 2).clamp(max=features - 1)
        # The content encoder and the pitch network have nothing to do with one another.
        self._content_stream: torch.cuda.Stream | None = None
        if voice.device.type == "cuda":
            self._content_stream = torch.cuda.Stream(voice.device)  # type: ignore[no-untyped-call]
        self.tracker: StreamingRMVPE | None = None
        if net.has_f0:
            right = min(self.lookahead - MEL_WAIT_FRAMES, MAX_PITCH_RIGHT_FRAMES)
            self.tracker = streaming_pitch(rmvpe, self.block, right, voice.device, config.backend)
        right, tail = rendered - self.block, self.crossfade + _LEVEL_REACH_FRAMES
        self.generator = StreamingGenerator(net, self.block, right, tail, backend)
        self.state = RvcState(
            audio_mem=np.zeros(self.window * HOP, dtype=np.float32),
            pitch=self.tracker.state if self.tracker else None,
            f0_mem=np.zeros(self.window, dtype=np.float32),
            generator=self.generator.state,
            wav_mem=np.zeros(_LEVEL_LEAD_FRAMES * per_frame, dtype=np.float32),
            crossfade=CrossfadeState.allocate(self.crossfade * per_frame),
            frames_in=0,
        )

    @property
    def f0_hz(self) -> float:
        """See `VoiceStage`."""
        return float(self.state.f0_mem[-1])

    def reset(self) -> None:
        """See `VoiceStage.reset`."""
        self.state.reset()

    @torch.inference_mode()
    def process(self, block: NDArray[np.float32], params: VoiceParams, out: NDArray[np.float32]) -> None:
        """See `VoiceStage.process`."""
        state, per_frame = self.state, self.voice.synthesizer.shape.samples_per_frame
        self._take(block)
        with self._beside():
            self._encode()
        self._track(block)
        # Committed now. At first these frames lie before the stream: they are rendered like any other, so that all
        # shapes stay the same from the first block on, and muted.
        start = state.frames_in - self.lookahead - self.block
        m, logs, f0 = self._prior(start, params)
        # A live stream does not end for a speaker that is not there: it takes the last one.
        speaker = min(int(params.speaker), self.voice.synthesizer.speakers - 1)
        g = self.voice.synthesizer.emb_g.weight[speaker][None, :, None]
        wav = self.generator.step(m, logs, f0, g, start, params.formant_semitones, params.seed)
        if start < 0:
            wav[: -start * per_frame] = 0.0
            if start + self.block <= 0:
                self.generator.state.forget_sound()
        wav = self._matched(wav, start, params.rms_mix)
        crossfade_into(wav[: (self.block + self.crossfade) * per_frame], state.crossfade, out)

    @torch.inference_mode()
    def advance(self, block: NDArray[np.float32], params: VoiceParams) -> None:
        """See `VoiceStage.advance`. The next rendered block begins like a file: flow and decoder know no past."""
        state = self.state
        self._take(block)
        self._track(block)
        newest = len(state.f0_mem) - self.lookahead
        self.generator.skip(_shifted(state.f0_mem[newest - self.block : newest], params))
        state.crossfade.reset()
        state.wav_mem[:] = 0.0

    def _take(self, block: NDArray[np.float32]) -> None:
        _shift_in(self.state.audio_mem, block)
        self.state.frames_in += self.block

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """On a GPU, work that what comes before does not wait for, and what comes after does only as it asks."""
        if self._content_stream is None:
            yield
            return
        self._content_stream.wait_stream(torch.cuda.current_stream(self.voice.device))
        with torch.cuda.stream(self._content_stream):
            yield

    def _encode(self) -> None:
        """Start on the content features of the window."""
        first, window = self.state.frames_in - self.window, self.state.audio_mem
        if first < 0:  # less past than the window holds: what there is, mirrored, never silence
            window = np.pad(window[-first * HOP :], (-first * HOP, 0), mode="reflect")
        self.content.inputs["audio"].copy_(torch.from_numpy(window)[None])
        self.content.run()

    def _track(self, block: NDArray[np.float32]) -> None:
        """Bring F0 up to the newest frame; frames that are not known yet hold the last one that is."""
        if self.tracker is None:
            return
        f0, known = self.state.f0_mem, self.tracker.push(block)
        ahead = self.tracker.latency_frames
        f0[: -self.block] = f0[self.block :].copy()
        f0[len(f0) - ahead - len(known) : len(f0) - ahead] = known
        f0[len(f0) - ahead :] = f0[len(f0) - ahead - 1]

    def _prior(self, start: int, params: VoiceParams) -> tuple[Tensor, Tensor, NDArray[np.float32]]:
        """Prior mean, log deviation and shifted F0 of the frames from `start` to the newest with a feature."""
        state, voice, net = self.state, self.voice, self.voice.synthesizer
        first, slots = state.frames_in - self.window, self._slots
        if self._content_stream is not None:
            torch.cuda.current_stream(voice.device).wait_stream(self._content_stream)
        features = self.content.outputs["features"][0]
        f0 = _shifted(state.f0_mem[: len(slots)], params)
        phone = features[slots]
        if voice.index is not None and params.index_rate > 0.0:
            phone = voice.index.blend(features, params.index_rate)[slots]
            if net.has_f0:
                phone = protect(phone, features[slots], torch.from_numpy(f0).to(voice.device), params.protect)
        if net.has_f0:
            coarse = coarse_pitch(f0 / np.float32(2.0 ** (params.formant_semitones / 12.0)))
            self.prior.inputs["pitch"].copy_(torch.from_numpy(coarse)[None])
        self.prior.inputs["phone"].copy_(phone[None])
        self.prior.run()
        return self.prior.outputs["m"], self.prior.outputs["logs"], f0[start - first :]

    def _matched(self, wav: NDArray[np.float32], start: int, mix: float) -> NDArray[np.float32]:
        """The rendering from frame `start` on, its loudness following the source's by `1 - mix`."""
        state, per_frame = self.state, self.voice.synthesizer.shape.samples_per_frame
        lead = len(state.wav_mem)
        wav = np.concatenate((state.wav_mem, wav))
        state.wav_mem[:] = wav[self.block * per_frame :][:lead]
        if mix < 1.0:
            first = state.frames_in - start + _LEVEL_LEAD_FRAMES
            wav = rms_mix(state.audio_mem[-first * HOP :], wav, per_frame, mix, hop_in=HOP)
        return wav[lead:]


@lru_cache(maxsize=1)  # the engine that a voice is swapped in with shares it
def in_precision(content: Hubert, precision: str) -> Hubert:
    """The content encoder itself, or a copy in half precision where that computes the same; see `StreamConfig`."""
    if precision == "float32":
        return content
    candidates = None if precision == "auto" else (getattr(torch, precision),)
    # A second at the level of speech. Noise drives the network harder than a voice does.
    trial = 0.05 * torch.randn(1, SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    dtype = precision_for(content, [trial.to(content.layer_norm.weight)], candidates=candidates)
    return content if dtype is torch.float32 else copy.deepcopy(content).to(dtype)


def _shifted(f0: NDArray[np.float32], params: VoiceParams) -> NDArray[np.float32]:
    return f0 * np.float32(2.0 ** (params.pitch_semitones / 12.0))


def _shift_in(memory: NDArray[np.float32], block: NDArray[np.float32]) -> None:
    memory[: -len(block)] = memory[len(block) :]
    memory[-len(block) :] = block
