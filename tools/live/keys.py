"""Single key presses from the terminal, without waiting for Enter, as actions on a live session."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

KEY_ACTIONS = {
    "up": "pitch up",
    "down": "pitch down",
    "right": "formant up",
    "left": "formant down",
    "+": "gain up",
    "-": "gain down",
    "]": "input gain up",
    "[": "input gain down",
    "v": "next voice",
    "V": "previous voice",
    "b": "bypass",
    "m": "mute",
    "o": "monitor",
    "l": "longer blocks",
    "q": "quit",
}
KEYS_HELP = (
    "↑↓ pitch",
    "←→ formants",
    "v/V voice",
    "+/- output",
    "]/[ input",
    "b bypass",
    "m mute",
    "o monitor",
    "q quit",
)
_ARROWS = {b"A": "up", b"B": "down", b"C": "right", b"D": "left"}
_WINDOWS_ARROWS = {"H": "up", "P": "down", "M": "right", "K": "left"}


@contextmanager
def key_actions() -> Iterator[Callable[[], str]]:
    """Within it the function given returns the next action (see `actions`), or "" if no key was pressed for one.

    Where there is no terminal to read from, no key is ever pressed.
    """
    if not sys.stdin.isatty():
        yield lambda: ""
    elif sys.platform == "win32":
        yield lambda: KEY_ACTIONS.get(_windows_key(), "")
    else:
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)  # Ctrl-C still interrupts
            yield lambda: KEY_ACTIONS.get(_posix_key(descriptor), "")
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _posix_key(descriptor: int) -> str:
    """The next key, "" if there is none. Read byte by byte: what is left over belongs to the next key."""
    typed = _next_byte(descriptor)
    if typed != b"\x1b":
        return typed.decode(errors="ignore")
    if _next_byte(descriptor) in (b"[", b"O"):
        return _ARROWS.get(_next_byte(descriptor), "")
    return ""


def _next_byte(descriptor: int) -> bytes:
    import select

    return os.read(descriptor, 1) if select.select([descriptor], [], [], 0.0)[0] else b""


def _windows_key() -> str:
    """Not run on Windows yet."""
    if sys.platform != "win32":
        return ""
    import msvcrt

    if not msvcrt.kbhit():
        return ""
    typed = msvcrt.getwch()
    return _WINDOWS_ARROWS.get(msvcrt.getwch(), "") if typed in "\x00\xe0" else typed
