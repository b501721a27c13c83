"""The module itself, call by call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from ...models.graph import GraphSpec, TensorSpec


class Buffers:
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

    def carry(self) -> None:
        """Copy what the network gave back of its state into the inputs of the next run."""
        for state, result in self._carried:
            state.copy_(result)


class EagerRunner(Buffers):
    """The module itself, call by call.

    Args:
        spec: Its interface.
        module: Takes the inputs and returns the outputs, in the order of `spec`.
    """

    def __init__(self, spec: GraphSpec, module: nn.Module) -> None:
        super().__init__(spec, device_of(module))
        self._module = module

    @torch.inference_mode()
    def run(self) -> None:
        """See `Runner.run`."""
        results = as_tuple(self._module(*self.inputs.values()))
        for buffer, result in zip(self.outputs.values(), results, strict=True):
            buffer.copy_(result)
        self.carry()


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are; the CPU for one without any."""
    first = next(chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def as_tuple(results: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The results of a module, however many it returns."""
    return (results,) if isinstance(results, Tensor) else tuple(results)
