"""Sound that is no clean speech, for what finds pitch: each a function of nothing that gives 16 kHz mono."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

DATA = Path(__file__).parents[1] / "data"
RATE = 16000


def recording(name: str) -> np.ndarray:
    """One of the recordings at 16 kHz."""
    audio, rate = soundfile.read(DATA / f"{name}.wav", dtype="float32")
    common = np.gcd(RATE, rate)
    return np.asarray(scipy.signal.resample_poly(audio, RATE // common, rate // common), dtype=np.float32)


def man() -> np.ndarray:
    """5 s of speech."""
    return recording("librivox_male")


def woman() -> np.ndarray:
    """5 s of speech."""
    return recording("alsa_female")


def noise(level_db: float) -> np.ndarray:
    """3 s of white noise, its RMS relative to full scale."""
    rng = np.random.default_rng(1)
    return np.asarray(10.0 ** (level_db / 20.0) * rng.standard_normal(3 * RATE), dtype=np.float32)


def clipped() -> np.ndarray:
    """A man who is 20 dB too loud for his converter."""
    return np.clip(man() * np.float32(10.0 / np.abs(man()).max()), -1.0, 1.0)


def telephone(audio: np.ndarray) -> np.ndarray:
    """The band of a telephone, 300 to 3400 Hz at 8 kHz, resampled up again."""
    low = scipy.signal.resample_poly(audio, 1, 2)
    band = scipy.signal.butter(4, (300.0, 3400.0), "bandpass", fs=RATE // 2, output="sos")
    return np.asarray(scipy.signal.resample_poly(scipy.signal.sosfilt(band, low), 2, 1), dtype=np.float32)


def two_speakers() -> np.ndarray:
    """Both at once, at one level."""
    parts = (man(), woman())
    length = min(map(len, parts))
    return np.asarray(sum(part[:length] / np.std(part) for part in parts) * 0.05, dtype=np.float32)


def chords() -> np.ndarray:
    """Three voices of ten harmonics, another chord every half second."""
    t = np.arange(RATE // 2) / RATE
    parts = []
    for root_hz in (110.0, 146.8, 164.8, 220.0, 98.0, 130.8):
        notes = [root_hz * 2.0 ** (semitones / 12.0) for semitones in (0, 4, 7)]
        parts.append(sum(np.sin(2 * np.pi * k * hz * t) / k for hz in notes for k in range(1, 11)))
    return np.asarray(0.05 * np.concatenate(parts), dtype=np.float32)


def clicks() -> np.ndarray:
    """Single samples at full scale, a second apart."""
    audio = np.zeros(3 * RATE, dtype=np.float32)
    audio[RATE // 2 :: RATE] = 1.0
    return audio


NO_VOICE: dict[str, Callable[[], np.ndarray]] = {
    "silence": lambda: np.zeros(2 * RATE, dtype=np.float32),
    "DC": lambda: np.full(2 * RATE, 0.3, dtype=np.float32),
    "noise at -60 dB": lambda: noise(-60.0),
    "noise at -40 dB": lambda: noise(-40.0),
    "noise at -20 dB": lambda: noise(-20.0),
    "noise at -6 dB": lambda: noise(-6.0),
}
OTHERS: dict[str, Callable[[], np.ndarray]] = {
    "clipped speech": clipped,
    "telephone": lambda: telephone(man()),
    "two speakers": two_speakers,
    "chords": chords,
    "clicks": clicks,
    "far beyond full scale": lambda: 1000.0 * man(),
    "hardly there": lambda: 1e-5 * man(),
    "one sample": lambda: np.full(1, 0.5, dtype=np.float32),
}
