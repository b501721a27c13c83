"""The exported step: one file for all lengths, computing what the module computes; the shipped one is up to date."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from altervox.models import base_models
from altervox.models.export.rmvpe import export_step
from altervox.models.pitch.rmvpe import RMVPE, RmvpeStep
from altervox.realtime.runners import make_runner

CPU = torch.device("cpu")
GEOMETRIES = [(1, 0, 64), (2, 0, 64), (2, 2, 64), (10, 4, 96), (50, 2, 96), (64, 480, 1088)]  # block, right, window


@pytest.fixture(scope="module")
def model() -> RMVPE:
    torch.manual_seed(0)
    net = RMVPE(base_channels=4, blocks=2, intermediate_layers=2, gru_size=24)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():  # its tensors are the network's own
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif name.endswith("running_mean"):
                tensor.normal_(0.0, 0.3)
    return net


def largest_difference(model: RMVPE, path: Path, block: int, right: int, window: int) -> float:
    """Between the file in ONNX Runtime and the module, over salience and state of four steps in a row."""
    step, worst = RmvpeStep(model, block + right, window), 0.0
    runner = make_runner(step.spec, path, "onnx")
    runner.inputs["last_row"].fill_(block - 1)
    h = torch.zeros_like(runner.inputs["h_in"])
    generator = torch.Generator().manual_seed(1)
    for i in range(4):
        mel = torch.randn(1, 128, window, generator=generator) * 2.0 - 6.0
        first = (window - block - right) * i // 3
        rows = torch.arange(first, first + block + right)[None]
        runner.inputs["mel"].copy_(mel)
        runner.inputs["rows"].copy_(rows)
        runner.run()
        with torch.inference_mode():
            salience, h = step(mel, rows, torch.tensor([[block - 1]]), h)
        assert salience.shape == (1, block + right, 360)
        assert h.abs().max() > 0.01
        pairs = ((runner.outputs["salience"], salience), (runner.inputs["h_in"], h))
        worst = max(worst, *(float((got - want).abs().max()) for got, want in pairs))
    return worst


def test_one_file_serves_all_lengths(model: RMVPE, tmp_path: Path) -> None:
    path = tmp_path / "step.onnx"
    export_step(model, path)
    assert [p.name for p in tmp_path.iterdir()] == ["step.onnx"]
    for geometry in GEOMETRIES:
        assert largest_difference(model, path, *geometry) < 1e-5, geometry


def test_the_shipped_graph_is_that_of_the_shipped_weights() -> None:
    model = base_models.small_pitch_network(CPU)
    for geometry in GEOMETRIES[1:3]:
        assert largest_difference(model, base_models.small_pitch_network_onnx_path(), *geometry) < 1e-5


def test_another_networks_graph_is_noticed(tmp_path: Path) -> None:
    """A stale file fails the comparison above: weights that moved by a thousandth do."""
    other = RMVPE.from_state(
        {
            k: v * 1.001 if v.is_floating_point() else v
            for k, v in base_models.small_pitch_network(CPU).state_dict().items()
        }
    )
    export_step(other, tmp_path / "other.onnx")
    assert largest_difference(base_models.small_pitch_network(CPU), tmp_path / "other.onnx", 2, 0, 64) > 1e-5


@pytest.mark.parametrize("path", [base_models.small_pitch_network_path(), base_models.small_pitch_network_onnx_path()])
def test_the_shipped_files_are_small(path: Path) -> None:
    assert path.stat().st_size < 5_000_000
