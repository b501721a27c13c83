"""The content encoder on two threads against the same on one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import weights
from altervox.models.rvc.content import Hubert
from altervox.models.rvc.content_halves import HalvedContentStep
from altervox.models.rvc.steps import ContentStep


@pytest.fixture(scope="module")
def hubert() -> Hubert:
    net = Hubert(channels=32, layers=10, ffn_width=64)
    net.load_state_dict(weights.fill_network(net))
    return net


@torch.inference_mode()
@pytest.mark.parametrize("samples", [720, 3360, 18560, 60000])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_two_halves_make_the_whole(hubert: Hubert, version: str, samples: int) -> None:
    """From windows of two frames to some that reach beyond what the positional convolution sees."""
    step = ContentStep(hubert, version, samples)
    audio = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    with ThreadPoolExecutor(1) as beside:
        torch.testing.assert_close(HalvedContentStep(step, beside)(audio), step(audio), atol=1e-5, rtol=1e-4)


def failing_at(call: int) -> Callable[[torch.Tensor], torch.Tensor]:
    calls = iter(range(1, 10))

    def failing(x: torch.Tensor) -> torch.Tensor:
        if next(calls) == call:
            raise RuntimeError("out of memory")
        return x

    return failing


@torch.inference_mode()
def test_a_failure_of_either_half_ends_both(hubert: Hubert, monkeypatch: pytest.MonkeyPatch) -> None:
    step, audio = ContentStep(hubert, "v2", 3360), torch.zeros(1, 3360)
    with ThreadPoolExecutor(1) as beside:
        halves = HalvedContentStep(step, beside)
        layer = hubert.encoder.layers[3]
        for call in (1, 2):  # of whichever thread comes first, and of the other
            with monkeypatch.context() as patch:
                patch.setattr(layer.final_layer_norm, "forward", failing_at(call))
                with pytest.raises(RuntimeError, match="out of memory"):
                    halves(audio)
        assert torch.isfinite(halves(audio)).all(), "the next block is not affected"
