"""The content encoder's positional convolution in the form that suits a GPU: the same as the plain one."""

from __future__ import annotations

import pytest
import torch
import weights
from altervox.models.rvc.content import WIDTH, Hubert


@torch.inference_mode()
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 49, 63, 64, 200])
def test_the_positional_convolution_at_once_equals_the_plain_one(frames: int, batch: int) -> None:
    encoder = Hubert().encoder
    encoder.load_state_dict(weights.fill_network(encoder))
    x = torch.randn(frames, batch, WIDTH, generator=torch.Generator().manual_seed(frames)).transpose(0, 1)
    expected = encoder.convolved(x)
    assert expected.shape == (batch, frames, WIDTH)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(encoder.convolved_at_once(x), expected, rtol=1e-4, atol=1e-5)
