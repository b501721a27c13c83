"""The two ways to the same mel frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from altervox.models.pitch.mel import HOP, N_FFT, LogMel, MelWorkspace


@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize("level", [0.0, 1e-6, 0.1, 1000.0])
def test_frames_without_torch_are_those_with_it(frames: int, level: float) -> None:
    noise = np.random.default_rng(frames).standard_normal(N_FFT + frames * HOP - 1)
    audio = np.asarray(level * noise, dtype=np.float32)
    front_end = LogMel()
    expected = front_end.frames(torch.from_numpy(audio)[None])[0].numpy()
    found = np.empty((128, frames), dtype=np.float32)
    front_end.frames_into(audio, MelWorkspace.allocate(frames), found)
    assert expected.shape == found.shape
    np.testing.assert_allclose(found, expected, atol=2e-5)
