"""What OSC messages mean: each becomes a command of the protocol, and what has changed is sent back."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ....kernels.printable import printable
from ...session.state import PARAMETERS
from ..arguments import KEYS
from ..bucket import Bucket
from ..connection import STATE_GAP_S
from ..errors import RemoteError
from ..inside import Inside
from .packets import Value, write_message
from .port import Arrived
from .settings import VOICE, Control, OscMap

OWN = "/altervox/"
AVATAR = "/avatar/parameters/"
AVATAR_CHANGE = "/avatar/change"
_INDEX = "voice_index"
_SWITCHES = {KEYS[name] for name, parameter in PARAMETERS.items() if isinstance(parameter.default, bool)}
_BUTTONS: dict[str, dict[str, Any]] = {"next": {"step": 1}, "previous": {"step": -1}, "random": {"random": True}}
_PER_S, _AT_ONCE = 100.0, 150.0  # commands; fewer than end a connection
_MOST_LATE = 64  # addresses whose newest value waits for its turn
_ECHO_S = 1.0  # in which an avatar repeats what it was sent
_SETTLE_S = 0.5  # in which an avatar tells the values that it begins with
_REPORT_S = 10.0  # between two lines of the log about packets that were lost
_CLOSE = 1e-4  # values that differ by less are the same
_INFINITE = float("inf")


class _Refused(Exception):  # noqa: N818 - it says what is done with the message
    """A message makes no sense; the reason follows."""


class OscFace:
    """One client of the protocol for all that OSC brings.

    Args:
        inside: The client.
        osc_map: Which parameters of an avatar control what.
        send: Sends a packet to all who listen.
        now_s: Time of the server's clock.
        is_shared: Whether several listen, so that a value that comes from one of them is news to others.
    """

    def __init__(
        self, inside: Inside, osc_map: OscMap, send: Callable[[bytes], None], now_s: float, is_shared: bool = False
    ) -> None:
        self._inside = inside
        inside.follow_voices(now_s)
        self._map = osc_map
        self._send = send
        self._is_shared = is_shared
        self._bucket = Bucket(now_s, _PER_S, _AT_ONCE)
        self._late: dict[str, tuple[Value, ...]] = {}
        self._seen = inside.state
        self._next_s = now_s
        self._sent: dict[str, list[tuple[Value, float]]] = {}  # to an avatar, and until when it may repeat it
        self._known: dict[str, Value] = dict(self._values())  # what the other side shows
        self._settles_s = now_s
        self._is_stale = False  # the other side shows something that is not the case
        self._lost = [0, 0, 0]  # packets that were malformed, too fast, and messages that were refused
        self._reason = ""
        self._next_report_s = now_s

    # What a server calls

    def is_wanted(self, address: str) -> bool:
        """Whether anything is done with messages to an address."""
        if address.startswith(AVATAR):
            return address[len(AVATAR) :] in self._map.parameters
        return address.startswith(OWN) or address == AVATAR_CHANGE

    def receive(self, arrived: Arrived, now_s: float) -> None:
        """Take in what has come."""
        self._lost[0] += arrived.malformed
        self._lost[1] += arrived.dropped
        for address, values in arrived.messages:
            if self._bucket.takes(1, now_s):
                self._late.pop(address, None)
                self._carry_out(address, values, now_s)
            elif values and (address in self._late or len(self._late) < _MOST_LATE):
                self._late[address] = values  # the newest of a slider that is moved too fast
            else:
                self._lost[1] += 1

    def turn(self, now_s: float) -> None:
        """Carry out what had to wait, and send what has changed."""
        while self._late and self._bucket.takes(1, now_s):
            address = next(iter(self._late))
            self._carry_out(address, self._late.pop(address), now_s)
        self._inside.hear(now_s)
        if now_s >= self._next_s and (self._is_stale or self._seen is not self._inside.state):
            self._tell(now_s)
        if any(self._lost) and now_s >= self._next_report_s:
            self._report(now_s)

    @property
    def next_due_s(self) -> float:
        """When `turn` has something to do; infinite for not before something happens."""
        changes_s = self._next_s if self._is_stale or self._seen is not self._inside.state else _INFINITE
        report_s = self._next_report_s if any(self._lost) else _INFINITE
        late_s = self._next_s if self._late else _INFINITE
        return min(changes_s, report_s, late_s, self._inside.connection.next_due_s)

    # What comes in

    def _carry_out(self, address: str, values: tuple[Value, ...], now_s: float) -> None:
        try:
            if address == AVATAR_CHANGE:
                self._avatar_change(values, now_s)
            elif address.startswith(AVATAR):
                self._avatar_parameter(address, values, now_s)
            else:
                self._own(address, values, now_s)
        except _Refused as refused:
            self._refuse(address, str(refused))

    def _avatar_change(self, values: tuple[Value, ...], now_s: float) -> None:
        for name in self._map.parameters:  # another avatar has other values
            self._known.pop(AVATAR + name, None)
        self._sent.clear()
        self._is_stale = True
        self._settles_s = now_s + _SETTLE_S
        voice = self._map.avatars.get(_text(values))
        if voice is not None:
            self._ask(AVATAR_CHANGE, "voice", {"name": voice}, now_s)

    def _avatar_parameter(self, address: str, values: tuple[Value, ...], now_s: float) -> None:
        control = self._map.parameters[address[len(AVATAR) :]]
        if control.key == VOICE:
            value: Value = int(_number(values))
        else:
            value = _switch(values) if control.is_switch else _number(values)
        if self._is_echo(address, value, now_s):
            return
        self._known[address] = value
        if not value and now_s < self._settles_s:  # nobody has chosen it, and it is put right
            self._is_stale = True
        elif control.key == VOICE:
            self._ask(address, "voice", {"name": self._voice_at(int(_number(values)))}, now_s)
        elif control.is_switch:
            self._ask(address, "set", {control.key: value}, now_s)
        else:
            self._ask(address, "set", {control.key: control.to_session(_number(values))}, now_s)

    def _is_echo(self, address: str, value: Value, now_s: float) -> bool:
        """Whether an avatar repeats what it was sent, which must not be taken for what somebody wants."""
        sent = self._sent.get(address, [])
        for at, (before, until_s) in enumerate(sent):
            if _same(before, value) and now_s < until_s:
                del sent[: at + 1]
                return True
        sent.clear()
        return False

    def _own(self, address: str, values: tuple[Value, ...], now_s: float) -> None:
        match address[len(OWN) :].split("/"):
            case ["voice" | "voice_index"]:
                self._know(address, values)
                self._ask(address, "voice", {"name": self._voice_named(values)}, now_s)
            case ["next" | "previous" | "random" as which]:
                if _is_pressed(values):
                    self._ask(address, "voice", _BUTTONS[which], now_s)
            case ["toggle", key]:
                if _is_pressed(values):
                    self._ask(address, "toggle", {"name": key}, now_s)
            case ["step", key]:
                self._ask(address, "step", {"name": key, "by": _number(values)}, now_s)
            case ["hold"]:
                seconds = _number(values[1:])
                self._ask(address, "hold", {"voice": self._voice_named(values), "seconds": seconds}, now_s)
            case ["hold", key]:
                value = _switch(values) if key in _SWITCHES else _number(values)
                self._ask(address, "hold", {key: value, "seconds": _number(values[1:])}, now_s)
            case ["release"]:
                if _is_pressed(values):
                    self._ask(address, "release", {}, now_s)
            case ["refresh"]:
                if _is_pressed(values):
                    self._known.clear()
                    self._is_stale = True
            case [key] if key in KEYS.values():
                self._know(address, values)
                self._ask(address, "set", {key: _switch(values) if key in _SWITCHES else _number(values)}, now_s)
            case _:
                raise _Refused("there is no such address")

    def _know(self, address: str, values: tuple[Value, ...]) -> None:
        if values and not self._is_shared:
            self._known[address] = values[0]

    def _voice_named(self, values: tuple[Value, ...]) -> str:
        if values and isinstance(values[0], str):
            return values[0]
        return self._voice_at(int(_number(values)))

    def _voice_at(self, index: int) -> str:
        voices = self._voices
        if not 0 <= index < len(voices):
            raise _Refused(f"there is no voice number {index}; the last one is {len(voices) - 1}")
        return voices[index]

    @property
    def _voices(self) -> list[str]:
        return list(self._map.voices) or self._inside.voices

    def _ask(self, address: str, command: str, params: Mapping[str, Any], now_s: float) -> None:
        def then(answer: Mapping[str, Any] | RemoteError) -> None:
            if isinstance(answer, RemoteError):
                self._refuse(address, answer.message)

        self._inside.ask(command, params, now_s, then)

    def _refuse(self, address: str, said: str) -> None:
        self._lost[2] += 1
        self._reason = f"{printable(address, 80)}: {said}"
        self._known.pop(address, None)  # it shows what is not the case
        self._is_stale = True

    # What goes out

    def _values(self) -> dict[str, Value]:
        """All that the other side may show, by address."""
        state, voices = self._inside.state, self._voices
        found: dict[str, Value] = {OWN + VOICE: state[VOICE]}
        index = voices.index(state[VOICE]) if state[VOICE] in voices else None
        if index is not None:
            found[OWN + _INDEX] = index
        for key in KEYS.values():
            found[OWN + key] = int(state[key]) if key in _SWITCHES else float(state[key])
        for name, control in self._map.parameters.items():
            value = self._avatar_value(control, index)
            if value is not None:
                found[AVATAR + name] = value
        return found

    def _avatar_value(self, control: Control, index: int | None) -> Value:
        if control.key == VOICE:
            return index
        value = self._inside.state[control.key]
        return bool(value) if control.is_switch else control.to_avatar(float(value))

    def _tell(self, now_s: float) -> None:
        self._seen, self._is_stale = self._inside.state, False
        self._next_s = now_s + STATE_GAP_S
        for address, value in self._values().items():
            if address in self._known and _same(self._known[address], value):
                continue
            self._known[address] = value
            if address.startswith(AVATAR):
                self._sent.setdefault(address, []).append((value, now_s + _ECHO_S))
                del self._sent[address][:-_MOST_LATE]
            self._send(write_message(address, [value]))

    def _report(self, now_s: float) -> None:
        self._next_report_s = now_s + _REPORT_S
        malformed, fast, refused = self._lost
        parts = [f"{malformed} malformed packets dropped"] if malformed else []
        parts += [f"{fast} packets dropped that came too fast"] if fast else []
        parts += [f"{refused} messages refused ({self._reason})"] if refused else []
        self._lost = [0, 0, 0]
        self._inside.connection.board.log(f"OSC: {', '.join(parts)}")


def _number(values: tuple[Value, ...]) -> float:
    value = values[0] if values else None
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise _Refused("it needs a number")
    return value


def _switch(values: tuple[Value, ...]) -> bool:
    return _number(values) >= 0.5


def _text(values: tuple[Value, ...]) -> str:
    if not values or not isinstance(values[0], str):
        raise _Refused("it needs a text")
    return values[0]


def _is_pressed(values: tuple[Value, ...]) -> bool:
    """Whether a button is pressed rather than released; a message without a value is a press."""
    return not values or _switch(values)


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, str) or isinstance(other, str) or one is None or other is None:
        return one == other
    return abs(one - other) < _CLOSE
