"""Priorities, which threads of the test's process may ask for as root."""

from __future__ import annotations

import os
import threading

import pytest
from altervox.realtime.audio.priority import CALLBACKS, RENDERING, raise_thread_priority, rendering_priority

pytestmark = pytest.mark.linux


def test_rendering_leaves_a_processor_to_the_sound_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert rendering_priority(threads=1) == RENDERING
    assert rendering_priority(threads=2) == 0
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert rendering_priority(threads=2) == RENDERING


def test_real_time_is_given_up_again() -> None:
    found = []

    def work() -> None:
        granted = raise_thread_priority(CALLBACKS)
        found.append((granted, os.sched_getscheduler(0)))
        raise_thread_priority(0)
        found.append(("", os.sched_getscheduler(0)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0][1] == (os.SCHED_RR if found[0][0] else os.SCHED_OTHER)
    assert found[1][1] == os.SCHED_OTHER
