"""Commands to the session that are carried out at once: parameters, voice, holds, recording, block size."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from ...kernels.errors import AltervoxError
from ...models.parameters import Value
from ...models.voice import UNCHANGED
from ..audio.commands import SetBlock
from ..session.commands import Set, SetVoice, Step, StepVoice, Toggle
from ..session.state import PARAMETERS, SessionState
from .arguments import KEYS, by_key, parameter_named
from .board import Board
from .commands import Params
from .errors import RemoteError
from .facts import sendable, state_data
from .holds import VOICE, Holds
from .port import RemoteSession
from .voice_names import VoiceNames, VoiceUnknown

log = logging.getLogger(__name__)

_SPEAKER = "speaker"  # another voice starts with its first one
_HELD_IN = ("starting", "running", "reconnecting")
_LOGGED = {VOICE, "recording", "block_ms", "input_device", "output_device", "monitor_device", *KEYS.values()}
_TOLD_S = 0.1  # within which it is told who has changed the state

Result = dict[str, Any]
Handler = Callable[[Params, str, float], Result]


class SessionCommands:
    """Carries out commands to a session and keeps what clients see of it up to date.

    Args:
        session: The session.
        board: Where the newest state goes.
        voices: Names of voices.
    """

    def __init__(self, session: RemoteSession, board: Board, voices: VoiceNames) -> None:
        self.holds = Holds()
        self._session = session
        self._state = session.state()  # that clients have been told of
        self.next_look_s = float("inf")  # when a newer one is taken over whoever changed it
        self._board = board
        self._voices = voices
        self.handlers: dict[str, Handler] = {
            "get": self._get,
            "ping": lambda params, by, now_s: {},
            "set": self._set,
            "step": self._step,
            "toggle": self._toggle,
            "voice": self._voice,
            "record": self._record,
            "hold": self._hold,
            "release": self._release,
            "block": self._block,
        }

    def refresh(self, by: str, now_s: float) -> None:
        """Take over the session's state and status.

        Args:
            by: Who changed something; empty if nobody did.
            now_s: Time of the caller's clock.
        """
        status = self._session.status()
        if status.state in ("stopped", "failed") and self.holds.all:
            self._apply(self.holds.release_all(), "hold")
        state = self._session.state()
        if by or not self._board.state or state.revision == self._state.revision or now_s >= self.next_look_s:
            self._state, self.next_look_s = state, float("inf")
        else:  # somebody has changed it meanwhile, and who it was is told in a moment
            self.next_look_s = min(self.next_look_s, now_s + _TOLD_S)
        state = self._state
        current = _values(state)
        self._take_over([name for name, value in self.holds.held().items() if current[name] != value])
        before = self._board.status.state
        self._board.set_status(status)
        data = state_data(state, status, self.holds.all, self._voices, self._session.can_start)
        known = self._board.state
        changed = self._board.set_state(data, state.revision, by)
        if known:
            said = {key: changed[key] for key in changed if key in _LOGGED}
            if said:
                self._board.log_change(said, by, now_s)
            if status.state != before:
                self._board.log(f"the session is {status.state}")
            for cause in changed.get("causes", ()):
                if cause not in known["causes"]:
                    self._board.log(cause)

    def expire(self, now_s: float) -> None:
        """End the holds whose time is over, and take over what nobody has said to have changed."""
        if self.next_look_s <= now_s:
            self.refresh("", now_s)
        if self.holds.next_end_s <= now_s:
            self._apply(self.holds.expire(now_s), "hold")
            self.refresh("hold", now_s)

    def _get(self, params: Params, by: str, now_s: float) -> Result:
        data = sendable(dict(self._board.state), self._voices, now_s)
        names = params.get("names", list(data))
        for name in names:
            if name not in data:
                said = f"there is no field {name[:64]!r} in the state; it has {', '.join(data)}"
                raise RemoteError("unknown_field", said, "names")
        return {name: data[name] for name in names}

    def _set(self, params: Params, by: str, now_s: float) -> Result:
        state = self._session.do(Set(params.values), by)
        self._take_over(params.values)
        return by_key({name: state[name] for name in params.values})

    def _step(self, params: Params, by: str, now_s: float) -> Result:
        parameter = parameter_named(params["name"], "name")
        if isinstance(parameter.default, bool):
            raise RemoteError("bad_request", f"{parameter.key} has no steps; use toggle or set", "name")
        state = self._session.do(Step(parameter.name, params["by"]), by)
        self._take_over([parameter.name])
        return {parameter.key: state[parameter.name]}

    def _toggle(self, params: Params, by: str, now_s: float) -> Result:
        parameter = parameter_named(params["name"], "name")
        if not isinstance(parameter.default, bool):
            raise RemoteError("bad_request", f"{parameter.key} cannot be toggled; use set or step", "name")
        state = self._session.do(Toggle(parameter.name), by)
        self._take_over([parameter.name])
        return {parameter.key: state[parameter.name]}

    def _voice(self, params: Params, by: str, now_s: float) -> Result:
        chosen = [name for name in ("name", "step", "random") if params.get(name) is not None]
        if len(chosen) != 1 or params.get("random") is False:
            raise RemoteError("bad_request", "voice takes one of name, step and random: true")
        current = self._session.state().voice
        command: SetVoice | StepVoice
        if "name" in chosen:
            command = SetVoice(self._voices.found(params["name"], current, "name"))
        elif "step" in chosen:
            command = StepVoice(params["step"])
        else:
            command = SetVoice(self._any_other(current))
        state = self._session.do(command, by)
        self._take_over([VOICE])
        return {"voice": self._voices.shown(state.voice)}

    def _any_other(self, current: str) -> str:
        others = [name for name in self._voices.names if name not in (current, UNCHANGED)]
        if not others:
            raise VoiceUnknown(RemoteError("unknown_voice", "there is no other voice to choose from", "random"))
        return secrets.choice(others)

    def _record(self, params: Params, by: str, now_s: float) -> Result:
        self._check_runs("record")
        self._session.record(params["on"], by)
        return {"recording": params["on"]}

    def _hold(self, params: Params, by: str, now_s: float) -> Result:
        self._check_runs("hold")
        self.holds.check_room()
        before = self._session.state()
        values: dict[str, Value | str] = dict(params.values)
        name = params.get("voice")
        if "random" in params.fields:
            if name is not None or not params["random"]:
                raise RemoteError("bad_request", "hold takes voice, or random: true", "random")
            name = self._any_other(before.voice)
        if name is not None:
            values[VOICE] = self._voices.found(name, before.voice, "voice")
            if values[VOICE] != before.voice:
                values.setdefault(_SPEAKER, 0)
        self._do(values, by)
        hold = self.holds.add(by, values, _values(before), now_s + params["seconds"])
        shown = sendable({"holds": (hold,)}, self._voices, now_s)["holds"][0]
        return {"hold": hold.id, "seconds": params["seconds"], "values": shown["values"]}

    def _release(self, params: Params, by: str, now_s: float) -> Result:
        count = len(self.holds.all)
        hold_id = params.get("hold")
        self._apply(self.holds.release_all() if hold_id is None else self.holds.release(hold_id), by)
        return {"released": count - len(self.holds.all)}

    def _block(self, params: Params, by: str, now_s: float) -> Result:
        block_ms, is_longer = params.get("ms"), params.get("longer", False)
        if (block_ms is None) != is_longer:
            raise RemoteError("bad_request", "block takes one of ms and longer: true")
        self._check_runs("block")
        if is_longer and not (block_ms := self._session.status().longer_block_ms):
            raise RemoteError("bad_request", "no longer block size is offered, for blocks are not late", "longer")
        self._session.do(SetBlock(block_ms), by)
        return {"block_ms": block_ms}

    def _check_runs(self, name: str) -> None:
        if self._session.status().state not in _HELD_IN:
            raise RemoteError("not_running", f"{name} needs a running session; start it first")

    def _take_over(self, names: Mapping[str, object] | list[str]) -> None:
        self.holds.taken_over([*names, _SPEAKER] if VOICE in names else names)

    def _apply(self, values: Mapping[str, Value | str], by: str) -> None:
        """Apply what holds leave behind; a voice that is gone by now must not keep the rest from its base."""
        for part in (
            {VOICE: values[VOICE]} if VOICE in values else {},
            {n: v for n, v in values.items() if n != VOICE},
        ):
            try:
                self._do(part, by)
            except AltervoxError as error:
                log.warning("a hold has ended, and its values could not be restored: %s", error)
                self._board.log(f"a hold has ended, and its values could not be restored: {error}", by)

    def _do(self, values: Mapping[str, Value | str], by: str) -> None:
        """The voice first: another one starts with its first speaker."""
        if VOICE in values:
            self._session.do(SetVoice(str(values[VOICE])), by)
        rest: dict[str, Value] = {n: v for n, v in values.items() if n != VOICE and not isinstance(v, str)}
        if rest:
            self._session.do(Set(rest), by)


def _values(state: SessionState) -> dict[str, Value | str]:
    return {VOICE: state.voice, **{name: state[name] for name in PARAMETERS}}
