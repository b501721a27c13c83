"""One client of the Voicemod-compatible API: its requests become commands of the protocol, changes become events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ..arguments import KEYS
from ..commands import LONGEST_HOLD_S
from ..connection import STATE_GAP_S, Connection
from ..errors import BAD_MESSAGE, ERRORS, TOO_BIG, TOO_FAST, RemoteError
from ..inside import Inside, Then
from ..messages import MOST_BYTES, BadMessage, dump
from .face import Beep, Bitmap, VoicemodFace, parameter_json
from .messages import (
    SWITCHES,
    Request,
    Switch,
    both_ids,
    event,
    is_no_effect,
    read_request,
    refusal,
    reply,
    status,
    voice_id,
)

GREETING_S = 0.3  # some clients say nothing before the server has; others take its first message for an answer
VALUE_GAP_S = 0.2  # between two values of parameters: one client asks for everything again after each event
_MOST_UNSENT = 512  # messages that wait for a client to read
_INFINITE = float("inf")
_SOUNDBOARD = {  # one client waits for one before it takes the connection for made
    "id": "altervox",
    "name": "altervox",
    "isCustom": False,
    "enabled": True,
    "isEnabled": True,
    "showProLogo": False,
    "sounds": [],
}
_CONSTANT: dict[str, dict[str, Any]] = {
    "getUser": {"userId": "altervox", "userID": "altervox"},
    "getUserLicense": {"licenseType": "pro"},
    "getRotatoryVoicesRemainingTime": {"remainingTime": 0},
    "getAllSoundboard": {"soundboards": [_SOUNDBOARD]},
    "getActiveSoundboardProfile": {"profileId": _SOUNDBOARD["id"]},
    "getMemes": {"listOfMemes": [], "memes": []},
    "registerClient": {"status": status(), "licenseType": "pro"},
    "registerPlugin": {"status": status(), "licenseType": "pro", "result": True},
    "playMeme": {"status": status()},
    "stopAllMemeSounds": {"status": status()},
}


class VoicemodLink:
    """One client of the compatible API, without its socket; see `Connection` for how a server uses it.

    Args:
        face: What all clients share.
        inside: The client of the protocol that stands for it.
        now_s: Time of the server's clock.
    """

    def __init__(self, face: VoicemodFace, inside: Inside, now_s: float) -> None:
        self._face = face
        self._inside = inside
        inside.follow_voices(now_s)
        self._unsent: deque[str | Callable[[], str]] = deque()
        self._greets_s = now_s + GREETING_S
        self._seen = (inside.state, face.changes)
        self._told = face.facts(inside.state)
        self._next_s = self._next_value_s = now_s  # when changes may be told again, and values of parameters
        self._is_late = False  # a parameter has a value that is not told yet
        self._actions: dict[str, Callable[[Request, float], None]] = {
            **dict.fromkeys(map(str.lower, _CONSTANT), self._constant),
            "getvoices": self._voices,
            "getcurrentvoice": self._current_voice,
            "loadvoice": self._load_voice,
            "selectvoice": self._load_voice,
            "selectrandomvoice": self._random_voice,
            "getbitmap": self._bitmap,
            "setbeepsound": self._beep,
            "beepsound_onoff": self._beep,
            "setcurrentvoiceparameter": self._parameter,
            "setvoiceparameter": self._parameter,
        }

    # What a server calls

    @property
    def core(self) -> Connection:
        """The connection of the protocol that stands for it."""
        return self._inside.connection

    @property
    def close(self) -> tuple[int, str] | None:
        """Code and reason to close the socket with, once `pull` returns None; None to keep it open."""
        return self.core.close

    def receive(self, message: str | bytes, now_s: float) -> None:
        """Take in a message. Never raises: what is wrong with it is answered, or closes the connection."""
        self._greets_s = _INFINITE
        if self.close is not None:
            return
        if isinstance(message, bytes):
            self.core.close_with(BAD_MESSAGE, "binary")
        elif len(message) > MOST_BYTES:
            self.core.close_with(TOO_BIG, "message of more than 64 KiB")
        elif not self.core.bucket.takes(1, now_s):
            self.core.close_with(TOO_FAST, "too many requests")
        else:
            try:
                request = read_request(message)
            except BadMessage as error:
                self._send(refusal(Request("error"), 400, f"the request is not understood: {error}"))
            else:
                self._carry_out(request, now_s)
                self._inside.hear(now_s)

    def pull(self, now_s: float) -> str | None:
        """The next text to send; None if there is nothing (more) to send now."""
        self._inside.hear(now_s)
        if self.close is None and now_s >= self._news_s:
            self._tell(now_s)
        if now_s >= self._greets_s:
            self._greets_s = _INFINITE
            self._send(dump({"msg": "Pending authentication"}))
        if not self._unsent:
            return None
        text = self._unsent.popleft()
        return text if isinstance(text, str) else text()

    @property
    def next_due_s(self) -> float:
        """When `pull` has something to send: in the past for now, infinite for not before something happens."""
        if self._unsent:
            return -_INFINITE
        if self.close is not None:
            return _INFINITE
        return min(self._news_s, self._greets_s, self.core.next_due_s)

    # Requests

    def _carry_out(self, request: Request, now_s: float) -> None:
        name = request.action.lower()
        for switch in SWITCHES:
            if name == switch.status.lower():
                self._send(self._switch_reply(request, switch))
                return
            if name in map(str.lower, (switch.toggle, *switch.also)):
                self._toggle(request, switch, now_s)
                return
        action = self._actions.get(name)
        if action is None:
            self._send(refusal(request, 404, f"there is no action {request.action!r}"))
        else:
            action(request, now_s)

    def _constant(self, request: Request, now_s: float) -> None:
        name = next(name for name in _CONSTANT if name.lower() == request.action.lower())
        root = {"type": name} if name == "getActiveSoundboardProfile" else {}
        self._send(reply(request, _CONSTANT[name], root=root))

    def _toggle(self, request: Request, switch: Switch, now_s: float) -> None:
        wanted = request.fields.get("value")
        is_on = wanted if isinstance(wanted, bool) else not self._face.is_on(switch, self._inside.state)
        if not switch.key:
            self._face.switch(switch, is_on)
            self._send(self._switch_reply(request, switch))
            self._tell(now_s)
            return

        def then(answer: Mapping[str, Any] | RemoteError) -> None:
            if isinstance(answer, RemoteError):
                now = {"value": self._face.is_on(switch, self._inside.state)}
                self._send(refusal(request, ERRORS[answer.code][0], answer.message, now, switch.toggle))
                return
            self._send(self._switch_reply(request, switch))
            self._tell(now_s)

        self._inside.ask("set", {switch.key: is_on != switch.is_inverse}, now_s, then)

    def _switch_reply(self, request: Request, switch: Switch) -> str:
        return reply(request, {"value": self._face.is_on(switch, self._inside.state)}, switch.toggle)

    def _voices(self, request: Request, now_s: float) -> None:
        if self.core.voices.infos:
            self._send(lambda: self._voices_reply(request))
        else:  # the list is being read for the first time
            self._inside.ask("voices", {}, now_s, lambda answer: self._send(lambda: self._voices_reply(request)))

    def _voices_reply(self, request: Request) -> str:
        state = self._inside.state
        current, voices = self._face.current(state), self._face.voices(self._inside.voices, state)
        said = {"voices": voices, "currentVoice": current}
        older = {"allVoices": voices, "selectedVoice": current} if request.is_old else {}
        return reply(request, {**said, **older}, payload=said, root=said)

    def _current_voice(self, request: Request, now_s: float) -> None:
        data, payload = self._face.voice_data(self._inside.state)
        self._send(reply(request, data, payload=payload))

    def _load_voice(self, request: Request, now_s: float) -> None:
        asked = request.text("voiceid", "id", "voice", "name")
        if not asked:
            self._send(refusal(request, 400, f"{request.action} needs voiceID, an ID of getVoices"))
        elif is_no_effect(asked):

            def chosen(answer: Mapping[str, Any] | RemoteError) -> None:
                if not isinstance(answer, RemoteError):
                    self._face.choose_clean()
                self._loaded(request, answer, now_s)

            self._inside.ask("set", {"bypass": True}, now_s, chosen)
        else:
            self._change_voice(request, {"name": self._voice_named(asked)}, now_s)

    def _random_voice(self, request: Request, now_s: float) -> None:
        self._change_voice(request, {"random": True}, now_s)

    def _change_voice(self, request: Request, voice: Mapping[str, Any], now_s: float) -> None:
        was_clean = self._face.is_clean(self._inside.state)

        def then(answer: Mapping[str, Any] | RemoteError) -> None:
            if was_clean and not isinstance(answer, RemoteError):  # the entry that is no voice is left for a voice
                self._inside.ask("set", {"bypass": False}, now_s, lambda done: self._loaded(request, done, now_s))
            else:
                self._loaded(request, answer, now_s)

        self._inside.ask("voice", voice, now_s, then)

    def _loaded(self, request: Request, answer: Mapping[str, Any] | RemoteError, now_s: float) -> None:
        ids = both_ids(self._face.current(self._inside.state))
        if isinstance(answer, RemoteError):
            self._send(refusal(request, ERRORS[answer.code][0], answer.message, ids))
            return
        self._send(reply(request, {**ids, "status": status()}))
        self._told["voice"] = ""  # clients wait for the event even if it was chosen already
        self._tell(now_s)

    def _voice_named(self, asked: str) -> str:
        """The name of the voice that an ID or a name means; what is unknown stays as it is, for the core to refuse."""
        names = self._inside.voices
        by_id = {voice_id(name): name for name in names}
        by_name = {name.lower(): name for name in names}
        return by_id.get(asked.lower()) or (asked if asked in names else by_name.get(asked.lower(), asked))

    def _bitmap(self, request: Request, now_s: float) -> None:
        asked, meme = request.text("voiceid"), request.text("memeid")
        if not asked and not meme:
            self._send(refusal(request, 400, f"{request.action} needs voiceID, an ID of getVoices"))
            return
        name = next((name for name in self._inside.voices if voice_id(name) == asked.lower()), asked or meme)
        ids = both_ids(asked) if asked else {"memeId": meme, "memeID": meme}

        def then(found: Bitmap) -> None:
            self._send(lambda: reply(request, {**ids, "result": found, **found}, payload={**ids, "result": found}))

        self._face.picture(name, then)

    def _beep(self, request: Request, now_s: float) -> None:
        wanted, is_beeping = request.flag("badlanguage", "value"), self._face.is_beeping(self._inside.state)
        if wanted is None:
            self._send(refusal(request, 400, f"{request.action} needs badLanguage, 1 or 0"))
        elif wanted == is_beeping:
            self._send(reply(request, {"status": status()}))
        elif wanted:
            hold = {"mute": True, "seconds": LONGEST_HOLD_S}
            self._inside.ask("hold", hold, now_s, self._beeped(request, now_s, is_begin=True))
        elif self._face.beep is not None:
            self._inside.ask("release", {"hold": self._face.beep.hold}, now_s, self._beeped(request, now_s))

    def _beeped(self, request: Request, now_s: float, is_begin: bool = False) -> Then:
        def then(answer: Mapping[str, Any] | RemoteError) -> None:
            if isinstance(answer, RemoteError):
                self._send(refusal(request, ERRORS[answer.code][0], answer.message))
                return
            if is_begin:
                self._face.beep = Beep(answer["hold"], self._inside)
            self._send(reply(request, {"status": status()}))
            self._tell(now_s)

        return then

    def _parameter(self, request: Request, now_s: float) -> None:
        asked = request.text("parametername", "name")
        key = next((key for key in KEYS.values() if key == asked.lower().replace(" ", "_")), "")
        value = request.number("parametervalue", "value")
        data, _ = self._face.voice_data(self._inside.state)
        if not key or isinstance(self._inside.state[key], bool):
            said = f"there is no parameter {asked[:64]!r}" if asked else f"{request.action} needs parameterName"
            self._send(refusal(request, 404 if asked else 400, said, data))
            return
        if value is None:
            self._send(refusal(request, 400, f"{request.action} needs parameterValue, a number", data))
            return

        def then(answer: Mapping[str, Any] | RemoteError) -> None:
            data, payload = self._face.voice_data(self._inside.state)
            if isinstance(answer, RemoteError):
                self._send(refusal(request, ERRORS[answer.code][0], answer.message, data))
                return
            self._send(reply(request, {**data, "status": status()}, payload={**payload, "status": status()}))
            self._told.setdefault(key, None)  # a client that sets another parameter than most hears of it, too
            self._tell(now_s)

        self._inside.ask("set", {key: value}, now_s, then)

    # Events

    @property
    def _news_s(self) -> float:
        """When there is something to tell; infinite for nothing."""
        state, changes = self._seen
        has_news = state is not self._inside.state or changes != self._face.changes
        return min(self._next_s if has_news else _INFINITE, self._next_value_s if self._is_late else _INFINITE)

    def _tell(self, now_s: float) -> None:
        """Send an event for everything that is not as it was told last."""
        state = self._inside.state
        self._seen = (state, self._face.changes)
        self._next_s = now_s + STATE_GAP_S
        facts = self._face.facts(state)
        facts |= {key: state[key] for key in self._told if key not in facts}
        changed = {name: value for name, value in facts.items() if self._told.get(name) != value}
        values = changed.keys() & set(KEYS.values())
        self._is_late = bool(values) and now_s < self._next_value_s
        if self._is_late:
            changed = {name: value for name, value in changed.items() if name not in values}
        elif values:
            self._next_value_s = now_s + VALUE_GAP_S
        self._told |= changed
        for name, value in changed.items():
            if name == "voice":
                for kind in ("voiceLoadedEvent", "voiceChangedEvent"):
                    self._send(event(kind, *self._face.voice_data(state)))
            elif isinstance(value, bool):
                self._send(event(f"{name}{'Enabled' if value else 'Disabled'}Event", {"value": value}))
            else:
                said = {**both_ids(facts["voice"]), "parameter": parameter_json(name, value)}
                self._send(event("voiceParameterUpdated", said))

    def _send(self, text: str | Callable[[], str]) -> None:
        if len(self._unsent) >= _MOST_UNSENT:
            self._unsent.clear()
            self.core.close_with(TOO_FAST, "answers are not read")
        elif self.close is None:
            self._unsent.append(text)
