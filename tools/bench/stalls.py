"""Whether the machine itself stands still while something is measured (Linux).

On each processor a process sleeps a millisecond at a time, at a real-time priority above all others, and notes when it
wakes late: no program here can be the cause of that, only the host of a virtual machine, firmware or the kernel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from ..devices.programs import started

_SLEEP_S = 0.001
_STALL_S = 0.003  # later than that
_PRIORITY = 80
_EARLIER_S, _LATER_S = 0.3, 0.02  # a loss shows itself after its stall, by as much as buffers hold, and is noted later
_START_S = 20.0


@dataclass(slots=True)
class Stalls:
    """What was seen so far, by all processors.

    Attributes:
        ended_s: When each stall ended, on the clock `time.monotonic`.
        lasted_s: Duration of the stall.
        is_known: Whether the system lets anyone look.
    """

    ended_s: list[float] = field(default_factory=list)
    lasted_s: list[float] = field(default_factory=list)
    is_known: bool = True

    def between(self, start_s: float, end_s: float) -> list[float]:
        """How long the stalls were that ended then."""
        return [lasted for ended, lasted in zip(self.ended_s, self.lasted_s, strict=False) if start_s <= ended <= end_s]

    def near(self, times_s: Sequence[float]) -> int:
        """How many of these times come within 0.3 s after the end of a stall, or in it."""
        return sum(bool(self.between(at - _EARLIER_S, at + _LATER_S)) for at in times_s)


@contextmanager
def stall_watch() -> Iterator[Stalls]:
    """Watch as long as the context lasts."""
    stalls = Stalls()
    with ExitStack() as stack:
        watching = []
        for cpu in sorted(os.sched_getaffinity(0)):
            command = [sys.executable, "-m", __name__, str(cpu)]
            process = stack.enter_context(started(command, stdout=subprocess.PIPE))
            watching.append(threading.Event())
            threading.Thread(target=_note, args=(process, stalls, watching[-1]), daemon=True).start()
        for event in watching:
            stalls.is_known = event.wait(_START_S) and stalls.is_known
        yield stalls


def _note(process: subprocess.Popen[bytes], stalls: Stalls, watching: threading.Event) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() in (b"watching", b"refused"):
            stalls.is_known = stalls.is_known and line.strip() == b"watching"
            watching.set()
        else:
            ended, lasted = line.split()
            stalls.lasted_s.append(float(lasted))
            stalls.ended_s.append(float(ended))


def _watch(cpu: int) -> None:
    """Print when each stall of a processor ended, and how long it was."""
    try:
        os.sched_setaffinity(0, {cpu})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    except OSError:
        print("refused", flush=True)
        return
    print("watching", flush=True)
    before = time.monotonic()
    while True:
        time.sleep(_SLEEP_S)
        now = time.monotonic()
        if now - before > _SLEEP_S + _STALL_S:
            print(now, now - before - _SLEEP_S, flush=True)
        before = now


if __name__ == "__main__":
    _watch(int(sys.argv[1]))
