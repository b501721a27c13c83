"""The corpus of the neural voices: recordings of many speakers, analysed once and kept as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from ....kernels.types import FloatArray
from ...voices.analysis import Example, analyse_recording, joined
from ...voices.recordings import as_float
from .manifest import Recording, read_audio, read_manifest
from .phones import phones_in

TARGETS = ("kathleen", "kerstin", "nathalie", "flemishguy", "librispeech_26", "librispeech_27")
READERS = ("librispeech_19", "librispeech_many")
ENGLISH = ("kathleen", "librispeech_26", "librispeech_27", *READERS)
NOISES = "noise_esc10"
ROOMS = "rooms"
RATE = 16000
_FIELDS = ("audio", "f0_hz", "level", "bands")


@dataclass(frozen=True, slots=True)
class Speaker:
    """All that one speaker says, one recording after another.

    Attributes:
        name: As in the manifest.
        example: The recordings; its arrays lie on disk.
        is_wide: Whether the recordings hold what lies above 8 kHz.
        phones: Probabilities of phones in each frame of 20 ms, of those who speak English: see `phones_in`.
    """

    name: str
    example: Example
    is_wide: bool
    phones: NDArray[np.float16] | None


def prepare(data: Path, folder: Path, split: str, part: int = 0, parts: int = 1) -> Iterator[str]:
    """Analyse every speaker that is not there yet; yields the name of each.

    Args:
        data: The data folder.
        folder: Where the corpus lies.
        split: "train", "valid" or "test".
        part: Which of several processes this one is.
        parts: How many of them divide the speakers.
    """
    by_speaker: dict[str, list[Recording]] = {}
    for clip in read_manifest(data):
        if clip.set in TARGETS + READERS and clip.split == split:
            name = clip.set if clip.set in TARGETS else f"{clip.set}_{clip.speaker}"
            by_speaker.setdefault(name, []).append(clip)
    for name, clips in sorted(by_speaker.items(), key=lambda item: -sum(clip.seconds for clip in item[1]))[part::parts]:
        target = folder / split / name
        if target.exists():
            continue
        read = [soundfile.read(clip.path, dtype="float32") for clip in clips]
        example = joined([analyse_recording(audio, rate) for audio, rate in read])
        unfinished = target.with_name(f"{name}.part")
        unfinished.mkdir(parents=True, exist_ok=True)
        for field in _FIELDS:
            np.save(unfinished / f"{field}.npy", getattr(example, field))
        if clips[0].set in ENGLISH:
            phones = phones_in(as_float(example.audio))
            np.save(unfinished / "phones.npy", phones.astype(np.float16))
        (unfinished / "rate.txt").write_text(str(read[0][1]), "utf-8")
        unfinished.rename(target)
        yield name


def read_speakers(folder: Path, split: str) -> list[Speaker]:
    """The speakers of a split, the targets first."""
    paths = [path for path in sorted((folder / split).iterdir()) if path.is_dir() and path.suffix != ".part"]
    paths.sort(key=lambda path: (path.name not in TARGETS, TARGETS.index(path.name) if path.name in TARGETS else 0))
    return [
        Speaker(
            path.name,
            Example(*(_array(path, field) for field in _FIELDS)),
            int((path / "rate.txt").read_text("utf-8")) >= 24000,
            _array(path, "phones") if (path / "phones.npy").exists() else None,
        )
        for path in paths
    ]


def _array(path: Path, field: str) -> NDArray[Any]:
    return np.load(path / f"{field}.npy", mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def read_sounds(data: Path, name: str, split: str) -> list[FloatArray]:
    """All recordings of a set that holds no speech, at 16 kHz."""
    return [read_audio(clip.path, RATE) for clip in read_manifest(data) if (clip.set, clip.split) == (name, split)]
