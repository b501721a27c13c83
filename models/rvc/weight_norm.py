"""Weight normalisation (Salimans and Kingma 2016, arXiv:1602.07868) folded into plain weights on loading."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_SPELLINGS = [
    (".weight_g", ".weight_v"),
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
]


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with every magnitude and direction replaced by the weight that they stand for.

    The magnitude has size 1 in every dimension over which the norm is taken: dimension 0 is kept in convolutions,
    dimension 2 in HuBERT's positional one. Both spellings are read, of torch's older hook and of its parametrization.
    """
    folded = dict(state)
    for magnitude_end, direction_end in _SPELLINGS:
        for name in [k for k in folded if k.endswith(direction_end)]:
            base = name[: -len(direction_end)]
            direction, magnitude = folded.pop(name), folded.pop(base + magnitude_end)
            over = [d for d in range(direction.ndim) if magnitude.shape[d] == 1]
            norm = torch.linalg.vector_norm(direction, dim=over, keepdim=True)
            folded[f"{base}.weight"] = direction * (magnitude / norm)
    return folded
