"""Streaming resampling by a rational ratio: a polyphase windowed-sinc filter with a stated delay and response.

The filter is a sinc under a Kaiser window (Kaiser 1974; polyphase form: Crochiere & Rabiner 1983, Multirate Digital
Signal Processing), linear in phase, and counted in periods of the lower of the two rates. It passes up to `PASS_BAND`
of the lower Nyquist frequency and stops from `stop_band(half_periods)` of it on. Where that is above 1, what lies
between the lower Nyquist frequency and the stop band is only partly removed, and folds to within the same distance
below it: 26 periods a side keep it out of the pass band, 52 leave none of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .errors import ParameterError
from .types import FloatArray

MIN_RATE = 8000
MAX_RATE = 192000
PASS_BAND = 0.90  # of the lower Nyquist frequency
STOP_BAND_DB = 82.0
DEFAULT_HALF_PERIODS = 16  # 1 ms at 16 kHz
_MIN_HALF_PERIODS = 8  # fewer could not tell the pass band from its images


def stop_band(half_periods: int) -> float:
    """Where the stop band starts, relative to the lower Nyquist frequency (Kaiser's estimate).

    Args:
        half_periods: Periods of the lower rate on each side of the filter's centre.
    """
    return PASS_BAND + (STOP_BAND_DB - 7.95) / (14.36 * half_periods)


def prototype(up: int, down: int, half_periods: int = DEFAULT_HALF_PERIODS) -> NDArray[np.float64]:
    """The low-pass filter of a ratio, at `up` times the input rate and `down` times the output rate.

    Args:
        up: Numerator of the reduced ratio output / input.
        down: Denominator of the ratio.
        half_periods: Periods of the lower rate on each side of the centre.

    Returns:
        [2 * half_periods * max(up, down) + 1], symmetric. Every `up`-th value, from whichever start, adds up to 1, so
        that a constant comes out unchanged. [1] if `up` is `down`: nothing to filter.
    """
    if up == down:
        return np.ones(1)
    period = max(up, down)
    half = half_periods * period
    beta = 0.1102 * (STOP_BAND_DB - 8.7)
    cutoff = 0.5 * (PASS_BAND + stop_band(half_periods))
    taps = np.sinc(cutoff / period * np.arange(-half, half + 1)) * np.kaiser(2 * half + 1, beta)
    rows = np.pad(taps, (0, -len(taps) % up)).reshape(-1, up)
    rows /= rows.sum(axis=0)
    return rows.ravel()[: len(taps)]


@dataclass(slots=True)
class ResamplerState:
    """Filter and memory of `resample_block`.

    Attributes:
        up: Numerator of the reduced ratio output / input.
        down: Denominator of the ratio. A block of a multiple of it gives `up / down` times as many outputs.
        max_block: Largest block taken, in samples.
        delay_samples_out: Output sample n shows the input at (n - delay_samples_out) / output rate seconds, where
            input sample k lies at k / input rate. 0 for equal rates, not a whole number for most upward ratios.
        grid_offset: From the next input sample to the next output, in steps of 1 / (`up` * input rate).
        phases: The filter, one row per phase, last tap first [up, taps].
        input_mem: The last `taps - 1` input samples, and room for a block [taps - 1 + max_block].
    """

    up: int
    down: int
    max_block: int
    delay_samples_out: float
    grid_offset: int
    phases: FloatArray = field(repr=False)
    input_mem: FloatArray = field(repr=False)

    @classmethod
    def allocate(
        cls, from_rate: int, to_rate: int, max_block: int, half_periods: int = DEFAULT_HALF_PERIODS
    ) -> ResamplerState:
        """State at the start of a stream, with silence before it.

        Args:
            from_rate: Hz, 8000..192000.
            to_rate: Hz, 8000..192000.
            max_block: Largest block to come, in input samples.
            half_periods: Periods of the lower rate on each side of the filter's centre, which are its delay.

        Raises:
            ParameterError: a rate, the block or the filter is out of range.
        """
        for rate in (from_rate, to_rate):
            if not MIN_RATE <= rate <= MAX_RATE:
                raise ParameterError(f"cannot resample at {rate} Hz: use {MIN_RATE}..{MAX_RATE} Hz.")
        if max_block < 1:
            raise ParameterError(f"cannot resample blocks of up to {max_block} samples: allow at least 1.")
        if half_periods < _MIN_HALF_PERIODS:
            raise ParameterError(f"a filter of {half_periods} periods a side is too short: use {_MIN_HALF_PERIODS}.")
        common = math.gcd(from_rate, to_rate)
        up, down = to_rate // common, from_rate // common
        filter_taps = prototype(up, down, half_periods)
        rows = np.pad(filter_taps, (0, -len(filter_taps) % up)).reshape(-1, up)
        phases = np.ascontiguousarray(rows[::-1].T, dtype=np.float32)
        return cls(
            up=up,
            down=down,
            max_block=max_block,
            delay_samples_out=(len(filter_taps) // 2) / down,
            grid_offset=0,
            phases=phases,
            input_mem=np.zeros(phases.shape[1] - 1 + max_block, dtype=np.float32),
        )

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.grid_offset = 0
        self.input_mem[:] = 0.0

    def outputs_due(self, block: int) -> int:
        """How many samples the next call will give for `block` samples."""
        return -((self.grid_offset - block * self.up) // self.down)


def resample_block(x: FloatArray, state: ResamplerState, out: FloatArray) -> int:
    """Resample the next samples of a stream. An output is due as soon as the input sample at or before it is there.

    How the stream is cut into blocks changes nothing, to the last bit.

    Args:
        x: [n], at most `state.max_block`.
        state: Advanced in place.
        out: Contiguous; the first samples are filled, the rest is unchanged.

    Returns:
        How many samples were written: `state.outputs_due(n)` before the call.

    Raises:
        ParameterError: the block is too long, or `out` too short for what is due. Nothing was changed.
    """
    block = len(x)
    due = state.outputs_due(block)
    if block > state.max_block:
        raise ParameterError(f"a block of {block} samples is too long for this resampler: give {state.max_block}.")
    if due > len(out):
        raise ParameterError(f"{due} resampled samples are due, but there is room for {len(out)}.")
    history = state.phases.shape[1] - 1
    # Copied here and not in the compiled loop, which would be compiled again for every other memory layout of `x`.
    state.input_mem[history : history + block] = x
    _filter(state.input_mem, block, state.phases, state.down, state.grid_offset, out[:due])
    state.grid_offset += due * state.down - block * state.up
    return due


# The inner loop uses vector instructions only if it may add up in any order and indexes nothing but slices from 0 on.
@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _filter(
    input_mem: FloatArray, block: int, phases: FloatArray, down: int, grid_offset: int, out: FloatArray
) -> None:
    up, taps = phases.shape
    first, phase = divmod(grid_offset, up)
    step, phase_step = divmod(down, up)
    for n in range(len(out)):
        row, window = phases[phase], input_mem[first : first + taps]
        total = np.float32(0.0)
        for j in range(taps):
            total += row[j] * window[j]
        out[n] = total
        first += step
        phase += phase_step
        if phase >= up:
            phase -= up
            first += 1
    for i in range(taps - 1):
        input_mem[i] = input_mem[block + i]
