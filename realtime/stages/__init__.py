"""The streaming stages: one for each kind of voice, and the parts that they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ...kernels.errors import VoiceError
from ...models.voice import Voice
from ..config import StreamConfig
from .stage import VoiceStage

if TYPE_CHECKING:
    import torch

    from ...models.pitch.rmvpe import RMVPE

StageFactory = Callable[[Voice, StreamConfig, str], VoiceStage | None]


def make_stage(voice: Voice, config: StreamConfig, f0_method: str) -> VoiceStage | None:
    """The stage that renders a voice; None for a voice that changes nothing.

    Args:
        voice: Voice, whose `kind` decides which stage it gets.
        config: Lengths, backend and precision.
        f0_method: One of `F0_METHODS`.

    Raises:
        VoiceError: the voice cannot be streamed.
        BaseModelError: a network that it needs cannot be obtained.
        ParameterError: the backend cannot run here.
    """
    factory = STAGES.get(voice.kind)
    if factory is None:
        raise VoiceError(f"{voice.name} cannot be streamed: there is no stage for {voice.kind} voices")
    return factory(voice, config, f0_method)


def _dsp_stage(voice: Voice, config: StreamConfig, f0_method: str) -> VoiceStage | None:
    from ...models.dsp.presets import DspVoice

    assert isinstance(voice, DspVoice)
    if voice.preset is None:  # "off"
        return None
    import torch

    from .dsp import DspStage

    return DspStage(voice.preset, config, _full_pitch_network(f0_method, torch.device("cpu")))


def _neural_stage(voice: Voice, config: StreamConfig, f0_method: str) -> VoiceStage:
    from ...models.neural.voice import NeuralVoice

    assert isinstance(voice, NeuralVoice)
    import torch

    from .neural import NeuralStage

    return NeuralStage.of(voice, config, _full_pitch_network(f0_method, torch.device("cpu")))


def _rvc_stage(voice: Voice, config: StreamConfig, f0_method: str) -> VoiceStage:
    from ...models.rvc.voice import RvcVoice
    from .rvc import RvcStage

    assert isinstance(voice, RvcVoice)
    rmvpe = _full_pitch_network(f0_method, voice.device) if voice.synthesizer.has_f0 else None
    return RvcStage(voice, voice.content_encoder(), rmvpe, config)


def _exported_stage(voice: Voice, config: StreamConfig, f0_method: str) -> VoiceStage:
    from ...models.export.voice import ExportedVoice
    from .exported import ExportedStage
    from .exported_neural import exported_neural_stage

    assert isinstance(voice, ExportedVoice)
    if config.backend == "auto":
        from ..runners.trial import best_backend

        config = replace(config, backend=best_backend(voice))
    if voice.manifest.kind == "neural":
        return exported_neural_stage(voice, config)
    return ExportedStage(voice, config)


# Another kind of voice is one more entry. Networks are imported only by the factory that needs them.
STAGES: dict[str, StageFactory] = {
    "dsp": _dsp_stage,
    "neural": _neural_stage,
    "rvc": _rvc_stage,
    "exported": _exported_stage,
}


def _full_pitch_network(f0_method: str, device: torch.device) -> RMVPE | None:
    """The published pitch network if that is the method; None for the small one that ships.

    Raises:
        BaseModelError: the network cannot be obtained.
    """
    from ...models import base_models

    return base_models.full_pitch_network(device) if f0_method == "rmvpe" else None
