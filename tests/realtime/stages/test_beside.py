"""The second thread of a stage."""

from __future__ import annotations

import os
import threading

import pytest
from altervox.realtime.stages.beside import Beside


@pytest.mark.linux
def test_it_has_the_priority_of_whoever_waits_for_it() -> None:
    """As a thread that starts in the warm-up, before the rendering thread has its own."""
    beside, found = Beside(), list[tuple[int, int]]()

    def render() -> None:
        for policy in (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_OTHER):  # which nobody needs a right for
            os.sched_setscheduler(0, policy, os.sched_param(0))
            found.append((policy, beside.submit(os.sched_getscheduler, 0).result()))

    rendering = threading.Thread(target=render)
    rendering.start()
    rendering.join()
    beside.shutdown()
    assert [policy for policy, _ in found] == [own for _, own in found] == [0, os.SCHED_BATCH, 0]


def test_its_thread_ends_with_whoever_holds_it() -> None:
    beside = Beside()
    thread = beside.submit(threading.current_thread).result()
    del beside
    thread.join(10.0)
    assert not thread.is_alive()
