"""From a run of training to the files that ship: encoder, voices, and what the training of one's own begins with."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....models.neural.card import BASE, ENCODER, SUFFIX, VoiceCard
from ....models.neural.network import ENVELOPE_BANDS, Decoder, Encoder
from ....models.neural.step import Speaking
from ....models.neural.voice_file import VoiceFile, encoder_digest, read_voice_file, write_encoder, write_voice
from ...voices.analysis import Example
from ...voices.material import hear, make_material
from ...voices.scoring import envelope_distance_db, pitch_statistics, with_natural_variance
from ...voices.tuning import Tuning, TuningConfig
from .corpus import Speaker, read_speakers
from .targets import CC_BY, LIBRISPEECH, TARGETS_THAT_SHIP, Target
from .training import Voices

_FIGURES = ("wer_percent", "sources_wer_percent", "similarity", "way_percent", "dnsmos", "f0_correlation")
_NOTED = ("clean", "noise-20db", "noise-10db")  # conditions
_UTTERANCE_FRAMES = 600  # of 10 ms: the recordings are cut into pieces of 6 s


def package(
    state: Path, corpus: Path, into: Path, config: TuningConfig, strength: float, names: tuple[str, ...]
) -> Iterator[str]:
    """Write the files that ship; yields the name of each.

    Args:
        state: `state.pt` of the run.
        corpus: Folder of the corpus.
        into: Folder of the files.
        config: How each voice's decoder is tuned.
        strength: How much of the natural variance is given back: see `natural_variance`.
        names: Voices to write; empty for all.
    """
    kept: dict[str, Any] = torch.load(state, weights_only=True)
    voices = Voices(len(kept["names"]))
    voices.load_state_dict(kept["average"])
    voices.eval()
    into.mkdir(parents=True, exist_ok=True)
    encoder = _rounded(voices.encoder)
    write_encoder(into / f"{ENCODER}{SUFFIX}", encoder)
    yield ENCODER
    trained = f"{datetime.now(UTC):%Y-%m-%d}, altervox {version('altervox')}, {kept['step']} steps"
    speakers = {speaker.name: speaker for speaker in read_speakers(corpus, "train")}
    held_out = {speaker.name: speaker for speaker in read_speakers(corpus, "valid")}
    wanted = [target for target in TARGETS_THAT_SHIP if not names or target.name in names]
    with torch.inference_mode():
        vectors = {
            target.name: voices.voice(torch.tensor([kept["names"].index(target.speaker)]))[0].clone()
            for target in TARGETS_THAT_SHIP
            if target.speaker in kept["names"]
        }
    base = _speaking(voices.decoder, torch.stack(list(vectors.values())).mean(dim=0))
    write_voice(into / f"{BASE}{SUFFIX}", VoiceFile(_base_card(encoder, trained), base, None))
    yield BASE
    for target in wanted:
        start = _speaking(voices.decoder, vectors[target.name])
        speaker = speakers[target.speaker]
        speaking = _tuned(start, encoder, speaker, config, strength)
        card = _card(target, speaking, encoder, speaker, held_out[target.speaker], trained)
        write_voice(into / f"{target.name}{SUFFIX}", VoiceFile(card, speaking, None))
        yield target.name


def _tuned(start: Speaking, encoder: Encoder, speaker: Speaker, config: TuningConfig, strength: float) -> Speaking:
    """A voice tuned to what its speaker says, with natural variance."""
    examples, speaking = cut(speaker.example), start
    if config.steps:
        material = make_material(examples, encoder, config.seed, lambda: None)
        with tempfile.TemporaryDirectory() as folder:
            tuning = Tuning(start, material, speaker.is_wide, config, Path(folder) / "state.pt")
            for _ in tuning.run(float("inf")):
                pass
        speaking = tuning.spoken()
    heard = [(hear(example, encoder), example) for example in examples[::7][:40]]
    return with_natural_variance(speaking, heard, speaker.is_wide, strength)


def _card(
    target: Target, speaking: Speaking, encoder: Encoder, speaker: Speaker, held_out: Speaker, trained: str
) -> VoiceCard:
    heard = [(hear(example, encoder), example) for example in cut(held_out.example)]
    mean, std = pitch_statistics([speaker.example])
    return VoiceCard(
        **{field.name: getattr(target, field.name) for field in fields(Target)},
        f0_log2_mean=mean,
        f0_log2_std=std,
        encoder_sha256=encoder_digest(encoder),
        metrics={"envelope_db": round(envelope_distance_db(speaking, heard, speaker.is_wide), 2)},
        trained=trained,
    )


def note_figures(measured: Path, folder: Path) -> Iterator[str]:
    """Put what an evaluation found, clean and in noise, into the cards of the voices that ship; yields their names.

    Args:
        measured: What `evaluate --into` wrote as JSON.
        folder: Folder of the files; other voices that were measured are passed over.
    """
    results = [row for row in json.loads(measured.read_text("utf-8"))["results"] if row["condition"] in _NOTED]
    for name in dict.fromkeys(row["voice"] for row in results):
        path = folder / f"{name}{SUFFIX}"
        if not path.exists():
            continue
        file = read_voice_file(path)
        metrics = {"envelope_db": file.card.metrics["envelope_db"]}
        for row in results:
            if row["voice"] == name:
                where = row["condition"].replace("-", "_")
                metrics |= {
                    f"{figure}_{where}": round(row[figure], 3) for figure in _FIGURES if row[figure] is not None
                }
        write_voice(path, replace(file, card=replace(file.card, metrics=metrics)))
        yield name


def cut(example: Example) -> list[Example]:
    """Pieces of 6 s of all that a speaker says."""
    pieces = []
    for start in range(0, len(example.level) - _UTTERANCE_FRAMES + 1, _UTTERANCE_FRAMES):
        stop = start + _UTTERANCE_FRAMES
        audio = np.array(example.audio[160 * start : 160 * stop])
        f0, level = np.array(example.f0_hz[start:stop]), np.array(example.level[start:stop])
        pieces.append(Example(audio, f0, level, np.array(example.bands[2 * start : 2 * stop])))
    return pieces


def _speaking(decoder: Decoder, voice: Tensor) -> Speaking:
    return Speaking(decoder, voice, torch.zeros(ENVELOPE_BANDS), torch.zeros(ENVELOPE_BANDS, ENVELOPE_BANDS))


def _rounded(encoder: Encoder) -> Encoder:
    """The encoder as its file holds it: what is tuned to it hears the same as users will."""
    rounded = encoder.half().float()
    rounded.requires_grad_(False)
    return rounded


def _base_card(encoder: Encoder, trained: str) -> VoiceCard:
    return VoiceCard(
        name=BASE,
        description="no voice, but what training of one begins with",
        register="higher",
        f0_log2_mean=7.35,
        f0_log2_std=0.25,
        encoder_sha256=encoder_digest(encoder),
        data="the recordings of all voices that ship, and of further readers of LibriSpeech",
        licence=CC_BY,
        attribution=LIBRISPEECH,
        trained=trained,
    )
