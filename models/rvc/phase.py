"""The phase of the harmonic source in whole numbers: exact for any length of stream, without float64 on the device.

A phase counts units of 1 / (100 * 2**23) of a cycle, modulo one cycle, as int32. A frame of 10 ms at F0 advances it by
F0 / 100 cycles, which is `F0 * 2**23` units: a whole number for every float32 F0 from 1 Hz on. Nothing is ever rounded,
and the largest intermediate sum, just below two cycles, fits.
"""

from __future__ import annotations

import torch
from torch import Tensor

_HZ_PER_CYCLE = 100.0  # F0 at which a frame advances the phase by one whole cycle
_UNITS_PER_HZ = 2.0**23
UNITS_PER_CYCLE = 100 << 23


def phase_of(cycles: float) -> int:
    """The phase in units of so many cycles."""
    return round(cycles % 1.0 * UNITS_PER_CYCLE) % UNITS_PER_CYCLE


def frame_phases(phase_in: Tensor, f0: Tensor) -> Tensor:
    """Phase before each of some consecutive frames, and after the last of them.

    Args:
        phase_in: Before the first frame, int32 `[B, 1]`.
        f0: Hz, 0 where unvoiced `[B, T]`.

    Returns:
        int32 `[B, T + 1]`.
    """
    advance = (torch.remainder(f0, _HZ_PER_CYCLE) * _UNITS_PER_HZ).to(torch.int32)
    phase, stride = torch.cat((phase_in, advance), dim=1), 1
    # A running sum would overflow; in this order (Hillis and Steele 1986) every sum is of two phases and wraps at once.
    while stride < phase.shape[1]:
        total = phase[:, stride:] + phase[:, :-stride]
        wrapped = total - UNITS_PER_CYCLE * (total >= UNITS_PER_CYCLE).to(torch.int32)
        phase = torch.cat((phase[:, :stride], wrapped), dim=1)
        stride *= 2
    return phase
