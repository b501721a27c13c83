"""An RVC voice: the generator of a checkpoint, its index, and the content encoder that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import torch

from ...kernels.errors import VoiceError
from ..base_models import content_encoder
from ..checkpoint import VoiceCheckpoint
from ..published import CONTENT_ENCODER
from ..retrieval import FeatureIndex
from ..voice import VoiceKind, VoiceParams
from .content import Hubert


class RvcVoice:
    """A user's voice, with its retrieval index if it has one."""

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

    @property
    def speakers(self) -> int:
        """How many speakers the generator has."""
        return self.synthesizer.speakers

    @property
    def lengths(self) -> Mapping[str, int]:
        """See `Voice`: any."""
        return {}

    @property
    def uses(self) -> frozenset[str]:
        """See `Voice`."""
        of_index, of_f0 = {"index_rate", "protect"}, {"pitch_semitones", "f0_method", "protect"}
        unused = (set() if self.index is not None else of_index) | (set() if self.synthesizer.has_f0 else of_f0)
        lengths = {"device", "block_ms", "lookahead_ms", "context_ms"}
        return frozenset({field.name for field in fields(VoiceParams)} | lengths) - unused

    def content_encoder(self) -> Hubert:
        """The content encoder on the voice's device, fetched if it is missing.

        Raises:
            BaseModelError: it cannot be obtained.
            VoiceError: it is not the one that the voice needs.
        """
        if self._content is not None:
            return self._content
        content = content_encoder(CONTENT_ENCODER.fetch(), self.device)
        if self.version == "v1" and not content.has_projection:
            raise VoiceError(
                f"{self.name} is a v1 voice and needs a content encoder with final_proj; use hubert_base.pt"
            )
        self._content = content
        return content
