"""`altervox bench stream`: the time of each block against its deadline; in a clone also of RVC's own real-time step."""

from __future__ import annotations

import json
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ...realtime.synthetic import speech_like
from ..machine import machine, peak_mib

if TYPE_CHECKING:
    import torch

    from ...realtime.config import StreamConfig
    from ...realtime.engine import Engine
    from ...realtime.stages.rvc import RvcStage

BLOCKS_MS = (20, 40, 100, 240)
SAMPLE_RATE = 48000
_WARM_UP_BLOCKS = 5
_PARTS_BLOCKS = 20  # at most
_HEADING = (
    f"{'voice':<24} block  deadline     p50     p95     p99     max CPU min  late  delay ms  GFLOP/s"
    "  alloc KiB  torch MiB  growth MiB"
)


def bench_stream(
    seconds: float,
    names: list[str],
    blocks_ms: list[int],
    given: Mapping[str, Any],
    device: str,
    as_json: bool,
) -> int:
    """Run the benchmark. Returns the exit code.

    Args:
        seconds: Audio of each row.
        names: Voices by name or path, or of `RVC_KINDS` for synthetic weights.
        blocks_ms: Block sizes in ms; empty for the usual ones.
        given: Other values of `StreamConfig`.
        device: See `load_voice`.
        as_json: Whether to print JSON.

    Raises:
        AltervoxError: a voice is missing or cannot run like this.
    """
    from ...kernels.heap import keep_freed_memory
    from ...models.library import load_voice
    from .synthetic import RVC_KINDS

    keep_freed_memory()  # as a session does
    for name in names:
        if name not in RVC_KINDS:
            load_voice(name, device)  # a missing one is to be known before the others are measured
    rows: list[dict[str, Any]] = []
    reference = reference_maker()
    if reference is None and any(name in RVC_KINDS for name in names):
        click.echo("altervox: no comparison with RVC's own step, which needs a clone of the repository", err=True)
    if not as_json:
        click.echo(f"{machine(device)}, {seconds:g} s of audio at {SAMPLE_RATE} Hz")
        click.echo(_HEADING)
    for name in names:
        with bench_voice(name) as played:
            voice = load_voice(played, device)
            for config in configs(voice.lengths, blocks_ms, BLOCKS_MS, {"sample_rate": SAMPLE_RATE, **given}):
                measured = [{"voice": name, **_ours(voice, config, seconds)}]
                if name in RVC_KINDS and reference is not None:
                    step, block_ms = reference(voice, config.block_ms), config.block_ms
                    measured.append({"voice": f"{name} (RVC's step)", **_measured(step, step, block_ms, seconds)})
                for row in measured:
                    rows.append(row)
                    if not as_json:
                        click.echo(_line(row))
                        if row["part_mean_ms"]:
                            shares = ", ".join(f"{part} {ms:.1f}" for part, ms in row["part_mean_ms"].items())
                            click.echo(f"    mean ms of a block: {shares}")
    if as_json:
        click.echo(json.dumps({"machine": machine(device), "seconds": seconds, "rows": rows}, indent=1))
    return 0


def configs(
    bound: Mapping[str, int], blocks_ms: Sequence[int], usual: Sequence[int], given: Mapping[str, Any]
) -> list[StreamConfig]:
    """What each row runs with.

    Args:
        bound: Lengths that the voice is bound to; empty for one that takes any.
        blocks_ms: Block sizes in ms that were asked for.
        usual: Block sizes in ms if none was.
        given: Other values of `StreamConfig`.

    Raises:
        ParameterError: a value is out of its range.
    """
    from ...realtime.config import StreamConfig

    sizes = blocks_ms or ([bound["block_ms"]] if bound else usual)
    values = [{**bound, **given, "block_ms": block_ms} for block_ms in sizes]
    return [StreamConfig(**named) for named in values]


@contextmanager
def bench_voice(name: str) -> Iterator[str]:
    """A voice by name or path; where it is named like one of random weights, in a library made for it."""
    if name.startswith("rvc-v"):  # for any other, torch need not be loaded here
        from .synthetic import RVC_KINDS, write_base_models, write_voice

        if name in RVC_KINDS:
            with _library() as home:
                write_base_models(home / "base")
                yield str(write_voice(home, name))
            return
    yield name


@contextmanager
def _library() -> Iterator[Path]:
    """A library of the benchmark's own, for as long as it is needed."""
    before = os.environ.get("ALTERVOX_HOME")
    with tempfile.TemporaryDirectory(prefix="altervox-bench-") as scratch:
        os.environ["ALTERVOX_HOME"] = scratch
        try:
            yield Path(scratch)
        finally:
            del os.environ["ALTERVOX_HOME"]
            if before is not None:
                os.environ["ALTERVOX_HOME"] = before


def _ours(voice: Any, config: StreamConfig, seconds: float) -> dict[str, Any]:
    """The row of our engine."""
    from ...realtime.engine import Engine
    from ...realtime.stages.rvc import RvcStage

    engine = Engine(voice, config)
    step = counted = _stepping(engine)
    if isinstance(engine.stage, RvcStage) and voice.device.type == "cuda":
        counted = _stepping(Engine(voice, replace(config, backend="eager")))  # a graph that is replayed shows nothing
    row = _measured(step, counted, config.block_ms, seconds)
    row["latency_ms"] = {"total": round(config.block_ms + 1000.0 * engine.latency_samples / engine.sample_rate, 2)}
    if isinstance(engine.stage, RvcStage):
        row["part_mean_ms"] = _parts(engine.stage, step, min(_PARTS_BLOCKS, _timed_blocks(config.block_ms, seconds)))
    return row


def _stepping(engine: Engine) -> Callable[[int], None]:
    """Feeds an engine, block by block, with what sounds like speech."""
    audio = speech_like(10.0, SAMPLE_RATE)
    out = np.zeros(engine.block_size, dtype=np.float32)
    blocks = len(audio) // engine.block_size

    def step(i: int) -> None:
        start = i % blocks * engine.block_size
        engine.process(audio[start : start + engine.block_size], out)

    return step


def _parts(stage: RvcStage, step: Callable[[int], None], blocks: int) -> dict[str, float]:
    """Mean ms that each part of an RVC voice takes, waited for on a GPU: more there than they take together."""
    parts: dict[str, float] = {}
    for part, owner, method in (
        ("pitch", stage.tracker, "push_into"),
        ("content", stage.content, "run"),
        ("prior", stage.prior, "run"),
        ("flow and decoder", stage.generator, "step"),
    ):
        if owner is not None:
            _timed(owner, method, part, parts, stage.voice.device)
    for i in range(blocks):
        step(i)
    return {part: round(1000.0 * total / blocks, 3) for part, total in parts.items()}


def _timed(owner: Any, method: str, part: str, parts: dict[str, float], device: torch.device) -> None:
    """Let every call of a method of this one object add its seconds to `parts`."""
    import torch

    call = getattr(owner, method)
    parts[part] = 0.0

    def timed(*arguments: Any) -> Any:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        started = time.perf_counter()
        result = call(*arguments)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        parts[part] += time.perf_counter() - started
        return result

    setattr(owner, method, timed)


def reference_maker() -> Callable[[Any, int], Callable[[int], None]] | None:
    """Makes RVC's step of a voice for a block length; None where altervox runs from a wheel, which lacks it."""
    try:
        from .reference.repeated import repeated_step
    except ModuleNotFoundError:
        return None
    return repeated_step


def _timed_blocks(block_ms: int, seconds: float) -> int:
    return max(int(1000 * seconds / block_ms), 3)


def _measured(
    step: Callable[[int], None], counted: Callable[[int], None], block_ms: int, seconds: float
) -> dict[str, Any]:
    """Time of `step` by the clock and of processors, in ms; its memory; and what it computes, as `counted` shows."""
    from torch.utils.flop_counter import FlopCounterMode

    for i in range(_WARM_UP_BLOCKS):
        step(i)
    with FlopCounterMode(display=False) as counter:
        counted(_WARM_UP_BLOCKS)
    allocated_kib, torch_mib = _allocated_kib(step), _torch_mib(counted)
    resident = peak_mib()
    times_ms: list[float] = []
    cpu_ms: list[float] = []
    for i in range(_timed_blocks(block_ms, seconds)):
        started, cpu = time.perf_counter(), time.process_time()
        step(i)
        times_ms.append(1000.0 * (time.perf_counter() - started))
        cpu_ms.append(1000.0 * (time.process_time() - cpu))
    p50, p95, p99 = (round(float(p), 3) for p in np.percentile(times_ms, (50, 95, 99)))
    return {
        "block_ms": block_ms,
        "deadline_ms": block_ms,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "max_ms": round(max(times_ms), 3),
        "cpu_min_ms": round(min(cpu_ms), 3),
        "late_blocks": sum(t > block_ms for t in times_ms),
        "latency_ms": None,
        "part_mean_ms": {},
        "allocated_kib": round(allocated_kib, 1),
        "torch_allocated_mib": round(torch_mib, 2),
        "growth_mib": None if resident is None else round((peak_mib() or resident) - resident, 1),
        # Convolutions and matrix products; the GRU, which is small, is not counted.
        "gflop_per_second": round(counter.get_total_flops() / 1e9 * 1000.0 / block_ms, 1),
    }


def _allocated_kib(step: Callable[[int], None]) -> float:
    """The most that Python and NumPy hold during a block beyond what they held before it. Torch's own is not seen."""
    tracemalloc.start()
    step(_WARM_UP_BLOCKS + 1)
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    step(_WARM_UP_BLOCKS + 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return (peak - before) / 1024


def _torch_mib(step: Callable[[int], None]) -> float:
    """What torch's operators allocate during a block, all together, on the CPU and on a GPU.

    They do so inside networks that run call by call, and give most of it back at once. ONNX Runtime's own is not seen.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step(_WARM_UP_BLOCKS + 3)
    taken = sum(
        max(event.self_cpu_memory_usage, 0) + max(event.self_device_memory_usage, 0)
        for event in profiler.events() or ()
    )
    return float(taken) / 2**20


def _line(row: dict[str, Any]) -> str:
    start = f"{row['voice']:<24}{row['block_ms']:>6}{row['deadline_ms']:>10}"
    times = "".join(f"{row[key]:>8.1f}" for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms", "cpu_min_ms"))
    delay = f"{row['latency_ms']['total']:>10.1f}" if row["latency_ms"] else " " * 10
    growth = "-" if row["growth_mib"] is None else row["growth_mib"]
    memory = f"{row['allocated_kib']:>11.1f}{row['torch_allocated_mib']:>11.1f}{growth:>12}"
    return f"{start}{times}{row['late_blocks']:>6}{delay}{row['gflop_per_second']:>9.1f}{memory}"
