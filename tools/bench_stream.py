"""`altervox bench stream`: the time of each block against its deadline, and beside RVC's own real-time step."""

from __future__ import annotations

import json
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..kernels.errors import ParameterError
from ..realtime.live.warm_up import speech_like
from .bench import machine
from .convert import peak_mib

BLOCKS_MS = (20, 40, 100, 240)
SAMPLE_RATE = 48000
_WARM_UP_BLOCKS = 5
_HEADING = (
    f"{'voice':<24} block  deadline     p50     p95     p99     max  late  delay ms  GFLOP/s  alloc KiB  growth MiB"
)


def bench_stream(
    seconds: float, names: list[str], blocks_ms: list[int], context_ms: int, device: str, as_json: bool
) -> int:
    """Run the benchmark. Returns the exit code."""
    from ..models.dsp import DSP_VOICES
    from ..models.library import load_voice
    from .synthetic_voices import RVC_KINDS, write_base_models, write_voice

    known = [*DSP_VOICES, *RVC_KINDS]
    for name in names:
        if name not in known:
            raise ParameterError(f"there is no bench voice {name!r}; choose from {', '.join(known)}")
    rows: list[dict[str, Any]] = []
    if not as_json:
        click.echo(f"{machine(device)}, {seconds:g} s of audio at {SAMPLE_RATE} Hz")
        click.echo(_HEADING)
    with _library() as home:
        if any(name in RVC_KINDS for name in names):
            write_base_models(home / "base")
        for name in names:
            voice = load_voice(write_voice(home, name) if name in RVC_KINDS else name, device)
            for block_ms in blocks_ms:
                parts: dict[str, float] = {}
                steps = [("", *_engine(voice, block_ms, context_ms, parts))]
                if name in RVC_KINDS:
                    steps.append((" (RVC's step)", *_reference(voice, block_ms)))
                for what, step, delay_ms in steps:
                    row = {"voice": name + what, **_measured(step, block_ms, seconds, delay_ms, {} if what else parts)}
                    rows.append(row)
                    if not as_json:
                        click.echo(_line(row))
                        if row["part_mean_ms"]:
                            shares = ", ".join(f"{part} {ms:.1f}" for part, ms in row["part_mean_ms"].items())
                            click.echo(f"    mean ms of a block: {shares}")
    if as_json:
        click.echo(json.dumps({"machine": machine(device), "seconds": seconds, "rows": rows}, indent=1))
    return 0


@contextmanager
def _library() -> Iterator[Path]:
    """A library of its own, for as long as it is needed."""
    before = os.environ.get("ALTERVOX_HOME")
    with tempfile.TemporaryDirectory(prefix="altervox-bench-") as scratch:
        os.environ["ALTERVOX_HOME"] = scratch
        try:
            yield Path(scratch)
        finally:
            del os.environ["ALTERVOX_HOME"]
            if before is not None:
                os.environ["ALTERVOX_HOME"] = before


def _engine(
    voice: Any, block_ms: int, context_ms: int, parts: dict[str, float]
) -> tuple[Callable[[int], None], float | None]:
    """A step of our engine, and its delay. The seconds that each part of an RVC voice takes are added up in `parts`."""
    from ..realtime.config import StreamConfig
    from ..realtime.engine import Engine
    from ..realtime.rvc_stage import RvcStage

    engine = Engine(voice, StreamConfig(sample_rate=SAMPLE_RATE, block_ms=block_ms, context_ms=context_ms))
    stage = engine.stage
    if isinstance(stage, RvcStage):
        for part, owner, method in (
            ("pitch", stage.tracker, "push"),
            ("content", stage.content, "features"),
            ("prior", stage.voice.synthesizer.enc_p, "forward"),
            ("flow and decoder", stage.generator, "step"),
        ):
            if owner is not None:
                _timed(owner, method, part, parts)
    audio = speech_like(10.0, SAMPLE_RATE)
    out = np.zeros(engine.block_size, dtype=np.float32)
    blocks = len(audio) // engine.block_size

    def step(i: int) -> None:
        start = i % blocks * engine.block_size
        engine.process(audio[start : start + engine.block_size], out)

    return step, block_ms + 1000.0 * engine.latency_samples / engine.sample_rate


def _timed(owner: Any, method: str, part: str, parts: dict[str, float]) -> None:
    """Let every call of a method of this one object add its seconds to `parts`."""
    call = getattr(owner, method)
    parts[part] = 0.0

    def timed(*arguments: Any) -> Any:
        started = time.perf_counter()
        result = call(*arguments)
        parts[part] += time.perf_counter() - started
        return result

    setattr(owner, method, timed)


def _reference(voice: Any, block_ms: int) -> tuple[Callable[[int], None], float | None]:
    """RVC's step at its own defaults: 2.5 s of context, 50 ms of crossfade, 10 ms of search."""
    import torch

    from ..models import base_models
    from ..models.synthesizer import latent_frames
    from ..realtime.reference_step import ReferenceGeometry, ReferenceState, reference_step

    net = voice.synthesizer
    geometry = ReferenceGeometry(extra=250, crossfade=5, search=1, block=block_ms // 10)
    audio = torch.from_numpy(speech_like(geometry.window / 100, 16000)).to(voice.device)
    content = base_models.content_encoder(base_models.CONTENT_ENCODER.fetch(), voice.device)
    rmvpe = base_models.pitch_network(base_models.PITCH_NETWORK.fetch(), voice.device)
    state = ReferenceState.allocate()
    samples = geometry.rendered * net.shape.samples_per_frame
    noise = torch.randn(1, 192, latent_frames(geometry.window, geometry.extra), device=voice.device)
    source_noise = torch.randn(1, samples, 1, device=voice.device)

    def step(_: int) -> None:
        reference_step(audio, geometry, state, content, rmvpe, net, noise, source_noise)

    return step, None


def _measured(
    step: Callable[[int], None], block_ms: int, seconds: float, delay_ms: float | None, parts: dict[str, float]
) -> dict[str, Any]:
    """Time of `step` in wall-clock ms, what it computes and what memory it takes."""
    from torch.utils.flop_counter import FlopCounterMode

    for i in range(_WARM_UP_BLOCKS):
        step(i)
    with FlopCounterMode(display=False) as counter:
        step(_WARM_UP_BLOCKS)
    allocated_kib = _allocated_kib(step)
    resident = peak_mib()
    for part in parts:
        parts[part] = 0.0
    times_ms: list[float] = []
    for i in range(max(int(1000 * seconds / block_ms), 3)):
        started = time.perf_counter()
        step(i)
        times_ms.append(1000.0 * (time.perf_counter() - started))
    p50, p95, p99 = (round(float(p), 3) for p in np.percentile(times_ms, (50, 95, 99)))
    return {
        "block_ms": block_ms,
        "deadline_ms": block_ms,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "max_ms": round(max(times_ms), 3),
        "late_blocks": sum(t > block_ms for t in times_ms),
        "latency_ms": None if delay_ms is None else {"total": round(delay_ms, 2)},
        "part_mean_ms": {part: round(1000.0 * total / len(times_ms), 3) for part, total in parts.items()},
        "allocated_kib": round(allocated_kib, 1),
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


def _line(row: dict[str, Any]) -> str:
    start = f"{row['voice']:<24}{row['block_ms']:>6}{row['deadline_ms']:>10}"
    times = "".join(f"{row[key]:>8.1f}" for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
    delay = f"{row['latency_ms']['total']:>10.1f}" if row["latency_ms"] else " " * 10
    memory = f"{row['allocated_kib']:>11.1f}{'-' if row['growth_mib'] is None else row['growth_mib']:>12}"
    return f"{start}{times}{row['late_blocks']:>6}{delay}{row['gflop_per_second']:>9.1f}{memory}"
