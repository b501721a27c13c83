"""The recordings that a voice is made of: found, read at one rate, and cut into utterances."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...kernels.errors import AudioFileError
from ...kernels.printable import printable
from ...kernels.types import FloatArray
from ...kernels.world import SAMPLE_RATE
from ...models.limits import MAX_FOLDER_FILES
from ..convert.reader import EXTENSIONS, open_audio

LONGEST_S = 1800.0  # of all recordings together
_PEAK = 0.7  # that each recording is brought to: a voice does not know how loud it was recorded

_FRAME = SAMPLE_RATE // 100
_LEAST_LEVEL_DB = -60.0  # below it lies nothing but silence, as the peak is at -3 dB
_BELOW_SPEECH_DB = 35.0  # weak consonants are less than that below the loudest speech
_ABOVE_FLOOR_DB = 6.0
_LONGEST_GAP_S = 0.5  # within an utterance
_MARGIN_S = 0.15  # before and after
_LEAST_SOUND_S = 0.25  # what is shorter is a click
_SHORTEST_S, _LONGEST_UTTERANCE_S = 0.8, 12.0
_JOINED_GAP_S = 1.0  # between short utterances that are made one


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording.

    Attributes:
        path: The file.
        rate: The sample rate of the file in Hz.
        audio: Mono at 24 kHz, 16 bit [N].
    """

    path: Path
    rate: int
    audio: NDArray[np.int16]

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.audio) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Recordings:
    """All recordings of a voice.

    Attributes:
        items: The recordings; none is empty.
        remarks: What was left out and why, in sentences.
    """

    items: list[Recording]
    remarks: list[str]

    @property
    def seconds(self) -> float:
        """Length of all together."""
        return sum(item.seconds for item in self.items)


def read_recordings(inputs: Sequence[Path]) -> Recordings:
    """Read files and folders, the first half hour of them.

    Args:
        inputs: Files of any format that `altervox convert` reads, and folders. What a folder holds besides, and files
            in it that cannot be read, are left out with a remark.

    Raises:
        AudioFileError: a file that was named cannot be read, or nothing was found.
    """
    named, in_folders, others = _found(inputs)
    remarks = [f"left out, as they are not audio files: {_listed(others)}"] if others else []
    items: list[Recording] = []
    left = int(LONGEST_S * SAMPLE_RATE)
    for path in (*named, *in_folders):
        if left <= 0:
            break
        try:
            items.append(_read(path, left))
        except AudioFileError as error:
            if path in named:
                raise
            remarks.append(f"left out: {error}")
            continue
        left -= len(items[-1].audio)
    if left <= 0:
        remarks.append(f"only the first {LONGEST_S / 60:.0f} minutes of the recordings are used")
    if not items:
        what = "; ".join(remarks) or "there are no files in it"
        raise AudioFileError(f"{', '.join(map(str, inputs))}: no recording can be used ({what}); give audio files")
    return Recordings(items, remarks)


def _found(inputs: Sequence[Path]) -> tuple[list[Path], list[Path], list[Path]]:
    """Files that were named, audio files in folders, and other files there; each file once."""
    named: list[Path] = []
    audio: list[Path] = []
    others: list[Path] = []
    seen: set[str] = set()

    def add(path: Path, kind: list[Path]) -> None:
        place = os.path.realpath(path)
        if place not in seen:
            seen.add(place)
            kind.append(path)

    for path in inputs:
        if not path.is_dir():
            add(path, named)
            continue
        for place, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(name for name in files if not name.startswith(".")):
                add(Path(place, name), audio if Path(name).suffix.lower() in EXTENSIONS else others)
            if len(seen) > MAX_FOLDER_FILES:
                raise AudioFileError(f"{path} holds more than {MAX_FOLDER_FILES:,} files; give the recordings alone")
    return named, audio, others


def _listed(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(printable(path.name, 60) for path in paths[:5]) + more


def _read(path: Path, most: int) -> Recording:
    """A recording, or so many samples of its start.

    Raises:
        AudioFileError: it cannot be read, or holds nothing but digital silence.
    """
    from ...models.resample import resampled

    blocks: list[FloatArray] = []
    samples = 0
    with open_audio(path) as source:
        rate = source.sample_rate
        for block in resampled(source.blocks(repair=True), rate, SAMPLE_RATE):
            blocks.append(np.asarray(block[: most - samples], dtype=np.float32))
            samples += len(blocks[-1])
            if samples >= most:
                break
    peak = max((float(np.abs(block).max()) for block in blocks if len(block)), default=0.0)
    if not peak:
        raise AudioFileError(f"{path} is silent: all its samples are 0; choose another recording")
    audio = np.empty(samples, dtype=np.int16)
    at = 0
    for block in blocks:
        audio[at : at + len(block)] = np.rint(block * (_PEAK / peak * 32767.0))
        at += len(block)
    return Recording(path, rate, audio)


def as_float(audio: NDArray[np.int16]) -> FloatArray:
    """Samples of 16 bit within -1..1."""
    return np.asarray(audio, dtype=np.float32) / np.float32(32768.0)


def utterances(audio: NDArray[np.int16]) -> list[slice]:
    """Where somebody speaks: stretches of a second to twelve at 24 kHz, with little of the pauses between them.

    Args:
        audio: At 24 kHz [N].
    """
    level = levels_db(audio)
    if not len(level):
        return []
    floor, speech = np.percentile(level, (10.0, 95.0))
    threshold = max(min(max(speech - _BELOW_SPEECH_DB, floor + _ABOVE_FLOOR_DB), speech - 6.0), _LEAST_LEVEL_DB)
    found = _closed(_runs(level >= threshold), _frames(_LONGEST_GAP_S))
    margin = _frames(_MARGIN_S)
    found = [(max(a - margin, 0), min(b + margin, len(level))) for a, b in found if b - a >= _frames(_LEAST_SOUND_S)]
    cut = [piece for stretch in found for piece in _split(stretch, level)]
    joined = _closed(cut, _frames(_JOINED_GAP_S), _frames(_LONGEST_UTTERANCE_S))
    return [slice(a * _FRAME, b * _FRAME) for a, b in joined if b - a >= _frames(_SHORTEST_S)]


def levels_db(audio: NDArray[np.int16]) -> FloatArray:
    """RMS of each 10 ms at 24 kHz in dB of full scale, at least -100 [N // 240]."""
    frames = audio[: len(audio) // _FRAME * _FRAME].reshape(-1, _FRAME)
    power = np.concatenate(
        [np.square(as_float(part)).mean(axis=1) for part in np.array_split(frames, len(frames) // 6000 + 1)]
    )
    return np.asarray(10.0 * np.log10(np.maximum(power, 1e-10)), dtype=np.float32)


def _frames(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / _FRAME)


def _runs(is_on: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_on, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _closed(stretches: Iterable[tuple[int, int]], gap: int, longest: int | None = None) -> list[tuple[int, int]]:
    """Stretches, joined where the gap between them is small and the whole not too long."""
    joined: list[tuple[int, int]] = []
    for start, end in stretches:
        if joined and start - joined[-1][1] <= gap and (longest is None or end - joined[-1][0] <= longest):
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _split(stretch: tuple[int, int], level: FloatArray) -> list[tuple[int, int]]:
    """A stretch in pieces that are not too long, cut where it is quietest."""
    start, end = stretch
    longest = _frames(_LONGEST_UTTERANCE_S)
    pieces = []
    while end - start > longest:
        cut = start + longest // 2 + int(np.argmin(level[start + longest // 2 : start + longest]))
        pieces.append((start, cut))
        start = cut
    return [*pieces, (start, end)]
