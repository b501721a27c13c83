"""How far what a decoder says is from what it was to say."""

from __future__ import annotations

from torch import Tensor

from ...models.neural.network import ENVELOPE_BANDS

_QUIET = -3.0  # nepers of the mean amplitude, relative to the running level, below which a frame hardly counts
_LEAST = 0.1


def bands_loss(said: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """L1 of the envelope's logarithm and of its change from frame to frame, and of the aperiodicity.

    Args:
        said: [B, frames, 87].
        wanted: [B, frames, 87].
        counted: Which bands of the envelope count [B, 1, 80].
    """
    envelope, target = said[..., :ENVELOPE_BANDS], wanted[..., :ENVELOPE_BANDS].clamp_min(-10.0)
    loud = target[..., :60].exp().mean(dim=-1, keepdim=True).log()
    weight = _LEAST + (1.0 - _LEAST) * ((loud - _QUIET) / 3.0).clamp(0.0, 1.0)
    error = ((envelope - target) * counted).abs().sum(dim=-1, keepdim=True) / counted.sum(dim=-1, keepdim=True)
    change = ((envelope[:, 2:] - envelope[:, :-2]) - (target[:, 2:] - target[:, :-2])) * counted
    change = change.abs().sum(dim=-1, keepdim=True) / counted.sum(dim=-1, keepdim=True)
    noise = (said[..., ENVELOPE_BANDS:] - wanted[..., ENVELOPE_BANDS:]).abs().mean(dim=-1, keepdim=True)
    total = weight.sum()
    return (
        (error * weight).sum() / total + 0.5 * (change * weight[:, 2:]).sum() / total + (noise * weight).sum() / total
    )
