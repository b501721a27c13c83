"""The corpus: clips at 16 kHz with an F0 for every frame of 10 ms, made from the raw speech and kept as files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from . import contours
from .labels import Track, measured_track, smooth_contour
from .resynthesis import Analysis, additive_voice, analyse, predicted_speech, stretched, world_speech
from .sources import SAMPLE_RATE as SPEECH_RATE
from .sources import Speaker
from .speech import read_speech, seeded

log = logging.getLogger(__name__)

SAMPLE_RATE = 16000
HOP = 160
SPLITS = ("train", "tune", "test")
WORLD_VARIANTS = 6  # of each sentence
SINGERS = {"train": 160, "tune": 4, "test": 12}
SINGER_S = 8.0
_LOUDEST = 0.9
_LEAST_VOICED = 0.4
_FLOOR_DB = -60.0  # below the clip's loudest frame nothing can be said about voicing


@dataclass(frozen=True, slots=True)
class Clip:
    """A labelled stretch of audio.

    Attributes:
        name: Unique in its split.
        audio: At 16 kHz [N].
        f0_hz: 0 where unvoiced [N // 160 + 1]; frame j is centred on sample 160 j.
        known: Whether the label can be trusted, voicing included [frames].
        voice: Who speaks.
        kind: "world", "singer" or "predicted" (F0 as it was put in), "raw" (as it was measured), "human".
    """

    name: str
    audio: NDArray[np.float32]
    f0_hz: NDArray[np.float32]
    known: NDArray[np.bool_]
    voice: str
    kind: str


def build_sentence(folder: Path, speaker: Speaker, index: int, speech_path: Path) -> int:
    """Make all clips of a sentence that are not there yet.

    Returns:
        How many were made.
    """
    base = f"{speaker.name}-{index:03d}"
    wanted = {f"{base}-raw": "raw"} | {f"{base}-world{k}": "world" for k in range(WORLD_VARIANTS)}
    if speaker.split != "train":
        wanted[f"{base}-predicted"] = "predicted"
    missing = {name: kind for name, kind in wanted.items() if not _path(folder, speaker.split, name).exists()}
    if not missing:
        return 0
    speech = read_speech(speech_path)
    track = measured_track(speech)
    contour = smooth_contour(track)
    found = analyse(speech, contour)
    for name, kind in missing.items():
        rng = seeded("clip", name)
        if kind == "raw":
            clip = _clip(name, speech.astype(np.float64), track, speaker.name, kind)
        elif kind == "predicted":
            f0 = contours.spoken(contour, rng)
            clip = _clip(name, predicted_speech(speech, f0, rng), _exact(f0), speaker.name, kind)
        else:
            clip = _world_clip(name, found, speaker.name, rng)
        write_clip(folder, speaker.split, clip)
    return len(missing)


def build_singers(folder: Path) -> Iterator[str]:
    """Make the additive singers that are not there yet; yields the name of each clip."""
    for split, count in SINGERS.items():
        for index in range(count):
            name = f"singer-{split}-{index:03d}"
            if not _path(folder, split, name).exists():
                rng = seeded("clip", name)
                frames = int(SINGER_S * SPEECH_RATE) // 120
                f0 = contours.sung(frames, rng)
                start = 0
                while start < frames:  # rests between phrases
                    start += int(rng.uniform(200, 500))
                    f0[start : start + int(rng.uniform(20, 100))] = 0.0
                    start += 100
                write_clip(folder, split, _clip(name, additive_voice(f0, rng), _exact(f0), "singer", "singer"))
            yield name


def read_clips(folder: Path, split: str) -> list[Clip]:
    """All clips of a split, by name.

    Args:
        folder: Folder of the corpus.
        split: One of `SPLITS`.
    """
    clips = []
    for path in sorted((folder / split).glob("*.npz")):
        with np.load(path, allow_pickle=False) as stored:
            audio = stored["audio"].astype(np.float32) / 32768.0
            who = str(stored["voice"]), str(stored["kind"])
            clips.append(Clip(path.stem, audio, stored["f0_hz"], stored["known"], *who))
    return clips


def mostly_voiced(clips: list[Clip]) -> list[Clip]:
    """Clips that voicing can be judged by: where most of a voice was lost on the way, silence would decide."""
    return [clip for clip in clips if (clip.f0_hz > 0).mean() >= _LEAST_VOICED]


def write_clip(folder: Path, split: str, clip: Clip) -> None:
    """Keep a clip, whole or not at all."""
    path = _path(folder, split, clip.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        audio = np.rint(clip.audio * 32767.0).astype(np.int16)
        np.savez(file, audio=audio, f0_hz=clip.f0_hz, known=clip.known, voice=clip.voice, kind=clip.kind)
    unfinished.replace(path)


def _path(folder: Path, split: str, name: str) -> Path:
    return folder / split / f"{name}.npz"


def _world_clip(name: str, found: Analysis, voice: str, rng: np.random.Generator) -> Clip:
    """A sentence said again in another register, or sung."""
    formant = float(np.exp(rng.uniform(np.log(0.75), np.log(1.35))))
    if rng.random() < 0.3:
        found = stretched(found, float(rng.uniform(1.0, 2.0)))
        f0 = np.where(found.contour_hz > 0, contours.sung(len(found.contour_hz), rng), 0.0)
    else:
        f0 = contours.spoken(found.contour_hz, rng)
    audio, exact = world_speech(found, f0, formant)
    return _clip(name, audio, _exact(exact), voice, "world")


def _exact(f0_hz: NDArray[np.float64]) -> Track:
    return Track(f0_hz, np.ones(len(f0_hz), dtype=bool))


def _clip(name: str, audio: NDArray[np.float64], track: Track, voice: str, kind: str) -> Clip:
    """A clip from audio at 24 kHz and a track every 5 ms."""
    at_16k = np.asarray(soxr.resample(audio, SPEECH_RATE, SAMPLE_RATE, quality="VHQ"), dtype=np.float64)
    at_16k *= _LOUDEST / max(float(np.abs(at_16k).max()), 1e-9)
    frames = len(at_16k) // HOP + 1
    f0 = np.pad(track.f0_hz[::2], (0, max(frames - len(track.f0_hz[::2]), 0)))[:frames]
    known = np.pad(track.known[::2], (0, max(frames - len(track.known[::2]), 0)))[:frames]
    power = np.convolve(np.square(at_16k), np.full(2 * HOP, 0.5 / HOP), "same")[::HOP]
    power = np.pad(power, (0, max(frames - len(power), 0)))[:frames]
    # What is voiced but inaudible is unvoiced for whoever listens; label it neither way.
    audible = power > power.max() * 10.0 ** (_FLOOR_DB / 10.0)
    known = known & (audible | (f0 == 0))
    return Clip(name, at_16k.astype(np.float32), f0.astype(np.float32), known, voice, kind)
