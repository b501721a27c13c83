"""F0 by the two estimators of WORLD, to compare with: Harvest (careful, slow) and DIO refined by StoneMask.

Sources: Harvest, Morise 2017, doi:10.21437/Interspeech.2017-68; DIO, Morise, Kawahara & Katayose 2009, AES 35th
conference; StoneMask and WORLD, Morise, Yokomori & Ozawa 2016, doi:10.1587/transinf.2015EDP7457.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....kernels.errors import ParameterError

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
