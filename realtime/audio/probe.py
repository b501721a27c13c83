"""A test signal, and how it is found in a recording: the latency of a signal path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...kernels.types import FloatArray

PROBE_S = 0.1
TRIES = 7
LONGEST_S = 0.6  # longest latency that can be found
EVERY_S = PROBE_S + LONGEST_S
LEAST_CORRELATION = 0.3  # noise of 0.7 s stays below 0.2; the signal 10 dB below noise of its own band gives 0.3
AGREE_MS = 3.0
_AMPLITUDE = 0.25
_FROM_HZ, _TO_HZ = 300.0, 5000.0  # passes small loudspeakers, telephone microphones and the high-pass
_NOTHING = 1e-12  # mean square below which a recording counts as digital silence


@dataclass(frozen=True, slots=True)
class Found:
    """A test signal found in a recording.

    Attributes:
        position: Position of its first sample, to a fraction of a sample.
        correlation: Normalised cross-correlation, 0 to 1; 1 is an exact copy at any level, inverted or not.
        gain: Level of the copy relative to the signal.
    """

    position: float
    correlation: float
    gain: float


def probe(sample_rate: int) -> FloatArray:
    """A sweep of 100 ms with faded ends."""
    t = np.arange(round(PROBE_S * sample_rate)) / sample_rate
    phase = 2.0 * np.pi * (_FROM_HZ * t + 0.5 * (_TO_HZ - _FROM_HZ) / PROBE_S * t * t)
    return (_AMPLITUDE * np.hanning(len(t)) * np.sin(phase)).astype(np.float32)


def sweeps(sample_rate: int) -> FloatArray:
    """Several sweeps, one every 0.7 s, with silence in between."""
    step, one = round(EVERY_S * sample_rate), probe(sample_rate)
    several = np.zeros(TRIES * step, dtype=np.float32)
    for i in range(TRIES):
        several[i * step : i * step + len(one)] = one
    return several


def find_probe(heard: FloatArray, wanted: FloatArray) -> Found | None:
    """Find the sweep by normalised cross-correlation; None if it is not there.

    Args:
        heard: Recording [N].
        wanted: The sweep, at the same rate.
    """
    x, p = np.asarray(heard, np.float64), np.asarray(wanted, np.float64)
    places = len(x) - len(p) + 1
    if places < 3:
        return None
    size = 1 << (len(x) + len(p)).bit_length()
    dot = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(p, size)), size)[:places]
    sums = np.concatenate(([0.0], np.cumsum(x * x)))
    energy = sums[len(p) :] - sums[:places]
    own = float(p @ p)
    correlation = np.abs(dot) / np.sqrt(np.maximum(energy, _NOTHING * len(p)) * own)
    best = int(np.argmax(correlation))
    if correlation[best] < LEAST_CORRELATION:
        return None
    fraction = 0.0
    if 0 < best < places - 1:
        a, b, c = np.abs(dot[best - 1 : best + 2])
        bend = a - 2.0 * b + c
        fraction = 0.5 * (a - c) / bend if bend < 0.0 else 0.0
    return Found(best + float(fraction), min(float(correlation[best]), 1.0), abs(float(dot[best])) / own)


def agreed_ms(delays_ms: Sequence[float], tries: int) -> float | None:
    """The median, if more than half of the tries lie within 3 ms of it; None if they disagree.

    Args:
        delays_ms: Latencies of the sweeps that were found.
        tries: Number of sweeps that were played.
    """
    if not delays_ms:
        return None
    middle = float(np.median(delays_ms))
    agreeing = sum(abs(delay - middle) <= AGREE_MS for delay in delays_ms)
    return middle if 2 * agreeing > tries else None
