"""Copy and restore what a stage carries: dataclasses of arrays, tensors and numbers, nested at will."""

from __future__ import annotations

import copy
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np

S = TypeVar("S")


def snapshot(state: S) -> S:
    """An independent copy."""
    return copy.deepcopy(state)


def restore(state: Any, saved: Any) -> None:
    """Make a state equal to a copy of it. Arrays and tensors keep their place in memory.

    Raises:
        TypeError: the two are of different kinds.
    """
    if type(state) is not type(saved):
        raise TypeError(f"cannot restore a {type(state).__name__} from a {type(saved).__name__}")
    for field in fields(state):
        now, then = getattr(state, field.name), getattr(saved, field.name)
        if is_dataclass(now):
            restore(now, then)
        elif isinstance(now, np.ndarray):
            now[...] = then
        elif hasattr(now, "copy_"):  # a tensor
            now.copy_(then)
        else:
            setattr(state, field.name, copy.deepcopy(then))
