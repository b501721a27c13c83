"""Pauses of the machine: seen, and told apart from others."""

import os
import signal
import time
from pathlib import Path

import pytest
from altervox.tools.bench.stalls import Stalls, stall_watch


def watchers() -> list[int]:
    """Whichever thread has started them."""
    children = [pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text("utf-8").split()]
    return [int(pid) for pid in children if b"bench.stalls" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.linux
def test_a_pause_of_a_processor_is_seen() -> None:
    with stall_watch() as stalls:
        if not stalls.is_known:
            return  # no right to real time
        pids = watchers()
        assert len(pids) == len(os.sched_getaffinity(0))
        began = time.monotonic()
        os.kill(pids[0], signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(pids[0], signal.SIGCONT)
        time.sleep(0.3)
        longest = max(stalls.between(began, time.monotonic()), default=0.0)
    assert 0.25 < longest < 30.0  # seconds, not milliseconds
    assert not watchers()


def test_what_is_near_a_stall() -> None:
    stalls = Stalls([10.0, 20.0], [0.004, 0.03])
    assert stalls.between(15.0, 25.0) == [0.03]
    assert stalls.near([9.7, 9.99, 10.2, 15.0, 20.1, 20.15, 20.4]) == 4
