"""RVC voices block by block, their networks run by torch."""

from __future__ import annotations

import copy
from weakref import WeakKeyDictionary

import torch

from ...models.pitch.mel import HOP, SAMPLE_RATE
from ...models.pitch.rmvpe import RMVPE
from ...models.rvc.content import Hubert
from ...models.rvc.content_halves import HalvedContentStep
from ...models.rvc.steps import ContentStep, PriorStep
from ...models.rvc.voice import RvcVoice
from ..config import StreamConfig
from ..runners import make_runner
from ..runners.precision import precision_for
from .beside import Beside
from .features import FeatureStage, Lanes, RvcLengths, RvcNetworks
from .pitch import streaming_pitch
from .waveform import StreamingGenerator


class RvcStage(FeatureStage):
    """An RVC voice as a stage.

    Args:
        voice: The voice.
        content: Content encoder, on the voice's device.
        rmvpe: Pitch network, on the voice's device; None for the small one that ships. A voice without F0 needs none.
        config: Lengths.
    """

    voice: RvcVoice

    def __init__(self, voice: RvcVoice, content: Hubert, rmvpe: RMVPE | None, config: StreamConfig) -> None:
        lengths, lanes = RvcLengths.of(config), Lanes(voice.device)
        with lanes.own():
            networks = self._networks(voice, content, rmvpe, lengths, config)
        super().__init__(voice, lengths, networks, lanes)

    def _networks(
        self, voice: RvcVoice, content: Hubert, rmvpe: RMVPE | None, lengths: RvcLengths, config: StreamConfig
    ) -> RvcNetworks:
        net = voice.synthesizer
        # What is exported for ONNX Runtime is the pitch network alone.
        backend = config.backend if config.backend in ("eager", "cuda-graph") else "auto"
        self._encoder = content  # held so that the next stage shares its copy in half precision
        encoder = ContentStep(in_precision(content, config.precision), voice.version, lengths.window * HOP)
        prior = PriorStep(net.enc_p, lengths.known, lengths.known - lengths.rendered)
        right = lengths.rendered - lengths.block
        beside = Beside() if config.threads > 1 and voice.device.type == "cpu" else None
        if beside:
            encoder = HalvedContentStep(encoder, beside)
        return RvcNetworks(
            content=make_runner(encoder.spec, encoder, backend),
            prior=make_runner(prior.spec, prior, backend),
            tracker=streaming_pitch(rmvpe, lengths.block, lengths.pitch_right, voice.device, config.backend)
            if net.has_f0
            else None,
            generator=StreamingGenerator(
                net, lengths.block, right, lengths.tail, backend, beside, config.precision in ("auto", "bfloat16")
            ),
            index=voice.index,
        )


# By precision; None where the content encoder itself is to be used. No longer than somebody holds that one.
_in_precision: WeakKeyDictionary[Hubert, dict[str, Hubert | None]] = WeakKeyDictionary()


def in_precision(content: Hubert, precision: str) -> Hubert:
    """The content encoder itself, or a copy in half precision where that computes the same; see `StreamConfig`.

    The copy is made once, so the engine that a voice is swapped in with shares it.
    """
    if precision == "float32":
        return content
    copies = _in_precision.setdefault(content, {})
    if precision not in copies:
        copies[precision] = _copy_in_precision(content, precision)
    return copies[precision] or content


def _copy_in_precision(content: Hubert, precision: str) -> Hubert | None:
    candidates = None if precision == "auto" else (getattr(torch, precision),)
    # A second at the level of speech. Noise drives the network harder than a voice does.
    trial = 0.05 * torch.randn(1, SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    dtype = precision_for(content, [trial.to(content.layer_norm.weight)], candidates=candidates)
    return None if dtype is torch.float32 else copy.deepcopy(content).to(dtype)
