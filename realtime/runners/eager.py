"""The module itself, call by call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from ...models.graph import GraphSpec, TensorSpec


def allocated(tensors: Mapping[str, TensorSpec], device: torch.device) -> dict[str, Tensor]:
    """Zeros in the shapes and types of some inputs or outputs."""
    return {name: torch.zeros(t.shape, dtype=t.dtype, device=device) for name, t in tensors.items()}


class EagerRunner:
    """The module itself, call by call.

    What is carried is an input and an output in one buffer: a module returns new tensors, never views of its inputs.

    Args:
        spec: Interface of the network.
        module: Takes the inputs and returns the outputs, in the order of `spec`.
        share: Inputs of another runner to use in place of new ones: for networks that carry the same state.
    """

    def __init__(self, spec: GraphSpec, module: nn.Module, share: Mapping[str, Tensor] | None = None) -> None:
        device = device_of(module)
        self.inputs = {**allocated(spec.inputs, device), **(share or {})}
        self.outputs = allocated(spec.outputs, device)
        self._carried = [self.inputs[name] for name in spec.carries]
        self.outputs |= {result: self.inputs[name] for name, result in spec.carries.items()}
        self._module = module

    def reset(self) -> None:
        """See `Runner.reset`."""
        for state in self._carried:
            state.zero_()

    @torch.inference_mode()
    def run(self) -> None:
        """See `Runner.run`."""
        results = as_tuple(self._module(*self.inputs.values()))
        for buffer, result in zip(self.outputs.values(), results, strict=True):
            buffer.copy_(result)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are; the CPU for one without any."""
    first = next(chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def as_tuple(results: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The results of a module, however many it returns."""
    return (results,) if isinstance(results, Tensor) else tuple(results)
