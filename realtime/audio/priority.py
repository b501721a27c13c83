"""Priorities that the audio process asks for, so that other programs do not make it late.

Windows: high priority class and a timer of 1 ms (not run there). macOS: quality-of-service class "user interactive"
(not run there). Linux: SCHED_RR where the limits allow it, else a lower nice value where they allow that.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import sys

log = logging.getLogger(__name__)

_HIGH_PRIORITY_CLASS = 0x80
_QOS_CLASS_USER_INTERACTIVE = 0x21
# Real time on Linux; sound servers run at 5 and more.
CALLBACKS = 4
RENDERING = 2
# Threads beside the rendering one share Python's global lock with it: one that busy processes keep from running while
# it holds the lock would keep the rendering thread waiting too. So these have real time as well, below it.
HELPING = 1
_NICE = -11


def raise_priority() -> str:
    """Ask for priority for this process.

    Returns:
        The granted priority, for logs.
    """
    if sys.platform == "win32":
        kernel, timer = ctypes.windll.kernel32, ctypes.windll.winmm
        timer.timeBeginPeriod(1)
        granted = kernel.SetPriorityClass(kernel.GetCurrentProcess(), _HIGH_PRIORITY_CLASS)
        return "high priority" if granted else "normal priority"
    if sys.platform == "darwin":
        refused = ctypes.CDLL(None).pthread_set_qos_class_self_np(_QOS_CLASS_USER_INTERACTIVE, 0)
        return "normal priority" if refused else "user-interactive"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    except PermissionError:
        return "normal priority (no right to more: see `altervox doctor`)"
    return f"nice {_NICE}"


def rendering_priority(threads: int) -> int:
    """Priority for a voice that is computed by so many threads.

    None where they take every processor: with real time for all of a long block, what is not real time would stand
    still meanwhile, and the sound server's main thread is not.
    """
    return RENDERING if threads < (os.cpu_count() or 1) else 0


def raise_thread_priority(priority: int) -> str:
    """Ask for real-time priority for the calling thread and the threads that it starts from now on (Linux).

    Args:
        priority: `CALLBACKS`, `RENDERING` or `HELPING`; a lower one is taken if the limits do not allow it. 0
            gives real time up.

    Returns:
        The granted priority, for logs; empty for none.
    """
    if not sys.platform.startswith("linux"):
        return ""
    if priority == 0:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for granted in range(priority, 0, -1):
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(granted))
        except PermissionError:
            continue
        return f"SCHED_RR {granted}"
    return ""


def settle_memory(anew: bool = False) -> None:
    """Exclude all objects that exist now from garbage collection.

    Args:
        anew: Whether to collect first what has become garbage of those that are excluded already.
    """
    if anew:
        gc.unfreeze()
    gc.collect()
    gc.freeze()
