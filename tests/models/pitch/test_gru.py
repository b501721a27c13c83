"""The recurrent layer: contiguous buffers, a refusal of cuDNN, and sequences beyond what one call may hold."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from altervox.kernels.errors import ParameterError
from altervox.models.pitch import gru
from altervox.models.pitch.gru import BoundedGRU, fused_gru
from torch import Tensor, nn

INPUT, HIDDEN, FRAMES = 12, 8, 50


@pytest.fixture
def layer() -> BoundedGRU:
    torch.manual_seed(0)
    return BoundedGRU(INPUT, HIDDEN).eval()


def zero(layer: BoundedGRU, x: Tensor) -> Tensor:
    return layer.initial_state(len(x), x)


def spy(layer: BoundedGRU, seen: list[tuple[Tensor, ...]]) -> None:
    layer.gru.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))


def layouts() -> dict[str, Tensor]:
    torch.manual_seed(1)
    base = torch.randn(1, FRAMES, INPUT)
    return {
        "contiguous": base,
        "transposed": base.transpose(1, 2).contiguous().transpose(1, 2),
        "strided": torch.stack((base, torch.zeros_like(base)), dim=-1).flatten(2)[..., ::2],
        "sliced": torch.cat((torch.zeros(1, 3, INPUT), base), dim=1)[:, 3:],
    }


@torch.inference_mode()
@pytest.mark.parametrize("name", list(layouts()))
def test_only_contiguous_buffers_reach_the_kernel(layer: BoundedGRU, name: str) -> None:
    expected = layer.gru(layouts()["contiguous"])[0]
    x = layouts()[name]
    state = torch.zeros(HIDDEN, 1, 1).permute(2, 1, 0)
    seen: list[tuple[Tensor, ...]] = []
    spy(layer, seen)
    y, _ = layer(x, state)
    assert seen
    assert all(tensor.is_contiguous() for call in seen for tensor in call)
    torch.testing.assert_close(y, expected)


@torch.inference_mode()
@pytest.mark.parametrize(
    "message",
    [
        "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED. This error may appear if you passed in a non-contiguous input.",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    ],
)
def test_a_refusal_by_cudnn_leaves_the_result_the_same(
    layer: BoundedGRU, message: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Stands in for the driver: the failure is raised where cuDNN would be called. Torch's GRU is not asked again."""
    x = layouts()["contiguous"]
    expected, expected_states = layer(x, zero(layer, x))

    def refusing(self: nn.GRU, *args: Any) -> Any:
        raise RuntimeError(message)

    monkeypatch.setattr(nn.GRU, "forward", refusing)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            y, states = layer(x, zero(layer, x))
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(states, expected_states, atol=1e-6, rtol=0)
    assert layer.cudnn_refusals == 3
    assert len(caplog.records) == 1, "said once, counted each time"


@torch.inference_mode()
@pytest.mark.parametrize("frames", [1, 2, 7, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_steps_give_what_the_gru_gives(layer: BoundedGRU, dtype: torch.dtype, frames: int) -> None:
    """Both directions, both states, each stream of a batch; float64 takes the steps that a GPU takes, one by one."""
    torch.manual_seed(5)
    x, state = torch.randn(3, frames, INPUT, dtype=dtype), torch.randn(2, 3, HIDDEN, dtype=dtype)
    before = state.clone()
    layer.to(dtype)
    for got, expected in zip(fused_gru(layer.gru, x, state), layer.gru(x, state), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    assert torch.equal(state, before)


@torch.inference_mode()
def test_the_environment_asks_for_fused_steps(layer: BoundedGRU, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTERVOX_GRU", "fused")
    fused = BoundedGRU(INPUT, HIDDEN).eval()
    fused.load_state_dict(layer.state_dict())
    seen: list[tuple[Tensor, ...]] = []
    spy(fused, seen)
    x = layouts()["contiguous"]
    torch.testing.assert_close(fused(x, zero(fused, x))[0], layer(x, zero(layer, x))[0], atol=1e-6, rtol=0)
    assert not seen, "torch's GRU, which may be cuDNN's, is not called"
    monkeypatch.setenv("ALTERVOX_GRU", "cudnn")
    with pytest.raises(ParameterError, match="ALTERVOX_GRU is 'cudnn'; it must be one of auto, fused"):
        BoundedGRU(INPUT, HIDDEN)


def test_other_errors_are_not_swallowed(layer: BoundedGRU) -> None:
    with pytest.raises(RuntimeError, match="input"):
        layer(torch.zeros(1, 4, INPUT + 1), torch.zeros(1, 1, HIDDEN))


@torch.inference_mode()
@pytest.mark.parametrize("frames", [1, 6, 7, 8, 13, 14, 15, 50])
def test_pieces_equal_one_call(layer: BoundedGRU, frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    x, state = torch.randn(2, frames, INPUT), torch.randn(1, 2, HIDDEN)
    expected = layer.gru(x, torch.cat((state, torch.zeros_like(state))))[0]
    monkeypatch.setattr(gru, "MAX_STEPS", 7)
    seen: list[tuple[Tensor, ...]] = []
    spy(layer, seen)
    y, states = layer(x, state)
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(states, expected[..., :HIDDEN], atol=1e-6, rtol=1e-5)
    assert max(call[0].shape[1] for call in seen) <= 7


@torch.inference_mode()
def test_70_000_frames_pass_in_bounded_calls(layer: BoundedGRU) -> None:
    """Beyond 65,535 steps, where cuDNN has been seen to give up."""
    x = torch.randn(1, 70_000, INPUT, generator=torch.Generator().manual_seed(3))
    seen: list[tuple[Tensor, ...]] = []
    expected = layer.gru(x)[0]
    spy(layer, seen)
    y, _ = layer(x, zero(layer, x))
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-4)
    assert max(call[0].shape[1] for call in seen) <= gru.MAX_STEPS


@pytest.mark.gpu
@torch.inference_mode()
@pytest.mark.parametrize("frames", [65_535, 65_536, 70_000])
def test_long_sequences_on_a_gpu(frames: int) -> None:
    torch.manual_seed(4)
    layer = BoundedGRU(384, 256).eval().cuda()
    x = torch.randn(1, frames, 384, device="cuda")
    y, _ = layer(x, zero(layer, x))
    expected = layer.cpu()(x.cpu(), torch.zeros(1, 1, 256))[0]
    torch.testing.assert_close(y.cpu(), expected, atol=1e-3, rtol=1e-3)
    assert layer.cudnn_refusals == 0


@pytest.mark.gpu
@torch.inference_mode()
def test_fused_steps_on_a_gpu_are_captured() -> None:
    torch.manual_seed(6)
    layer = BoundedGRU(384, 256).eval().cuda()
    x, state = torch.randn(1, 12, 384, device="cuda"), torch.randn(2, 1, 256, device="cuda")
    expected = layer.cpu().gru(x.cpu(), state.cpu())[0]
    layer.cuda()
    fused_gru(layer.gru, x, state)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y, _ = fused_gru(layer.gru, x, state)
    graph.replay()
    torch.testing.assert_close(y.cpu(), expected, atol=1e-4, rtol=1e-4)
