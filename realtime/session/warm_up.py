"""Before devices open: all that compiles, allocates or loads does so, and how long blocks take becomes known."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from ..audio.loop import LiveEngine
from .chain import Chain

_BLOCKS = 40
_COLD_BLOCKS = 5  # the first ones compile and allocate


def block_times_ms(engine: LiveEngine, chain: Chain) -> list[float]:
    """Run something like speech through engine and chain; returns how long 40 blocks took, the shortest time first.

    Both are left with a past: reset them.
    """
    size, blocks = engine.block_size, _BLOCKS + _COLD_BLOCKS
    samples = speech_like(blocks * size / engine.sample_rate + 0.01, engine.sample_rate)[: blocks * size]
    out = np.zeros(size, dtype=np.float32)
    times = []
    for block in samples.reshape(blocks, size):
        started = time.perf_counter()
        chain.before(block)
        engine.process(block, out)
        chain.after(out, engine.latency_samples)
        times.append(time.perf_counter() - started)
    return [1000.0 * seconds for seconds in sorted(times[_COLD_BLOCKS:])]


def speech_like(seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """Buzz with a gliding pitch in syllables, breath in between: it takes every path of a voice, as speech does [N]."""
    time_s = np.arange(int(seconds * sample_rate)) / sample_rate
    f0_hz = 140.0 + 40.0 * np.sin(2.0 * np.pi * 0.7 * time_s)
    phase = np.cumsum(f0_hz) / sample_rate
    buzz = np.zeros(len(time_s))
    for harmonic in range(1, 20):
        buzz += np.sin(2.0 * np.pi * harmonic * phase) / harmonic
    syllables = np.clip(3.0 * np.sin(2.0 * np.pi * 2.5 * time_s), 0.0, 1.0)
    breath = np.random.default_rng(0).standard_normal(len(time_s))
    return (0.1 * buzz * syllables + 0.01 * breath).astype(np.float32)
