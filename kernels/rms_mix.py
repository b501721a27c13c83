"""RVC's real-time loudness mix, without allocating: the output's level over 40 ms follows the input's."""

from __future__ import annotations

import numpy as np
from numba import njit

from .types import FloatArray


@njit(nogil=True, cache=True)
def rms_mix_into(x_in: FloatArray, x_out: FloatArray, hop: int, rate: float, hop_in: int, out: FloatArray) -> None:
    """As `rms_mix` of `kernels.level`, into `out` [N], which is neither of the inputs."""
    n = len(x_out)
    n_in = min(n * hop_in // hop, len(x_in))
    points = n // hop
    at = -1
    for j in range(n):
        position = j * points / n if points > 0 else 0.0
        if int(position) != at:
            at = int(position)
            source_before = _rms_around(x_in, n_in, at, hop_in)
            source_after = _rms_around(x_in, n_in, at + 1, hop_in)
            own_before = _rms_around(x_out, n, at, hop)
            own_after = _rms_around(x_out, n, at + 1, hop)
        weight = position - at
        source = source_before + weight * (source_after - source_before)
        own = own_before + weight * (own_after - own_before)
        out[j] = x_out[j] * (source / max(own, 1e-3)) ** (1.0 - rate)


@njit(nogil=True, cache=True)
def _rms_around(x: FloatArray, n: int, frame: int, hop: int) -> float:
    """RMS of the first `n` samples over 4 hops around `frame * hop`, zero beyond the ends."""
    power = 0.0
    for i in range(max((frame - 2) * hop, 0), min((frame + 2) * hop, n)):
        power += np.float64(x[i]) * np.float64(x[i])
    return float(np.float32(np.sqrt(power / (4 * hop))))
