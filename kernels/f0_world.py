"""F0 by the two estimators of WORLD: Harvest (careful, slow) and DIO refined by StoneMask (about 25 times faster).

Sources: Harvest, Morise 2017, doi:10.21437/Interspeech.2017-68; DIO, Morise, Kawahara & Katayose 2009, AES 35th
conference; StoneMask and WORLD, Morise, Yokomori & Ozawa 2016, doi:10.1587/transinf.2015EDP7457.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ParameterError
from .types import Float64Array

SHORTEST_S = 0.1  # the estimators need a few periods of their lowest F0


def world_f0(
    audio: NDArray[np.floating[Any]],
    sample_rate: int,
    method: str,
    frame_period_ms: float = 10.0,
    floor_hz: float = 50.0,
    ceiling_hz: float = 1100.0,
) -> NDArray[np.float32]:
    """F0 of a stretch of audio, one value per frame; frame i is centred at `i * frame_period_ms`.

    Args:
        audio: Mono [N], at any level.
        sample_rate: In Hz.
        method: "harvest" or "dio".
        frame_period_ms: From frame to frame.
        floor_hz: Lowest F0 that is looked for.
        ceiling_hz: Highest F0 that is looked for.

    Returns:
        [floor(N / samples per frame) + 1] in Hz, 0 where unvoiced.

    Raises:
        ParameterError: the method is neither of the two.
    """
    import pyworld

    if method not in ("harvest", "dio"):
        raise ParameterError(f"WORLD has no F0 method {method!r}; choose harvest or dio")
    frames = int(len(audio) * 1000.0 / (sample_rate * frame_period_ms) + 1e-9) + 1
    x = np.ascontiguousarray(audio, dtype=np.float64)
    # Whole frames, as Harvest's decimation starts somewhere else for every length modulo its factor.
    length = max(int(SHORTEST_S * sample_rate), len(x))
    x = np.pad(x, (0, length - len(x) + -length % max(round(sample_rate * frame_period_ms / 1000.0), 1)))
    if method == "harvest":
        f0, _ = pyworld.harvest(x, sample_rate, f0_floor=floor_hz, f0_ceil=ceiling_hz, frame_period=frame_period_ms)
    else:
        coarse, times = pyworld.dio(x, sample_rate, f0_floor=floor_hz, f0_ceil=ceiling_hz, frame_period=frame_period_ms)
        f0 = pyworld.stonemask(x, coarse, times, sample_rate)
    return f0[:frames].astype(np.float32)


def refined_f0(
    audio: NDArray[np.floating[Any]],
    sample_rate: int,
    f0_hz: NDArray[np.floating[Any]],
    first: int,
    frame_period_ms: float,
) -> NDArray[np.float64]:
    """As `refine_f0_into`, for frames of any precision at a period, from frame `first` on: returns F0 [frames]."""
    rough = np.ascontiguousarray(f0_hz, dtype=np.float64)
    times_s = np.asarray((first + np.arange(len(rough))) * (frame_period_ms / 1000.0), dtype=np.float64)
    out = np.empty_like(rough)
    refine_f0_into(np.ascontiguousarray(audio, dtype=np.float64), sample_rate, rough, times_s, out)
    return out


def refine_f0_into(
    audio: Float64Array, sample_rate: int, f0_hz: Float64Array, times_s: Float64Array, out: Float64Array
) -> None:
    """F0 of some frames made precise by StoneMask, from the instantaneous frequencies of the harmonics around it.

    It reads one and a half periods on both sides of a frame. pyworld makes a new array of its own result.

    Args:
        audio: Mono, contiguous [N].
        sample_rate: In Hz.
        f0_hz: A rough F0 [frames], 0 where unvoiced.
        times_s: Centres of the frames [frames].
        out: Filled [frames] in Hz, with the rough F0 where StoneMask finds none within a fifth of it.
    """
    import pyworld

    refined = pyworld.stonemask(audio, f0_hz, times_s, sample_rate)
    for i in range(len(out)):
        out[i] = refined[i] if refined[i] > 0.0 else f0_hz[i]


def hold_f0(f0_hz: NDArray[np.floating[Any]], before: int, after: int) -> NDArray[np.float64]:
    """F0 held on both sides of each voiced stretch, the nearer side winning.

    Args:
        f0_hz: [frames], 0 where unvoiced.
        before: Frames that the first value of a stretch reaches back.
        after: Frames that its last value reaches on.
    """
    frames = np.arange(len(f0_hz))
    voiced = f0_hz > 0
    last = np.maximum.accumulate(np.where(voiced, frames, -1 - after))
    following = np.minimum.accumulate(np.where(voiced, frames, len(f0_hz) + before)[::-1])[::-1]
    since, until = frames - last, following - frames
    from_last = (since <= after) & ((since <= until) | (until > before))
    nearest = np.where(from_last, last, following).clip(0, max(len(f0_hz) - 1, 0))
    return np.where(from_last | (until <= before), f0_hz[nearest], 0.0).astype(np.float64)
