"""The data folder of the recipe: recordings, and `manifest.tsv`, which says who speaks in each of them and what.

The manifest is tab-separated with the columns file, set, speaker, sex, seconds, rate, text (blank where not known) and
split (train, valid or test).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....kernels.errors import AudioFileError
from ....kernels.types import FloatArray

MANIFEST = "manifest.tsv"
_COLUMNS = ("file", "set", "speaker", "seconds", "text", "split")


@dataclass(frozen=True, slots=True)
class Recording:
    """A line of the manifest.

    Attributes:
        path: The audio file.
        name: Its path inside the data folder.
        set: Where it comes from, such as "vctk_16k".
        speaker: Who speaks.
        seconds: Its length.
        text: What is said; empty where that is not known.
        split: "train", "valid" or "test".
    """

    path: Path
    name: str
    set: str
    speaker: str
    seconds: float
    text: str
    split: str


def read_manifest(folder: Path) -> list[Recording]:
    """All recordings of a data folder, in the order of its manifest.

    Raises:
        AudioFileError: there is no manifest, or a column or a length in it is missing.
    """
    path = folder / MANIFEST
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
            missing = [name for name in _COLUMNS if name not in (table.fieldnames or ())]
            if missing:
                raise AudioFileError(f"{path} lacks the column {missing[0]}; it needs {', '.join(_COLUMNS)}")
            return [_recording(folder, row) for row in table]
    except OSError as error:
        raise AudioFileError(
            f"{path} cannot be read ({error.strerror}); docs/voices.md says what the folder of recordings must hold"
        ) from error
    except ValueError as error:
        raise AudioFileError(f"{path} is damaged: {error}") from error


def _recording(folder: Path, row: dict[str, str]) -> Recording:
    file, text = row["file"], row["text"].strip()
    return Recording(folder / file, file, row["set"], row["speaker"], float(row["seconds"]), text, row["split"])


def read_audio(path: Path, rate: int) -> FloatArray:
    """A recording at another rate, mono [N].

    Raises:
        AudioFileError: it cannot be read.
    """
    import soundfile

    try:
        audio, own_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioFileError(f"{path} cannot be read: {error}") from error
    return at_rate(audio.mean(axis=1), own_rate, rate)


def at_rate(audio: FloatArray, own_rate: int, rate: int) -> FloatArray:
    """Audio [N] at another rate."""
    import soxr

    if own_rate == rate:
        return np.ascontiguousarray(audio, dtype=np.float32)
    return np.asarray(soxr.resample(audio, own_rate, rate), dtype=np.float32)
