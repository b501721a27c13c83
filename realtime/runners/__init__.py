"""Ways to run a network, behind one contract: bound buffers and `run`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from ...kernels.errors import ParameterError
from ...models.graph import GraphSpec
from ..config import check_backend
from .cuda_graph import CudaGraphRunner
from .eager import EagerRunner, device_of

log = logging.getLogger(__name__)


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


def make_runner(
    spec: GraphSpec,
    module_or_path: nn.Module | Path | bytes,
    backend: str,
    share: Mapping[str, Tensor] | None = None,
    threads: int = 1,
) -> Runner:
    """The runner of a network.

    Args:
        spec: Interface of the network.
        module_or_path: A module for `eager` and `cuda-graph`, run where its weights are; an exported file, or what it
            holds, for `onnx` and `onnx-PROVIDER`.
        backend: One of `BACKENDS`. `auto` is `cuda-graph` for a module on an NVIDIA GPU, or `eager` if it cannot be
            captured; `eager` for a module elsewhere, and `onnx` for a file.
        share: For a module: inputs of another runner to use in place of new ones.
        threads: For an exported file on a CPU: threads that compute it.

    Raises:
        ParameterError: the backend is unknown, does not go with what is to be run, or cannot run here.
        CheckpointError: an exported file does not load or has another interface.
    """
    check_backend(backend)
    if isinstance(module_or_path, nn.Module):
        return _module_runner(spec, module_or_path, backend, share)
    if backend in ("eager", "cuda-graph"):
        what = module_or_path if isinstance(module_or_path, Path) else spec.name
        raise ParameterError(f"backend {backend} cannot run the exported file {what}: choose backend onnx")
    from .onnx import OnnxRunner

    provider = backend.removeprefix("onnx-") if "-" in backend else "cpu"
    return OnnxRunner(spec, module_or_path, provider, threads)


def _module_runner(spec: GraphSpec, module: nn.Module, backend: str, share: Mapping[str, Tensor] | None) -> Runner:
    device = device_of(module)
    if backend not in ("auto", "eager", "cuda-graph"):
        raise ParameterError(f"backend {backend} runs exported files only: export {spec.name}, or choose backend eager")
    if backend == "cuda-graph":
        if device.type != "cuda":
            raise ParameterError(
                f"backend cuda-graph needs an NVIDIA GPU, and {spec.name} is on {device}: "
                "choose a CUDA device, or backend eager"
            )
        return CudaGraphRunner(spec, module, share)
    if backend == "auto" and device.type == "cuda":
        try:
            return CudaGraphRunner(spec, module, share)
        except RuntimeError as error:  # torch's own, whatever the reason: another driver, no memory for a second copy
            log.warning("the %s network cannot be captured as a CUDA graph and runs call by call, slower", spec.name)
            log.debug("CUDA said: %s", error)
    return EagerRunner(spec, module, share)
