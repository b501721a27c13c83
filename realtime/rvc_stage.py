"""RVC voices block by block: content features and pitch of a sliding window, rendered with carried phase.

F0, prior and phase of a frame are committed once and never revised. What lies beyond is provisional: it is the right
context of the flow and the decoder, and the crossfade into the next block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..kernels.crossfade import CrossfadeState, crossfade_into
from ..kernels.errors import ParameterError
from ..kernels.level import rms_mix
from ..kernels.pitch import coarse_pitch
from ..models.hubert import Hubert
from ..models.mel import HOP, SAMPLE_RATE
from ..models.prior import FLOW_REACH, HIDDEN
from ..models.render import cycles, latent, render
from ..models.retrieval import protect
from ..models.rmvpe import RMVPE
from ..models.rvc_voice import RvcVoice
from ..models.voice import VoiceParams
from .config import FRAME_MS, StreamConfig
from .pitch import MEL_WAIT_FRAMES, PitchStreamState, StreamingRMVPE

CONTENT_WAIT_FRAMES = 2  # the newest two frames have no content feature: its field of 400 samples is not complete
DECODER_LEAD_FRAMES = 9  # leave a relative error of 1e-5
LEAD_FRAMES = FLOW_REACH + DECODER_LEAD_FRAMES
MAX_PITCH_RIGHT_FRAMES = 2


@dataclass(slots=True)
class RvcState:
    """What is carried.

    Attributes:
        audio_mem: The newest audio at 16 kHz, as long as the window.
        pitch: Of the pitch network; None for a voice without F0.
        f0_mem: F0 in Hz before the pitch shift of the newest frames, as long as the window [frames].
        m_mem: Prior mean of the last committed frames `[1, 192, LEAD_FRAMES]`.
        logs_mem: Prior log deviation of these.
        shifted_mem: F0 in Hz of the source over these, after the shift [LEAD_FRAMES].
        phase: Of the source in cycles before the next frame.
        crossfade: Provisional rendering of the next frames, to fade from.
        frames_in: Frames taken in since the start.
    """

    audio_mem: NDArray[np.float32]
    pitch: PitchStreamState | None
    f0_mem: NDArray[np.float32]
    m_mem: Tensor
    logs_mem: Tensor
    shifted_mem: NDArray[np.float32]
    phase: float
    crossfade: CrossfadeState
    frames_in: int

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.crossfade.reset()
        for array in (self.audio_mem, self.f0_mem, self.shifted_mem):
            array[:] = 0.0
        for tensor in (self.m_mem, self.logs_mem):
            tensor.zero_()
        if self.pitch is not None:
            self.pitch.reset()
        self.phase, self.frames_in = 0.0, 0


class RvcStage:
    """An RVC voice as a stage. Delay: the look-ahead of the config.

    Args:
        voice: The voice.
        content: Content encoder, on the voice's device.
        rmvpe: Pitch network, on the voice's device; not needed for a voice without F0.
        config: Lengths.
    """

    input_rate = SAMPLE_RATE

    def __init__(self, voice: RvcVoice, content: Hubert, rmvpe: RMVPE | None, config: StreamConfig) -> None:
        net, device = voice.synthesizer, voice.device
        self.voice, self.content = voice, content
        self.block = config.block_frames
        self.lookahead = config.lookahead_ms // FRAME_MS
        self.crossfade = config.crossfade_ms // FRAME_MS
        window = config.context_ms // FRAME_MS + self.block + self.lookahead
        self.window = window + window % 2  # content slots lie on a grid of two frames
        per_frame = net.shape.samples_per_frame
        self.output_rate = net.shape.sample_rate
        self.latency_samples = self.lookahead * per_frame
        self.tracker: StreamingRMVPE | None = None
        if net.has_f0:
            if rmvpe is None:
                raise ParameterError(f"{voice.name} needs a pitch network")
            right = min(self.lookahead - MEL_WAIT_FRAMES, MAX_PITCH_RIGHT_FRAMES)
            self.tracker = StreamingRMVPE(rmvpe, self.block, right)
        self.state = RvcState(
            audio_mem=np.zeros(self.window * HOP, dtype=np.float32),
            pitch=self.tracker.state if self.tracker else None,
            f0_mem=np.zeros(self.window, dtype=np.float32),
            m_mem=torch.zeros(1, HIDDEN, LEAD_FRAMES, device=device),
            logs_mem=torch.zeros(1, HIDDEN, LEAD_FRAMES, device=device),
            shifted_mem=np.zeros(LEAD_FRAMES, dtype=np.float32),
            phase=0.0,
            crossfade=CrossfadeState.allocate(self.crossfade * per_frame),
            frames_in=0,
        )

    def reset(self) -> None:
        """See `VoiceStage.reset`."""
        self.state.reset()

    @torch.inference_mode()
    def process(self, block: NDArray[np.float32], params: VoiceParams, out: NDArray[np.float32]) -> None:
        """See `VoiceStage.process`."""
        state = self.state
        _shift_in(state.audio_mem, block)
        state.frames_in += self.block
        self._track(block)
        # Committed now. At first these frames lie before the stream: they are rendered like any other, so that all
        # shapes stay the same from the first block on, and muted.
        start = state.frames_in - self.lookahead - self.block
        m, logs, f0 = self._prior(start, params)
        wav = self._render(m, logs, f0, start, params)
        if start < 0:
            wav[: -start * self.voice.synthesizer.shape.samples_per_frame] = 0.0
        crossfade_into(wav, state.crossfade, out)

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
        first = state.frames_in - self.window
        window = state.audio_mem
        if first < 0:  # less past than the window holds: what there is, mirrored, never silence
            window = np.pad(window[-first * HOP :], (-first * HOP, 0), mode="reflect")
        features = self.content.features(torch.from_numpy(window).to(voice.device)[None], voice.version)[0]
        known = self.window - CONTENT_WAIT_FRAMES
        slots = (torch.arange(known, device=voice.device) // 2).clamp(max=len(features) - 1)
        f0 = state.f0_mem[:known] * np.float32(2.0 ** (params.pitch_semitones / 12.0))
        phone, pitch = features[slots], None
        if voice.index is not None and params.index_rate > 0.0:
            phone = voice.index.blend(features, params.index_rate)[slots]
            if net.has_f0:
                phone = protect(phone, features[slots], torch.from_numpy(f0).to(voice.device), params.protect)
        if net.has_f0:
            coarse = coarse_pitch(f0 / np.float32(2.0 ** (params.formant_semitones / 12.0)))
            pitch = torch.from_numpy(coarse).to(voice.device)[None]
        m, logs = net.enc_p(phone[None], pitch, start - first)
        return m, logs, f0[start - first :]

    def _render(
        self, m: Tensor, logs: Tensor, f0: NDArray[np.float32], start: int, params: VoiceParams
    ) -> NDArray[np.float32]:
        """The block from frame `start` on and the crossfade after it; commits what the block was made of."""
        state, net, block = self.state, self.voice.synthesizer, self.block
        g = net.emb_g(torch.tensor([int(params.speaker)], device=m.device))[..., None]
        m = torch.cat((state.m_mem, m), dim=2)
        logs = torch.cat((state.logs_mem, logs), dim=2)
        f0 = np.concatenate((state.shifted_mem, f0))
        state.m_mem.copy_(m[..., block : block + LEAD_FRAMES])
        state.logs_mem.copy_(logs[..., block : block + LEAD_FRAMES])
        state.shifted_mem[:] = f0[block : block + LEAD_FRAMES]

        z = latent(net, m, logs, g, start - LEAD_FRAMES, params.seed)[..., FLOW_REACH:]
        phase = state.phase - cycles(f0[FLOW_REACH:LEAD_FRAMES])
        state.phase = (state.phase + cycles(f0[LEAD_FRAMES : LEAD_FRAMES + block])) % 1.0
        f0, first = np.ascontiguousarray(f0[FLOW_REACH:]), start - DECODER_LEAD_FRAMES
        wav = render(net, z, g, f0, first, phase, params.formant_semitones, params.seed)
        per_frame = net.shape.samples_per_frame
        if params.rms_mix < 1.0:
            audio = state.audio_mem[len(state.audio_mem) - (state.frames_in - first) * HOP :]
            wav = rms_mix(audio, wav, per_frame, params.rms_mix, hop_in=HOP)
        return wav[DECODER_LEAD_FRAMES * per_frame :][: (block + self.crossfade) * per_frame]


def _shift_in(memory: NDArray[np.float32], block: NDArray[np.float32]) -> None:
    memory[: -len(block)] = memory[len(block) :]
    memory[-len(block) :] = block
