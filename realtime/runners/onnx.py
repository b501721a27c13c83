"""An exported graph in ONNX Runtime, which only this module imports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...kernels.errors import CheckpointError, ParameterError
from ...models.graph import GraphSpec, TensorSpec
from .eager import allocated

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRunner:
    """An exported graph in ONNX Runtime, reading and writing the buffers where they are.

    One thread computes: a second one would have to be woken within every block, and take a core from the audio
    callback. On a GPU the host waits before and after a run, for ONNX Runtime works on a stream of its own.

    Args:
        spec: Interface of the graph. Dimensions that the file leaves free get the sizes that are given here.
        path: The `.onnx` file.
        provider: Execution provider, one of `PROVIDERS`.

    Raises:
        ParameterError: this machine, torch or ONNX Runtime does not have the provider.
        CheckpointError: the file does not load or has another interface.
    """

    def __init__(self, spec: GraphSpec, path: Path, provider: str = "cpu") -> None:
        try:
            available = onnx_providers()
        except ImportError as error:
            raise ParameterError(
                f"backend onnx needs ONNX Runtime, which does not load ({error}): "
                "install onnxruntime or onnxruntime-gpu"
            ) from error
        import onnxruntime

        device = torch.device("cpu")
        providers: list[Any] = ["CPUExecutionProvider"]
        if provider != "cpu":
            if PROVIDERS[provider] not in available or not torch.cuda.is_available():
                raise ParameterError(
                    f"backend onnx-{provider} needs an NVIDIA GPU, a torch for CUDA, and onnxruntime-gpu in place of "
                    "onnxruntime: install what is missing (altervox doctor shows it), or choose backend onnx"
                )
            device = torch.device("cuda", torch.cuda.current_device())
            providers.insert(0, (PROVIDERS[provider], {"device_id": device.index}))
        self.inputs, self.outputs = allocated(spec.inputs, device), allocated(spec.outputs, device)
        self._carried = [(self.inputs[name], self.outputs[result]) for name, result in spec.carries.items()]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        index = device.index or 0
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
            self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except CheckpointError:
            raise
        except Exception as error:  # its errors have no base class of their own
            raise CheckpointError(f"{path} cannot be run: {str(error).splitlines()[0]}") from error
        self._binding = self.session.io_binding()
        for buffers, bind in ((self.inputs, self._binding.bind_input), (self.outputs, self._binding.bind_output)):
            for name, buffer in buffers.items():
                kind = torch.empty(0, dtype=buffer.dtype).numpy().dtype.type
                bind(name, device.type, index, kind, tuple(buffer.shape), buffer.data_ptr())
        self._device = device

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
