"""RVC's real-time loop as its users know it, around `reference_step`: gate, resampling, loudness and SOLA.

altervox keeps it as the baseline that its own engine is compared with; it takes RVC voices only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....kernels.level import gate_block, rms_mix
from ....kernels.limits import GATE_OFF_DB
from ....kernels.sola import SolaState, sola_join
from ....models.base_models import pitch_network
from ....models.pitch.mel import HOP, SAMPLE_RATE
from ....models.pitch.rmvpe import RMVPE
from ....models.published import PITCH_NETWORK
from ....models.rvc.content import Hubert
from ....models.rvc.prior import HIDDEN
from ....models.rvc.synthesizer import latent_frames
from ....models.rvc.voice import RvcVoice
from ....models.sinc_resample import sinc_resample
from ....models.voice import VoiceParams
from ....realtime.config import FRAME_MS, check_lengths
from .step import ReferenceGeometry, ReferenceState, reference_step

SEARCH_FRAMES = 1
_GATE_FRAMES = 4  # over which the gate measures a level


@dataclass(frozen=True, slots=True)
class ReferenceConfig:
    """Lengths, all multiples of 10 ms, at the defaults of RVC.

    Attributes:
        sample_rate: Rate of input and output in Hz, a multiple of 100.
        block_ms: Audio per call of `ReferenceLoop.process`.
        context_ms: Past audio in front of what is rendered.
        crossfade_ms: Over which blocks are joined; of more than 40 ms the rest is context on the right.
        gate_db: Threshold of RVC's own gate.

    Raises:
        ParameterError: a length is out of its range or off its grid.
    """

    sample_rate: int = 48000
    block_ms: int = 250
    context_ms: int = 2500
    crossfade_ms: int = 50
    gate_db: float = GATE_OFF_DB

    LIMITS: ClassVar[dict[str, tuple[int, int, int]]] = {  # least, greatest, grid
        "sample_rate": (8000, 192000, 100),
        "block_ms": (10, 2000, 10),
        "context_ms": (20, 7000, 10),  # the pitch cache holds 10 s, context, block and crossfade together
        "crossfade_ms": (10, 200, 10),
    }

    def __post_init__(self) -> None:
        check_lengths({name: getattr(self, name) for name in self.LIMITS}, self.LIMITS)

    @property
    def geometry(self) -> ReferenceGeometry:
        """The same in frames."""
        return ReferenceGeometry(
            extra=self.context_ms // FRAME_MS,
            crossfade=self.crossfade_ms // FRAME_MS,
            search=SEARCH_FRAMES,
            block=self.block_ms // FRAME_MS,
        )


@dataclass(slots=True)
class ReferenceLoopState:
    """All that is carried from block to block.

    Attributes:
        audio_mem: The newest input, gated [window at the device's rate].
        audio_16k_mem: The window at 16 kHz, on the voice's device [window].
        ungated_mem: The newest input before the gate [40 ms].
        pitch: Pitch caches.
        sola: Samples after the last block that was given out.
        noise: Source of the voice's noise.
    """

    audio_mem: NDArray[np.float32]
    audio_16k_mem: Tensor
    ungated_mem: NDArray[np.float32]
    pitch: ReferenceState
    sola: SolaState
    noise: torch.Generator


class ReferenceLoop:
    """Converts a stream of mono audio block by block, as RVC does: nothing but pitch is carried by the voice.

    Attributes:
        params: Parameters of the voice; read once per block. `f0_method` and `protect` have no part in it, and `seed`
            counts from the next `reset` on.

    Args:
        voice: The voice.
        content: Content encoder, on the voice's device.
        rmvpe: Pitch network, on the voice's device; None for a voice without F0.
        config: Lengths.
        params: The first parameters.
    """

    def __init__(
        self, voice: RvcVoice, content: Hubert, rmvpe: RMVPE | None, config: ReferenceConfig, params: VoiceParams
    ) -> None:
        self.voice, self.content, self.rmvpe = voice, content, rmvpe
        self.config, self.params = config, params
        self.geometry = config.geometry
        self.sample_rate = config.sample_rate
        self._hop = hop = config.sample_rate // 100
        self._gate_db = config.gate_db
        self.block_size = self.geometry.block * hop
        overlap = self.geometry.rendered - self.geometry.search - self.geometry.block
        self.state = ReferenceLoopState(
            audio_mem=np.zeros(self.geometry.window * hop, dtype=np.float32),
            audio_16k_mem=torch.zeros(self.geometry.window * HOP, device=voice.device),
            ungated_mem=np.zeros(_GATE_FRAMES * hop, dtype=np.float32),
            pitch=ReferenceState.allocate(),
            sola=SolaState.allocate(overlap * hop),
            noise=torch.Generator(voice.device).manual_seed(params.seed),
        )

    @property
    def latency_samples(self) -> int:
        """How much later than the input the output is; each block is within half the search, 5 ms, of it."""
        return self.geometry.crossfade * self._hop + self.geometry.search * self._hop // 2

    def reset(self) -> None:
        """Return to the start of a stream, in place."""
        state = self.state
        state.audio_mem[:] = 0.0
        state.audio_16k_mem.zero_()
        state.ungated_mem[:] = 0.0
        state.pitch.reset()
        state.sola.reset()
        state.noise.manual_seed(self.params.seed)

    def process(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Convert the next block.

        Args:
            block: Mono [block_size].
            out: Filled [block_size].

        Raises:
            ValueError: a length is not `block_size`.
        """
        if len(block) != self.block_size or len(out) != self.block_size:
            raise ValueError(f"blocks of {len(block)} and {len(out)} samples; this loop takes {self.block_size}")
        params, state, geometry, hop = self.params, self.state, self.geometry, self._hop
        self._take_in(block, self._gate_db)
        latent_noise, source_noise = self._noise()
        rendered = reference_step(
            state.audio_16k_mem,
            geometry,
            state.pitch,
            self.content,
            self.rmvpe,
            self.voice.synthesizer,
            latent_noise,
            source_noise,
            speaker=int(params.speaker),
            pitch_semitones=params.pitch_semitones,
            formant_semitones=params.formant_semitones,
            index=self.voice.index,
            index_rate=params.index_rate,
        )
        wav = _resampled(rendered, self.voice.sample_rate, self.sample_rate).float().cpu().numpy()
        if params.rms_mix < 1.0:
            wav = rms_mix(state.audio_mem[geometry.extra * hop :], wav, hop, params.rms_mix)
        out[:], _ = sola_join(wav, self.block_size, geometry.search * hop, state.sola)

    def _take_in(self, block: NDArray[np.float32], gate_db: float) -> None:
        """Advance the windows; the gate and the resampler rewrite a little of what was there before."""
        state, hop = self.state, self._hop
        gated, state.ungated_mem = gate_block(state.ungated_mem, block, hop, gate_db)
        newest = gated if gate_db > GATE_OFF_DB else block
        state.audio_mem[: -len(block)] = state.audio_mem[len(block) :].copy()
        state.audio_mem[-len(newest) :] = newest
        # Two more frames: the first leans on the silence before it and is dropped, the second lacked, when it was the
        # newest, what followed it.
        recent = torch.from_numpy(state.audio_mem[-len(newest) - 2 * hop :]).to(state.audio_16k_mem)
        rewritten = _resampled(recent, self.sample_rate, SAMPLE_RATE)[HOP:]
        shift = self.geometry.block * HOP
        state.audio_16k_mem[:-shift] = state.audio_16k_mem[shift:].clone()
        state.audio_16k_mem[-len(rewritten) :] = rewritten

    def _noise(self) -> tuple[Tensor, Tensor]:
        """Standard normal noise for one step: latent `[1, 192, frames]` and source `[1, samples, 1]`."""
        frames = latent_frames(self.geometry.window, self.geometry.extra)
        samples = self.geometry.rendered * self.voice.synthesizer.shape.samples_per_frame
        source = self.state.noise
        return (
            torch.randn(1, HIDDEN, frames, generator=source, device=source.device),
            torch.randn(1, samples, 1, generator=source, device=source.device),
        )


def reference_loop(voice: RvcVoice, config: ReferenceConfig, params: VoiceParams) -> ReferenceLoop:
    """The loop of a voice with the base models that it needs.

    Raises:
        BaseModelError: they cannot be obtained.
    """
    content = voice.content_encoder()
    rmvpe = None
    if voice.synthesizer.has_f0:
        rmvpe = pitch_network(PITCH_NETWORK.fetch(), voice.device)
    return ReferenceLoop(voice, content, rmvpe, config, params)


def _resampled(audio: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """`sinc_resample`, but equal rates need no filter."""
    return audio if from_rate == to_rate else sinc_resample(audio, from_rate, to_rate)
