"""F0 by the two estimators of WORLD: Harvest (careful, slow) and DIO refined by StoneMask (about 25 times faster).

Sources: Harvest, Morise 2017, doi:10.21437/Interspeech.2017-68; DIO, Morise, Kawahara & Katayose 2009, AES 35th
conference; StoneMask and WORLD, Morise, Yokomori & Ozawa 2016, doi:10.1587/transinf.2015EDP7457.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ParameterError
from .f0_correlation import correlation_f0

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


def recent_f0(
    audio: NDArray[np.floating[Any]],
    sample_rate: int,
    first: int,
    count: int,
    frame_period_ms: float,
    floor_hz: float,
    ceiling_hz: float,
) -> NDArray[np.float32]:
    """F0 of some frames of a short window, by DIO on a decimated copy and StoneMask on these frames alone.

    DIO finds no voicing near the end of what it is given. There F0 is held, or found by correlation where a voice has
    just begun; whoever uses it must decide on voicing by other means (D4C does).

    Args:
        audio: Mono [N], frame 0 centred on its first sample.
        sample_rate: In Hz.
        first: Index of the first frame wanted.
        count: How many.
        frame_period_ms: From frame to frame.
        floor_hz: Lowest F0 that is looked for.
        ceiling_hz: Highest, below an eighth of the rate.

    Returns:
        [count] in Hz, 0 where there is no sign of a voice.
    """
    import pyworld

    x = np.ascontiguousarray(audio, dtype=np.float64)
    options = {"f0_floor": floor_hz, "f0_ceil": ceiling_hz, "frame_period": frame_period_ms}
    coarse, times = pyworld.dio(x, sample_rate, speed=4, **options)
    wanted = slice(first, first + count)
    held = hold_f0(coarse, before=round(20.0 / frame_period_ms), after=round(20.0 / frame_period_ms))[wanted]
    centres = np.rint(times[wanted] * sample_rate).astype(np.int64)
    found = np.where(held > 0, held, correlation_f0(x, sample_rate, centres, floor_hz, ceiling_hz))
    late = hold_f0(coarse, before=0, after=round(60.0 / frame_period_ms))[wanted]
    found = np.where(found > 0, found, late)
    refined = pyworld.stonemask(x, found, np.ascontiguousarray(times[wanted]), sample_rate)
    # StoneMask gives up where there are no harmonics; the value stands for a voice that may begin there.
    return np.where(refined > 0, refined, found).astype(np.float32)


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
