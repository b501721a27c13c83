"""Being asked to end while there is something to finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C, SIGTERM or closed terminal is only noted, the second one raises KeyboardInterrupt.

    Yields what tells whether there was one.
    """
    is_stopped = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal is_stopped
        if is_stopped:
            raise KeyboardInterrupt
        is_stopped = True

    names = ("SIGINT", "SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ()
    signals = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    before = {number: signal.getsignal(number) for number in signals}
    for number, handler in before.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):  # one that is ignored, by nohup, stays so
            signal.signal(number, stop)
    try:
        yield lambda: is_stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
