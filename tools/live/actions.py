"""What a key does to a running session, whichever keyboard reader it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...kernels.errors import ParameterError
from ...models.voice import VoiceParams
from ...realtime.audio.settings import Command, SetBypass, SetInputGain, SetMonitor, SetMuted, SetParams, SetVoice
from ..cli.options import INPUT_GAIN_RANGE_DB

_PARAM_STEPS = {
    "pitch up": ("pitch_semitones", 1.0),
    "pitch down": ("pitch_semitones", -1.0),
    "formant up": ("formant_semitones", 0.5),
    "formant down": ("formant_semitones", -0.5),
    "gain up": ("gain_db", 1.0),
    "gain down": ("gain_db", -1.0),
}
_INPUT_GAIN_STEPS_DB = {"input gain up": 1.0, "input gain down": -1.0}
_VOICE_STEPS = {"next voice": 1, "previous voice": -1}
_SWITCHES = ("bypass", "mute", "monitor", "talk", "hush", "quit")
ACTIONS = (*_PARAM_STEPS, *_INPUT_GAIN_STEPS_DB, *_VOICE_STEPS, *_SWITCHES)


@dataclass(slots=True)
class LiveActions:
    """Turns actions into commands. It knows what it has asked for, so that two quick presses count as two.

    Attributes:
        send: Gives the session a command: `LiveControl.send`.
        params: Asked for last.
        voice: Asked for last.
        voices: Names to go through.
        input_gain_db: Asked for last.
        bypass: Whether the untouched input is to be heard.
        muted: Whether silence is to be sent.
        monitor: Whether the monitor is to be heard.
    """

    send: Callable[[Command], None]
    params: VoiceParams
    voice: str
    voices: Sequence[str]
    input_gain_db: float = 0.0
    bypass: bool = False
    muted: bool = False
    monitor: bool = True

    def do(self, action: str) -> bool:
        """Do one of `ACTIONS`; returns False if that ends the session.

        Raises:
            ParameterError: there is no such action.
        """
        match action:
            case "bypass":
                self.bypass = not self.bypass
                self.send(SetBypass(self.bypass))
            case "mute":
                self._mute(not self.muted)
            case "talk":
                self._mute(False)
            case "hush":
                self._mute(True)
            case "monitor":
                self.monitor = not self.monitor
                self.send(SetMonitor(self.monitor))
            case "quit":
                return False
            case _ if action in _PARAM_STEPS:
                name, step = _PARAM_STEPS[action]
                low, high = VoiceParams.RANGES[name]
                self.params = replace(self.params, **{name: min(max(getattr(self.params, name) + step, low), high)})
                self.send(SetParams(self.params))
            case _ if action in _INPUT_GAIN_STEPS_DB:
                low, high = INPUT_GAIN_RANGE_DB
                self.input_gain_db = min(max(self.input_gain_db + _INPUT_GAIN_STEPS_DB[action], low), high)
                self.send(SetInputGain(self.input_gain_db))
            case _ if action in _VOICE_STEPS:
                self._change_voice(_VOICE_STEPS[action])
            case _:
                raise ParameterError(f"there is no action {action!r}; choose one of {', '.join(ACTIONS)}")
        return True

    def _mute(self, muted: bool) -> None:
        self.muted = muted
        self.send(SetMuted(muted))

    def _change_voice(self, step: int) -> None:
        """To the next name of the list; from a voice that is not in it, such as a file, to an end of it."""
        before = self.voices.index(self.voice) if self.voice in self.voices else -1 if step > 0 else 0
        self.voice = self.voices[(before + step) % len(self.voices)]
        self.send(SetVoice(self.voice))
