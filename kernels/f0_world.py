"""F0 made precise by WORLD's StoneMask.

Source: Morise, Yokomori & Ozawa 2016, doi:10.1587/transinf.2015EDP7457.
"""

from __future__ import annotations

from .types import Float64Array


def refine_f0_into(
    audio: Float64Array, sample_rate: int, f0_hz: Float64Array, times_s: Float64Array, out: Float64Array
) -> None:
    """F0 of some frames made precise by StoneMask, from the instantaneous frequencies of the harmonics around it.

    It reads one and a half periods on both sides of a frame. pyworld makes a new array of its own result.

    Args:
        audio: Mono, contiguous [N].
        sample_rate: Hz.
        f0_hz: A rough F0 [frames], 0 where unvoiced.
        times_s: Centres of the frames [frames].
        out: Filled [frames] in Hz, with the rough F0 where StoneMask finds none within a fifth of it.
    """
    import pyworld

    refined = pyworld.stonemask(audio, f0_hz, times_s, sample_rate)
    for i in range(len(out)):
        out[i] = refined[i] if refined[i] > 0.0 else f0_hz[i]
