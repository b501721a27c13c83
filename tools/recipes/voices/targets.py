"""The voices that ship: whose recordings they were trained on, and what their cards say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_CC0 = "The weights, like the recordings: CC0 1.0"
CC_BY = "The weights, like the recordings: CC BY 4.0"
LIBRISPEECH = (
    "LibriSpeech, copyright 2014 by Vassil Panayotov, CC BY 4.0 (https://www.openslr.org/12); the recordings are by a "
    "volunteer of LibriVox and in the public domain"
)
_ADULTS = "Trained on reading, not on shouting, whispering, singing or laughter."


@dataclass(frozen=True, slots=True)
class Target:
    """A voice that ships.

    Attributes:
        name: Name of the voice; of nobody.
        speaker: Speaker of the corpus.
        description: One line for lists.
        register: Whether it is one of the lower or of the higher voices.
        data: What it was trained on.
        licence: Licence of the voice.
        attribution: Whom its licence asks to name.
        consent: How the speaker agreed.
        limits: What it is not good for.
    """

    name: str
    speaker: str
    description: str
    register: Literal["lower", "higher"]
    data: str
    licence: str
    attribution: str
    consent: str
    limits: str


def _rhasspy(speaker: str, language: str) -> str:
    return f"https://github.com/rhasspy/dataset-voice-{speaker}, {language}, CC0 1.0"


_DONATED = "The speaker recorded these sentences for speech synthesis and gave them away under CC0."
_READ = "A volunteer of LibriVox read books for everybody to use; the name of the voice is made up."

TARGETS_THAT_SHIP = (
    Target(
        "clara",
        "kathleen",
        "a woman, calm and clear",
        "higher",
        _rhasspy("kathleen", "US English"),
        _CC0,
        "With thanks to Kathleen and Rhasspy",
        _DONATED,
        _ADULTS,
    ),
    Target(
        "greta",
        "kerstin",
        "a woman, bright",
        "higher",
        _rhasspy("kerstin", "German"),
        _CC0,
        "With thanks to Kerstin and Rhasspy",
        _DONATED,
        f"{_ADULTS} Learnt from German: some English sounds have an accent.",
    ),
    Target(
        "bram",
        "flemishguy",
        "a man, light",
        "lower",
        _rhasspy("flemishguy", "Flemish Dutch"),
        _CC0,
        "With thanks to the speaker and Rhasspy",
        _DONATED,
        f"{_ADULTS} Learnt from Dutch: some English sounds have an accent.",
    ),
    Target(
        "edgar",
        "librispeech_27",
        "a man, deep and even",
        "lower",
        "LibriSpeech train-clean-100, reader 27, US English",
        CC_BY,
        LIBRISPEECH,
        _READ,
        f"{_ADULTS} The recordings end at 8 kHz: what lies above is learnt from other speakers.",
    ),
    Target(
        "walter",
        "librispeech_26",
        "a man, warm",
        "lower",
        "LibriSpeech train-clean-100, reader 26, US English",
        CC_BY,
        LIBRISPEECH,
        _READ,
        f"{_ADULTS} The recordings end at 8 kHz: what lies above is learnt from other speakers.",
    ),
)
