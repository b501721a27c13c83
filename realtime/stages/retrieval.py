"""Feature retrieval in a stream: each block searches for the features that it renders, and no others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Index(Protocol):
    """Feature retrieval of a voice."""

    def neighbours(self, features: Tensor) -> Tensor:
        """See `FeatureIndex.neighbours`."""
        ...


@dataclass(slots=True)
class FoundState:
    """What retrieval found for the features of the window.

    A feature is searched for as long as it is rendered. After that it is context, and what was found last stays.

    Attributes:
        neighbours_mem: Mean of the nearest vectors of each feature `[slots, C]`.
        searched_mem: 1 for each feature that was searched for, 0 for those that never were `[slots, 1]`.
    """

    neighbours_mem: Tensor
    searched_mem: Tensor

    def move(self, slots: int) -> None:
        """Follow the window, which moves by some features."""
        for memory in (self.neighbours_mem, self.searched_mem):
            memory[:-slots] = memory[slots:].clone()
            memory[-slots:] = 0.0

    def blended(self, index: Index, features: Tensor, rate: float, newest: int) -> Tensor:
        """Features `[slots, C]` with `rate` parts of their neighbours, after searching for the `newest` of them."""
        searched = slice(-newest, None)
        self.neighbours_mem[searched] = index.neighbours(features[searched])
        self.searched_mem[searched] = 1.0
        return torch.lerp(features, self.neighbours_mem, rate * self.searched_mem)

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.neighbours_mem.zero_()
        self.searched_mem.zero_()
