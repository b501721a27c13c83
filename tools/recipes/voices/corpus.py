"""The corpus of the neural voices: recordings of many speakers, analysed once and kept as arrays.

The data folder holds `manifest.tsv` (tab-separated: file, set, speaker, sex, seconds, rate, text, split) and the files
that it names; docs/voices.md says where the originals are.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ....kernels.types import FloatArray
from ...voices.analysis import Example, analyse_recording, joined

TARGETS = ("kathleen", "kerstin", "nathalie", "flemishguy", "librispeech_26", "librispeech_27")
READERS = ("librispeech_19", "librispeech_many")
NOISES = "noise_esc10"
ROOMS = "rooms"
RATE = 16000
_FIELDS = ("audio", "f0_hz", "level", "bands")


@dataclass(frozen=True, slots=True)
class Clip:
    """A line of the manifest."""

    path: Path
    set: str
    speaker: str
    seconds: float
    rate: int
    text: str
    split: str


@dataclass(frozen=True, slots=True)
class Speaker:
    """All that one speaker says, one recording after another.

    Attributes:
        name: As in the manifest.
        example: The recordings; its arrays lie on disk.
        is_wide: Whether the recordings hold what lies above 8 kHz.
    """

    name: str
    example: Example
    is_wide: bool


def read_manifest(data: Path) -> list[Clip]:
    """All clips of a data folder."""
    with (data / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Clip(
            data / row["file"],
            row["set"],
            row["speaker"],
            float(row["seconds"]),
            int(row["rate"]),
            row["text"],
            row["split"],
        )
        for row in rows
    ]


def prepare(data: Path, folder: Path, split: str, part: int = 0, parts: int = 1) -> Iterator[str]:
    """Analyse every speaker that is not there yet; yields the name of each.

    Args:
        data: The data folder.
        folder: Where the corpus lies.
        split: "train", "valid" or "test".
        part: Which of several processes this one is.
        parts: How many of them divide the speakers.
    """
    by_speaker: dict[str, list[Clip]] = {}
    for clip in read_manifest(data):
        if clip.set in TARGETS + READERS and clip.split == split:
            name = clip.set if clip.set in TARGETS else f"{clip.set}_{clip.speaker}"
            by_speaker.setdefault(name, []).append(clip)
    for name, clips in sorted(by_speaker.items(), key=lambda item: -sum(clip.seconds for clip in item[1]))[part::parts]:
        target = folder / split / name
        if target.exists():
            continue
        example = joined([analyse_recording(*soundfile.read(clip.path, dtype="float32")) for clip in clips])
        unfinished = target.with_name(f"{name}.part")
        unfinished.mkdir(parents=True, exist_ok=True)
        for field in _FIELDS:
            np.save(unfinished / f"{field}.npy", getattr(example, field))
        (unfinished / "rate.txt").write_text(str(clips[0].rate), "utf-8")
        unfinished.rename(target)
        yield name


def read_speakers(folder: Path, split: str) -> list[Speaker]:
    """The speakers of a split, the targets first."""
    paths = [path for path in sorted((folder / split).iterdir()) if path.is_dir() and path.suffix != ".part"]
    paths.sort(key=lambda path: (path.name not in TARGETS, TARGETS.index(path.name) if path.name in TARGETS else 0))
    return [
        Speaker(
            path.name,
            Example(*(np.load(path / f"{field}.npy", mmap_mode="r", allow_pickle=False) for field in _FIELDS)),
            int((path / "rate.txt").read_text("utf-8")) >= 24000,
        )
        for path in paths
    ]


def read_sounds(data: Path, name: str, split: str) -> list[FloatArray]:
    """All recordings of a set that holds no speech, at 16 kHz."""
    sounds = []
    for clip in read_manifest(data):
        if clip.set == name and clip.split == split:
            audio, rate = soundfile.read(clip.path, dtype="float32")
            sounds.append(np.asarray(soxr.resample(audio, rate, RATE), dtype=np.float32))
    return sounds
