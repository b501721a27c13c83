"""The raw speech of the recipe: every sentence of every synthetic voice, said once and kept."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from ....kernels.types import FloatArray
from .sources import SAMPLE_RATE, SPEAKERS, Speaker

log = logging.getLogger(__name__)

_SHORTEST_S = 0.8


def seeded(*parts: object) -> np.random.Generator:
    """A generator of random numbers that depends on the parts alone, so that each clip can be remade by itself."""
    return np.random.default_rng([zlib.crc32(str(part).encode()) for part in parts])


def speak_all(folder: Path) -> Iterator[tuple[Speaker, int, Path]]:
    """Let every speaker say its sentences; those that are there already are left alone.

    Args:
        folder: Folder of the files `<speaker>/<index>.flac`.

    Yields:
        Speaker, index of the sentence and its file, as they come.
    """
    for speaker in SPEAKERS:
        (folder / speaker.name).mkdir(parents=True, exist_ok=True)
        for index in range(speaker.clips):
            path = folder / speaker.name / f"{index:03d}.flac"
            if not path.exists():
                _write(path, _spoken(speaker, index))
            yield speaker, index, path


def read_speech(path: Path) -> FloatArray:
    """A sentence at 24 kHz [N]."""
    samples, _ = soundfile.read(path, dtype="float32")
    return np.asarray(samples, dtype=np.float32)


def _spoken(speaker: Speaker, index: int) -> FloatArray:
    """A sentence, brought to the same peak for all voices."""
    rng = seeded("speech", speaker.name, index)
    samples = speaker.speak(speaker.write(rng), rng)
    while len(samples) < _SHORTEST_S * SAMPLE_RATE:
        samples = np.concatenate((samples, speaker.speak(speaker.write(rng), rng)))
    return np.asarray(0.7 * samples / max(float(np.abs(samples).max()), 1e-6), dtype=np.float32)


def _write(path: Path, samples: FloatArray) -> None:
    unfinished = path.with_suffix(".part")
    soundfile.write(unfinished, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    unfinished.replace(path)
