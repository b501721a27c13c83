"""How soon a command is heard: a tone goes through a session, and mute makes it end and begin again.

The change is looked for in a recording of the cable, whose clock is that of the arrival of its samples: what a program
hears that listens to the cable.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.types import FloatArray
from ...realtime.serve.client import RemoteClient
from .sinks import RATE, BenchSinks, Recording

_TONE_HZ = 1000
_WINDOW = RATE // _TONE_HZ  # a whole period, over which the level of a steady tone is constant
_LEVEL = 0.1
_CHANGED = 0.1  # of the tone's level
_LONGEST_S = 0.8  # until a change is heard
_SETTLE_S = 1.5
_POLL_S = 0.0005


@dataclass(slots=True)
class _Clock:
    """When the samples of a recording arrive.

    Attributes:
        zero_s: When the first one would have come if none were ever late, on the clock `time.monotonic`.
    """

    zero_s: float = float("inf")


async def heard_after_ms(remote: RemoteClient, sinks: BenchSinks, commands: int = 30) -> dict[str, Any]:
    """Time from a command to the change that is heard, in ms, and how much of it is not the session's latency."""
    tone = (_LEVEL * np.sin(2.0 * np.pi * np.arange(RATE) / _WINDOW)).astype(np.float32)
    process = sinks.say(tone, 3600.0)
    sent_s: list[float] = []
    latencies_ms: list[float] = []
    watching = asyncio.create_task(_note_latency(remote, latencies_ms))
    try:
        await remote.set(bypass=True)
        await asyncio.sleep(_SETTLE_S)
        with sinks.record() as recording, _clock(recording) as clock:
            for i in range(commands):
                await asyncio.sleep(_LONGEST_S / 2 + random.random() * _LONGEST_S / 2)
                sent_s.append(time.monotonic())
                await remote.set(mute=i % 2 == 0)
            await asyncio.sleep(_LONGEST_S)
        await remote.set(mute=False, bypass=False)
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        process.kill()
        process.wait()
    _, heard = recording.samples
    return summary(changes_ms(heard, [round((at - clock.zero_s) * RATE) for at in sent_s]), latencies_ms)


async def _note_latency(remote: RemoteClient, latencies_ms: list[float]) -> None:
    async for event in remote.subscribe(stats=10.0):
        latencies_ms.append(float(event.data["latency_ms"]["total"]))


@contextmanager
def _clock(recording: Recording) -> Iterator[_Clock]:
    """Watch samples arrive: those that come earliest, for their number, give the time of the first one."""
    clock, is_over = _Clock(), threading.Event()

    def watch() -> None:
        before = recording.frames
        while not is_over.wait(_POLL_S):
            now_s, frames = time.monotonic(), recording.frames
            if frames != before:
                clock.zero_s = min(clock.zero_s, now_s - frames / RATE)
                before = frames

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield clock
    finally:
        is_over.set()
        thread.join()


def changes_ms(heard: FloatArray, sent: list[int]) -> list[float]:
    """Time from each of these samples to the end of the tone, the next to its return, and so on; NaN if not found."""
    power = np.cumsum(np.concatenate((np.zeros(1), heard.astype(np.float64) ** 2)))
    level = np.sqrt(np.maximum(power[_WINDOW:] - power[:-_WINDOW], 0.0) / _WINDOW)  # of the window after each sample
    steady = float(np.median(level[level > level.max() / 2]))
    delays_ms = []
    for i, start in enumerate(sent):
        after = level[start : start + round(_LONGEST_S * RATE)]
        changed = after < (1.0 - _CHANGED) * steady if i % 2 == 0 else after > _CHANGED * steady
        at = int(changed.argmax())
        delays_ms.append(1000.0 * (at + _WINDOW) / RATE if len(changed) and changed[at] else float("nan"))
    return delays_ms


def summary(delays_ms: list[float], latencies_ms: list[float]) -> dict[str, Any]:
    """Median and maximum, and both less the latency that the session reported meanwhile."""
    found = [delay for delay in delays_ms if delay == delay]
    if not found or not latencies_ms:
        return {"count": 0, "not_found": len(delays_ms)}
    latency_ms = statistics.median(latencies_ms)
    return {
        "p50": round(statistics.median(found), 1),
        "max": round(max(found), 1),
        "count": len(found),
        "not_found": len(delays_ms) - len(found),
        "reported_latency": round(latency_ms, 1),
        "p50_beyond_latency": round(statistics.median(found) - latency_ms, 1),
        "max_beyond_latency": round(max(found) - latency_ms, 1),
    }
