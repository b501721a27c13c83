"""F0 of a whole recording by RMVPE."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from altervox.kernels.salience import VOICING_THRESHOLD, decode_salience
from altervox.models.pitch.rmvpe import RMVPE

HOP = 160


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 512, 513, 5119, 5120, 5121, 16000])
def test_short_input_has_a_frame_per_hop(samples: int) -> None:
    torch.manual_seed(0)
    f0 = RMVPE(4, 1, 1, 32).f0(np.full(samples, 0.1, dtype=np.float32))
    assert f0.shape == (samples // HOP + 1,)
    assert np.isfinite(f0).all()


def test_decoding_keeps_silence_unvoiced() -> None:
    quiet = np.full((3, 360), VOICING_THRESHOLD, dtype=np.float32)
    assert (decode_salience(quiet) == 0).all()
