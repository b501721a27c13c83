"""Recordings as somebody makes of their own voice: the speech of tests/data, repeated, and what spoils it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from altervox.tools.voices.recordings import Recording
from cli_runner import MALE
from numpy.typing import NDArray

RATE = 24000


def spoken(seconds: float, path: Path = MALE, rate: int = RATE) -> NDArray[np.float32]:
    """One speaker, who says the same again and again, a little faster or slower each time, after a pause."""
    audio, own_rate = soundfile.read(path, dtype="float32")
    said: list[NDArray[np.float32]] = []
    while sum(map(len, said)) < seconds * rate:
        speed = 1.0 + 0.01 * (len(said) % 5 - 2)
        said += [soxr.resample(audio, own_rate * speed, rate), np.zeros(int(1.2 * rate), dtype=np.float32)]
    return np.concatenate(said)[: int(seconds * rate)] / np.float32(1.05 * np.abs(audio).max())


def music(seconds: float) -> NDArray[np.float32]:
    """Chords of a plucked instrument, a new one every half second."""
    rng = np.random.default_rng(1)
    time_s = np.arange(RATE // 2) / RATE
    chords = []
    for _ in range(int(2 * seconds)):
        chord = np.zeros(len(time_s))
        for note in rng.choice(np.array([0, 2, 4, 5, 7, 9, 11, 12]), 3, replace=False):
            hz = 196.0 * 2.0 ** (note / 12.0)
            for harmonic in range(1, 7):
                chord += np.sin(2.0 * np.pi * harmonic * hz * time_s) / harmonic**1.5
        chords.append(chord * np.exp(-2.0 * time_s))
    return np.asarray(np.concatenate(chords) / 8.0, dtype=np.float32)


def noisy(audio: NDArray[np.float32], snr_db: float) -> NDArray[np.float32]:
    """With white noise."""
    noise = np.random.default_rng(0).standard_normal(len(audio)).astype(np.float32)
    power = np.square(audio[np.abs(audio) > 0.0]).mean()
    return np.asarray(audio + noise * np.sqrt(power / 10.0 ** (snr_db / 10.0)), dtype=np.float32)


def telephone(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without what is above 4 kHz."""
    return np.asarray(soxr.resample(soxr.resample(audio, RATE, 8000), 8000, RATE), dtype=np.float32)


def write(path: Path, audio: NDArray[np.float32], rate: int = RATE) -> Path:
    """A sound file of 16 bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(audio, -1.0, 1.0), rate, "PCM_16")
    return path


def recording(audio: NDArray[np.float32], rate: int = RATE) -> Recording:
    """A recording as it was read, from audio at 24 kHz."""
    audio = audio * (0.7 / np.abs(audio).max())
    return Recording(Path("it.wav"), rate, np.rint(np.clip(audio, -1.0, 1.0) * 32767.0).astype(np.int16))
