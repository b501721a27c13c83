"""Rate conversion of a stream: the exact length, no delay, and no trace of how it was cut into blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from altervox.models.resample import resampled
from altervox.models.voice import rescaled_length

RATES = [(16000, 48000), (48000, 16000), (44100, 48000), (44100, 16000), (8000, 44100), (3000, 24000), (384000, 24000)]


def cut(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    yield from (samples[i : i + size] for i in range(0, len(samples), size))


def joined(blocks: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=np.float32), *blocks])


def sine(samples: int, rate: int, hz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(samples) / rate + 0.7)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize("samples", [0, 1, 2, 7, 100, 4801, 50021])
def test_the_length_is_exact(from_rate: int, to_rate: int, samples: int) -> None:
    noise = np.random.default_rng(1).standard_normal(samples)
    for size in (1000, 48000):
        found = joined(resampled(cut(noise, size), from_rate, to_rate))
        assert found.dtype == np.float32
        assert len(found) == rescaled_length(samples, from_rate, to_rate)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_a_sine_keeps_phase_and_amplitude(from_rate: int, to_rate: int) -> None:
    hz = min(from_rate, to_rate) / 5.3
    found = joined(resampled(cut(sine(from_rate, from_rate, hz), 777), from_rate, to_rate))
    edge = to_rate // 20
    np.testing.assert_allclose(found[edge:-edge], sine(to_rate, to_rate, hz)[edge:-edge], atol=1e-3)


@pytest.mark.parametrize(("from_rate", "to_rate"), [(48000, 16000), (44100, 16000), (384000, 24000)])
def test_what_the_lower_rate_cannot_hold_is_gone(from_rate: int, to_rate: int) -> None:
    found = joined(resampled(cut(sine(from_rate, from_rate, to_rate * 0.6), 5000), from_rate, to_rate))
    edge = to_rate // 20
    assert np.abs(found[edge:-edge]).max() < 1e-4


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_blocks_leave_no_trace(from_rate: int, to_rate: int) -> None:
    noise = np.random.default_rng(2).standard_normal(20011).astype(np.float32)
    whole = joined(resampled(iter([noise]), from_rate, to_rate))
    for size in (1, 160, 4097) if from_rate < 100000 else (160, 4097):
        np.testing.assert_allclose(joined(resampled(cut(noise, size), from_rate, to_rate)), whole, atol=1e-6)


def test_empty_blocks_and_strided_ones_are_taken() -> None:
    noise = np.random.default_rng(3).standard_normal(8000)
    blocks = [np.zeros(0), noise[:3000], np.zeros(0), np.repeat(noise[3000:], 2)[::2], np.zeros(0)]
    np.testing.assert_allclose(
        joined(resampled(blocks, 16000, 48000)), joined(resampled([noise], 16000, 48000)), atol=1e-6
    )


def test_one_rate_passes_through() -> None:
    noise = np.random.default_rng(4).standard_normal(5000)
    found = list(resampled(cut(noise, 1000), 44100, 44100))
    assert [len(block) for block in found] == [1000] * 5
    np.testing.assert_array_equal(np.concatenate(found), noise.astype(np.float32))


def test_the_input_is_read_as_it_is_needed() -> None:
    """A stream has no end to wait for."""
    taken = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal taken
        while True:
            taken += 1
            yield np.zeros(1600)

    stream = resampled(endless(), 16000, 24000)
    assert sum(len(next(stream)) for _ in range(5)) > 0
    assert taken < 20
