"""A test signal and where it is in what was heard: by how much a route delays sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...kernels.types import FloatArray

PROBE_S = 0.1
TRIES = 7
LONGEST_S = 0.6  # delay that is looked for
EVERY_S = PROBE_S + LONGEST_S
LEAST_LIKENESS = 0.3  # chance stays below 0.2 in 0.7 s of noise; the signal 10 dB below noise of its own band gives 0.3
AGREE_MS = 3.0
_AMPLITUDE = 0.25
_FROM_HZ, _TO_HZ = 300.0, 5000.0  # what small loudspeakers, telephones' microphones and the high-pass let through
_NOTHING = 1e-12  # mean square of what counts as digital silence


@dataclass(frozen=True, slots=True)
class Found:
    """Where a probe was found.

    Attributes:
        position: Of its first sample, to a fraction of a sample.
        likeness: 0 to 1: correlation with what was heard there; 1 is an exact copy at any level, either way round.
        gain: Of the copy.
    """

    position: float
    likeness: float
    gain: float


def probe(sample_rate: int) -> FloatArray:
    """A sweep with soft ends, 100 ms."""
    t = np.arange(round(PROBE_S * sample_rate)) / sample_rate
    phase = 2.0 * np.pi * (_FROM_HZ * t + 0.5 * (_TO_HZ - _FROM_HZ) / PROBE_S * t * t)
    return (_AMPLITUDE * np.hanning(len(t)) * np.sin(phase)).astype(np.float32)


def sweeps(sample_rate: int) -> FloatArray:
    """The probe, then silence, several times: one every 0.7 s."""
    step, one = round(EVERY_S * sample_rate), probe(sample_rate)
    several = np.zeros(TRIES * step, dtype=np.float32)
    for i in range(TRIES):
        several[i * step : i * step + len(one)] = one
    return several


def find_probe(heard: FloatArray, wanted: FloatArray) -> Found | None:
    """The place that is most like the probe, None if none is.

    Args:
        heard: [N] at the probe's rate.
        wanted: The probe.
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
    likeness = np.abs(dot) / np.sqrt(np.maximum(energy, _NOTHING * len(p)) * own)
    best = int(np.argmax(likeness))
    if likeness[best] < LEAST_LIKENESS:
        return None
    fraction = 0.0
    if 0 < best < places - 1:
        a, b, c = np.abs(dot[best - 1 : best + 2])
        bend = a - 2.0 * b + c
        fraction = 0.5 * (a - c) / bend if bend < 0.0 else 0.0
    return Found(best + float(fraction), min(float(likeness[best]), 1.0), abs(float(dot[best])) / own)


def agreed_ms(delays_ms: Sequence[float], tries: int) -> float | None:
    """The median, if more than half of the tries lie within 3 ms of it; None if they do not say the same.

    Args:
        delays_ms: Of the tries in which something was found.
        tries: How many there were.
    """
    if not delays_ms:
        return None
    middle = float(np.median(delays_ms))
    agreeing = sum(abs(delay - middle) <= AGREE_MS for delay in delays_ms)
    return middle if 2 * agreeing > tries else None
