"""Neural voices with random weights, which differ by their seed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from altervox.models.neural.card import VoiceCard
from altervox.models.neural.network import BANDS, ENVELOPE_BANDS, PAIR, VOICE, Decoder, Encoder
from altervox.models.neural.step import NeuralNetworks, Speaking
from altervox.models.neural.voice import NeuralVoice
from altervox.models.neural.voice_file import VoiceFile, encoder_digest, write_voice

MEANS = {1: 6.7, 2: 7.7, 3: 7.2}  # log2 of F0 in Hz, by seed: 104, 208 and 147 Hz


@cache
def encoder(seed: int = 0) -> Encoder:
    """An encoder."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Encoder().eval()


def file(seed: int = 1, encoder_seed: int = 0, name: str = "") -> VoiceFile:
    """What the file of a voice holds, its encoder included."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        decoder = Decoder().half().float()
        decoder.leave.bias.data.view(PAIR, BANDS)[:, :ENVELOPE_BANDS] += 0.5  # about as loud as what comes in
        speaking = Speaking(
            decoder.half().float(),
            (0.3 * torch.randn(VOICE)).half(),
            torch.full((ENVELOPE_BANDS,), -3.5),
            (0.3 * torch.eye(ENVELOPE_BANDS)).half(),
        )
    heard = encoder(encoder_seed)
    card = VoiceCard(
        name=name or f"voice {seed}",
        description=f"random weights from {seed}",
        register="lower" if MEANS[seed] < 7.3 else "higher",
        f0_log2_mean=MEANS[seed],
        f0_log2_std=0.25,
        encoder_sha256=encoder_digest(heard),
        attribution="a random generator",
        metrics={"wer": 0.5},
    )
    return VoiceFile(card, speaking, heard)


def voice(seed: int = 1) -> NeuralVoice:
    """A voice."""
    made = file(seed)
    return NeuralVoice(made.card.name, (made.card,), NeuralNetworks(encoder(), (made.speaking,)))


def write(path: Path, seed: int = 1, encoder_seed: int = 0) -> Path:
    """Write the file of a voice, named like it, with its encoder."""
    write_voice(path, file(seed, encoder_seed, path.stem))
    return path
