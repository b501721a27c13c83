"""The command that a key sends to a running session, whichever keyboard reader it comes from."""

from __future__ import annotations

from ...kernels.errors import ParameterError
from ...realtime.audio.commands import Change, SetBlock
from ...realtime.session.commands import Set, Step, StepVoice, Toggle
from ...realtime.session.state import PARAMETERS

_STEPPED = {
    "pitch": "pitch_semitones",
    "formant": "formant_semitones",
    "gain": "gain_db",
    "input gain": "input_gain_db",
}
QUIT = "quit"
COMMANDS: dict[str, Change] = {
    **{
        f"{action} {direction}": Step(name, sign * PARAMETERS[name].step)
        for action, name in _STEPPED.items()
        for direction, sign in (("up", 1.0), ("down", -1.0))
    },
    "next voice": StepVoice(1),
    "previous voice": StepVoice(-1),
    "bypass": Toggle("bypass"),
    "mute": Toggle("muted"),
    "monitor": Toggle("monitor"),
    "talk": Set({"muted": False}),  # push-to-talk is pressed
    "release": Set({"muted": True}),  # and released
    "longer blocks": SetBlock(None),
}
ACTIONS = (*COMMANDS, QUIT)


def command_for(action: str) -> Change:
    """The command of one of `ACTIONS` other than `QUIT`.

    Raises:
        ParameterError: there is no such action.
    """
    if action not in COMMANDS:
        raise ParameterError(f"there is no action {action!r}; choose one of {', '.join(ACTIONS)}")
    return COMMANDS[action]
