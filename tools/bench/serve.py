"""`altervox bench serve`: how quickly a server answers, how soon a command is heard, and what controllers cost.

The server is `altervox serve` in a process of its own, with a session between a virtual microphone and a virtual cable.
Controllers are in another process; this one sends the commands that are timed. Where there is no sound server the
session stays stopped, and nothing is heard.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any

import click

from ...kernels.errors import AudioDeviceError
from ...realtime.config import check_backend
from ...realtime.serve.client import RemoteClient
from ...realtime.serve.runtime import LocalServer, local_servers
from ..devices.programs import started
from ..machine import cpu_s, processor
from .audio_sessions import after_worker_kill_ms, measured_sessions
from .command_to_sound import heard_after_ms
from .sinks import BenchSinks, bench_sinks
from .stalls import stall_watch

_START_S = 60.0
_SETTLE_S = 4.0  # clocks and start-up
_PACE_S = 1.0 / 150.0  # below what the server lets one client send for long
_KNOB_S = 1.0 / 20.0  # as when somebody turns a knob, and every controller receives each change
_SENDERS, _SENT_EACH = 16, 300  # commands at once; fewer than a client may send at once
_METERS_HZ = 10.0
_KILLS = 3
_AUDIO_BLOCK_MS = 20


def bench_serve(
    seconds: float,
    controllers: int,
    voice: str,
    block_ms: int,
    backend: str | None,
    as_json: bool,
    session_voices: Sequence[str] = (),
    workers: Sequence[int] = (),
) -> int:
    """Run the benchmark. Returns the exit code.

    Args:
        seconds: Length of each measurement.
        controllers: Number of clients that do nothing but receive state and meters.
        voice: Name of the voice that sounds meanwhile.
        block_ms: Block size.
        backend: Backend of the networks; None for the server's own choice.
        as_json: Whether to print JSON.
        session_voices: Voices of audio sessions that are measured; none for no audio sessions.
        workers: Numbers of worker processes with each of which they are measured.

    Raises:
        AltervoxError: the server or its session does not start.
    """
    if backend is not None:
        check_backend(backend)
    with ExitStack() as stack:
        sinks = _sinks(stack)
        stalls = stack.enter_context(stall_watch()) if sys.platform == "linux" else None
        server, process_id = stack.enter_context(_served(sinks, voice, block_ms, backend, 0))
        began = time.monotonic()
        result = asyncio.run(_measured(server, process_id, sinks, seconds, controllers))
        underruns_s = result.pop("underruns_at_s")
        is_watched = stalls is not None and stalls.is_known
        pauses = {
            "underruns": len(underruns_s) if sinks is not None else None,
            "underruns_in_stalls": stalls.near(underruns_s) if stalls is not None and is_watched else None,
            "stalls": len(stalls.between(began, time.monotonic())) if stalls is not None and is_watched else None,
        }
    audio = [_audio(count, session_voices, seconds, backend) for count in workers if session_voices]
    head = {
        "machine": processor(),
        "session": "between a virtual microphone and a virtual cable" if sinks else "stopped, without a sound server",
        "voice": voice,
        "block_ms": block_ms,
        "seconds": seconds,
    }
    result |= {**pauses, "audio": audio}
    if as_json:
        click.echo(json.dumps({**head, **result}, indent=1))
    else:
        _print_table(head, result)
    return 0


def _audio(workers: int, voices: Sequence[str], seconds: float, backend: str | None) -> dict[str, Any]:
    """Audio sessions on a server of their own with so many workers."""
    with _served(None, "off", _AUDIO_BLOCK_MS, backend, workers) as (server, process_id):
        rows = asyncio.run(measured_sessions(server.port, voices, seconds))
        kill = (
            asyncio.run(after_worker_kill_ms(server.port, process_id, voices[0])) if sys.platform == "linux" else None
        )
    return {"workers": workers, "voices": rows, "after_worker_kill_ms": kill}


def _sinks(stack: ExitStack) -> BenchSinks | None:
    """Virtual microphone and cable; None without a sound server."""
    try:
        return stack.enter_context(bench_sinks())
    except AudioDeviceError as error:
        click.echo(f"altervox: the session stays stopped: {error}", err=True)
        return None


@contextmanager
def _served(
    sinks: BenchSinks | None, voice: str, block_ms: int, backend: str | None, workers: int
) -> Iterator[tuple[LocalServer, int]]:
    """A server whose session uses these devices; its address and its process ID."""
    command = [sys.executable, "-m", "altervox.tools", "serve", "--port", "0"]
    command += ["--voice", voice, "--block-ms", str(block_ms), "--audio-workers", str(workers)]
    if backend is not None:
        command += ["--backend", backend]
    if sinks is not None:
        command += ["--input", sinks.microphone, "--output", sinks.cable, "--allow-loop"]
    with started(command) as process:
        latest_s = time.monotonic() + _START_S
        while True:
            for server in local_servers():
                if server.process_id == process.pid:
                    yield server, process.pid
                    return
            if process.poll() is not None or time.monotonic() > latest_s:
                raise AudioDeviceError(f"the server does not start: `{' '.join(command[1:])}` shows why")
            time.sleep(0.05)


async def _measured(
    server: LocalServer, process_id: int, sinks: BenchSinks | None, seconds: float, controllers: int
) -> dict[str, Any]:
    async with RemoteClient.local(port=server.port, name="bench") as remote:
        if sinks is not None:
            await remote.start()
            await asyncio.sleep(_SETTLE_S)
        underruns_s: list[float] = []
        watching = asyncio.create_task(_note_underruns(remote, underruns_s))
        result: dict[str, Any] = {"round_trip_ms": await _round_trips_ms(remote, seconds, _PACE_S)}
        result["commands_per_second"] = round(await _commands_per_second(server))
        result["cpu_percent_alone"] = await _cpu_percent(process_id, seconds)
        async with _controllers(server, controllers) as events:
            result["cpu_percent"] = await _cpu_percent(process_id, seconds)
            result["round_trip_with_controllers_ms"] = await _round_trips_ms(remote, seconds, _KNOB_S)
        result["controllers"] = controllers
        result["controllers_meters_hz"] = round(events.pop() / controllers, 1) if controllers else None
        result["after_kill_ms"] = await _after_kill_ms(remote, server, min(seconds, 1.0))
        result["command_to_sound_ms"] = None if sinks is None else await heard_after_ms(remote, sinks)
        watching.cancel()
        await asyncio.wait([watching])
        result["underruns_at_s"] = underruns_s
    return result


async def _note_underruns(remote: RemoteClient, underruns_s: list[float]) -> None:
    """Note when the session counts an underrun, on the clock `time.monotonic`."""
    before: int | None = None
    async for event in remote.subscribe(stats=10.0):
        count = int(event.data["underruns"])
        underruns_s += [time.monotonic()] * (count - (count if before is None else before))
        before = count


async def _round_trips_ms(remote: RemoteClient, seconds: float, pace_s: float) -> dict[str, Any]:
    """Times that commands take to the server and back, each of which changes the state."""
    times_ms = []
    for i in range(max(round(seconds / pace_s), 10)):
        began = time.perf_counter()
        await remote.set(pitch=float(i % 2))
        times_ms.append(1000.0 * (time.perf_counter() - began))
        await asyncio.sleep(pace_s * (0.5 + random.random()))  # not in step with what the server sends by itself
    return _summary(times_ms)


async def _commands_per_second(server: LocalServer) -> float:
    """Commands of several clients, each of which sends all of them without waiting."""
    async with _clients(server.port, _SENDERS) as clients:
        began = time.perf_counter()
        await asyncio.gather(*map(_send_at_once, clients))
        return _SENDERS * _SENT_EACH / (time.perf_counter() - began)


async def _send_at_once(client: RemoteClient) -> None:
    await asyncio.gather(*(client.set(pitch=float(i % 2)) for i in range(_SENT_EACH)))


@asynccontextmanager
async def _clients(port: int, count: int) -> AsyncIterator[list[RemoteClient]]:
    """So many connected clients."""
    async with AsyncExitStack() as stack:
        names = [f"bench {i}" for i in range(count)]
        yield [await stack.enter_async_context(RemoteClient.local(port=port, name=name)) for name in names]


async def _cpu_percent(process_id: int, seconds: float) -> float | None:
    """Processor time of the server, the audio process not included, in percent of one core."""
    if sys.platform != "linux":
        return None
    await asyncio.sleep(min(seconds, 1.0))
    began, before = time.monotonic(), cpu_s(process_id)
    await asyncio.sleep(seconds)
    return round(100.0 * (cpu_s(process_id) - before) / (time.monotonic() - began), 1)


@asynccontextmanager
async def _controllers(server: LocalServer, count: int) -> AsyncIterator[list[float]]:
    """A process of so many clients; afterwards the list holds the number of meters that they got a second."""
    command = [sys.executable, "-m", __name__, str(server.port), str(count)]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    rates: list[float] = []
    try:
        if await process.stdout.readline() != b"ready\n":
            raise AudioDeviceError("the controllers could not connect to the server")
        yield rates
        process.stdin.close()
        rates.append(float(await process.stdout.readline()))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _after_kill_ms(remote: RemoteClient, server: LocalServer, seconds: float) -> dict[str, Any]:
    """Longest round trip so soon after a client was killed while it received all that it can."""
    worst_ms = []
    for _ in range(_KILLS):
        url = ["--url", server.socket_url]
        command = [sys.executable, "-m", "altervox.tools", "remote", *url, "watch", "--meters", "20", "--json"]
        victim = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert victim.stdout is not None
        await victim.stdout.readline()
        victim.kill()
        worst_ms.append((await _round_trips_ms(remote, seconds, _PACE_S))["max"])
        await victim.wait()
    return {"worst_round_trip": max(worst_ms), "kills": _KILLS}


def _summary(times_ms: list[float]) -> dict[str, Any]:
    ordered = sorted(times_ms)
    return {
        "p50": round(statistics.median(ordered), 2),
        "p99": round(ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)], 2),
        "max": round(ordered[-1], 2),
        "count": len(ordered),
    }


def _print_table(head: dict[str, Any], result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"{head['machine']}; session {head['session']}, voice {head['voice']}, blocks of {head['block_ms']} ms",
        caption="Processor time is that of the server; the audio process and the clients have their own.",
    )
    table.add_column("what")
    table.add_column("measured", justify="right")
    for what, measured in _rows(result):
        table.add_row(what, measured)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _rows(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each figure in words."""
    count, heard, kill = result["controllers"], result["command_to_sound_ms"], result["after_kill_ms"]
    yield "round trip of a command, p50 / p99 / max", _three(result["round_trip_ms"])
    yield f"beside {count} controllers, 20 commands a second", _three(result["round_trip_with_controllers_ms"])
    yield f"commands a second, from {_SENDERS} clients", f"{result['commands_per_second']}"
    yield "processor time without controllers", _percent(result["cpu_percent_alone"])
    yield f"with {count} idle controllers, meters at {_METERS_HZ:g} Hz", _percent(result["cpu_percent"])
    yield "meters that each controller got", f"{result['controllers_meters_hz']} a second"
    yield f"longest round trip after kill -9 of a client, of {kill['kills']}", f"{kill['worst_round_trip']} ms"
    if heard is not None:
        if heard["count"]:
            yield "command to sound, p50 / max", f"{heard['p50']} / {heard['max']} ms"
            beyond = f"{heard['p50_beyond_latency']} / {heard['max_beyond_latency']} ms"
            yield f"less the reported latency of {heard['reported_latency']} ms", beyond
        yield "commands that were not heard", f"{heard['not_found']}"
        yield (
            "underruns, and those next to a pause of the machine",
            _counts(result["underruns"], result["underruns_in_stalls"]),
        )
    yield "pauses of the machine itself", _counts(result["stalls"])
    for audio in result["audio"]:
        yield from _audio_rows(audio)


def _audio_rows(audio: dict[str, Any]) -> Iterator[tuple[str, str]]:
    workers = f"{audio['workers']} worker{'s' if audio['workers'] > 1 else ''}"
    for row in audio["voices"]:
        yield f"20 ms frame and back, voice {row['voice']}, beyond its latency", _three(row["alone"])
        engine = f"{row['alone']['engine_p50']} / {row['alone']['engine_p99']} ms"
        yield "of it, the voice itself, p50 / p99", engine
        yield f"sessions at once with {row['voice']}, {workers}", f"{row['sessions']}"
        yield "late blocks of them, and frame and back", f"{row['late_blocks']}, {_three(row['together'])}"
    if (kill := audio["after_worker_kill_ms"]) is not None:
        yield f"kill -9 of {workers}: noticed, and heard again", f"{kill['noticed']} / {kill['heard']} ms"


def _counts(*counts: int | None) -> str:
    return " / ".join("-" if count is None else str(count) for count in counts)


def _three(times_ms: dict[str, Any]) -> str:
    return f"{times_ms['p50']} / {times_ms['p99']} / {times_ms['max']} ms"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value} % of a core"


async def _be_controllers(port: int, count: int) -> None:
    """Receive state and meters until standard input ends; prints how many meters came a second for all together."""
    meters = 0

    async def receive(client: RemoteClient) -> None:
        nonlocal meters
        async for event in client.subscribe("state", meters=_METERS_HZ):
            meters += event.topic == "meters"

    async with _clients(port, count) as clients:
        tasks = [asyncio.create_task(receive(client)) for client in clients]
        await asyncio.sleep(0.5)
        print("ready", flush=True)
        began, before = time.monotonic(), meters
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        print((meters - before) / (time.monotonic() - began), flush=True)
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    asyncio.run(_be_controllers(*map(int, sys.argv[1:])))
