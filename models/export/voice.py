"""A voice that is a folder of exported graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from ...kernels.errors import VoiceError
from ..neural.card import USES
from ..voice import VoiceKind, VoiceParams
from .manifest import Manifest, read_manifest


class ExportedVoice:
    """A voice whose networks are graphs, made for one geometry.

    Args:
        name: How the user calls it.
        folder: The folder of the export.

    Raises:
        CheckpointError: its manifest cannot be used.
        VoiceError: it holds no voice.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self.folder = name, folder
        self.manifest: Manifest = read_manifest(folder)
        if self.manifest.kind == "rmvpe":
            raise VoiceError(f"{folder} is the export of a pitch network alone: give the folder of an exported voice")

    def check_streams(self) -> None:
        """Raises VoiceError if the graphs compute several streams at once, for which there is no engine here."""
        if self.manifest.batch != 1:
            raise VoiceError(
                f"{self.folder} was exported for {self.manifest.batch} streams at once, which a server of your own may "
                "run: export it with --batch 1 to use it here"
            )

    @property
    def name(self) -> str:
        """How the user calls it."""
        return self._name

    @property
    def kind(self) -> VoiceKind:
        """Always "exported"."""
        return "exported"

    @property
    def sample_rate(self) -> int:
        """The generator's rate in Hz."""
        return self.manifest.sample_rate

    @property
    def description(self) -> str:
        """One line for lists."""
        return f"exported, blocks of {self.lengths['block_ms']} ms, {self.manifest.description}"

    @property
    def speakers(self) -> int:
        """How many speakers the generator has."""
        return self.manifest.speakers

    @property
    def uses(self) -> frozenset[str]:
        """See `Voice`. The lengths are the folder's own, and formants of an RVC voice stay where they are."""
        if self.manifest.kind == "neural":
            return (USES - {"f0_method"}) | ({"mix"} if len(self.manifest.f0_log2) > 1 else set())
        unused = {"formant_semitones", "f0_method"}
        unused |= set() if "retrieval" in self.manifest.graphs else {"index_rate", "protect"}
        unused |= set() if self.manifest.has_f0 else {"pitch_semitones", "protect"}
        return frozenset({field.name for field in fields(VoiceParams)} | set(self.lengths)) - unused

    @property
    def lengths(self) -> Mapping[str, int]:
        """The lengths that its graphs were made for, as `StreamConfig` names them."""
        return self.manifest.lengths
