"""What all clients of the Voicemod-compatible API share: what stands for which part of a session, and pictures."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....models.pictures import square_png
from ...session.state import PARAMETERS
from ..arguments import KEYS
from ..errors import RemoteError
from ..executor import Effect
from ..inside import Inside
from .messages import NO_EFFECT, SWITCHES, Switch, both_ids, voice_id
from .tile import SIDE, tile

_SHOWN = ("pitch", "formant", "mix")  # parameters that a client is told of
_LIMITS = {KEYS[name]: parameter for name, parameter in PARAMETERS.items()}
_MOST_WANTED = 256  # pictures that clients wait for
_AT_ONCE = 16  # pictures that are read in one go

Bitmap = dict[str, str]  # a picture in base64 by its uses


@dataclass(slots=True)
class Beep:
    """The microphone as it is held muted by `setBeepSound`.

    Attributes:
        hold: ID of the hold.
        owner: Connection of the client that asked for it, with which it ends.
    """

    hold: str
    owner: Inside


class VoicemodFace:
    """What all clients share.

    Args:
        inside: A client that belongs to none of them.
        run: Runs an effect on a thread of its own.

    Attributes:
        beep: The microphone as `setBeepSound` holds it muted; None if it does not.
        changes: Counts what changes here and nowhere in the session.
    """

    def __init__(self, inside: Inside, run: Callable[[Effect], None]) -> None:
        self.beep: Beep | None = None
        self.changes = 0
        self._inside = inside
        self._voices = inside.connection.voices
        self._run = run
        self._without_sound: dict[str, bool] = {}  # switches that nothing of a session stands for
        self._is_clean = False  # bypass is on because a client chose the entry that is no voice
        self._wanted: dict[str, list[Callable[[Bitmap], None]]] = {}
        self._is_reading = False

    # What is the case

    def is_on(self, switch: Switch, state: Mapping[str, Any]) -> bool:
        """Whether a switch is on."""
        if not switch.key:
            return self._without_sound.get(switch.toggle, False)
        return bool(state[switch.key]) != switch.is_inverse

    def is_clean(self, state: Mapping[str, Any]) -> bool:
        """Whether the entry that is no voice is chosen."""
        self._is_clean = self._is_clean and bool(state["bypass"])
        return self._is_clean

    def current(self, state: Mapping[str, Any]) -> str:
        """ID of the chosen voice."""
        return NO_EFFECT if self.is_clean(state) else voice_id(state["voice"])

    def is_beeping(self, state: Mapping[str, Any]) -> bool:
        """Whether `setBeepSound` keeps the microphone muted; a person who unmutes it ends that."""
        if self.beep is not None and all(hold.id != self.beep.hold for hold in state["holds"]):
            self.beep = None
        return self.beep is not None

    def facts(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """All that events report, in the order of the events."""
        switches = {switch.event: self.is_on(switch, state) for switch in SWITCHES}
        parameters = {key: state[key] for key in _SHOWN}
        return {"voice": self.current(state), **switches, "badLanguage": self.is_beeping(state), **parameters}

    def parameters(self, state: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What can be set, with its value and limits."""
        return [parameter_json(key, state[key]) for key in _SHOWN]

    def voice_data(self, state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The chosen voice: with a list of parameters for `actionObject`, with an object of them for `payload`."""
        ids, parameters = both_ids(self.current(state)), self.parameters(state)
        return {**ids, "parameters": parameters}, {**ids, "parameters": {each["name"]: each for each in parameters}}

    def voices(self, names: Sequence[str], state: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The list of voices, the entry that is no voice first."""
        current = self.current(state)
        custom = {info.name for info in self._voices.infos if info.kind == "neural"}
        entries = [_voice_json(NO_EFFECT, "No effect", False)]
        entries += [_voice_json(voice_id(name), name, name in custom) for name in names]
        for entry in entries:
            if entry["id"] == current:  # of others a client learns them when it loads them
                entry["parameters"] = {each["name"]: each for each in self.parameters(state)}
        return entries

    # What changes

    def choose_clean(self) -> None:
        """Note that bypass has been turned on in place of a voice."""
        self._is_clean = True
        self.changes += 1

    def switch(self, switch: Switch, is_on: bool) -> None:
        """Change a switch that nothing of a session stands for."""
        self._without_sound[switch.toggle] = is_on
        self.changes += 1

    def turn(self, now_s: float) -> None:
        """End a beep whose client is gone."""
        if self.beep is not None and self.beep.owner.connection.close is not None:
            self._inside.ask("release", {"hold": self.beep.hold}, now_s)
            self.beep = None
        self._inside.hear(now_s)

    def log(self, text: str) -> None:
        """Add a line to the log that clients of the protocol see."""
        self._inside.connection.board.log(text, self._inside.connection.name)

    # Pictures

    def picture(self, name: str, then: Callable[[Bitmap], None]) -> None:
        """Have the picture of a voice read, on a thread; a tile if it has none.

        Args:
            name: Name of the voice, or of what else is to have a tile.
            then: Takes the picture; must not raise.
        """
        if sum(map(len, self._wanted.values())) >= _MOST_WANTED:
            then(_tiles(name))
            return
        self._wanted.setdefault(name, []).append(then)
        self._read_on()

    def _read_on(self) -> None:
        if self._is_reading or not self._wanted:
            return
        self._is_reading = True
        names = list(self._wanted)[:_AT_ONCE]

        def read() -> dict[str, Bitmap]:
            return {name: self._bitmap(name) for name in names}

        def finished(found: Any, now_s: float) -> None:
            self._is_reading = False
            for name in names:
                bitmap = _tiles(name) if isinstance(found, RemoteError) else found[name]
                for then in self._wanted.pop(name, ()):
                    then(bitmap)
            self._read_on()

        self._run(Effect("picture", read, finished))

    def _bitmap(self, name: str) -> Bitmap:
        picture = self._voices.picture(name)
        png = square_png(picture, SIDE) if picture is not None else None
        if png is None:
            return _tiles(name)
        text = base64.b64encode(png).decode()
        return {"default": text, "selected": text, "transparent": text}


def parameter_json(key: str, value: float) -> dict[str, Any]:
    """A parameter as it is sent."""
    limits = _LIMITS[key]
    return {
        "name": key,
        "value": value,
        "default": limits.default,
        "minValue": limits.low,
        "maxValue": limits.high,
        "displayNormalized": False,
        "typeController": "knob",
    }


def _voice_json(found: str, name: str, is_custom: bool) -> dict[str, Any]:
    return {
        "id": found,
        "voiceID": found,
        "friendlyName": name,
        "enabled": True,
        "isEnabled": True,
        "isCustom": is_custom,
        "favorited": False,
        "isNew": False,
        "isPurchased": True,
        "bitmapChecksum": voice_id(f"picture of {name}").replace("-", ""),
    }


def _tiles(name: str) -> Bitmap:
    drawn = (tile(name), tile(name, is_bright=True), tile(name, is_transparent=True))
    return dict(
        zip(("default", "selected", "transparent"), (base64.b64encode(png).decode() for png in drawn), strict=True)
    )
