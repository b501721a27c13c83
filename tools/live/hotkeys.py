"""Global hot keys: combinations of keys that act while another program, such as a game, has the focus."""

from __future__ import annotations

import os
import string
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Event, Thread
from typing import Any, NamedTuple

from ...kernels.errors import AltervoxError, MissingDependencyError, ParameterError
from ...kernels.extras import how_to_install

ACTIONS = ("bypass", "mute", "next voice", "talk")
# "talk" has no default: with one, a user who does not know of it would be muted until it is pressed.
DEFAULT_BINDINGS = {"bypass": "ctrl+alt+b", "mute": "ctrl+alt+m", "next voice": "ctrl+alt+v"}

# Names of keys that type nothing, with X11's names for them. Those on the left are pynput's names, too.
_MODIFIERS = {
    "ctrl": ("Control_L", "Control_R"),
    "alt": ("Alt_L", "Alt_R", "ISO_Level3_Shift"),
    "shift": ("Shift_L", "Shift_R"),
    "cmd": ("Super_L", "Super_R"),
}
_FUNCTION_KEYS = {f"f{number}": (f"F{number}",) for number in range(1, 13)}
_NAMED_KEYS = {
    "space": ("space",),
    "enter": ("Return",),
    "tab": ("Tab",),
    "backspace": ("BackSpace",),
    "insert": ("Insert",),
    "delete": ("Delete",),
    "home": ("Home",),
    "end": ("End",),
    "page_up": ("Page_Up",),
    "page_down": ("Page_Down",),
    "up": ("Up",),
    "down": ("Down",),
    "left": ("Left",),
    "right": ("Right",),
    "pause": ("Pause",),
    "scroll_lock": ("Scroll_Lock",),
}
_X11_SYMBOLS = {**_MODIFIERS, **_FUNCTION_KEYS, **_NAMED_KEYS}
_PUNCTUATION = "`-=[]\\;',./"
_KEYS = {*_FUNCTION_KEYS, *_NAMED_KEYS, *string.ascii_lowercase, *string.digits, *_PUNCTUATION}
_ALIASES = {"control": "ctrl", "option": "alt", "win": "cmd", "super": "cmd"}
_QUEUE_LENGTH = 1024
_TIMEOUT_S = 5.0
_X11_EVENT_BYTES = 32
_X11_UNWANTED = {
    **dict.fromkeys(("core_requests", "core_replies", "delivered_events", "errors"), (0, 0)),
    **dict.fromkeys(("ext_requests", "ext_replies"), (0, 0, 0, 0)),
    **dict.fromkeys(("client_started", "client_died"), False),
}

_Combination = frozenset[str]  # names of modifiers and of one other key


class HotKeyError(AltervoxError):
    """This system does not let altervox see keys that are pressed in other programs."""


class _KeyEvent(NamedTuple):
    """A key that went down or up.

    Attributes:
        code: Key code, which distinguishes the two keys of a pair, such as both Ctrl.
        name: Name as in a combination, the same for both keys of a pair.
        pressed: Whether the key went down.
    """

    code: int
    name: str
    pressed: bool


_Listener = Callable[[frozenset[str], Callable[[_KeyEvent], None]], AbstractContextManager[None]]


def parse_bindings(texts: Sequence[str]) -> dict[str, str]:
    """Bindings for `global_hot_keys` from texts like "mute=ctrl+alt+m" or "next-voice=f9".

    Raises:
        ParameterError: an unknown action or key, or one of them twice.
    """
    bindings: dict[str, str] = {}
    for text in texts:
        action, equals, keys = text.partition("=")
        action = action.strip().lower().replace("-", " ")
        if not equals:
            raise ParameterError(f"hot key {text!r}: write ACTION=KEYS, such as mute=ctrl+alt+m")
        if action in bindings:
            raise ParameterError(f"hot key {text!r}: {action} already has {bindings[action]}; one each")
        bindings[action] = keys.strip().lower()
    _combinations(bindings)
    return bindings


@contextmanager
def global_hot_keys(bindings: Mapping[str, str]) -> Iterator[Callable[[], str]]:
    """Within it the function given returns the next action, or "" if there is none.

    "talk" is push-to-talk: it comes when the keys go down, and "release" when the first of them goes up again. An
    action comes once however long its keys are held. Other modifiers may be held, too: a game has uses for them. Where
    several combinations fit, the one with most keys acts.

    Args:
        bindings: Keys by action of `ACTIONS`, such as "ctrl+alt+m" or "f8".

    Raises:
        ParameterError: an unknown action or key, or the same keys twice.
        MissingDependencyError: the package that listens to keys is not installed.
        HotKeyError: the system does not allow it.
    """
    matcher = _Matcher(_combinations(bindings))
    events: deque[_KeyEvent] = deque(maxlen=_QUEUE_LENGTH)  # the oldest are dropped first: a release must not be lost
    wanted = frozenset[str]().union(*matcher.actions)

    def next_action() -> str:
        while events:
            if action := matcher.action(events.popleft()):
                return action
        return ""

    with _listener()(wanted, events.append):
        yield next_action


def _combinations(bindings: Mapping[str, str]) -> dict[_Combination, str]:
    actions: dict[_Combination, str] = {}
    for action, keys in bindings.items():
        if action not in ACTIONS:
            raise ParameterError(f"hot key for {action!r}: there is no such action, only {', '.join(ACTIONS)}")
        combination = _combination(keys)
        if combination in actions:
            raise ParameterError(f"hot key {keys}: both {actions[combination]} and {action} have it; choose another")
        actions[combination] = action
    return actions


def _combination(keys: str) -> _Combination:
    parts = [part.strip().lower() for part in keys.split("+")]
    names = [_ALIASES.get(part, part) for part in parts]
    for name in names:
        if name not in _KEYS and name not in _MODIFIERS:
            raise ParameterError(
                f"hot key {keys!r}: there is no key {name!r}, only the modifiers {', '.join(_MODIFIERS)}, and letters, "
                f"digits, {' '.join(_PUNCTUATION)}, f1 to f12, {', '.join(_NAMED_KEYS)}"
            )
    if sum(name in _KEYS for name in names) != 1 or len(set(names)) != len(names):
        raise ParameterError(
            f"hot key {keys!r}: write any modifiers ({', '.join(_MODIFIERS)}) and one other key, such as ctrl+alt+m"
        )
    return frozenset(names)


class _Matcher:
    """Tracks the held keys and finds the action that they mean."""

    def __init__(self, actions: Mapping[_Combination, str]) -> None:
        self.actions = actions
        self._held: dict[int, str] = {}  # names by code
        self._talking: _Combination | None = None

    def action(self, event: _KeyEvent) -> str:
        """The action of an event; usually none: ""."""
        if not event.pressed:
            self._held.pop(event.code, None)
            if self._talking is None or self._talking <= set(self._held.values()):
                return ""
            self._talking = None
            return "release"
        if event.code in self._held:  # repeated by the keyboard
            return ""
        self._held[event.code] = event.name
        if event.name in _MODIFIERS:  # a combination acts with its other key: Ctrl after F8 is not Ctrl+F8
            return ""
        held = set(self._held.values())
        fitting = [combination for combination in self.actions if event.name in combination and combination <= held]
        if not fitting:
            return ""
        combination = max(fitting, key=len)
        if self.actions[combination] == "talk":
            self._talking = combination
        return self.actions[combination]


def _listener() -> _Listener:
    """The keyboard listener of this system."""
    if sys.platform in ("win32", "darwin"):
        return _pynput_listener
    if os.environ.get("XDG_SESSION_TYPE") == "wayland" or os.environ.get("WAYLAND_DISPLAY"):
        raise HotKeyError(
            "hot keys: this desktop (Wayland) does not let programs see keys that are pressed in other windows; use "
            "the keys of the terminal view, or log in to an X11 session"
        )
    if not os.environ.get("DISPLAY"):
        raise HotKeyError("hot keys: there is no desktop here (DISPLAY is not set); use the keys of the terminal view")
    return _x11_listener


@contextmanager
def _x11_listener(wanted: frozenset[str], put: Callable[[_KeyEvent], None]) -> Iterator[None]:
    """Calls `put` from a thread for each event of a wanted key, by X11's RECORD extension.

    Unlike XGrabKey it takes no key away from the game, and goes on when the game grabs the keyboard.
    """
    try:
        from Xlib import X
        from Xlib.error import ConnectionClosedError
        from Xlib.ext import record
    except ImportError:
        raise _missing("python-xlib") from None
    begun = Event()

    def receive(reply: Any) -> None:
        if reply.category == record.StartOfData:
            begun.set()
        elif reply.category == record.FromServer:
            for at in range(0, len(reply.data), _X11_EVENT_BYTES):
                kind, code = reply.data[at] & 0x7F, reply.data[at + 1]
                if code in names:
                    put(_KeyEvent(code, names[code], kind == X.KeyPress))

    def listen() -> None:
        with suppress(ConnectionClosedError):  # the desktop has ended
            events.record_enable_context(context, receive)

    with _x11_connection() as control, _x11_connection() as events:  # listening takes a connection of its own
        if not control.has_extension("RECORD"):
            raise HotKeyError("hot keys: this X server lacks the extension RECORD; use the keys of the terminal view")
        names = {code: name for name in wanted for code in _x11_codes(control, name)}
        kinds = {**_X11_UNWANTED, "device_events": (X.KeyPress, X.KeyRelease)}
        context = control.record_create_context(0, [record.AllClients], [kinds])
        control.sync()
        thread = Thread(target=listen, name="hot keys", daemon=True)
        thread.start()
        try:
            if not begun.wait(_TIMEOUT_S):
                raise HotKeyError(f"hot keys: the X server gives no events within {_TIMEOUT_S:.0f} s")
            yield
        finally:
            with suppress(ConnectionClosedError):
                control.record_free_context(context)  # ends the thread
                control.sync()
            thread.join(_TIMEOUT_S)


@contextmanager
def _x11_connection() -> Iterator[Any]:
    from Xlib.display import Display
    from Xlib.error import ConnectionClosedError, DisplayError

    try:
        display = Display()
    except DisplayError as error:
        raise HotKeyError(f"hot keys: no connection to the desktop ({error}); is DISPLAY right?") from error
    try:
        yield display
    finally:
        with suppress(ConnectionClosedError):
            display.close()


def _x11_codes(display: Any, name: str) -> list[int]:
    """Codes of the keys that bear a name; where several levels of a key do, only those with the lowest."""
    from Xlib import XK

    XK.load_keysym_group("xkb")  # has ISO_Level3_Shift, which the right Alt often is
    symbols = [XK.string_to_keysym(symbol) for symbol in _X11_SYMBOLS.get(name, ())] or [ord(name)]
    codes = []
    for symbol in symbols:
        levels = list(display.keysym_to_keycodes(symbol))
        codes += [code for code, level in levels if level == levels[0][1]]
    if not codes:
        raise ParameterError(f"hot key {name}: this keyboard has no such key; choose another")
    return codes


@contextmanager
def _pynput_listener(wanted: frozenset[str], put: Callable[[_KeyEvent], None]) -> Iterator[None]:
    """Listener for Windows and macOS. Not run there yet."""
    try:
        from pynput.keyboard import Key, Listener
    except ImportError:
        raise _missing("pynput") from None

    pressed: dict[int, str] = {}  # when a key goes up its name may be another: modifiers change what it types

    def code(key: Any) -> int | None:
        return getattr(key.value if isinstance(key, Key) else key, "vk", None)

    def press(key: Any) -> None:
        if isinstance(key, Key):
            name = key.name.removesuffix("_l").removesuffix("_r").removesuffix("_gr")
        else:
            name = getattr(listener.canonical(key), "char", None)
        number = code(key)
        if name in wanted and number is not None:
            pressed[number] = name
            put(_KeyEvent(number, name, True))

    def release(key: Any) -> None:
        number = code(key)
        if number in pressed:
            put(_KeyEvent(number, pressed.pop(number), False))

    with Listener(on_press=press, on_release=release) as listener:
        if not getattr(listener, "IS_TRUSTED", True):
            raise HotKeyError(
                "hot keys: macOS hides keys that are pressed in other programs; allow your terminal to see them in "
                "System Settings > Privacy & Security > Accessibility and > Input Monitoring, and start it anew"
            )
        yield


def _missing(package: str) -> MissingDependencyError:
    return MissingDependencyError(f"hot keys need {package}: {how_to_install('hotkeys')}")
