"""Feature retrieval: blend content features with the nearest ones of the voice's training set."""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBOURS = 8
_QUERIES_AT_ONCE = 256  # bounds the distance matrix: 256 x 200,000 vectors is 200 MB


class FeatureIndex:
    """Exact nearest neighbours by squared Euclidean distance, on the device of its vectors.

    Args:
        vectors: `[V, C]` float32.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors = vectors.contiguous()
        self._half_norms = 0.5 * (self.vectors * self.vectors).sum(dim=1)

    def to(self, device: torch.device) -> FeatureIndex:
        """The same index on another device."""
        return FeatureIndex(self.vectors.to(device))

    def blend(self, features: Tensor, rate: float, neighbours: int = NEIGHBOURS) -> Tensor:
        """`rate` parts of the neighbours' mean, weighted by 1 / distance^2 of the squared distance, and the rest.

        The weights are taken relative to the nearest neighbour, so that an exact hit is no division by zero: it wins
        alone, as the limit demands.

        Args:
            features: `[T, C]`.
            rate: 0..1.
            neighbours: At most as many as there are vectors.
        """
        if rate == 0.0:
            return features
        return rate * self.neighbours(features, neighbours) + (1.0 - rate) * features

    def neighbours(self, features: Tensor, most: int = NEIGHBOURS) -> Tensor:
        """Weighted mean `[T, C]` of the nearest vectors of each feature `[T, C]`, `most` of them; see `blend`."""
        k = min(most, len(self.vectors))
        parts = [self._neighbour_mean(part, k) for part in torch.split(features, _QUERIES_AT_ONCE)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _neighbour_mean(self, queries: Tensor, k: int) -> Tensor:
        closeness = torch.addmm(self._half_norms, queries, self.vectors.T, beta=-1.0)
        found = self.vectors[closeness.topk(k, dim=1).indices]  # [T, k, C]
        # Taken anew: the product form above loses the digits of small distances.
        distance = ((found - queries[:, None]) ** 2).sum(dim=2)
        tiny = torch.finfo(distance.dtype).tiny
        weight = ((distance.amin(dim=1, keepdim=True) + tiny) / (distance + tiny)) ** 2
        weight = weight / weight.sum(dim=1, keepdim=True)
        return (weight[..., None] * found).sum(dim=1)


def protect(features: Tensor, before_index: Tensor, f0: Tensor, amount: float) -> Tensor:
    """Give unvoiced frames back what they were before retrieval, so that consonants stay crisp.

    Args:
        features: `[T, C]`, at the rate of `f0`.
        before_index: `[T, C]`.
        f0: Hz, 0 where unvoiced `[T]`.
        amount: Proportion of the blended features that unvoiced frames keep; 0.5 or more switches protection off.
    """
    if amount >= 0.5:
        return features
    keep = torch.where(f0 < 1.0, amount, 1.0).to(features.dtype)[:, None]
    return features * keep + before_index * (1.0 - keep)
