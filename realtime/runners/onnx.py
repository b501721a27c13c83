"""An exported graph in ONNX Runtime, which only this module imports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...kernels.errors import CheckpointError, ParameterError
from ...kernels.printable import printable
from ...models.graph import GraphSpec, TensorSpec
from .eager import allocated

_ENDING = "ExecutionProvider"
_OTHER_NAMES = {"directml": "dml"}  # what users call a provider, and what ONNX Runtime does
_TO_INSTALL = {
    "cuda": "onnxruntime-gpu in place of onnxruntime, and a torch for CUDA",
    "tensorrt": "onnxruntime-gpu in place of onnxruntime, a torch for CUDA, and TensorRT 10 (tensorrt-cu13<11)",
    "openvino": "onnxruntime-openvino in place of onnxruntime",
    "dml": "onnxruntime-directml in place of onnxruntime",
    "webgpu": "onnxruntime-webgpu in place of onnxruntime",
    "migraphx": "onnxruntime-migraphx in place of onnxruntime",
    "qnn": "onnxruntime-qnn in place of onnxruntime",
}
_OPTIONS = {"openvino": {"precision": "FP32"}}  # else bfloat16 on some processors
_ON_NVIDIA = ("cuda", "tensorrt")  # providers that read and write the GPU's memory


class OnnxRunner:
    """An exported graph in ONNX Runtime, reading and writing the buffers where they are.

    Usually one thread computes: a second one has to be woken for every operator, and takes a core from the audio
    callback. On a GPU the host waits before and after a run, for ONNX Runtime works on a stream of its own.

    Args:
        spec: Interface of the graph. Dimensions that the file leaves free get the sizes that are given here.
        graph: The `.onnx` file, or what it holds.
        provider: Execution provider: its name in ONNX Runtime without "ExecutionProvider", in lower case.
        threads: Threads that compute on a CPU.
        weights: Weights by name, for a graph that holds none of its own; they are shared, not copied.

    Raises:
        ParameterError: this machine, torch or ONNX Runtime does not have the provider.
        CheckpointError: the file does not load or has another interface.
    """

    def __init__(
        self,
        spec: GraphSpec,
        graph: Path | bytes,
        provider: str = "cpu",
        threads: int = 1,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        provider = _OTHER_NAMES.get(provider, provider)
        name = _provider_called(provider)
        import onnxruntime

        device = torch.device("cpu")
        providers: list[Any] = ["CPUExecutionProvider"]
        if provider in _ON_NVIDIA:
            device = torch.device("cuda", torch.cuda.current_device())
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index}))
            if provider != "cuda":
                providers.insert(0, (name, {"device_id": device.index}))
        elif provider != "cpu":
            threaded = {"num_of_threads": str(threads)} if provider == "openvino" else {}
            providers.insert(0, (name, {**threaded, **_OPTIONS.get(provider, {})}))
        self.inputs, self.outputs = allocated(spec.inputs, device), allocated(spec.outputs, device)
        self._carried = [(self.inputs[name], self.outputs[result]) for name, result in spec.carries.items()]
        what = graph if isinstance(graph, Path) else f"the graph {spec.name}"
        source = str(graph) if isinstance(graph, Path) else graph
        self._weights = {} if weights is None else {n: _value_of(tensor) for n, tensor in weights.items()}
        try:
            self.session = onnxruntime.InferenceSession(source, self._options(threads), providers=providers)
            free: dict[str, int] = {}
            for declared, found in (
                (spec.inputs, self.session.get_inputs()),
                (spec.outputs, self.session.get_outputs()),
            ):
                _check_interface(spec.name, declared, {n.name: tuple(n.shape) for n in found}, what)
                for tensor in found:
                    sizes = zip(tensor.shape, declared[tensor.name].shape, strict=True)
                    free |= {dimension: size for dimension, size in sizes if isinstance(dimension, str)}
            if free:  # what depends on the sizes alone is then computed once, while the graph is optimised
                options = self._options(threads)
                for dimension, size in free.items():
                    options.add_free_dimension_override_by_name(dimension, size)
                self.session = onnxruntime.InferenceSession(source, options, providers=providers)
        except CheckpointError:
            raise
        except Exception as error:  # its errors have no base class of their own
            reason = printable(str(error).splitlines()[0])
            raise CheckpointError(f"{what} cannot be run: {reason}") from error
        if name not in self.session.get_providers():  # it goes on without one that does not load
            raise ParameterError(
                f"backend onnx-{provider} does not start on this machine: check its driver and libraries, or choose "
                "backend onnx"
            )
        self._binding = self.session.io_binding()
        index = device.index or 0
        for buffers, bind in ((self.inputs, self._binding.bind_input), (self.outputs, self._binding.bind_output)):
            for tensor_name, buffer in buffers.items():
                kind = torch.empty(0, dtype=buffer.dtype).numpy().dtype.type
                bind(tensor_name, device.type, index, kind, tuple(buffer.shape), buffer.data_ptr())
        self._device = device

    def _options(self, threads: int) -> Any:
        options = _options(threads)
        if self._weights:
            options.add_external_initializers(list(self._weights), list(self._weights.values()))
        return options

    def run(self) -> None:
        """See `Runner.run`."""
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        self.session.run_with_iobinding(self._binding)
        for state, result in self._carried:  # ONNX Runtime does not promise that one buffer may be both
            state.copy_(result)

    def reset(self) -> None:
        """See `Runner.reset`."""
        for state, _ in self._carried:
            state.zero_()


def onnx_providers() -> list[str]:
    """Execution providers of the ONNX Runtime that is installed, best first.

    Raises:
        ImportError: there is none, or it does not load.
    """
    import onnxruntime

    return list(onnxruntime.get_available_providers())


def has_onnx_runtime() -> bool:
    """Whether there is one that loads."""
    try:
        onnx_providers()
    except ImportError:
        return False
    return True


def onnx_version() -> str:
    """Version of the ONNX Runtime that is installed."""
    import onnxruntime

    return str(onnxruntime.__version__)


def fold_constants(source: Path, target: Path) -> None:
    """Write a graph again without what follows from its constants and shapes alone, in ONNX's own operators."""
    import onnxruntime

    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _value_of(tensor: Tensor) -> Any:
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(tensor.numpy())


def _options(threads: int = 1) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # its warnings are for those who write graphs
    return options


def _provider_called(provider: str) -> str:
    """ONNX Runtime's name of a provider that can be used here.

    Raises:
        ParameterError: there is none.
    """
    try:
        found = {name.removesuffix(_ENDING).lower(): name for name in onnx_providers()}
    except ImportError as error:
        raise ParameterError(
            f"backend onnx needs ONNX Runtime, which does not load ({error}): install onnxruntime or onnxruntime-gpu"
        ) from error
    if provider not in found:
        here = ", ".join(sorted(found))
        to_install = _TO_INSTALL.get(provider, "an ONNX Runtime that has it")
        raise ParameterError(
            f"backend onnx-{provider} is not in the ONNX Runtime installed, which has {here}: "
            f"install {to_install}, or choose backend onnx"
        )
    if provider in _ON_NVIDIA and not torch.cuda.is_available():
        raise ParameterError(
            f"backend onnx-{provider} needs an NVIDIA GPU and {_TO_INSTALL[provider]}: install what is missing "
            "(altervox doctor shows it), or choose backend onnx"
        )
    return found[provider]


def _check_interface(
    name: str,
    declared: Mapping[str, TensorSpec],
    found: Mapping[str, tuple[int | str | None, ...]],
    what: object,
) -> None:
    """Refuse a file whose inputs or outputs are not those declared."""
    expected = {tensor: spec.shape for tensor, spec in declared.items()}
    if expected.keys() != found.keys() or not all(_fits(expected[tensor], shape) for tensor, shape in found.items()):
        raise CheckpointError(f"{what} is not {name}: it has {dict(found)} instead of {expected}")


def _fits(shape: tuple[int, ...], declared: tuple[int | str | None, ...]) -> bool:
    """Whether a graph that declares some dimensions, and leaves others free, takes tensors of a shape."""
    if len(shape) != len(declared):
        return False
    return all(given == size or not isinstance(given, int) for size, given in zip(shape, declared, strict=True))
