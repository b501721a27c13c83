"""The table of hot parameters: name, unit, range, step and help of everything that can change while a session runs.

Command line, terminal view and keys are made from it. It is data only, so that a protocol and a panel can be too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real

from ..kernels.errors import ParameterError
from ..kernels.limits import GATE_OFF_DB

Value = float | int | bool


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hot parameter.

    Attributes:
        name: In Python, JSON and commands; ends in its unit where it has one.
        option: On the command line; empty for a parameter that has no option.
        help: One sentence without a full stop.
        default: Also decides the type of every value: bool, int or float.
        low: Smallest value; 0 for a bool.
        high: Largest value; 1 for a bool.
        unit: For people; empty for none.
        step: By how much one key press changes it; 0 where no key does.
        alias: `key` of a parameter that has no option and should not go by its name.
    """

    name: str
    option: str
    help: str
    default: Value
    low: float
    high: float
    unit: str = ""
    step: float = 0.0
    alias: str = ""

    @property
    def key(self) -> str:
        """Short name in the remote protocol: the option without its dashes, such as `pitch`."""
        return self.alias or self.option.removeprefix("--").replace("-", "_") or self.name

    def checked(self, value: object) -> Value:
        """The value in the parameter's own type.

        Raises:
            ParameterError: it is of another type or out of range, or not a number.
        """
        if isinstance(self.default, bool):
            if isinstance(value, bool):
                return value
            raise ParameterError(f"{self.name} is {value!r}; it must be true or false")
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ParameterError(f"{self.name} is {value!r}; it must be a number from {self.low:g} to {self.high:g}")
        try:
            number = float(value)
        except OverflowError:  # a whole number of hundreds of digits
            number = math.inf
        if not self.low <= number <= self.high:  # also refuses NaN
            raise ParameterError(f"{self.name} is {number:g}; it must lie between {self.low:g} and {self.high:g}")
        if not isinstance(self.default, int):
            return number
        if not number.is_integer():
            raise ParameterError(f"{self.name} is {number:g}; it must be a whole number")
        return int(number)

    def clamped(self, value: float) -> Value:
        """The nearest value within the range."""
        return self.checked(min(max(value, self.low), self.high))


def table(parameters: Iterable[Parameter]) -> dict[str, Parameter]:
    """Parameters by name."""
    return {parameter.name: parameter for parameter in parameters}


VOICE_PARAMETERS = table(
    [
        Parameter("pitch_semitones", "--pitch", "Pitch shift in semitones", 0.0, -36.0, 36.0, "semitones", 1.0),
        Parameter(
            "formant_semitones",
            "--formant",
            "Formant shift in semitones; the pitch stays",
            0.0,
            -12.0,
            12.0,
            "semitones",
            0.5,
        ),
        Parameter(
            "index_rate", "--index-rate", "Proportion of retrieved features, for voices with an .index", 0.75, 0.0, 1.0
        ),
        Parameter(
            "protect",
            "--protect",
            "Keeps unvoiced consonants closer to the source when an index is used; 0.5 is off",
            0.33,
            0.0,
            0.5,
        ),
        Parameter(
            "rms_mix",
            "--rms-mix",
            "Loudness of an RVC voice: 0 follows the source, 1 keeps the voice's own",
            0.25,
            0.0,
            1.0,
        ),
        Parameter(
            "mix",
            "--mix",
            "Of two neural voices, such as a+b: 0 is the first, 1 the second",
            0.5,
            0.0,
            1.0,
            step=0.1,
        ),
        Parameter("speaker", "--speaker", "Speaker ID, for RVC voices with several speakers", 0, 0, 100_000),
    ]
)

EFFECT_PARAMETERS = table(
    [
        Parameter(
            "input_gain_db", "--input-gain-db", "Microphone gain in dB", 0.0, -60.0, 60.0, "dB", 1.0
        ),  # some microphones need far more than an output does
        Parameter(
            "gate_db",
            "--gate-db",
            f"Gate threshold in dB: silence while the input stays below it; {GATE_OFF_DB:g} is off",
            GATE_OFF_DB,
            GATE_OFF_DB,
            0.0,
            "dB",
        ),
        Parameter("gain_db", "--gain-db", "Output gain in dB", 0.0, -60.0, 24.0, "dB", 1.0),
        Parameter("muted", "", "Send silence", False, 0, 1, alias="mute"),
    ]
)
