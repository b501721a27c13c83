"""`altervox voices show`: what cards say about a voice, and a sample of any."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...kernels.errors import AltervoxError, ParameterError
from ...models.neural.features import SAMPLE_RATE

if TYPE_CHECKING:
    from ...models.neural.card import Credits, VoiceCard
    from ...models.voice import Voice
    from .analysis import Example

log = logging.getLogger(__name__)

SAMPLE_FILE = "sample.flac"
_LONGEST_SAMPLE_S = 12.0


def card_rows(voice: Voice) -> dict[str, Any]:
    """What cards say about a voice: all of a neural voice's, the credits of an exported one's; nothing of other voices.

    Returns:
        Rows by name, without name and description; for a mix the row `credits`, a list of rows for both voices.
    """
    from ...models.export.voice import ExportedVoice
    from ...models.neural.voice import NeuralVoice

    if isinstance(voice, NeuralVoice) and len(voice.cards) == 1:
        return _said(voice.cards[0], "description") | {"f0_hz": round(2.0 ** voice.cards[0].f0_log2_mean, 1)}
    if isinstance(voice, NeuralVoice):
        found = tuple(card.credits for card in voice.cards)
    else:
        found = voice.manifest.credits if isinstance(voice, ExportedVoice) else ()
    if len(found) == 1:
        return _said(found[0])
    return {"credits": [{"name": one.name} | _said(one) for one in found]} if found else {}


def _said(card: VoiceCard | Credits, *others: str) -> dict[str, Any]:
    """What is not empty, without the name and other entries."""
    return {key: value for key, value in asdict(card).items() if value and key not in ("name", *others)}


def keep_sample(folder: Path, held_out: Sequence[Example]) -> None:
    """Keep the start of what was held out beside a voice, so that a sample of it can be rendered; else only warn."""
    from ..convert.writer import CONTAINERS, open_writer

    audio = np.concatenate([example.audio for example in held_out])[: int(_LONGEST_SAMPLE_S * SAMPLE_RATE)]
    try:
        with open_writer(folder / SAMPLE_FILE, CONTAINERS[".flac"], "PCM_16", SAMPLE_RATE, len(audio)) as writer:
            writer.write(audio.astype(np.float64) / 32768.0)
    except AltervoxError as error:
        log.warning("the voice is there, but no sentence for its sample: %s", error)


def render_sample(voice: Voice, folder: Path | None, source: Path | None, target: Path) -> Path:
    """Convert a sentence with a voice; returns the file that was written.

    Args:
        voice: The voice.
        folder: Where it lies in the library, where a sentence may lie beside it.
        source: A recording to convert; None takes that sentence, or for a voice without one the recording that ships.
        target: The sound file to write, or a folder for it.

    Raises:
        AltervoxError: a file cannot be read or written, or the one would be written in the place of the other.
    """
    from ...realtime.files import convert_stream
    from ..convert.batch import convert_file
    from ..convert.plan import plan
    from ..export.speech import RECORDING

    if source is None:
        own = folder / SAMPLE_FILE if folder is not None else None
        source = own if own is not None and own.is_file() else RECORDING
    job, *more = plan([source], target, voice.name)
    if more:
        raise ParameterError(f"{source} is a folder of several recordings: name one of them")
    convert_file(job, voice, lambda blocks, rate: convert_stream(voice, blocks, rate))
    return job.target
