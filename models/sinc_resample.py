"""Fixed-ratio resampling on the torch device by windowed sinc (J. O. Smith, Digital Audio Resampling)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ZERO_CROSSINGS = 6
ROLLOFF = 0.99  # of the lower Nyquist frequency


def sinc_resample(audio: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Resample `[N]` to `[ceil(N * to / from)]`, Hann-windowed sinc, no delay.

    Every `from` input samples (after reduction) give `to` outputs, each with its own filter: one strided convolution.
    """
    divisor = math.gcd(from_rate, to_rate)
    down, up = from_rate // divisor, to_rate // divisor
    cutoff = min(down, up) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS * down / cutoff)
    taps = torch.arange(-reach, reach + down, dtype=torch.float64) / down
    phases = torch.arange(up, dtype=torch.float64)[:, None] / up
    t = ((taps - phases) * cutoff).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    filters = torch.sinc(t) * torch.cos(t * (0.5 * math.pi / ZERO_CROSSINGS)) ** 2 * (cutoff / down)
    padded = F.pad(audio, (reach, reach + down))[None, None]
    outputs = F.conv1d(padded, filters[:, None].to(audio), stride=down)
    return outputs[0].T.reshape(-1)[: math.ceil(len(audio) * up / down)]
