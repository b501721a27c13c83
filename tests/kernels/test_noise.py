"""Noise by position: the same numbers for the same frame, whichever window asks."""

from __future__ import annotations

import numpy as np
import pytest
from altervox.kernels.noise import NoiseReader, frame_noise


@pytest.mark.parametrize("first", [-1000, -65, -64, -63, -1, 0, 1, 63, 64, 100, 2**40])
@pytest.mark.parametrize("frames", [1, 2, 63, 64, 65, 200])
def test_any_window_draws_the_same_numbers(first: int, frames: int) -> None:
    whole = frame_noise(7, 1, first - 70, frames + 140, 5)
    found = frame_noise(7, 1, first, frames, 5)
    assert found.shape == (frames, 5)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, whole[70 : 70 + frames])


@pytest.mark.parametrize("first", [-64, -1, 0, 64])
def test_no_frames(first: int) -> None:
    assert frame_noise(0, 0, first, 0, 3).shape == (0, 3)


def test_frames_before_the_start_differ_from_those_after_it() -> None:
    around = frame_noise(0, 0, -500, 1000, 4)
    assert len(np.unique(around, axis=0)) == 1000


@pytest.mark.parametrize("one", [(0, 0), (1, 0), (0, 1)])
@pytest.mark.parametrize("other", [(2, 0), (0, 2), (2**63 - 1, 0), (0, 2**32), (1, 1)])
def test_seeds_and_streams_are_independent(one: tuple[int, int], other: tuple[int, int]) -> None:
    a, b = (frame_noise(seed, stream, 0, 2000, 10).ravel() for seed, stream in (one, other))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))
    for shift in (1, 10, 640):  # nor is one the other, later
        assert abs(np.corrcoef(a[shift:], b[:-shift])[0, 1]) < 4 / np.sqrt(len(a))


def test_it_is_standard_normal_and_white() -> None:
    noise = frame_noise(3, 0, -5000, 20000, 10).astype(np.float64)
    flat = noise.ravel()
    count = len(flat)
    assert abs(flat.mean()) < 4 / np.sqrt(count)
    assert abs(flat.var() - 1.0) < 4 * np.sqrt(2 / count)
    assert abs(np.mean(flat**3)) < 4 * np.sqrt(15 / count)
    assert abs(np.mean(flat**4) - 3.0) < 4 * np.sqrt(96 / count)
    for shift in (1, 2, 10, 640, 6400):  # the next number, frame and chunk
        assert abs(np.mean(flat[shift:] * flat[:-shift])) < 4 / np.sqrt(count)
    assert np.abs(np.corrcoef(noise.T) - np.eye(10)).max() < 5 / np.sqrt(len(noise))


@pytest.mark.parametrize("sizes", [[1], [5], [64], [3, 70, 1]])
@pytest.mark.parametrize("overlap", [0, 1])
def test_a_reader_draws_the_same_numbers_in_any_portions(sizes: list[int], overlap: int) -> None:
    """From before the start on, each portion with or without the last frame of the one before."""
    reader, first = NoiseReader(3, 7), -70
    for k in range(60):
        out = np.zeros((sizes[k % len(sizes)] + overlap, 7), dtype=np.float32)
        reader.read_into(5, first, out)
        np.testing.assert_array_equal(out, frame_noise(5, 3, first, len(out), 7))
        first += len(out) - overlap


def test_a_reader_finds_any_frame_of_any_seed() -> None:
    reader, out = NoiseReader(0, 7), np.zeros((3, 7), dtype=np.float32)
    for seed, first in ((0, 0), (0, 1000), (1, 1003), (1, 5), (2**63, -1), (2**63, 2**40 + 63)):
        reader.read_into(seed, first, out)
        np.testing.assert_array_equal(out, frame_noise(seed, 0, first, 3, 7))
