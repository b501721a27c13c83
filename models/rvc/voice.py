"""An RVC voice over audio of any length.

The stream is cut into windows of about 20 s with context. Phase, noise and F0 belong to absolute frames, so two
windows render their common edge alike and 20 ms of crossfade joins them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.errors import ParameterError, VoiceError
from ...kernels.f0_world import world_f0
from ...kernels.fades import fade_in_curve
from ...kernels.level import rms_mix
from ...kernels.salience import coarse_pitch
from ...kernels.types import AnyFloatArray
from .. import base_models
from ..checkpoint import VoiceCheckpoint
from ..pitch.tracker import CONTEXT_FRAMES, CORE_FRAMES, PitchState, window_f0
from ..resample import resampled
from ..retrieval import FeatureIndex, protect
from ..voice import VoiceKind, VoiceParams, rescaled_length
from ..windows import Window, overlapping_windows
from .content import FIELD, SAMPLE_RATE, Hubert
from .decoder import DECODER_REACH
from .prior import FLOW_REACH
from .render import cycles, latent, render

HOP = 160
EDGE_FRAMES = 8  # rendered beyond the core on both sides: loudness windows, resampler edges and the crossfade
CROSSFADE_FRAMES = 2
CONTENT_CONTEXT_FRAMES = 100

F0Tracker = Callable[[Window], NDArray[np.float32]]


@dataclass(slots=True)
class RenderState:
    """What is carried from window to window.

    Attributes:
        phase: Source phase in cycles before the first frame of the next core.
        f0_mem: Source F0 in Hz of the frames just before it.
        tail_mem: The previous window's rendering of the next core's start.
    """

    phase: float = 0.0
    f0_mem: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    tail_mem: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))


class RvcVoice:
    """A user's voice, with its retrieval index if it has one.

    Attributes:
        core_frames: 10 ms frames that a window adds to the output; a multiple of 32.
        context_frames: Frames around them that the pitch network sees; a multiple of 32.
    """

    core_frames = CORE_FRAMES
    context_frames = CONTEXT_FRAMES

    def __init__(
        self, name: str, checkpoint: VoiceCheckpoint, index: FeatureIndex | None, device: torch.device, path: Path
    ) -> None:
        self._name = name
        self.path = path
        self.device = device
        self.version = checkpoint.version
        self.index = index.to(device) if index is not None else None
        self.synthesizer = checkpoint.synthesizer().to(device)
        self._content: Hubert | None = None

    @property
    def name(self) -> str:
        """How the user calls it."""
        return self._name

    @property
    def kind(self) -> VoiceKind:
        """Always "rvc"."""
        return "rvc"

    @property
    def sample_rate(self) -> int:
        """The generator's rate in Hz."""
        return self.synthesizer.shape.sample_rate

    @property
    def description(self) -> str:
        """One line for lists."""
        parts = [f"RVC {self.version}", "with pitch" if self.synthesizer.has_f0 else "without pitch"]
        parts += ["index"] if self.index is not None else []
        return ", ".join(parts)

    def output_rate(self, input_rate: int) -> int:
        """The generator's rate, whatever comes in."""
        return self.sample_rate

    def check_speaker(self, params: VoiceParams) -> None:
        """Raises ParameterError when the voice has no such speaker."""
        if params.speaker >= self.synthesizer.speakers:
            raise ParameterError(
                f"speaker is {params.speaker:.0f}; {self.name} has {self.synthesizer.speakers}, counted from 0"
            )

    def content_encoder(self) -> Hubert:
        """The content encoder on the voice's device, fetched if it is missing.

        Raises:
            BaseModelError: it cannot be had.
            VoiceError: it is not the one that the voice needs.
        """
        if self._content is not None:
            return self._content
        content = base_models.content_encoder(base_models.CONTENT_ENCODER.fetch(), self.device)
        if self.version == "v1" and not content.has_projection:
            raise VoiceError(
                f"{self.name} is a v1 voice and needs a content encoder with final_proj; use hubert_base.pt"
            )
        self._content = content
        return content

    @torch.inference_mode()
    def convert(
        self, blocks: Iterable[AnyFloatArray], sample_rate: int, params: VoiceParams
    ) -> Iterator[AnyFloatArray]:
        """See `Voice.convert`.

        Raises:
            ParameterError: the voice has no such speaker.
            BaseModelError: the content encoder cannot be had, or the full-size pitch network where it is asked for.
        """
        self.check_speaker(params)
        content = self.content_encoder()
        track = self._f0_tracker(params.f0_method) if self.synthesizer.has_f0 else None
        state = RenderState()
        total_in = written = 0

        def counted() -> Iterator[AnyFloatArray]:
            nonlocal total_in
            for block in blocks:
                total_in += len(block)
                yield block

        stream = resampled(counted(), sample_rate, SAMPLE_RATE)
        for window in overlapping_windows(stream, self.core_frames * HOP, self.context_frames * HOP):
            rendered = self._render(window, content, track, params, state)
            if window.is_last:
                rendered = rendered[: rescaled_length(total_in, sample_rate, self.sample_rate) - written]
            written += len(rendered)
            yield rendered
        rest = rescaled_length(total_in, sample_rate, self.sample_rate) - written
        if rest:  # less input than one sample at 16 kHz
            yield np.zeros(rest, dtype=np.float32)

    def _f0_tracker(self, method: str) -> F0Tracker:
        model = base_models.f0_network(method, self.device)
        if model is not None:
            state = PitchState.allocate(model)
            return lambda window: window_f0(model, window, state)

        def track(window: Window) -> NDArray[np.float32]:
            return world_f0(window.samples, SAMPLE_RATE, method)[(window.core_start - window.start) // HOP :]

        return track

    def _render(
        self, window: Window, content: Hubert, track: F0Tracker | None, params: VoiceParams, state: RenderState
    ) -> NDArray[np.float32]:
        """The core of a window, joined to the one before."""
        core_start = window.core_start // HOP
        core_frames = -(-(window.core_end - window.core_start) // HOP)
        first = core_start - min(CONTENT_CONTEXT_FRAMES, (window.core_start - window.start) // HOP)
        audio = window.samples[(first - window.start // HOP) * HOP :]
        right = 0 if window.is_last else CONTENT_CONTEXT_FRAMES
        frames = core_start + core_frames + right - first
        f0 = np.zeros(frames, dtype=np.float32)
        if track is not None:
            ahead = track(window)[: core_frames + right] * np.float32(2.0 ** (params.pitch_semitones / 12.0))
            behind = state.f0_mem[max(len(state.f0_mem) - (core_start - first), 0) :]
            f0[: core_start - first][len(f0[: core_start - first]) - len(behind) :] = behind
            f0[core_start - first :][: len(ahead)] = ahead

        lead = min(EDGE_FRAMES, core_start - first)
        tail = 0 if window.is_last else EDGE_FRAMES
        span = _Span(first, core_start - first - lead, lead + core_frames + tail)
        audio = audio[: frames * HOP]
        phone = self._phone(content, audio, frames, f0, params)
        wav = self._synthesize(phone, f0, span, state.phase - cycles(f0[span.skip : core_start - first]), params)
        source = np.pad(audio[span.skip * HOP :], (0, span.frames * HOP))[: span.frames * HOP]
        per_frame = self.synthesizer.shape.samples_per_frame
        if params.rms_mix < 1.0:
            wav = rms_mix(source, wav, per_frame, params.rms_mix, hop_in=HOP)

        joined = wav[lead * per_frame :]
        fade_length = min(len(state.tail_mem), len(joined))
        if fade_length:
            fade = fade_in_curve(fade_length)
            joined[:fade_length] = joined[:fade_length] * fade + state.tail_mem[:fade_length] * (1.0 - fade)
        core_samples = core_frames * per_frame
        state.tail_mem = joined[core_samples : core_samples + CROSSFADE_FRAMES * per_frame].copy()
        end = core_start - first + core_frames
        state.phase = (state.phase + cycles(f0[core_start - first : end])) % 1.0
        state.f0_mem = f0[max(end - CONTENT_CONTEXT_FRAMES, 0) : end].copy()
        return joined[:core_samples]

    def _phone(
        self, content: Hubert, audio: AnyFloatArray, frames: int, f0: NDArray[np.float32], params: VoiceParams
    ) -> Tensor:
        """Content features `[1, frames, C]`, retrieved and protected."""
        shortage = max(FIELD - len(audio), 0)
        features = content.features(torch.from_numpy(np.pad(audio, (0, shortage))).to(self.device)[None], self.version)[
            0
        ]
        blended = self.index.blend(features, params.index_rate) if self.index is not None else features
        slots = (torch.arange(frames, device=self.device) // 2).clamp(max=len(features) - 1)
        phone = blended[slots]
        if self.index is not None and self.synthesizer.has_f0:
            phone = protect(phone, features[slots], torch.from_numpy(f0).to(self.device), params.protect)
        return phone[None]

    def _synthesize(
        self, phone: Tensor, f0: NDArray[np.float32], span: _Span, phase: float, params: VoiceParams
    ) -> NDArray[np.float32]:
        """Waveform of a span of frames; `phase` is the source's before its first frame."""
        net, pitch = self.synthesizer, None
        if net.has_f0:
            coarse = coarse_pitch(f0 / np.float32(2.0 ** (params.formant_semitones / 12.0)))
            pitch = torch.from_numpy(coarse).to(self.device)[None]
        g = net.emb_g(torch.tensor([int(params.speaker)], device=self.device))[..., None]
        lead_in = min(span.skip, FLOW_REACH + DECODER_REACH)
        m, logs = net.enc_p(phone, pitch, span.skip - lead_in)
        z = latent(net, m, logs, g, span.first + span.skip - lead_in, params.seed)[..., lead_in : lead_in + span.frames]
        rendered_f0 = f0[span.skip : span.skip + span.frames]
        start = span.first + span.skip
        return render(net, z, g, rendered_f0, start, phase, params.formant_semitones, params.seed)


@dataclass(frozen=True, slots=True)
class _Span:
    """Frames to render: `frames` of them from `skip` on, in a window whose first frame is `first` of the stream."""

    first: int
    skip: int
    frames: int
