"""The real-time step of RVC as its users know it: whole-window inference per block, phase and noise drawn anew.

altervox keeps it as the baseline that its own streaming is measured against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ....kernels.salience import coarse_pitch, decode_salience, fill_unvoiced
from ....models.pitch.rmvpe import RMVPE
from ....models.retrieval import FeatureIndex
from ....models.rvc.content import Hubert
from ....models.rvc.synthesizer import Slice, Synthesizer
from ....models.sinc_resample import sinc_resample

FRAME_16K = 160
_CACHED_FRAMES = 1024
_PITCH_WINDOW = 5120  # 32 frames
_EDGE_FRAMES = (3, 1)  # dropped at the start and the end of a pitch window


@dataclass(frozen=True, slots=True)
class ReferenceGeometry:
    """Lengths in frames of 10 ms.

    Attributes:
        extra: Past audio in front of what is rendered.
        crossfade: Length of the crossfade.
        search: SOLA search range.
        block: Audio per step.
    """

    extra: int
    crossfade: int
    search: int
    block: int

    @property
    def window(self) -> int:
        """Frames that the networks see."""
        return self.extra + self.crossfade + self.search + self.block

    @property
    def rendered(self) -> int:
        """Frames that are rendered: block, search and at most 40 ms of crossfade."""
        return self.block + min(self.crossfade, 4) + self.search


@dataclass(slots=True)
class ReferenceState:
    """Pitch of the last 1024 frames.

    Attributes:
        coarse_cache: Pitch bins, 0 before the start.
        f0_cache: Hz.
    """

    coarse_cache: NDArray[np.int64]
    f0_cache: NDArray[np.float32]

    @classmethod
    def allocate(cls) -> ReferenceState:
        """State before the first step."""
        return cls(np.zeros(_CACHED_FRAMES, dtype=np.int64), np.zeros(_CACHED_FRAMES, dtype=np.float32))

    def reset(self) -> None:
        """Forget the past."""
        self.coarse_cache[:] = 0
        self.f0_cache[:] = 0.0

    def push(self, f0: NDArray[np.float32], frames: int) -> None:
        """Advance by `frames` and overwrite the newest entries with `f0`."""
        for cache, new in ((self.coarse_cache, coarse_pitch(f0)), (self.f0_cache, f0)):
            cache[:-frames] = cache[frames:].copy()
            cache[-len(new) :] = new


@torch.inference_mode()
def reference_step(
    window: Tensor,
    geometry: ReferenceGeometry,
    state: ReferenceState,
    content: Hubert,
    rmvpe: RMVPE | None,
    synthesizer: Synthesizer,
    latent_noise: Tensor,
    source_noise: Tensor,
    speaker: int = 0,
    pitch_semitones: float = 0.0,
    formant_semitones: float = 0.0,
    index: FeatureIndex | None = None,
    index_rate: float = 0.0,
) -> Tensor:
    """Render the newest frames of a window, before loudness and SOLA.

    Args:
        window: Audio at 16 kHz `[geometry.window * 160]`.
        geometry: Lengths.
        state: Changed in place.
        content: Content encoder.
        rmvpe: Pitch network; not needed for a voice without F0.
        synthesizer: Generator.
        latent_noise: Standard normal `[1, 192, frames]`, see `latent_frames`.
        source_noise: Standard normal `[1, rendered * samples_per_frame, 1]`.
        speaker: Number.
        pitch_semitones: Pitch shift.
        formant_semitones: Formant shift.
        index: Retrieval index.
        index_rate: Proportion of retrieved features.

    Returns:
        `[geometry.rendered * samples_per_frame]` at the generator's rate.
    """
    frames, rendered = geometry.window, geometry.rendered
    version = "v1" if synthesizer.feature_width == 256 else "v2"
    features = content.features(window[None], version)
    features = torch.cat((features, features[:, -1:]), dim=1)
    if index is not None:
        head = geometry.extra // 2
        features[0, head:] = index.blend(features[0, head:], index_rate)
    phone = features.repeat_interleave(2, dim=1)[:, :frames]

    stretched = math.ceil(rendered * 2.0 ** (formant_semitones / 12.0))
    coarse = f0 = None
    if synthesizer.has_f0:
        assert rmvpe is not None
        shift = 2.0 ** ((pitch_semitones - formant_semitones) / 12.0)
        track = _pitch(window, geometry.block, rmvpe) * np.float32(shift)
        state.push(track, geometry.block)
        coarse = torch.from_numpy(state.coarse_cache[-frames:]).to(window.device)[None]
        f0 = torch.from_numpy(state.f0_cache[-frames:]).to(window.device)[None] * (stretched / rendered)
    wav = synthesizer.infer(
        phone,
        coarse,
        f0,
        torch.tensor([speaker], device=window.device),
        latent_noise,
        source_noise,
        Slice(geometry.extra, rendered, stretched),
    ).wav[0, 0]
    per_frame = synthesizer.shape.samples_per_frame
    played = math.floor(2.0 ** (formant_semitones / 12.0) * per_frame)
    if played == per_frame:
        return wav[: rendered * per_frame]
    return sinc_resample(wav[: rendered * played], played, per_frame)


def _pitch(window: Tensor, block: int, rmvpe: RMVPE) -> NDArray[np.float32]:
    """F0 of the newest frames, gaps filled, without the frames that lean on mirrored audio."""
    samples = _PITCH_WINDOW * math.ceil((block * FRAME_16K + 800) / _PITCH_WINDOW) - FRAME_16K
    recent = F.pad(window, (max(samples - len(window), 0), 0))[-samples:]
    salience = rmvpe.salience(rmvpe.mel(recent[None]))[0].float().cpu().numpy()
    first, last = _EDGE_FRAMES
    return fill_unvoiced(decode_salience(salience))[first:-last]
