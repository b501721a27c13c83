"""A noise gate with hysteresis, hold and ramps, sample by sample (noise gate in Zölzer 2011, DAFX, ch. 4).

The level is the RMS of the last 10 ms. The gate opens as soon as the level reaches the threshold, and closes once the
level has stayed more than 6 dB below it for 200 ms. The delay is 0: when a sound sets in, what comes before its level
is reached is lost, and the next 5 ms fade in.

A speech gate has the same ramps, but listens to a detector's probability of speech in place of the level: it opens as
soon as the threshold is reached, and closes once the probability has stayed below half of it for 300 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .errors import ParameterError
from .limits import GATE_OFF_DB
from .types import FloatArray

LEVEL_MS = 10
ATTACK_MS = 5
RELEASE_MS = 50
HOLD_MS = 200
HYSTERESIS_DB = 6.0
SPEECH_FRAME_MS = 10
SPEECH_HOLD_MS = 300  # pauses within words, and what a gate that looks back takes off the end
SPEECH_HYSTERESIS = 0.5


@dataclass(slots=True)
class GateState:
    """Memory of `gate_into` and `gate_gain_into`.

    Attributes:
        sample_rate: Hz.
        gain: Gain of the last sample, 0..1.
        is_open: Whether the gain rises, or falls.
        hold_left: Samples below the closing level until it falls.
        power_sum: Sum of the squares in `square_mem`.
        power_sum_fresh: Sum of those put there since the last wrap.
        position: In `square_mem`, of the oldest square.
        square_mem: Squares of the last 10 ms, a ring [10 ms].
    """

    sample_rate: int
    gain: float = 0.0
    is_open: bool = False
    hold_left: int = 0
    power_sum: float = 0.0
    power_sum_fresh: float = 0.0
    position: int = 0
    square_mem: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0), repr=False)

    @classmethod
    def allocate(cls, sample_rate: int) -> GateState:
        """A closed gate, with silence before it.

        Raises:
            ParameterError: the rate is below 1000 Hz.
        """
        if sample_rate < 1000:
            raise ParameterError(f"cannot gate at {sample_rate} Hz: use at least 1000 Hz.")
        return cls(sample_rate, square_mem=np.zeros(sample_rate * LEVEL_MS // 1000))

    def reset(self, is_open: bool = False) -> None:
        """Return to the start of a stream, closed or fully open."""
        self.gain = float(is_open)
        self.power_sum = self.power_sum_fresh = 0.0
        self.is_open = is_open
        self.hold_left = self.position = 0
        self.square_mem[:] = 0.0


@dataclass(slots=True)
class SpeechGateState:
    """Memory of `speech_gate_gain_into`.

    Attributes:
        sample_rate: Hz.
        gain: Gain of the last sample, 0..1.
        is_open: Whether the gain rises, or falls.
        hold_left: Samples below the closing probability until it falls.
    """

    sample_rate: int
    gain: float = 0.0
    is_open: bool = False
    hold_left: int = 0

    def reset(self) -> None:
        """Return to the start of a stream, closed."""
        self.gain, self.is_open, self.hold_left = 0.0, False, 0


def gate_into(x: FloatArray, state: GateState, threshold_db: float, out: FloatArray) -> None:
    """Gate the next samples of a stream. How it is cut into blocks changes nothing, to the last bit.

    Args:
        x: [n], contiguous.
        state: Advanced in place.
        threshold_db: RMS in dB of full scale. At or below -60 the gate is off: it opens and stays so.
        out: Filled [n], contiguous; may be `x`.

    Raises:
        ParameterError: `out` is of another length than `x`.
    """
    _run(x, state, threshold_db, out, False)


def gate_gain_into(x: FloatArray, state: GateState, threshold_db: float, gain_out: FloatArray) -> None:
    """The factors by which `gate_into` would multiply the next samples of a stream, to be used on something else.

    Args:
        x: [n], contiguous.
        state: Advanced in place.
        threshold_db: As for `gate_into`.
        gain_out: Filled [n], contiguous; 0..1.

    Raises:
        ParameterError: `gain_out` is of another length than `x`.
    """
    _run(x, state, threshold_db, gain_out, True)


def speech_gate_gain_into(
    probability: FloatArray, state: SpeechGateState, threshold: float, gain_out: FloatArray
) -> None:
    """The factors by which to multiply the next frames of a stream, so that only speech is heard.

    Args:
        probability: Probability of speech in each frame of 10 ms, 0..1 [k].
        state: Advanced in place.
        threshold: Probability from which on the gate opens.
        gain_out: Filled [k * 10 ms], contiguous; 0..1.

    Raises:
        ParameterError: `gain_out` does not have the length of the frames.
    """
    frame = state.sample_rate * SPEECH_FRAME_MS // 1000
    if len(gain_out) != len(probability) * frame:
        raise ParameterError(
            f"{len(probability)} frames have {len(probability) * frame} gains, but there is room for {len(gain_out)}."
        )
    ms = state.sample_rate / 1000
    state.gain, state.is_open, state.hold_left = _speech_gate(
        probability,
        gain_out,
        frame,
        float(threshold),
        float(threshold) * SPEECH_HYSTERESIS,
        1.0 / (ATTACK_MS * ms),
        1.0 / (RELEASE_MS * ms),
        int(SPEECH_HOLD_MS * ms),
        state.gain,
        state.is_open,
        state.hold_left,
    )


def _run(x: FloatArray, state: GateState, threshold_db: float, out: FloatArray, gain_only: bool) -> None:
    if len(out) != len(x):
        raise ParameterError(f"a gate turns {len(x)} samples into as many, but there is room for {len(out)}.")
    is_off = threshold_db <= GATE_OFF_DB
    opening_sum = -np.inf if is_off else len(state.square_mem) * 10.0 ** (float(threshold_db) / 10.0)
    ms = state.sample_rate / 1000
    state.gain, state.is_open, state.hold_left, state.power_sum, state.power_sum_fresh, state.position = _gate(
        x,
        out,
        gain_only,
        state.square_mem,
        opening_sum,
        opening_sum * 10.0 ** (-HYSTERESIS_DB / 10.0),
        1.0 / (ATTACK_MS * ms),
        1.0 / (RELEASE_MS * ms),
        int(HOLD_MS * ms),
        state.gain,
        state.is_open,
        state.hold_left,
        state.power_sum,
        state.power_sum_fresh,
        state.position,
    )


@njit(nogil=True, cache=True)
def _follow(
    is_wanted: bool, rise: float, fall: float, hold: int, gain: float, is_open: bool, hold_left: int
) -> tuple[float, bool, int]:
    """The next sample's gain, state and hold."""
    if is_wanted:
        is_open = True
        hold_left = hold
    elif hold_left > 0:
        hold_left -= 1
    else:
        is_open = False
    return min(gain + rise, 1.0) if is_open else max(gain - fall, 0.0), is_open, hold_left


@njit(nogil=True, cache=True)
def _gate(
    x: FloatArray,
    out: FloatArray,
    gain_only: bool,
    square_mem: NDArray[np.float64],
    opening_sum: float,
    closing_sum: float,
    rise: float,
    fall: float,
    hold: int,
    gain: float,
    is_open: bool,
    hold_left: int,
    power_sum: float,
    power_sum_fresh: float,
    position: int,
) -> tuple[float, bool, int, float, float, int]:
    for i in range(len(x)):
        square = np.float64(x[i]) * np.float64(x[i])
        power_sum += square - square_mem[position]
        power_sum_fresh += square
        square_mem[position] = square
        position += 1
        if position == len(square_mem):
            # Both are now sums of the same squares: an error of rounding, and NaN, goes no further.
            position = 0
            power_sum = power_sum_fresh
            power_sum_fresh = 0.0
        is_loud = power_sum >= opening_sum or (is_open and power_sum >= closing_sum)
        gain, is_open, hold_left = _follow(is_loud, rise, fall, hold, gain, is_open, hold_left)
        out[i] = gain if gain_only else x[i] * gain
    return gain, is_open, hold_left, power_sum, power_sum_fresh, position


@njit(nogil=True, cache=True)
def _speech_gate(
    probability: FloatArray,
    gain_out: FloatArray,
    frame: int,
    opening: float,
    closing: float,
    rise: float,
    fall: float,
    hold: int,
    gain: float,
    is_open: bool,
    hold_left: int,
) -> tuple[float, bool, int]:
    for k in range(len(probability)):
        is_speech = probability[k] >= opening or (is_open and probability[k] >= closing)
        for i in range(k * frame, (k + 1) * frame):
            gain, is_open, hold_left = _follow(is_speech, rise, fall, hold, gain, is_open, hold_left)
            gain_out[i] = gain
    return gain, is_open, hold_left
