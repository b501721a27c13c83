"""The second thread of a stage, which computes beside the one that renders."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from ...kernels.denormals import flush_denormals

P = ParamSpec("P")
T = TypeVar("T")


class Beside(ThreadPoolExecutor):
    """One thread, with the priority of the thread that submits to it and waits for it.

    It starts in the warm-up or where a voice is built, both of lower priority than the rendering thread that it works
    for later (Linux; elsewhere priority is the process's own).
    """

    def __init__(self) -> None:
        super().__init__(1, "beside", flush_denormals)
        self._scheduling: tuple[int, int] | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `Executor.submit`."""
        if sys.platform.startswith("linux"):
            scheduling = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
            if scheduling != self._scheduling:
                self._scheduling = scheduling
                super().submit(_take, *scheduling)
        return super().submit(fn, *args, **kwargs)


def _take(policy: int, priority: int) -> None:
    """Give the calling thread this scheduling, where the limits still allow it."""
    if sys.platform.startswith("linux"):
        with suppress(OSError):
            os.sched_setscheduler(0, policy, os.sched_param(priority))
