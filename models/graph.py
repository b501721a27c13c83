"""What a network with fixed shapes takes, gives and carries, named as in an exported graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

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

    Raises:
        ParameterError: what is carried is no input, no output, or the two differ in shape or type.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    carries: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for source, target in self.carries.items():
            if source not in self.inputs or target not in self.outputs:
                raise ParameterError(f"{self.name} carries {target} into {source}, and one of them does not exist")
            if self.inputs[source] != self.outputs[target]:
                raise ParameterError(
                    f"{self.name} carries {target} into {source}, but one is {self.outputs[target]} "
                    f"and the other {self.inputs[source]}"
                )
