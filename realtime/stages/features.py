"""A voice made of content features and F0, block by block: of a sliding window, rendered with carried phase.

F0, prior and phase of a frame are committed once and never revised. What lies beyond is provisional: it is the right
context of the flow and the decoder, and the crossfade into the next block.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.crossfade import CrossfadeState, crossfade_into
from ...kernels.rms_mix import rms_mix_into
from ...kernels.salience import coarse_pitch_into
from ...models.pitch.mel import HOP, SAMPLE_RATE
from ...models.retrieval import protect
from ...models.voice import Voice, VoiceParams
from ..config import FRAME_MS, StreamConfig
from ..runners import Runner
from .pitch import MEL_WAIT_FRAMES, PitchStreamState, StreamingRMVPE
from .retrieval import FoundState, Index
from .staging import Upload

CONTENT_WAIT_FRAMES = 2  # the newest two frames have no content feature: its field of 400 samples is not complete
MAX_PITCH_RIGHT_FRAMES = 2
_LEVEL_REACH_FRAMES = 2  # loudness is taken over 40 ms around each frame
_LEVEL_LEAD_FRAMES = _LEVEL_REACH_FRAMES + 1  # the gain of the first sample lies between two frames


@dataclass(slots=True)
class RvcState:
    """What is carried.

    Attributes:
        audio_mem: The newest audio at 16 kHz, as long as the window.
        pitch: State of the pitch network; None for a voice without F0.
        f0_mem: F0 in Hz before the pitch shift of the newest frames, as long as the window [frames].
        generator: State of flow, decoder and source.
        found: What retrieval found for the features of the window; None for a voice without an index.
        wav_mem: Samples before the block, before loudness was matched.
        crossfade: Provisional rendering of the next frames, to fade from.
        frames_in: Frames taken in since the start.
    """

    audio_mem: NDArray[np.float32]
    pitch: PitchStreamState | None
    f0_mem: NDArray[np.float32]
    generator: Any
    found: FoundState | None
    wav_mem: NDArray[np.float32]
    crossfade: CrossfadeState
    frames_in: int

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.crossfade.reset()
        self.generator.reset()
        for array in (self.audio_mem, self.f0_mem, self.wav_mem):
            array[:] = 0.0
        if self.found is not None:
            self.found.reset()
        if self.pitch is not None:
            self.pitch.reset()
        self.frames_in = 0


@dataclass(frozen=True, slots=True)
class RvcLengths:
    """What follows from the lengths of a config, in frames of 10 ms.

    Attributes:
        block: Frames of a block.
        lookahead: Frames after the block that are waited for.
        crossfade: Frames over which two blocks are joined.
        window: Frames that the content encoder sees.
        known: Frames of the window that have a content feature.
        rendered: Frames from the block's first on that have one.
        searched: Content features, the newest of the window, that these frames take: retrieval searches for them alone.
        pitch_right: Frames after the block that the pitch network sees.
        tail: Frames after the block that are rendered.
    """

    block: int
    lookahead: int
    crossfade: int
    window: int
    known: int
    rendered: int
    searched: int
    pitch_right: int
    tail: int

    @classmethod
    def of(cls, config: StreamConfig) -> RvcLengths:
        """The lengths of a config."""
        block, lookahead = config.block_frames, config.lookahead_ms // FRAME_MS
        window = config.context_ms // FRAME_MS + block + lookahead
        window += window % 2  # content slots lie on a grid of two frames
        crossfade, rendered = config.crossfade_ms // FRAME_MS, block + lookahead - CONTENT_WAIT_FRAMES
        known = window - CONTENT_WAIT_FRAMES
        return cls(
            block=block,
            lookahead=lookahead,
            crossfade=crossfade,
            window=window,
            known=known,
            rendered=rendered,
            searched=known // 2 - (known - rendered) // 2,
            pitch_right=min(lookahead - MEL_WAIT_FRAMES, MAX_PITCH_RIGHT_FRAMES),
            tail=min(crossfade + _LEVEL_REACH_FRAMES, rendered - block),
        )


class Generator(Protocol):
    """The waveform side of a voice, block by block."""

    @property
    def samples(self) -> int:
        """That each step renders: the block and the tail."""
        ...

    @property
    def state(self) -> Any:
        """What is carried: a dataclass with `reset` and `forget_sound`."""
        ...

    def step(
        self,
        m: Tensor,
        logs: Tensor,
        f0: NDArray[np.float32],
        speaker: int,
        start: int,
        formant_semitones: float,
        seed: int,
        out: NDArray[np.float32],
    ) -> None:
        """Render the next block; see `StreamingGenerator.step`."""
        ...

    def advance(self, f0: NDArray[np.float32]) -> None:
        """Pass over a block without rendering it, given F0 in Hz of the source over the block [frames]."""
        ...


@dataclass(frozen=True, slots=True)
class RvcNetworks:
    """The networks of a stage, whatever runs them.

    Attributes:
        content: Runs a `ContentStep`.
        prior: Runs a `PriorStep`.
        tracker: F0 of the stream; None for a voice without F0.
        generator: The waveform side.
        index: Feature retrieval; None for a voice without an index.
    """

    content: Runner
    prior: Runner
    tracker: StreamingRMVPE | None
    generator: Generator
    index: Index | None


class FeatureStage:
    """A voice made of content features and F0. Delay: the lookahead.

    Args:
        voice: The voice.
        lengths: Lengths of the stream.
        networks: Built for these lengths.
        lanes: Streams of the device.
    """

    input_rate = SAMPLE_RATE

    speaker = None  # the pitch shift is fixed

    def __init__(self, voice: Voice, lengths: RvcLengths, networks: RvcNetworks, lanes: Lanes) -> None:
        assert voice.sample_rate is not None
        self.voice: Voice = voice
        self.block, self.lookahead = lengths.block, lengths.lookahead
        self.crossfade, self.window, self._searched = lengths.crossfade, lengths.window, lengths.searched
        self.output_rate = voice.sample_rate
        self.per_frame = per_frame = voice.sample_rate * FRAME_MS // 1000
        self.latency_samples = self.lookahead * per_frame
        self.content, self.prior, self.tracker = networks.content, networks.prior, networks.tracker
        self.generator, self.index = networks.generator, networks.index
        self._lanes = lanes
        with lanes.own():
            features = self.content.outputs["features"]
            slots = torch.arange(lengths.known, device=features.device) // 2
            self._slots = slots.clamp(max=features.shape[1] - 1)
            self._audio = Upload(self.content.inputs["audio"])
            self._coarse = Upload(self.prior.inputs["pitch"]) if self.tracker else None
            self._f0 = Upload(torch.zeros(lengths.known, device=features.device))
            found = None
            if self.index is not None:
                found = FoundState(torch.zeros_like(features[0]), features.new_zeros(features.shape[1], 1))
        self._new_f0 = np.zeros(self.block, dtype=np.float32)
        lead = _LEVEL_LEAD_FRAMES * per_frame
        self._rendered, self._levelled = np.zeros((2, lead + self.generator.samples), dtype=np.float32)
        self._shifted_f0 = np.zeros(self.window, dtype=np.float32)
        self.state = RvcState(
            audio_mem=np.zeros(self.window * HOP, dtype=np.float32),
            pitch=self.tracker.state if self.tracker else None,
            f0_mem=np.zeros(self.window, dtype=np.float32),
            generator=self.generator.state,
            found=found,
            wav_mem=np.zeros(lead, dtype=np.float32),
            crossfade=CrossfadeState.allocate(self.crossfade * per_frame),
            frames_in=0,
        )

    @property
    def f0_hz(self) -> float:
        """See `VoiceStage`."""
        return float(self.state.f0_mem[-1])

    @property
    def output_f0_hz(self) -> float:
        """See `VoiceStage`."""
        return float(self._shifted_f0[len(self._slots) - 1])

    def reset(self) -> None:
        """See `VoiceStage.reset`."""
        with self._lanes.own():
            self.state.reset()

    @torch.inference_mode()
    def process(self, block: NDArray[np.float32], params: VoiceParams, out: NDArray[np.float32]) -> None:
        """See `VoiceStage.process`."""
        with self._lanes.own():
            self._process(block, params, out)

    @torch.inference_mode()
    def advance(self, block: NDArray[np.float32], params: VoiceParams) -> None:
        """See `VoiceStage.advance`. The next rendered block begins like a file: flow and decoder know no past."""
        state = self.state
        with self._lanes.own():
            self._take(block)
            self._track(block)
            if state.found is not None:
                state.found.move(self.block // 2)
            newest = len(state.f0_mem) - self.lookahead
            passed = self._shifted_f0[: self.block]
            np.multiply(state.f0_mem[newest - self.block : newest], _pitch_factor(params), out=passed)
            self.generator.advance(passed)
            state.crossfade.reset()
            state.wav_mem[:] = 0.0

    def _process(self, block: NDArray[np.float32], params: VoiceParams, out: NDArray[np.float32]) -> None:
        state, per_frame = self.state, self.per_frame
        self._take(block)
        with self._lanes.beside():
            self._encode()
        self._track(block)
        # Committed now. At first these frames lie before the stream: they are rendered like any other, so that all
        # shapes stay the same from the first block on, and muted.
        start = state.frames_in - self.lookahead - self.block
        m, logs, f0 = self._prior(start, params)
        # Parameters may be those of the voice that comes next, which has more speakers.
        speaker = min(params.speaker, self.voice.speakers - 1)
        wav = self._rendered[len(state.wav_mem) :]
        self.generator.step(m, logs, f0, speaker, start, params.formant_semitones, params.seed, wav)
        if start < 0:
            wav[: -start * per_frame] = 0.0
            if start + self.block <= 0:
                self.generator.state.forget_sound()
        wav = self._matched(start, params.rms_mix)
        crossfade_into(wav[: (self.block + self.crossfade) * per_frame], state.crossfade, out)

    def _take(self, block: NDArray[np.float32]) -> None:
        _shift_in(self.state.audio_mem, block)
        self.state.frames_in += self.block

    def _encode(self) -> None:
        """Start on the content features of the window."""
        first, audio = self.state.frames_in - self.window, self.state.audio_mem
        if first < 0:  # less past than the window holds: what there is, mirrored, never silence
            self._audio.array[0] = np.pad(audio[-first * HOP :], (-first * HOP, 0), mode="reflect")
        else:
            self._audio.array[0] = audio
        self._audio.send()
        self.content.run()

    def _track(self, block: NDArray[np.float32]) -> None:
        """Bring F0 up to the newest frame; frames that are not known yet hold the last one that is."""
        if self.tracker is None:
            return
        f0, known = self.state.f0_mem, self._new_f0[: self.tracker.push_into(block, self._new_f0)]
        ahead = self.tracker.latency_frames
        f0[: -self.block] = f0[self.block :]
        f0[len(f0) - ahead - len(known) : len(f0) - ahead] = known
        f0[len(f0) - ahead :] = f0[len(f0) - ahead - 1]

    def _prior(self, start: int, params: VoiceParams) -> tuple[Tensor, Tensor, NDArray[np.float32]]:
        """Prior mean, log deviation and shifted F0 of the frames from `start` to the newest with a feature."""
        state, index, slots = self.state, self.index, self._slots
        f0 = self._shifted_f0[: len(slots)]
        np.multiply(state.f0_mem[: len(slots)], _pitch_factor(params), out=f0)
        if self._coarse is not None:
            coarse_pitch_into(f0, 2.0 ** (-params.formant_semitones / 12.0), self._coarse.array[0])
            self._coarse.send()
        self._lanes.join()
        features = self.content.outputs["features"][0]
        phone = self.prior.inputs["phone"]
        if state.found is not None:
            state.found.move(self.block // 2)
        if index is None or state.found is None or params.index_rate == 0.0:
            torch.index_select(features, 0, slots, out=phone[0])
        else:
            blended = state.found.blended(index, features, params.index_rate, self._searched)[slots]
            if self._coarse is not None:
                self._f0.array[:] = f0
                self._f0.send()
                blended = protect(blended, features[slots], self._f0.target, params.protect)
            phone.copy_(blended[None])
        self.prior.run()
        return self.prior.outputs["m"], self.prior.outputs["logs"], f0[start - state.frames_in + self.window :]

    def _matched(self, start: int, mix: float) -> NDArray[np.float32]:
        """What was rendered from frame `start` on, its loudness following the source's by `1 - mix`."""
        state, wav, per_frame = self.state, self._rendered, self.per_frame
        lead = len(state.wav_mem)
        wav[:lead] = state.wav_mem
        state.wav_mem[:] = wav[self.block * per_frame :][:lead]
        if mix < 1.0:
            first = state.frames_in - start + _LEVEL_LEAD_FRAMES
            rms_mix_into(state.audio_mem[-first * HOP :], wav, per_frame, mix, HOP, self._levelled)
            wav = self._levelled
        return wav[lead:]


class Lanes:
    """Streams of one stage on an NVIDIA GPU; nothing elsewhere.

    Each stage works on streams of its own, whichever thread calls it: a voice that is being built does not hold up the
    one that sounds. The content encoder and the pitch network have nothing to do with one another, so the first has a
    stream beside the rest.
    """

    def __init__(self, device: torch.device) -> None:
        self._own: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._own = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._own.wait_stream(torch.cuda.current_stream(device))  # which may still be loading the weights

    def own(self) -> AbstractContextManager[None]:
        """What runs inside is queued on the stage's own stream."""
        return _NO_STREAM if self._own is None else torch.cuda.stream(self._own)

    def beside(self) -> AbstractContextManager[None]:
        """What runs inside waits for what the stage did before, and the stage goes on without it until `join`."""
        if self._own is None:
            return _NO_STREAM
        self._beside.wait_stream(self._own)
        return torch.cuda.stream(self._beside)

    def join(self) -> None:
        """Let what follows wait for what was started beside it."""
        if self._own is not None:
            self._own.wait_stream(self._beside)


_NO_STREAM = nullcontext()


def _pitch_factor(params: VoiceParams) -> np.float32:
    return np.float32(2.0 ** (params.pitch_semitones / 12.0))


def _shift_in(memory: NDArray[np.float32], block: NDArray[np.float32]) -> None:
    memory[: -len(block)] = memory[len(block) :]
    memory[-len(block) :] = block
