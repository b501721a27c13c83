"""What a network with fixed shapes takes, gives and carries, named as in an exported graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from ..kernels.errors import ParameterError


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and type of one tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """The interface of one network.

    Attributes:
        name: For messages.
        inputs: In the order of the arguments of `forward`.
        outputs: In the order in which `forward` returns them.
        carries: Inputs that hold what the network remembers, each with the output that replaces it after a run.
        batch: Independent streams: the first dimension of every tensor, of what is carried too.

    Raises:
        ParameterError: what is carried is no input, no output, or the two differ in shape or type; or a tensor does not
            begin with the batch.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    carries: Mapping[str, str] = field(default_factory=dict)
    batch: int = 1

    def __post_init__(self) -> None:
        for name, tensor in (*self.inputs.items(), *self.outputs.items()):
            if tensor.shape[:1] != (self.batch,):
                raise ParameterError(f"{self.name}: {name} has the shape {tensor.shape} in a batch of {self.batch}")
        for source, target in self.carries.items():
            if source not in self.inputs or target not in self.outputs:
                raise ParameterError(f"{self.name} carries {target} into {source}, and one of them does not exist")
            if self.inputs[source] != self.outputs[target]:
                raise ParameterError(
                    f"{self.name} carries {target} into {source}, but one is {self.outputs[target]} "
                    f"and the other {self.inputs[source]}"
                )


class Step(nn.Module):
    """A network that runs once per block, with fixed shapes.

    It remembers nothing: what goes from block to block is an input and an output, as `spec.carries` says.

    Attributes:
        spec: The interface of `forward`.
    """

    def __init__(self, spec: GraphSpec) -> None:
        super().__init__()
        self.spec = spec
        self.eval()
