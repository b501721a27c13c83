"""Levels: frame RMS, the noise gate and the loudness mixes of RVC's real-time and offline paths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .types import FloatArray

_SILENCE = 1e-5


def frame_rms(x: FloatArray, frame: int, hop: int) -> FloatArray:
    """RMS of `frame` samples every `hop`, centred on sample `i * hop`, zero-padded at the ends.

    Args:
        x: [N].

    Returns:
        [N // hop + 1].
    """
    padded = np.pad(x.astype(np.float64), frame // 2)
    power = np.concatenate(([0.0], np.cumsum(padded * padded)))
    starts = np.arange((len(padded) - frame) // hop + 1) * hop
    mean = (power[starts + frame] - power[starts]) / frame
    return np.sqrt(np.maximum(mean, 0.0)).astype(np.float32)


def gate_block(recent: FloatArray, block: FloatArray, hop: int, threshold_db: float) -> tuple[FloatArray, FloatArray]:
    """Silence the stretches of a block that are below a threshold, one `hop` at a time, with no hold and no ramp.

    The level of a stretch is taken over `4 * hop` samples around it, so the gate decides `2 * hop` late: it rewrites
    the last `2 * hop` samples of the previous block together with this one.

    Args:
        recent: The last `4 * hop` ungated samples before the block.
        block: [N], N a multiple of `hop`.
        hop: Samples in 10 ms.
        threshold_db: In dB of full scale.

    Returns:
        The gated samples [N + 2 * hop], and the last `4 * hop` ungated samples for the next call.
    """
    x = np.concatenate((recent, block))
    level_db = 20.0 * np.log10(np.maximum(frame_rms(x, 4 * hop, hop)[2:], _SILENCE))
    kept = x[2 * hop - hop // 2 :].copy()
    for i in np.flatnonzero(level_db < threshold_db):
        kept[i * hop : (i + 1) * hop] = 0.0
    return kept[hop // 2 :], x[-4 * hop :]


def rms_mix(x_in: FloatArray, x_out: FloatArray, hop: int, rate: float, hop_in: int | None = None) -> FloatArray:
    """Let the loudness of the output follow the input's, over 40 ms: RVC's real-time formula.

    Args:
        x_in: Source, lasting at least as long; what is beyond is ignored.
        x_out: Converted [N].
        hop: Samples in 10 ms of the output.
        rate: 0 follows the input, 1 leaves the output as it is.
        hop_in: Samples in 10 ms of the input, None if its rate is the output's.
    """
    from .rms_mix import rms_mix_into  # compiled; the rest of this module needs no Numba

    out = np.empty(len(x_out), dtype=np.float32)
    rms_mix_into(x_in, x_out, hop, rate, hop_in or hop, out)
    return out


def rms_mix_offline(x_in: FloatArray, rate_in: int, x_out: FloatArray, rate_out: int, rate: float) -> FloatArray:
    """Let the loudness of the output follow the input's, over 1 s: RVC's formula for files.

    Args:
        x_in: Source [N] at `rate_in` Hz.
        x_out: Converted [M] at `rate_out` Hz.
        rate: 0 follows the input, 1 leaves the output as it is.
    """
    levels = [_resize(frame_rms(x, sr // 2 * 2, sr // 2), len(x_out)) for x, sr in ((x_in, rate_in), (x_out, rate_out))]
    gain = levels[0] ** (1.0 - rate) * np.maximum(levels[1], 1e-6) ** (rate - 1.0)
    return (x_out * gain).astype(np.float32)


def _resize(points: FloatArray, n: int) -> NDArray[np.float64]:
    """Linear interpolation to n points, areas kept (not align_corners)."""
    where = (np.arange(n) + 0.5) * (len(points) / n) - 0.5
    return np.asarray(np.interp(where, np.arange(len(points)), points))


def soft_limit(x: FloatArray, knee: float = 0.9) -> FloatArray:
    """Leave what is within +-knee as it is, bend what is beyond so that it never passes +-1.

    Args:
        x: [N].
        knee: Level at which limiting starts, below 1.
    """
    size = np.abs(x)
    bent = knee + (1.0 - knee) * np.tanh((size - knee) / (1.0 - knee))
    return np.where(size <= knee, x, np.copysign(bent, x)).astype(np.float32)
