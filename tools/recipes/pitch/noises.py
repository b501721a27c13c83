"""Sounds that are no voice: music and recorded noises from a General MIDI sound font, and synthetic ones.

The sound font is FluidR3 (Debian's fluid-soundfont-gm, MIT licence); its instruments, applause, sea and rotor are
recordings. Music is random notes: what matters is its spectrum.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ....kernels.types import FloatArray
from .sources import RecipeError
from .speech import seeded

SAMPLE_RATE = 16000
SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
_PIECES = 40
_PIECE_S = 30.0
_TICKS_PER_S = 960.0  # mido's 480 per beat at 120 beats a minute
_VOICES = {52, 53, 54, 85, 91}  # choirs and their like: they are voices
_SOUNDS = tuple(range(120, 128))  # fret noise, breath, sea, birds, telephone, helicopter, applause, gunshot
_RENDER_TIMEOUT_S = 120.0


def build_noises(folder: Path) -> Iterator[Path]:
    """Render the pieces that are not there yet, every third one noises and the others music; yields each file.

    Raises:
        RecipeError: fluidsynth or its sound font is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(_PIECES):
        path = folder / f"{index:02d}.flac"
        if not path.exists():
            if shutil.which("fluidsynth") is None or not SOUND_FONT.exists():
                raise RecipeError("fluidsynth is not installed: apt install fluidsynth fluid-soundfont-gm")
            _render(_score(index), path)
        yield path


def read_noises(folder: Path) -> list[FloatArray]:
    """All rendered pieces at 16 kHz."""
    return [soundfile.read(path, dtype="float32")[0] for path in sorted(folder.glob("*.flac"))]


def coloured_noise(samples: int, rng: np.random.Generator, slope_db: float) -> FloatArray:
    """Noise whose spectrum falls by `slope_db` per octave (0 white, 3 pink, 6 brown), RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    octaves = np.log2(np.maximum(np.arange(len(spectrum)), 1.0))
    shaped = np.fft.irfft(spectrum * 10.0 ** (-slope_db * octaves / 20.0), samples)
    return np.asarray(shaped / max(float(np.sqrt(np.mean(shaped**2))), 1e-9), dtype=np.float32)


def mains_hum(samples: int, rng: np.random.Generator) -> FloatArray:
    """50 or 60 Hz with harmonics, RMS 1."""
    time_s = np.arange(samples) / SAMPLE_RATE
    base = float(rng.choice([50.0, 60.0]))
    parts = [rng.exponential(1.0 / k) * np.cos(2 * np.pi * (base * k * time_s + rng.random())) for k in range(1, 12)]
    hum = np.sum(parts, axis=0)
    return np.asarray(hum / max(float(np.sqrt(np.mean(hum**2))), 1e-9), dtype=np.float32)


def clicks(samples: int, rng: np.random.Generator) -> FloatArray:
    """Keys and mouse buttons: short bursts at random times, RMS 1."""
    out = np.zeros(samples)
    for _ in range(int(rng.integers(2, 14))):
        length = int(rng.uniform(0.002, 0.02) * SAMPLE_RATE)
        start = int(rng.integers(0, max(samples - length, 1)))
        ring = np.cos(2 * np.pi * rng.uniform(800, 6000) / SAMPLE_RATE * np.arange(length))
        burst = rng.standard_normal(length) * 0.5 + ring
        piece = (burst * np.exp(-np.arange(length) / (0.2 * length)))[: samples - start]
        out[start : start + len(piece)] += rng.uniform(0.3, 1.0) * piece
    return np.asarray(out / max(float(np.sqrt(np.mean(out**2))), 1e-9), dtype=np.float32)


def _score(index: int) -> Any:
    """A MIDI file of random notes."""
    mido = _mido()
    rng = seeded("noise", index)
    score, track = mido.MidiFile(), mido.MidiTrack()
    score.tracks.append(track)
    events: list[tuple[float, Any]] = []
    sounds_only = index % 3 == 0
    programs = [p for p in range(120) if p not in _VOICES]
    for channel in range(1 if sounds_only else 4):
        start, program = 0.0, 0
        while start < _PIECE_S - 2.0:
            if rng.random() < 0.3 or start == 0.0:
                program = int(rng.choice(_SOUNDS if sounds_only else programs))
                events.append((start, mido.Message("program_change", channel=channel, program=program)))
            length = float(rng.uniform(1.0, 4.0) if sounds_only else rng.choice([0.12, 0.25, 0.5, 1.0]))
            root = int(rng.integers(40, 80))
            for step in (0, 4, 7)[: int(rng.integers(1, 4))]:
                events += _note(channel, root + step, start, length, rng)
            start += length * float(rng.choice([1.0, 1.0, 2.0]))
    start = 0.0
    while start < _PIECE_S - 2.0:  # drums are on channel 9
        events += _note(9, int(rng.integers(35, 82)), start, 0.1, rng)
        start += float(rng.choice([0.125, 0.25, 0.5, 1.0]))
    last = 0
    for time_s, message in sorted(events, key=lambda event: event[0]):
        ticks = round(time_s * _TICKS_PER_S)
        track.append(message.copy(time=ticks - last))
        last = ticks
    return score


def _note(channel: int, pitch: int, start: float, length: float, rng: np.random.Generator) -> list[tuple[float, Any]]:
    mido = _mido()
    on = mido.Message("note_on", channel=channel, note=pitch, velocity=int(rng.integers(50, 120)))
    return [(start, on), (start + length, mido.Message("note_off", channel=channel, note=pitch))]


def _mido() -> Any:
    try:
        return importlib.import_module("mido")
    except ImportError as error:
        raise RecipeError(f"mido is not installed ({error}): see docs/pitch.md") from error


def _render(score: Any, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "score.mid", Path(folder) / "rendered.wav"
        score.save(str(midi))
        command = ["fluidsynth", "-ni", "-r", str(SAMPLE_RATE), "-F", str(wav), str(SOUND_FONT), str(midi)]
        subprocess.run(command, check=True, timeout=_RENDER_TIMEOUT_S, capture_output=True)
        stereo, _ = soundfile.read(wav, dtype="float32", always_2d=True)
    mono = stereo.mean(axis=1)
    unfinished = path.with_suffix(".part")
    mono = (mono / max(float(np.abs(mono).max()), 1e-6) * 0.9).astype(np.float32)
    soundfile.write(unfinished, mono, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    unfinished.replace(path)
