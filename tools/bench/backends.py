"""`altervox bench backends`: one voice by everything on this machine that can run it, each in a process of its own."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...kernels.errors import AltervoxError
from ..machine import machine, peak_mib

LIMIT_S = 600.0  # of one row
_HEADING = f"{'backend':<16} block     p50     p99  CPU p50  of torch  start s  peak MiB  on disk MB    error"
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")


def bench_backends(name: str, blocks_ms: list[int], context_ms: int, as_json: bool) -> int:
    """Export a voice for each block size, and time the export beside torch; returns the exit code.

    Args:
        name: RVC voice, by name or path, or one of `RVC_KINDS` for synthetic weights.
        blocks_ms: Block sizes in ms.
        context_ms: Context in ms.
        as_json: Print JSON instead of lines.
    """
    from ...realtime.config import StreamConfig
    from ..export.command import ExportOptions, source_of, write_export
    from .stream import bench_voice

    rows: list[dict[str, Any]] = []
    if not as_json:
        click.echo(f"{machine('cpu')}, {' '.join(processor_flags()) or 'no flags known'}")
        click.echo(_HEADING)
    with bench_voice(name) as voice, tempfile.TemporaryDirectory(prefix="altervox-bench-") as scratch:
        for block_ms in blocks_ms:
            options = ExportOptions(StreamConfig(block_ms=block_ms, context_ms=context_ms))
            folder = Path(scratch) / f"{block_ms}"
            write_export(source_of(voice, options), folder, options)
            for row in _rows(voice, folder, block_ms, context_ms):
                rows.append(row)
                if not as_json:
                    click.echo(_line(row))
    if as_json:
        click.echo(json.dumps({"machine": machine("cpu"), "flags": processor_flags(), "rows": rows}, indent=1))
    return 0


def processor_flags() -> list[str]:
    """Which of the abilities that decide the speed of networks the processor has (Linux)."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return []
    line = next((line for line in path.read_text("utf-8").splitlines() if line.startswith("flags")), "")
    return [flag for flag in _FLAGS if flag in line.split()]


def _rows(name: str, folder: Path, block_ms: int, context_ms: int) -> Iterator[dict[str, Any]]:
    """Torch, then every execution provider."""
    from ...realtime.runners.trial import providers_here, relative_rms, run_apart

    backends = ["eager", "auto", *(f"onnx-{name}" for name in providers_here() if name != "cpu"), "onnx"]
    graphs_mb = sum(path.stat().st_size for path in folder.glob("*.onnx")) / 1e6
    lengths = json.dumps({"block_ms": block_ms, "context_ms": context_ms})
    expected, torch_ms = None, 0.0
    for backend in backends:
        is_graph = backend.startswith("onnx")
        target = folder / f"{backend}.npy"
        command = [sys.executable, "-m", "altervox.tools.bench.backends", str(folder) if is_graph else name]
        found = run_apart([*command, backend, lengths, str(target)], LIMIT_S)
        row: dict[str, Any] = {"backend": backend if is_graph else f"torch {backend}", "block_ms": block_ms}
        if isinstance(found, str):
            yield row | {"failure": found}
            continue
        output = np.load(target, allow_pickle=False)
        if expected is None:
            expected, torch_ms = output, found["p50_ms"]
        yield (
            row
            | found
            | {
                "of_torch": round(found["p50_ms"] / torch_ms, 3),
                "disk_mb": round(graphs_mb, 1) if is_graph else None,
                "error": relative_rms(output, expected),
            }
        )


def _line(row: dict[str, Any]) -> str:
    head = f"{row['backend']:<16} {row['block_ms']:>5}"
    if "failure" in row:
        return f"{head}  {row['failure']}"
    times = f"{row['p50_ms']:>7.1f} {row['p99_ms']:>7.1f} {row['cpu_p50_ms']:>8.1f} {row['of_torch']:>9.2f}"
    memory = f"{row['startup_s']:>8.1f} {row['peak_mib'] or 0:>9.0f}"
    disk = f"{row['disk_mb']:>10.0f}" if row["disk_mb"] else " " * 10
    return f"{head} {times} {memory}  {disk} {row['error']:>8.1e}"


def _child(name: str, backend: str, lengths: str, target: str) -> None:
    """Time one backend and print the figures."""
    import torch

    from ...models.library import load_voice
    from ...realtime.config import StreamConfig, with_lengths
    from ...realtime.runners.trial import time_blocks

    torch.set_num_threads(1)
    voice = load_voice(name, "cpu" if backend == "eager" else "auto")
    config = with_lengths(StreamConfig(backend=backend), {**json.loads(lengths), **voice.lengths})
    figures, out = time_blocks(voice, config)
    np.save(target, out, allow_pickle=False)
    click.echo(json.dumps(figures | {"peak_mib": peak_mib()}))


if __name__ == "__main__":
    try:
        _child(*sys.argv[1:5])
    except AltervoxError as error:
        sys.exit(str(error))
