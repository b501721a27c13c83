"""Processes of their own for sound: they end with the one that started them, and Ctrl-C is that one's to handle."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import connection, resource_tracker

ORPHANED_S = 1.0  # in which a process whose owner has gone may end by itself


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C, which reaches the whole group, from a process that is being started."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # it would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_owner(orphaned: Callable[[], object] = lambda: None) -> None:
    """End this process soon after the one that started it, however that one ended and whatever happens here.

    Args:
        orphaned: Called on a thread of its own once the owner has gone, `ORPHANED_S` before this process is ended.
    """
    threading.Thread(target=_wait_for_end, args=(orphaned,), name="owner", daemon=True).start()


def _wait_for_end(orphaned: Callable[[], object]) -> None:
    owner = multiprocessing.parent_process()
    if owner is None:
        return
    connection.wait([owner.sentinel])
    orphaned()
    time.sleep(ORPHANED_S)
    os._exit(1)
