"""The phase of the source in whole numbers: equal to exact arithmetic over hours, without float64."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from altervox.models.rvc.decoder import HarmonicSource
from altervox.models.rvc.phase import UNITS_PER_CYCLE, frame_phases, phase_of

HOUR = 360_000  # frames of 10 ms


def carried(f0: np.ndarray, block: int) -> int:
    """The phase after all frames, carried from block to block."""
    phase = torch.zeros(1, 1, dtype=torch.int32)
    for start in range(0, len(f0), block):
        phase = frame_phases(phase, torch.from_numpy(f0[None, start : start + block]))[:, -1:]
    return int(phase)


@pytest.mark.parametrize("hz", [200.0, 99.99999, 1099.3, 51.7, 8799.99, 1.0000001])
def test_hours_of_one_pitch_leave_no_error(hz: float) -> None:
    f0 = np.full(3 * HOUR, hz, dtype=np.float32)
    exact = Fraction(float(f0[0])) * len(f0) / 100 % 1 * UNITS_PER_CYCLE
    assert carried(f0, 9000) == exact


def test_hours_of_speech_equal_float64() -> None:
    """Blocks of another length make no difference, and float64 accumulates the larger error of the two."""
    rng = np.random.default_rng(0)
    f0 = (180.0 + 60.0 * rng.standard_normal(HOUR)).astype(np.float32)
    f0[(rng.random(HOUR) < 0.4) | (f0 < 30.0)] = 0.0
    exact = sum(round(float(hz) * 2**23) for hz in f0 % np.float32(100.0)) % UNITS_PER_CYCLE
    assert carried(f0, 100) == carried(f0, 5000) == exact
    error = (f0.astype(np.float64).sum() * 0.01 - exact / UNITS_PER_CYCLE + 0.5) % 1.0 - 0.5
    assert abs(error) < 1e-6


def test_the_largest_sums_wrap() -> None:
    """One unit below a cycle plus the largest advance does not overflow."""
    phase = torch.tensor([[UNITS_PER_CYCLE - 1]], dtype=torch.int32)
    f0 = torch.full((1, 33), float(np.nextafter(np.float32(100.0), np.float32(0.0))))
    found = frame_phases(phase, f0)
    assert int(found.min()) >= 0
    assert int(found.max()) < UNITS_PER_CYCLE
    assert phase_of(1.0 - 1e-12) == 0


@torch.inference_mode()
@pytest.mark.parametrize("hz", [60.0, 233.3, 1100.0])
def test_the_sine_is_that_of_float64(hz: float) -> None:
    source, frames = HarmonicSource(48000, 480), 50
    torch.nn.init.ones_(source.l_linear.weight)
    torch.nn.init.zeros_(source.l_linear.bias)
    phase = torch.tensor([[phase_of(0.37)]], dtype=torch.int32)
    found, _ = source(torch.full((1, frames), hz), torch.zeros(1, frames * 480, 1), phase)
    cycles = 0.37 + float(np.float32(hz)) * np.arange(1, frames * 480 + 1) / 48000
    expected = np.tanh(0.1 * np.sin(2.0 * math.pi * cycles))
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=2e-6)
