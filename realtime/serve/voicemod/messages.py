"""Messages of the Voicemod-compatible API: read generously, for clients differ, and written in every form they read."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from ..messages import BadMessage, dump, parse

PORTS = (59129, 20000, 39273, 42152, 43782, 46667, 35679, 37170, 38501, 33952, 30546)  # where clients look, in order
NO_EFFECT = "nofx"  # ID of the entry of the list that is no voice
_NO_EFFECT_IDS = (NO_EFFECT, "df6454f1-8eb2-4092-9ccc-fb51219f6291")
_VOICES = uuid.UUID("7c2a6f0e-58c1-5d0b-9c55-6f1f3b8f0a11")  # name space of the IDs of voices
_LONGEST_ID = 200
_TRUE, _FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no", "")


@dataclass(frozen=True, slots=True)
class Switch:
    """Something that is on or off.

    Attributes:
        toggle: Action that changes it, and name of the answers about it.
        status: Action that asks for it.
        event: Beginning of the names of its two events.
        key: Parameter of the session that it stands for; empty for none, which clients may switch all the same.
        is_inverse: Whether it is on while the parameter is false.
        also: Older names of the action that changes it.
    """

    toggle: str
    status: str
    event: str
    key: str = ""
    is_inverse: bool = False
    also: tuple[str, ...] = ()


SWITCHES = (
    Switch("toggleVoiceChanger", "getVoiceChangerStatus", "voiceChanger", "bypass", True, ("voiceChanger_OnOff",)),
    Switch("toggleHearMyVoice", "getHearMyselfStatus", "hearMySelf", "monitor", also=("hearMyVoice_OnOff",)),
    Switch("toggleMuteMic", "getMuteMicStatus", "muteMicrophone", "mute", also=("mute_OnOff", "toggleMute")),
    Switch("toggleBackground", "getBackgroundEffectStatus", "backgroundEffects", also=("background_OnOff",)),
    Switch("toggleMuteMemeForMe", "getMuteMemeForMeStatus", "muteMemeForMe"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived.

    Attributes:
        action: What is wanted.
        id: Chosen by the client, for the reply; None for none.
        fields: What it says about it, by names in lower case.
        is_old: Whether it is written as clients wrote before `action` and `payload`.
    """

    action: str
    id: str | int | float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    is_old: bool = False

    def text(self, *names: str) -> str:
        """The first of these fields that is there, as text; empty for none."""
        for name in names:
            value = self.fields.get(name)
            if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
                return str(value).strip()
        return ""

    def flag(self, *names: str) -> bool | None:
        """The first of these fields that means yes or no; None for none."""
        for name in names:
            value = self.fields.get(name)
            text = str(value).strip().lower() if isinstance(value, str | int | float) else None
            if text in _TRUE or text in _FALSE:
                return text in _TRUE
        return None

    def number(self, *names: str) -> float | None:
        """The first of these fields that is a number, also as text or as the `value` of an object; None for none."""
        for name in names:
            value = self.fields.get(name)
            if isinstance(value, Mapping):
                value = value.get("value")
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                try:
                    found = float(value)
                except (ValueError, OverflowError):
                    continue
                if math.isfinite(found):
                    return found
        return None


def read_request(text: str) -> Request:
    """The request that a text is.

    Raises:
        BadMessage: it is no JSON object, or names no action.
    """
    message = parse(text)
    action = next((a for a in (message.get("action"), message.get("actionType")) if isinstance(a, str) and a), "")
    if not action:
        raise BadMessage("no action")
    found = (message.get(name) for name in ("payload", "actionObject", "context"))
    fields = next((fields for fields in found if isinstance(fields, dict) and fields), {})
    ids = (message.get(name) for name in ("id", "actionID", "actionId"))
    return Request(
        action[:_LONGEST_ID],
        next((given for given in ids if _is_id(given)), None),
        {name.lower(): value for name, value in fields.items()},
        "action" not in message,
    )


def _is_id(value: object) -> bool:
    match value:
        case bool():
            return False
        case int() | float():
            return abs(value) < 1 << 53
        case str():
            return len(value) <= _LONGEST_ID
    return False


def reply(
    request: Request,
    data: Mapping[str, Any],
    name: str = "",
    payload: Mapping[str, Any] | None = None,
    root: Mapping[str, Any] | None = None,
) -> str:
    """The answer to a request.

    Args:
        request: What is answered.
        data: What is said.
        name: What the answer is called, if not as the request.
        payload: What the newer of the two places says; None for `data`.
        root: What is said beside them.
    """
    ids = {"id": request.id, "actionID": request.id, "actionId": request.id}
    return dump({**ids, **_said(name or request.action, data, data if payload is None else payload), **(root or {})})


def refusal(request: Request, code: int, said: str, data: Mapping[str, Any] | None = None, name: str = "") -> str:
    """The answer to a request that was refused.

    Args:
        request: What is answered.
        code: Status as of HTTP.
        said: One sentence.
        data: What is the case all the same.
        name: What the answer is called, if not as the request.
    """
    return reply(request, {**(data or {}), "status": status(code, said)}, name, root={"error": said})


def status(code: int = 200, said: str = "OK") -> dict[str, str]:
    """How a request went; one client compares the code with a text, others read a number from it."""
    return {"code": str(code), "description": said}


def event(name: str, data: Mapping[str, Any], payload: Mapping[str, Any] | None = None) -> str:
    """An event: without an ID, which would make it an answer.

    Args:
        name: Its name.
        data: What has happened.
        payload: What the newer of the two places says; None for `data`.
    """
    return dump(_said(name, data, data if payload is None else payload))


def _said(name: str, data: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "action": name,
        "actionType": name,
        "appVersion": f"altervox {version('altervox')}",
        "actionObject": data,
        "payload": payload,
    }


@lru_cache(4096)
def voice_id(name: str) -> str:
    """ID of a voice; it stays the same as long as the voice keeps its name."""
    return str(uuid.uuid5(_VOICES, name))


def is_no_effect(asked: str) -> bool:
    """Whether an ID is one of those that mean the microphone as it is."""
    return asked.lower() in _NO_EFFECT_IDS


def both_ids(found: str) -> dict[str, str]:
    """The ID of a voice in both spellings."""
    return {"voiceID": found, "voiceId": found}
