"""Signals that ask this process to stop."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def stop_signals() -> list[int]:
    """A list that is empty until this process receives a signal to stop."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    signal.signal(signal.SIGINT, note)
    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, note)
    return received
