"""Single key presses from the terminal, without waiting for Enter."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ARROWS = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left"}
_WINDOWS_ARROWS = {"H": "up", "P": "down", "M": "right", "K": "left"}


@contextmanager
def key_presses() -> Iterator[Callable[[], str]]:
    """Within it the function given returns the next key, or "" if none was pressed: a character, or "up", "down", ...

    Where there is no terminal to read from, no key is ever pressed.
    """
    if not sys.stdin.isatty():
        yield lambda: ""
    elif sys.platform == "win32":
        yield _windows_key
    else:
        import termios
        import tty

        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)  # Ctrl-C still interrupts
            yield lambda: _posix_key(descriptor)
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _posix_key(descriptor: int) -> str:
    import select

    if not select.select([descriptor], [], [], 0.0)[0]:
        return ""
    typed = os.read(descriptor, 8).decode(errors="ignore")
    return _ARROWS.get(typed[:3], typed[:1])


def _windows_key() -> str:
    """Not run on Windows yet."""
    if sys.platform != "win32":
        return ""
    import msvcrt

    if not msvcrt.kbhit():
        return ""
    typed = msvcrt.getwch()
    return _WINDOWS_ARROWS.get(msvcrt.getwch(), "") if typed in "\x00\xe0" else typed
