"""A neural voice, or a mix of two."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...kernels.errors import VoiceError
from ..voice import VoiceKind
from .card import SAMPLE_RATE, USES, VoiceCard
from .step import NeuralNetworks
from .voice_file import encoder_of, read_voice_file


class NeuralVoice:
    """A voice whose networks were trained by altervox.

    Attributes:
        cards: Its card, or those of both voices of a mix.
        networks: Its networks, on the CPU.

    Args:
        name: How the user calls it.
        cards: See above.
        networks: See above.
    """

    def __init__(self, name: str, cards: tuple[VoiceCard, ...], networks: NeuralNetworks) -> None:
        assert len(cards) == len(networks.voices)
        self._name, self.cards, self.networks = name, cards, networks

    @classmethod
    def from_file(cls, name: str, path: Path) -> NeuralVoice:
        """Read a voice.

        Args:
            name: How the user calls it.
            path: Its file.

        Raises:
            CheckpointError: see `read_voice_file` and `encoder_of`.
        """
        file = read_voice_file(path)
        return cls(name, (file.card,), NeuralNetworks(encoder_of(file, path).eval(), (file.speaking,)))

    def mixed_with(self, other: NeuralVoice) -> NeuralVoice:
        """A mix of this voice and another, called by both names.

        Raises:
            VoiceError: they hear with different encoders.
        """
        name = f"{self.name}+{other.name}"
        if self.cards[0].encoder_sha256 != other.cards[0].encoder_sha256:
            raise VoiceError(
                f"{name} cannot be mixed, for the two were trained with different encoders: train or get both with one "
                "version of altervox"
            )
        networks = NeuralNetworks(self.networks.encoder, (*self.networks.voices, *other.networks.voices))
        return NeuralVoice(name, self.cards + other.cards, networks)

    @property
    def name(self) -> str:
        """How the user calls it."""
        return self._name

    @property
    def kind(self) -> VoiceKind:
        """Always "neural"."""
        return "neural"

    @property
    def sample_rate(self) -> int:
        """Always 24 kHz."""
        return SAMPLE_RATE

    @property
    def description(self) -> str:
        """One line for lists."""
        if len(self.cards) > 1:
            return f"a mix of {self.cards[0].name} and {self.cards[1].name}, by --mix"
        return self.cards[0].description

    @property
    def speakers(self) -> int:
        """One."""
        return 1

    @property
    def lengths(self) -> Mapping[str, int]:
        """See `Voice`: any."""
        return {}

    @property
    def f0_log2(self) -> tuple[tuple[float, float], ...]:
        """Mean and standard deviation of log2 of F0 in Hz, of each of its voices."""
        return tuple((card.f0_log2_mean, card.f0_log2_std) for card in self.cards)

    @property
    def uses(self) -> frozenset[str]:
        """See `Voice`."""
        return frozenset(USES | ({"mix"} if len(self.cards) > 1 else set()))
