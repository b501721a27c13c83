"""RVC's real-time step over one window again and again, for timing it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ....models.base_models import content_encoder, pitch_network
from ....models.published import CONTENT_ENCODER, PITCH_NETWORK
from ....models.rvc.synthesizer import latent_frames
from ....models.rvc.voice import RvcVoice
from ....realtime.synthetic import speech_like
from .step import ReferenceGeometry, ReferenceState, reference_step


def repeated_step(voice: RvcVoice, block_ms: int) -> Callable[[int], None]:
    """What runs the step once, at RVC's own defaults: 2.5 s of context, 50 ms of crossfade, 10 ms of search.

    Raises:
        BaseModelError: a base model cannot be obtained.
    """
    net = voice.synthesizer
    geometry = ReferenceGeometry(extra=250, crossfade=5, search=1, block=block_ms // 10)
    audio = torch.from_numpy(speech_like(geometry.window / 100, 16000)).to(voice.device)
    content = content_encoder(CONTENT_ENCODER.fetch(), voice.device)
    rmvpe = pitch_network(PITCH_NETWORK.fetch(), voice.device)
    state = ReferenceState.allocate()
    samples = geometry.rendered * net.shape.samples_per_frame
    noise = torch.randn(1, 192, latent_frames(geometry.window, geometry.extra), device=voice.device)
    source_noise = torch.randn(1, samples, 1, device=voice.device)

    def step(_: int) -> None:
        # What is rendered goes to the sound card, so it has to be there.
        reference_step(audio, geometry, state, content, rmvpe, net, noise, source_noise).cpu()

    return step
