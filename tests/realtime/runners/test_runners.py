"""Ways to run a network: each one equals the module stepped by hand, block after block."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from altervox.kernels.errors import CheckpointError, ParameterError
from altervox.models.graph import GraphSpec, TensorSpec
from altervox.models.pitch.gru import BoundedGRU
from altervox.models.pitch.rmvpe import RMVPE, RmvpeStep
from altervox.realtime.runners import Runner, make_runner, precision
from altervox.realtime.runners.onnx import OnnxRunner
from altervox.realtime.runners.precision import precision_for
from torch import Tensor, nn

BLOCKS = 50
CHANNELS, FRAMES, KERNEL, HIDDEN = 6, 5, 4, 8


class Stateful(nn.Module):
    """A causal convolution with its past carried, and a GRU with its state carried, as the real networks have them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv1d(CHANNELS, CHANNELS, KERNEL)
        self.gru = BoundedGRU(CHANNELS, HIDDEN)
        self.eval()

    def forward(self, x: Tensor, last: Tensor, past_in: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        joined = torch.cat((past_in, x), dim=2)
        y, states = self.gru(torch.tanh(self.conv(joined)).transpose(1, 2), h_in)
        return y, joined[..., -KERNEL + 1 :], states.index_select(1, last).transpose(0, 1)


SPEC = GraphSpec(
    name="stateful",
    inputs={
        "x": TensorSpec((1, CHANNELS, FRAMES)),
        "last": TensorSpec((1,), torch.int64),
        "past_in": TensorSpec((1, CHANNELS, KERNEL - 1)),
        "h_in": TensorSpec((1, 1, HIDDEN)),
    },
    outputs={
        "y": TensorSpec((1, FRAMES, 2 * HIDDEN)),
        "past_out": TensorSpec((1, CHANNELS, KERNEL - 1)),
        "h_out": TensorSpec((1, 1, HIDDEN)),
    },
    carries={"past_in": "past_out", "h_in": "h_out"},
)


def export(spec: GraphSpec, module: nn.Module, path: Path) -> Path:
    example = tuple(torch.zeros(t.shape, dtype=t.dtype) for t in spec.inputs.values())
    torch.onnx.export(
        module, example, str(path), input_names=list(spec.inputs), output_names=list(spec.outputs), dynamo=False
    )
    return path


def eager(spec: GraphSpec, module: nn.Module, _: Path) -> Runner:
    return make_runner(spec, module, "eager")


def eager_on_gpu(spec: GraphSpec, module: nn.Module, _: Path) -> Runner:
    return make_runner(spec, module.cuda(), "eager")


def cuda_graph(spec: GraphSpec, module: nn.Module, _: Path) -> Runner:
    return make_runner(spec, module.cuda(), "cuda-graph")


def onnx(spec: GraphSpec, module: nn.Module, folder: Path) -> Runner:
    return make_runner(spec, export(spec, module, folder / "graph.onnx"), "onnx")


RUNNERS = [
    eager,
    onnx,
    pytest.param(eager_on_gpu, marks=pytest.mark.gpu),
    pytest.param(cuda_graph, marks=pytest.mark.gpu),
]
# What the exporter that needs no further package says about itself, batches of GRUs, and checks of shapes.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::UserWarning:torch.onnx", "ignore::torch.jit.TracerWarning"
)

Build = Callable[[GraphSpec, nn.Module, Path], Runner]


def blocks() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(1, CHANNELS, FRAMES, generator=generator), torch.tensor([i % FRAMES])) for i in range(BLOCKS)]


@torch.inference_mode()
def stepped_by_hand(device: torch.device) -> list[tuple[Tensor, Tensor, Tensor]]:
    module, steps = Stateful().to(device), []
    past, h = torch.zeros(1, CHANNELS, KERNEL - 1, device=device), torch.zeros(1, 1, HIDDEN, device=device)
    for x, last in blocks():
        y, past, h = module(x.to(device), last.to(device), past, h)
        steps.append((y, past, h))
    return steps


@pytest.mark.parametrize("build", RUNNERS)
def test_fifty_blocks_in_a_row_and_again_after_a_reset(build: Build, tmp_path: Path) -> None:
    runner = build(SPEC, Stateful(), tmp_path)
    expected = stepped_by_hand(runner.inputs["x"].device)
    buffers = {**runner.inputs, **runner.outputs}
    addresses = {name: tensor.data_ptr() for name, tensor in buffers.items()}
    passes = []
    for _ in range(2):
        runner.reset()
        assert all(runner.inputs[name].count_nonzero() == 0 for name in SPEC.carries)
        given = []
        for (x, last), (y, past, h) in zip(blocks(), expected, strict=True):
            runner.inputs["x"].copy_(x)
            runner.inputs["last"].copy_(last)
            runner.run()
            given.append(runner.outputs["y"].clone())
            torch.testing.assert_close(given[-1], y, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(runner.inputs["past_in"], past, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(runner.inputs["h_in"], h, atol=1e-5, rtol=1e-4)
        passes.append(torch.stack(given))
    assert torch.equal(passes[0], passes[1])
    now = {**runner.inputs, **runner.outputs}
    assert {name: tensor.data_ptr() for name, tensor in now.items()} == addresses
    assert all(tensor.is_contiguous() for tensor in now.values())


@pytest.mark.parametrize("build", RUNNERS)
def test_the_pitch_network_follows_its_block_through_the_window(build: Build, tmp_path: Path) -> None:
    """One graph, every offset: what the stream does from step to step."""
    torch.manual_seed(3)
    model = RMVPE(base_channels=4, blocks=1, intermediate_layers=1, gru_size=16)
    step = RmvpeStep(model, 5, 64)
    runner = build(step.spec, step, tmp_path)
    device = runner.inputs["mel"].device
    mel, h = torch.randn(1, 128, 64).to(device), torch.zeros(1, 1, 16, device=device)
    offsets, steps = [0, 32, 59, 17], []
    with torch.inference_mode():
        whole = model.features(mel)
        for offset in offsets:
            y, states = model.gru(whole[:, offset : offset + 5], h)
            h = states[:, 2:3]
            steps.append((torch.sigmoid(model.fc[1](y)), h))
    runner.inputs["mel"].copy_(mel)
    runner.inputs["last_row"].fill_(2)
    for offset, (salience, h) in zip(offsets, steps, strict=True):
        runner.inputs["rows"].copy_(torch.arange(offset, offset + 5)[None])
        runner.run()
        torch.testing.assert_close(runner.outputs["salience"], salience, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(runner.inputs["h_in"], h[:, 0], atol=1e-4, rtol=1e-3)


@pytest.mark.gpu
def test_a_refusal_by_cudnn_does_not_spoil_the_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = nn.GRU.forward

    def refusing(self: nn.GRU, *args: Tensor) -> tuple[Tensor, Tensor]:
        if torch.backends.cudnn.enabled:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED")
        return real(self, *args)

    monkeypatch.setattr(nn.GRU, "forward", refusing)
    runner = cuda_graph(SPEC, Stateful(), tmp_path)
    expected = stepped_by_hand(torch.device("cuda"))
    for (x, last), (y, _, _) in zip(blocks(), expected, strict=True):
        runner.inputs["x"].copy_(x)
        runner.inputs["last"].copy_(last)
        runner.run()
        torch.testing.assert_close(runner.outputs["y"], y, atol=1e-5, rtol=1e-4)


def test_a_backend_that_does_not_exist_is_named() -> None:
    with pytest.raises(ParameterError, match=r"'tensor-rt'.*eager, cuda-graph, onnx, onnx-cuda"):
        make_runner(SPEC, Stateful(), "tensor-rt")


@pytest.mark.parametrize(
    ("what", "backend", "way_out"),
    [
        (Stateful(), "cuda-graph", "stateful is on cpu: choose a CUDA device, or backend eager"),
        (Stateful(), "onnx", "export stateful, or choose backend eager"),
        (Path("voice.onnx"), "eager", "voice.onnx: choose backend onnx"),
        (Path("voice.onnx"), "cuda-graph", "voice.onnx: choose backend onnx"),
    ],
)
def test_a_backend_that_cannot_run_here_says_what_can(what: nn.Module | Path, backend: str, way_out: str) -> None:
    with pytest.raises(ParameterError, match=way_out):
        make_runner(SPEC, what, backend)


def test_without_onnx_runtime_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ParameterError, match="install onnxruntime or onnxruntime-gpu"):
        make_runner(SPEC, Path("voice.onnx"), "onnx")


def test_onnx_runtime_computes_in_the_thread_that_calls_it(tmp_path: Path) -> None:
    runner = onnx(SPEC, Stateful(), tmp_path)
    assert isinstance(runner, OnnxRunner)
    options = runner.session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_onnx_on_a_gpu_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match="or choose backend onnx"):
        make_runner(SPEC, Path("voice.onnx"), "onnx-cuda")


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(b"this is no graph")
    for file in (path, tmp_path / "missing.onnx"):
        with pytest.raises(CheckpointError, match=file.name):
            make_runner(SPEC, file, "onnx")


def test_a_graph_of_other_shapes_is_refused(tmp_path: Path) -> None:
    path = export(SPEC, Stateful(), tmp_path / "graph.onnx")
    other = GraphSpec("other", {**SPEC.inputs, "x": TensorSpec((1, CHANNELS, 9))}, SPEC.outputs, SPEC.carries)
    with pytest.raises(CheckpointError, match="is not other"):
        make_runner(other, path, "onnx")


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * x


def test_a_graph_with_free_dimensions_takes_any_size_in_these_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "free.onnx"
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {1: "n"}, "y": {1: "n"}}}
    torch.onnx.export(Doubled(), (torch.zeros(2, 3),), str(path), dynamo=False, **names)  # type: ignore[arg-type]

    def spec(*shape: int) -> GraphSpec:
        return GraphSpec("doubled", {"x": TensorSpec(shape)}, {"y": TensorSpec(shape)}, batch=shape[0])

    for length in (1, 3, 20):
        runner = make_runner(spec(2, length), path, "onnx")
        runner.inputs["x"].fill_(1.5)
        runner.run()
        assert torch.equal(runner.outputs["y"], torch.full((2, length), 3.0))
    for shape in ((3, 3), (2, 3, 1), (2,)):
        with pytest.raises(CheckpointError, match="is not doubled"):
            make_runner(spec(*shape), path, "onnx")


@pytest.mark.parametrize("carries", [{"x": "nothing"}, {"nothing": "y"}, {"x": "y"}, {"last": "h_out"}])
def test_a_state_must_fit_its_successor(carries: dict[str, str]) -> None:
    with pytest.raises(ParameterError, match="stateful carries"):
        GraphSpec("stateful", SPEC.inputs, SPEC.outputs, carries)


class Gain(nn.Module):
    """Amplifies, squares inside, and undoes it: in float16 the square of a large input overflows."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return ((x * self.gain).square() / self.gain)[index]


HALVES = (torch.float16, torch.bfloat16)
INPUTS = (torch.linspace(-1.0, 1.0, 1001), torch.arange(1001))


@pytest.mark.parametrize(
    ("gain", "tolerance", "candidates", "expected", "said"),
    [
        (2.0, 5e-3, HALVES, torch.float16, "runs in float16: relative RMS difference"),
        (1000.0, 1e-2, HALVES, torch.bfloat16, "runs in bfloat16"),
        (1000.0, 5e-3, (torch.float16,), torch.float32, "runs in float32: float16 differs by inf"),
        (2.0, 1e-6, HALVES, torch.float32, "more than 1.0e-06; bfloat16 differs"),
        (2.0, 5e-3, None, torch.float32, "runs in float32: nothing else is faster here"),
    ],
)
def test_half_precision_is_taken_only_where_it_computes_the_same(
    gain: float,
    tolerance: float,
    candidates: tuple[torch.dtype, ...] | None,
    expected: torch.dtype,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = Gain(gain)
    with caplog.at_level(logging.INFO):
        assert precision_for(module, INPUTS, tolerance, candidates) is expected
    assert [said in record.getMessage() for record in caplog.records] == [True]
    assert module.gain.dtype is torch.float32


@pytest.mark.parametrize(
    ("seconds", "gain", "expected", "said"),
    [
        ([0.01, 0.02], 2.0, torch.bfloat16, "runs in bfloat16"),
        ([0.02, 0.02], 2.0, torch.float32, "runs in float32: bfloat16 is not faster"),
        ([0.01, 0.02], 1e38, torch.float32, "bfloat16 differs by inf"),
    ],
)
def test_a_processor_with_amx_takes_bfloat16_where_it_is_faster(
    seconds: list[float],
    gain: float,
    expected: torch.dtype,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.setattr(precision, "_seconds", lambda *_: seconds.pop(0))
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    with caplog.at_level(logging.INFO):
        assert precision_for(Gain(gain), [100.0 * INPUTS[0], INPUTS[1]]) is expected
    assert said in caplog.text
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert precision_for(Gain(2.0), INPUTS) is torch.float32


@pytest.mark.parametrize(
    ("error", "seconds", "pays"), [(1e-2, [0.02, 0.01], True), (1e-2, [0.01, 0.02], False), (0.1, [0.02, 0.01], False)]
)
def test_bfloat16_pays_where_it_is_faster_and_near(
    error: float, seconds: list[float], pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_seconds", lambda *_: seconds.pop(0))
    full, half = nn.Identity(), nn.Linear(1, 1, bias=False)
    nn.init.constant_(half.weight, 1.0 + error)
    assert precision.pays_in_bfloat16(full, half, [torch.randn(50, 1)]) is pays


def test_an_operation_without_half_precision_falls_back(caplog: pytest.LogCaptureFixture) -> None:
    class Inverse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = torch.linalg.inv(x)
            return y

    with caplog.at_level(logging.INFO):
        assert precision_for(Inverse(), [torch.eye(3)], candidates=HALVES) is torch.float32
    assert "float16 fails" in caplog.text


def test_the_pitch_network_agrees_with_itself_in_bfloat16() -> None:
    """Recurrent state and integer offsets go through the check as in a stream."""
    torch.manual_seed(5)
    step = RmvpeStep(RMVPE(base_channels=4, blocks=1, intermediate_layers=1, gru_size=16), 5, 64)
    inputs = [torch.randn(1, 128, 64), torch.arange(20, 25)[None], torch.tensor([[2]]), torch.zeros(1, 16)]
    assert precision_for(step, inputs, 0.05, [torch.bfloat16]) is torch.bfloat16
