"""Ways to run a network, behind one contract: bound buffers and `run`. Only this module imports ONNX Runtime."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ...kernels.errors import CheckpointError, ParameterError
from ...models.graph import GraphSpec, TensorSpec

log = logging.getLogger(__name__)

BACKENDS = ("auto", "eager", "cuda-graph", "onnx", "onnx-cuda")
_WARM_UP_RUNS = 3  # cuDNN chooses its kernels and torch its workspaces before anything is captured
HALF_TOLERANCE = 5e-3  # relative RMS; -46 dB, about what float16 costs a deep network that suits it


class Runner(Protocol):
    """One network with fixed shapes. Write `inputs`, call `run`, read `outputs`.

    All buffers are contiguous and keep their addresses. After each run, what is carried already lies in the inputs.
    """

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """What the network reads."""
        ...

    @property
    def outputs(self) -> Mapping[str, Tensor]:
        """What it gave in the last run."""
        ...

    def run(self) -> None:
        """Compute `outputs` from `inputs`."""
        ...

    def reset(self) -> None:
        """Zero what is carried, in place."""
        ...


class _Buffers:
    """The buffers of a graph, and how state goes from its outputs to its inputs."""

    def __init__(self, spec: GraphSpec, device: torch.device) -> None:
        def allocate(tensors: Mapping[str, TensorSpec]) -> dict[str, Tensor]:
            return {name: torch.zeros(t.shape, dtype=t.dtype, device=device) for name, t in tensors.items()}

        self.inputs = allocate(spec.inputs)
        self.outputs = allocate(spec.outputs)
        self._carried = [(self.inputs[name], self.outputs[result]) for name, result in spec.carries.items()]

    def reset(self) -> None:
        """See `Runner.reset`."""
        for state, _ in self._carried:
            state.zero_()

    def _carry(self) -> None:
        for state, result in self._carried:
            state.copy_(result)


class EagerRunner(_Buffers):
    """The module itself, call by call.

    Args:
        spec: Its interface.
        module: Takes the inputs and returns the outputs, in the order of `spec`.
    """

    def __init__(self, spec: GraphSpec, module: nn.Module) -> None:
        super().__init__(spec, _device(module))
        self._module = module

    @torch.inference_mode()
    def run(self) -> None:
        """See `Runner.run`."""
        results = _as_tuple(self._module(*self.inputs.values()))
        for buffer, result in zip(self.outputs.values(), results, strict=True):
            buffer.copy_(result)
        self._carry()


class CudaGraphRunner(EagerRunner):
    """The module captured once and replayed: one launch per run, nothing allocated, the host never waits.

    The copy of the carried state is part of the graph.
    """

    def __init__(self, spec: GraphSpec, module: nn.Module) -> None:
        super().__init__(spec, module)
        device = _device(module)
        with torch.cuda.device(device):
            stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP_RUNS):
                    super().run()
            torch.cuda.current_stream().wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            # Thread-local, for another voice may be sounding on another thread meanwhile.
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                super().run()
        self.reset()

    def run(self) -> None:
        """See `Runner.run`."""
        self._graph.replay()


class OnnxRunner(_Buffers):
    """An exported graph in ONNX Runtime, reading and writing the buffers where they are.

    On a GPU the host waits before and after a run, for ONNX Runtime works on a stream of its own.

    Args:
        spec: Interface of the graph. Dimensions that the file leaves free get the sizes that are given here.
        path: The `.onnx` file.
        device: `cpu`, or a CUDA device if ONNX Runtime has its CUDA provider.
        threads: That compute on a CPU; None for as many as torch uses.

    Raises:
        CheckpointError: the file does not load or has another interface.
    """

    def __init__(self, spec: GraphSpec, path: Path, device: torch.device, threads: int | None = None) -> None:
        import onnxruntime

        super().__init__(spec, device)
        options = onnxruntime.SessionOptions()
        # Spinning threads take time from the audio callback.
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        index = device.index or 0
        providers: list[Any] = ["CPUExecutionProvider"]
        if device.type == "cuda":
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": index}))
        unoptimised = onnxruntime.SessionOptions()
        unoptimised.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = onnxruntime.InferenceSession(str(path), unoptimised, providers=["CPUExecutionProvider"])
            for declared, found in ((spec.inputs, session.get_inputs()), (spec.outputs, session.get_outputs())):
                _check_interface(spec.name, declared, {n.name: tuple(n.shape) for n in found}, path)
            # What depends on the sizes alone is then computed once, while the graph is optimised.
            for tensor in session.get_inputs():
                for dimension, size in zip(tensor.shape, spec.inputs[tensor.name].shape, strict=True):
                    if isinstance(dimension, str):
                        options.add_free_dimension_override_by_name(dimension, size)
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except CheckpointError:
            raise
        except Exception as error:  # its errors have no base class of their own
            raise CheckpointError(f"{path} cannot be run: {str(error).splitlines()[0]}") from error
        self._binding = self._session.io_binding()
        for buffers, bind in ((self.inputs, self._binding.bind_input), (self.outputs, self._binding.bind_output)):
            for name, buffer in buffers.items():
                kind = torch.empty(0, dtype=buffer.dtype).numpy().dtype.type
                bind(name, device.type, index, kind, tuple(buffer.shape), buffer.data_ptr())
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

    def run(self) -> None:
        """See `Runner.run`."""
        if self._stream is not None:
            self._stream.synchronize()
        self._session.run_with_iobinding(self._binding)
        self._carry()


def make_runner(spec: GraphSpec, module_or_path: nn.Module | Path, backend: str, threads: int | None = None) -> Runner:
    """The runner of a network.

    Args:
        spec: Its interface.
        module_or_path: A module for `eager` and `cuda-graph`, run where its weights are; an exported file for `onnx`
            and `onnx-cuda`.
        backend: One of `BACKENDS`. `auto` is `cuda-graph` for a module on an NVIDIA GPU, or `eager` if it cannot be
            captured; `eager` for a module elsewhere, and `onnx` for a file.
        threads: For `onnx`: how many compute; None for as many as torch uses. A module has torch's.

    Raises:
        ParameterError: the backend is unknown, does not go with what is to be run, or cannot run here.
        CheckpointError: an exported file does not load or has another interface.
    """
    if backend not in BACKENDS:
        raise ParameterError(f"backend is {backend!r}; it must be one of {', '.join(BACKENDS)}")
    if isinstance(module_or_path, nn.Module):
        if backend == "auto":
            return _best_runner(spec, module_or_path)
        if backend == "eager":
            return EagerRunner(spec, module_or_path)
        if backend == "cuda-graph":
            device = _device(module_or_path)
            if device.type != "cuda":
                raise ParameterError(
                    f"backend cuda-graph needs an NVIDIA GPU, and {spec.name} is on {device}: "
                    "choose a CUDA device, or backend eager"
                )
            return CudaGraphRunner(spec, module_or_path)
        raise ParameterError(f"backend {backend} runs exported files only: export {spec.name}, or choose backend eager")
    if backend in ("eager", "cuda-graph"):
        raise ParameterError(f"backend {backend} cannot run the exported file {module_or_path}: choose backend onnx")
    try:
        providers = onnx_providers()
    except ImportError as error:
        raise ParameterError(
            f"backend {backend} needs ONNX Runtime, which does not load ({error}): "
            "install onnxruntime or onnxruntime-gpu"
        ) from error
    if backend in ("auto", "onnx"):
        return OnnxRunner(spec, module_or_path, torch.device("cpu"), threads)
    if "CUDAExecutionProvider" not in providers or not torch.cuda.is_available():
        raise ParameterError(
            "backend onnx-cuda needs an NVIDIA GPU, a torch for CUDA, and onnxruntime-gpu in place of onnxruntime: "
            "install what is missing (altervox doctor shows it), or choose backend onnx"
        )
    return OnnxRunner(spec, module_or_path, torch.device("cuda", torch.cuda.current_device()))


def _best_runner(spec: GraphSpec, module: nn.Module) -> Runner:
    if _device(module).type == "cuda":
        try:
            return CudaGraphRunner(spec, module)
        except RuntimeError as error:  # torch's own, whatever the reason: another driver, no memory for a second copy
            log.warning("the %s network cannot be captured as a CUDA graph and runs call by call, slower", spec.name)
            log.debug("CUDA said: %s", error)
    return EagerRunner(spec, module)


def onnx_providers() -> list[str]:
    """Execution providers of the ONNX Runtime that is installed, best first.

    Raises:
        ImportError: there is none, or it does not load.
    """
    import onnxruntime

    return list(onnxruntime.get_available_providers())


@torch.inference_mode()
def precision_for(
    module: nn.Module,
    inputs: Sequence[Tensor],
    tolerance: float = HALF_TOLERANCE,
    candidates: Sequence[torch.dtype] | None = None,
) -> torch.dtype:
    """The cheapest type in which a network still computes what it computes in float32.

    Args:
        module: In float32; it is left as it is.
        inputs: Real ones: a type fails by what it is fed, and zeros overflow nothing.
        tolerance: Largest relative RMS difference of any output.
        candidates: Types to try, best first. None tries float16 and bfloat16 on a GPU and nothing on a CPU, where half
            precision is slower.

    Returns:
        The first candidate whose outputs are finite and near enough, else float32. What was found is logged.
    """
    if candidates is None:
        candidates = (torch.float16, torch.bfloat16) if _device(module).type == "cuda" else ()
    name, found = type(module).__name__, []
    expected = _as_tuple(module(*inputs)) if candidates else ()
    for dtype in candidates:
        label = str(dtype).removeprefix("torch.")
        try:
            results = _as_tuple(copy.deepcopy(module).to(dtype)(*_cast(inputs, dtype)))
        except RuntimeError as error:  # an operation without this type, or no memory for the trial
            found.append(f"{label} fails ({str(error).splitlines()[0]})")
            continue
        error_rms = max(map(_relative_rms, results, expected))
        if error_rms <= tolerance:
            log.info("%s runs in %s: relative RMS difference %.1e, at most %.1e", name, label, error_rms, tolerance)
            return dtype
        found.append(f"{label} differs by {error_rms:.1e}, more than {tolerance:.1e}")
    log.info("%s runs in float32: %s", name, "; ".join(found) or "nothing else is faster here")
    return torch.float32


def _check_interface(
    name: str, declared: Mapping[str, TensorSpec], found: Mapping[str, tuple[int | str | None, ...]], path: Path
) -> None:
    """Refuse a file whose inputs or outputs are not those declared."""
    expected = {tensor: spec.shape for tensor, spec in declared.items()}
    if expected.keys() != found.keys() or not all(_fits(expected[tensor], shape) for tensor, shape in found.items()):
        raise CheckpointError(f"{path} is not {name}: it has {dict(found)} instead of {expected}")


def _fits(shape: tuple[int, ...], declared: tuple[int | str | None, ...]) -> bool:
    """Whether a graph that declares some dimensions, and leaves others free, takes tensors of a shape."""
    if len(shape) != len(declared):
        return False
    return all(given == size or not isinstance(given, int) for size, given in zip(shape, declared, strict=True))


def _device(module: nn.Module) -> torch.device:
    first = next(chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def _as_tuple(results: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (results,) if isinstance(results, Tensor) else tuple(results)


def _cast(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]


def _relative_rms(result: Tensor, expected: Tensor) -> float:
    """RMS difference over the RMS of what is expected; infinite where the result is not finite."""
    if not bool(torch.isfinite(result).all()):
        return float("inf")
    reference = expected.double()
    difference = float((result.double() - reference).square().mean().sqrt())
    return difference / max(float(reference.square().mean().sqrt()), 1e-12)
