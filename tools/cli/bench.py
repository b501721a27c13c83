"""The command line of `altervox bench`."""

from __future__ import annotations

from typing import Any

import click

from .options import backend_option, json_option

_context_ms = click.option("--context-ms", type=int, help="Context of an RVC voice in ms (default 1000).")
_threads = click.option(
    "--threads", type=int, default=1, show_default=True, help="Threads that compute an RVC voice on a CPU, as in live."
)


@click.group()
def bench() -> None:
    """Measure speed and memory on this machine."""


@bench.command("stream")
@click.option(
    "--seconds", type=click.FloatRange(1, 3600), default=10.0, show_default=True, help="Seconds of audio per row."
)
@click.option(
    "--voice",
    "names",
    multiple=True,
    help="Name of a voice in `altervox voices`, the path of a .pth file or of an exported voice, or rvc-v2-40k ... for "
    "synthetic weights; default: woman and robot.",
)
@click.option(
    "--block-ms",
    "blocks_ms",
    type=click.IntRange(20, 2000),
    multiple=True,
    help="Block size in ms; default: 20, 40, 100 and 240, or that of an exported voice.",
)
@_context_ms
@_threads
@click.option("--device", default="auto", show_default=True, help="Where networks run: auto, cpu, cuda, cuda:1 or mps.")
@backend_option
@json_option
def bench_stream(
    seconds: float,
    names: tuple[str, ...],
    blocks_ms: tuple[int, ...],
    context_ms: int | None,
    threads: int,
    device: str,
    backend: str | None,
    as_json: bool,
) -> int:
    """Time each block of a stream against its deadline; in a clone, RVC voices next to RVC's own real-time step."""
    from ..bench.stream import bench_stream as run

    voices, config = list(names) or ["woman", "robot"], _config(context_ms, threads, backend)
    return run(seconds, voices, list(blocks_ms), config, device, as_json)


@bench.command("live")
@click.option(
    "--seconds", type=click.FloatRange(1, 3600), default=20.0, show_default=True, help="Seconds of speech per row."
)
@click.option(
    "--voice",
    default="woman",
    show_default=True,
    help="Name of a voice in `altervox voices`, the path of a .pth file or of an exported voice, or rvc-v2-40k ... for "
    "random weights.",
)
@click.option(
    "--block-ms",
    "blocks_ms",
    type=click.IntRange(20, 500),
    multiple=True,
    help="Block size in ms; default: 20, 40 and 100, or that of an exported voice.",
)
@_context_ms
@_threads
@click.option(
    "--device-buffer-ms", "buffer_ms", type=click.FloatRange(2, 200), help="Device buffer in ms; default: 15."
)
@click.option(
    "--load", type=click.IntRange(0, 256), default=0, help="Number of busy processes beside it, as a game would be."
)
@backend_option
@json_option
def bench_live(
    seconds: float,
    voice: str,
    blocks_ms: tuple[int, ...],
    context_ms: int | None,
    threads: int,
    buffer_ms: float | None,
    load: int,
    backend: str | None,
    as_json: bool,
) -> int:
    """Run sessions from a virtual microphone to a virtual cable: latency, losses, processing times (Linux)."""
    from ..bench.live import bench_live as run

    return run(seconds, voice, list(blocks_ms), _config(context_ms, threads, backend), buffer_ms, load, as_json)


@bench.command("serve")
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=10.0, show_default=True, help="Seconds of each measurement."
)
@click.option(
    "--controllers",
    type=click.IntRange(0, 200),
    default=100,
    show_default=True,
    help="Number of clients that only receive state and meters.",
)
@click.option("--voice", default="woman", show_default=True, help="Voice that sounds meanwhile.")
@click.option("--block-ms", type=click.IntRange(20, 500), default=20, show_default=True, help="Block size in ms.")
@click.option(
    "--session-voice",
    "session_voices",
    multiple=True,
    default=("woman", "clara"),
    show_default=True,
    help="Voice of audio sessions that are measured; may be given several times.",
)
@click.option(
    "--audio-workers",
    "workers",
    type=click.IntRange(0, 64),
    multiple=True,
    default=(1, 2),
    show_default=True,
    help="Worker processes of audio sessions; may be given several times, 0 for no audio sessions.",
)
@backend_option
@json_option
def bench_serve(
    seconds: float,
    controllers: int,
    voice: str,
    block_ms: int,
    session_voices: tuple[str, ...],
    workers: tuple[int, ...],
    backend: str | None,
    as_json: bool,
) -> int:
    """Run a server: round trips, the time until a command is heard, cost of controllers, audio sessions, kills."""
    from ..bench.serve import bench_serve as run

    counts = [count for count in workers if count]
    return run(seconds, controllers, voice, block_ms, backend, as_json, session_voices, counts)


@bench.command("backends")
@click.option(
    "--voice",
    default="rvc-v2-40k",
    show_default=True,
    help="Neural or RVC voice, by name or path, or rvc-v2-40k ... for synthetic weights.",
)
@click.option(
    "--block-ms", "blocks_ms", type=click.IntRange(20, 2000), multiple=True, help="Block size in ms; default: 100."
)
@_context_ms
@json_option
def bench_backends(voice: str, blocks_ms: tuple[int, ...], context_ms: int | None, as_json: bool) -> int:
    """Export a neural or RVC voice and time its blocks by torch and by every execution provider of ONNX Runtime."""
    from ..bench.backends import bench_backends as run

    return run(voice, list(blocks_ms) or [100], context_ms or 1000, as_json)


def _config(context_ms: int | None, threads: int, backend: str | None) -> dict[str, Any]:
    """What the options say of a `StreamConfig`."""
    given = {"context_ms": context_ms, "threads": threads, "backend": backend}
    return {name: value for name, value in given.items() if value is not None}
