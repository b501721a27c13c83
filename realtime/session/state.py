"""The requested state of a session: numbered, and changed by commands only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...kernels.errors import ParameterError
from ...models.parameters import EFFECT_PARAMETERS, VOICE_PARAMETERS, Parameter, Value, table
from ...models.voice import VoiceParams
from .commands import Change, Set, SetVoice, Step, StepVoice, Toggle

PARAMETERS: dict[str, Parameter] = {
    **VOICE_PARAMETERS,
    **EFFECT_PARAMETERS,
    **table(
        [
            Parameter("bypass", "", "Play the microphone instead of the voice, with the same latency", False, 0, 1),
            Parameter("monitor", "", "Play the output on the monitor too", True, 0, 1),
            Parameter("monitor_gain_db", "--monitor-gain-db", "Monitor gain in dB", 0.0, -60.0, 24.0, "dB", 1.0),
        ]
    ),
}


@dataclass(frozen=True, slots=True)
class SessionState:
    """The requested state of a session. Frozen: `after` returns the state that a command leads to.

    Attributes:
        revision: Number of changes since the start of the session.
        voice: Name or path of the requested voice; it may still be loading.
        params: Parameters of the voice.
        input_gain_db: Microphone gain in dB.
        gate_db: Threshold of the level gate in dB.
        gain_db: Output gain in dB.
        muted: Whether the output is silenced.
        bypass: Whether the microphone is played instead of the voice.
        monitor: Whether the output is played on the monitor too.
        monitor_gain_db: Monitor gain in dB.
    """

    revision: int = 0
    voice: str = "woman"
    params: VoiceParams = field(default_factory=VoiceParams)
    input_gain_db: float = 0.0
    gate_db: float = float(EFFECT_PARAMETERS["gate_db"].default)
    gain_db: float = 0.0
    muted: bool = False
    bypass: bool = False
    monitor: bool = True
    monitor_gain_db: float = 0.0

    def __post_init__(self) -> None:
        for name, parameter in PARAMETERS.items():
            parameter.checked(self[name])

    def __getitem__(self, name: str) -> Value:
        """The value of a parameter of `PARAMETERS`."""
        value: Value = getattr(self.params if name in VOICE_PARAMETERS else self, name)
        return value

    def after(self, command: Change, voices: Sequence[str] = ()) -> SessionState:
        """The state that a command leads to; the revision is incremented if anything changes.

        Args:
            command: The command to apply.
            voices: Names of the voices that `StepVoice` steps through.

        Raises:
            ParameterError: the parameter does not exist, or the value is of another type or out of range.
        """
        match command:
            case Set(values):
                changed = self._with({name: _parameter(name).checked(value) for name, value in values.items()})
            case Step(name, delta):
                parameter = _parameter(name)
                if isinstance(parameter.default, bool):
                    raise ParameterError(f"{name} has no steps; toggle it or set it to true or false")
                changed = self._with({name: parameter.clamped(self[name] + delta)})
            case Toggle(name):
                if not isinstance(_parameter(name).default, bool):
                    raise ParameterError(f"{name} cannot be toggled; set it or step it")
                changed = self._with({name: not self[name]})
            case SetVoice(voice):
                changed = self._with_voice(voice)
            case StepVoice(delta):
                changed = self._with_voice(_neighbour(self.voice, delta, voices))
        return self if changed == self else replace(changed, revision=self.revision + 1)

    def _with_voice(self, voice: str) -> SessionState:
        """Another voice starts with its first speaker: speaker IDs mean nothing beyond one voice."""
        params = self.params if voice == self.voice else replace(self.params, speaker=0)
        return replace(self, voice=voice, params=params)

    def _with(self, values: dict[str, Value]) -> SessionState:
        of_voice: dict[str, Any] = {name: value for name, value in values.items() if name in VOICE_PARAMETERS}
        rest: dict[str, Any] = {name: value for name, value in values.items() if name not in VOICE_PARAMETERS}
        return replace(self, params=replace(self.params, **of_voice), **rest)


def _parameter(name: str) -> Parameter:
    if name not in PARAMETERS:
        raise ParameterError(f"there is no parameter {name!r}; choose one of {', '.join(PARAMETERS)}")
    return PARAMETERS[name]


def _neighbour(voice: str, delta: int, voices: Sequence[str]) -> str:
    """Another name of the list; from a voice that is not in it, such as a file, one of its ends."""
    if not voices:
        return voice
    before = voices.index(voice) if voice in voices else -1 if delta > 0 else 0
    return voices[(before + delta) % len(voices)]
