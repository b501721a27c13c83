"""A test signal like speech, for warming up and for benchmarks."""

from __future__ import annotations

import numpy as np

from ..kernels.types import FloatArray


def speech_like(seconds: float, sample_rate: int) -> FloatArray:
    """A buzz with a gliding pitch in syllables, breath in between: every path of a voice is taken, as by speech [N]."""
    time_s = np.arange(int(seconds * sample_rate)) / sample_rate
    f0_hz = 140.0 + 40.0 * np.sin(2.0 * np.pi * 0.7 * time_s)
    phase = np.cumsum(f0_hz) / sample_rate
    buzz = np.zeros(len(time_s))
    for harmonic in range(1, 20):
        buzz += np.sin(2.0 * np.pi * harmonic * phase) / harmonic
    syllables = np.clip(3.0 * np.sin(2.0 * np.pi * 2.5 * time_s), 0.0, 1.0)
    breath = np.random.default_rng(0).standard_normal(len(time_s))
    return (0.1 * buzz * syllables + 0.01 * breath).astype(np.float32)
