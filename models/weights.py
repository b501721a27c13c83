"""Give a network the weights of a file without making any others first.

Networks are built by `on_meta` without memory, so shapes are compared before anything is allocated for them. Weight
normalisation (Salimans and Kingma 2016, arXiv:1602.07868) is folded into plain weights on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..kernels.errors import CheckpointError
from ..kernels.printable import printable

_MAGNITUDE_AND_DIRECTION = [
    (".weight_g", ".weight_v"),
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
]
Network = TypeVar("Network", bound=nn.Module)


def on_meta(build: Callable[[], Network]) -> Network:
    """The network that `build` makes, with parameters that have shapes and no memory."""
    with torch.device("meta"), _WithoutInitialValues():
        return build()


class _WithoutInitialValues(TorchFunctionMode):
    """Leaves initial values out: on the meta device they change nothing, and drawing them imports 800 modules."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("uniform_", "normal_", "fill_", "zero_"):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def load_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Make the tensors of a state dict those of a network built by `on_meta`: floating ones in float32, all in the
    network's memory format.

    Raises:
        CheckpointError: a tensor is missing, is not the network's, or has another shape or kind of number.
    """
    left = dict(state)
    network.load_state_dict(
        {name: _taken(left, name, wanted) for name, wanted in network.state_dict().items()}, assign=True
    )
    if left:
        raise CheckpointError(f"{printable(next(iter(left)), 80)} is not a tensor of such a network")
    assert not any(t.is_meta for t in chain(network.parameters(), network.buffers())), "made in __init__ on any device"


def _taken(left: dict[str, Tensor], name: str, wanted: Tensor) -> Tensor:
    """Take one tensor, or the two that it is the product of, out of a state dict."""
    if name in left:
        return _fitting(left.pop(name), wanted, tuple(wanted.shape), name)
    base = name.removesuffix(".weight")
    for magnitude_end, direction_end in _MAGNITUDE_AND_DIRECTION:
        if name != base and base + direction_end in left and base + magnitude_end in left:
            direction = _fitting(left.pop(base + direction_end), wanted, tuple(wanted.shape), base + direction_end)
            magnitude = left.pop(base + magnitude_end)
            # It has size 1 in every dimension over which the norm is taken: dimension 0 is kept in convolutions,
            # dimension 2 in HuBERT's positional one.
            if magnitude.ndim != direction.ndim:
                raise CheckpointError(f"{base}{magnitude_end} does not fit {base}{direction_end}")
            over = [d for d in range(direction.ndim) if magnitude.shape[d] == 1]
            kept = tuple(1 if d in over else n for d, n in enumerate(direction.shape))
            magnitude = _fitting(magnitude, wanted, kept, base + magnitude_end)
            norm: Tensor = torch.linalg.vector_norm(direction, dim=over, keepdim=True)
            return direction * (magnitude / norm)
    if name.endswith(".num_batches_tracked"):  # batch norms count for training only, and some files leave it out
        return torch.zeros(wanted.shape, dtype=wanted.dtype)
    raise CheckpointError(f"{name} is missing")


def _fitting(tensor: Tensor, wanted: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    if tuple(tensor.shape) != shape:
        raise CheckpointError(f"{name} has the shape {list(tensor.shape)}, not {list(shape)}")
    if tensor.is_floating_point() != wanted.is_floating_point():
        raise CheckpointError(f"{name} holds {str(tensor.dtype).removeprefix('torch.')} numbers")
    innermost = wanted.ndim == 4 and wanted.is_contiguous(memory_format=torch.channels_last)
    return tensor.to(wanted.dtype, memory_format=torch.channels_last if innermost else torch.contiguous_format)
