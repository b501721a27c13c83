"""The part of `altervox bench serve` that measures audio sessions: round trips, how many fit, recovery after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.types import FloatArray
from ...realtime.serve.audio.client import RemoteAudio
from ...realtime.serve.client import RemoteClient
from ...realtime.serve.errors import RemoteError
from ...realtime.synthetic import speech_like

_RATE = 48000
_BLOCK_MS = 20
_SIZE = _RATE * _BLOCK_MS // 1000
_SETTLE_S = 1.0  # in which connection and caches warm up; not counted
_MOST = 64  # sessions


async def measured_sessions(port: int, voices: Sequence[str], seconds: float) -> list[dict[str, Any]]:
    """Sessions in real time with each voice: one, then as many as the server lets in.

    Args:
        port: Port of a server on this computer.
        voices: Names of voices.
        seconds: Length of each measurement.

    Returns:
        For each voice: "voice"; "alone" and "together", the round trips of frames in ms beyond the reported latency
        ("p50", "p99", "max") with the engine's own time per block ("engine_p50", "engine_p99"); "sessions", how many
        were let in; "late_blocks" and "dropped_samples" of all of them together.
    """
    rows = []
    for voice in voices:
        async with contextlib.AsyncExitStack() as stack:
            first = await stack.enter_async_context(_session(port, voice))
            alone = _summary(await _trips_ms(first, seconds, 0.0), [first])
            sessions = [first]
            with contextlib.suppress(RemoteError):  # "full"
                while len(sessions) < _MOST:
                    sessions.append(await stack.enter_async_context(_session(port, voice)))
            phases = [(0.618 * number) % 1.0 * _BLOCK_MS / 1000.0 for number in range(len(sessions))]
            running = [_trips_ms(one, seconds, phase) for one, phase in zip(sessions, phases, strict=True)]
            trips_ms = [trip for trips in await asyncio.gather(*running) for trip in trips]
            states = [await one.get() for one in sessions]
            rows.append(
                {
                    "voice": voice,
                    "sessions": len(sessions),
                    "alone": alone,
                    "together": _summary(trips_ms, sessions),
                    "late_blocks": sum(int(state["late_blocks"]) for state in states),
                    "dropped_samples": sum(int(state["dropped_samples"]) for state in states),
                }
            )
    return rows


async def after_worker_kill_ms(port: int, server_process: int, voice: str) -> dict[str, float | None]:
    """Times from kill -9 of the worker of a session (Linux).

    Returns:
        "noticed": until the client knows; "heard": until another session gives its first output. None where no worker
        was found.
    """
    async with _session(port, voice) as audio:
        sending = asyncio.create_task(_feed(audio, 3600.0, 0.0, []))
        workers = _workers(server_process)
        began_s = time.perf_counter()
        for process in workers:
            os.kill(process, signal.SIGKILL)
        try:
            async for _ in audio:
                if not workers:
                    return {"noticed": None, "heard": None}
        except RemoteError:
            noticed_s = time.perf_counter() - began_s
        finally:
            sending.cancel()
            await asyncio.wait([sending])
    async with _session(port, voice) as audio:
        sending = asyncio.create_task(_feed(audio, 3600.0, 0.0, []))
        async for _ in audio:
            break
        heard_s = time.perf_counter() - began_s
        sending.cancel()
        await asyncio.wait([sending])
    return {"noticed": round(1000.0 * noticed_s, 1), "heard": round(1000.0 * heard_s)}


def _session(port: int, voice: str) -> RemoteAudio:
    return RemoteClient.local(port=port, name="bench").audio(_RATE, voice=voice, block_ms=_BLOCK_MS)


async def _trips_ms(audio: RemoteAudio, seconds: float, phase_s: float) -> list[float]:
    """Times from the frame that completes a block to that block's output, in ms."""
    sent_s: list[float] = []  # of each frame
    first = audio.sent // _SIZE
    sending = asyncio.create_task(_feed(audio, seconds + _SETTLE_S, phase_s, sent_s))
    skipped = round((audio.latency_ms - _BLOCK_MS) * _RATE / 1000.0)
    settled = first + int(_SETTLE_S * 1000.0 / _BLOCK_MS)
    trips_ms: list[float] = []
    async for chunk in audio:
        came_s = time.perf_counter()
        frame = round((chunk.position + len(chunk.samples) + skipped) / _SIZE) - 1
        if settled <= frame < first + len(sent_s) and not chunk.is_late:
            trips_ms.append(1000.0 * (came_s - sent_s[frame - first]))
        if sending.done() and frame >= first + len(sent_s) - 1:
            break
    await sending
    return trips_ms


async def _feed(audio: RemoteAudio, seconds: float, phase_s: float, sent_s: list[float]) -> None:
    """Send speech in real time, a block a frame."""
    speech: FloatArray = speech_like(4.0, _RATE).astype(np.float32)
    began_s = time.perf_counter() + phase_s
    for number in range(round(seconds * 1000.0 / _BLOCK_MS)):
        await asyncio.sleep(max(began_s + number * _BLOCK_MS / 1000.0 - time.perf_counter(), 0.0))
        at = number * _SIZE % (len(speech) - _SIZE)
        sent_s.append(time.perf_counter())
        await audio.send(speech[at : at + _SIZE])


def _summary(trips_ms: list[float], sessions: Sequence[RemoteAudio]) -> dict[str, float]:
    p50, p99, longest = np.quantile(trips_ms, (0.5, 0.99, 1.0)) if trips_ms else (np.nan,) * 3
    engine = {
        f"engine_{name}": max(float(one.state.get(f"{name}_ms", 0.0)) for one in sessions) for name in ("p50", "p99")
    }
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(float(longest), 2), **engine}


def _workers(server_process: int) -> list[int]:
    """Process IDs of the workers of a server."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            if int(parent) == server_process and b"spawn_main" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found
