"""Which execution provider of ONNX Runtime runs an exported voice best on this machine: tried once, and remembered.

A provider may crash or hang, so each one is tried in a process of its own with a time limit. What was found holds for
the processor and GPU, the versions, and the graphs that it was found with.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.printable import printable
from ...models.export.voice import ExportedVoice
from ...models.paths import library_folder
from .onnx import onnx_providers, onnx_version

log = logging.getLogger(__name__)

LIMIT_S = 120.0  # of a trial: a provider may compile its graphs first
TOLERANCE = 1e-2  # relative RMS, of a provider's output to the CPU's
BLOCKS, COLD_BLOCKS = 40, 10
_REMEMBERED = "providers.json"
_MOST_REMEMBERED = 200
_NOT_HERE = {"AzureExecutionProvider"}  # sends audio to somebody else's computer
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_MODULE = "altervox.realtime.runners.trial"


def best_backend(voice: ExportedVoice, limit_s: float = LIMIT_S) -> str:
    """The backend for an exported voice: `onnx`, or `onnx-PROVIDER` if a provider is faster and computes the same.

    Raises:
        ImportError: there is no ONNX Runtime.
    """
    candidates = providers_here()
    others = [name for name in candidates if name != "cpu"]
    if not others:
        return "onnx"
    key = _key(voice, candidates)
    remembered = _recall()
    if key not in remembered:
        log.warning("trying once which of %s runs %s best", ", ".join(candidates), printable(voice.name, 60))
        remembered[key] = _tried(voice, others, limit_s)
        _remember(remembered)
    return remembered[key]


def providers_here() -> list[str]:
    """The execution providers that compute on this machine, as backends name them."""
    return [name.removesuffix("ExecutionProvider").lower() for name in onnx_providers() if name not in _NOT_HERE]


def run_apart(command: Sequence[str], limit_s: float) -> dict[str, Any] | str:
    """What a program prints as its last line of JSON; one sentence's end if it fails, crashes or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit_s, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"did not finish within {limit_s:.0f} s"
    except OSError as error:
        return f"could not be started ({error.strerror})"
    if done.returncode < 0:
        return f"crashed (signal {-done.returncode})"
    try:
        found = json.loads(done.stdout.decode("utf-8", "replace").splitlines()[-1])
        if done.returncode == 0 and isinstance(found, dict):
            return found
    except (ValueError, IndexError):
        pass
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return f"failed ({printable(lines[-1] if lines else f'exit code {done.returncode}', 300)})"


def _tried(voice: ExportedVoice, others: Sequence[str], limit_s: float) -> str:
    """Time every provider beside the CPU."""
    best, best_ms, expected = "onnx", float("inf"), None
    with tempfile.TemporaryDirectory(prefix="altervox-trial-") as scratch:
        for provider in ("cpu", *others):
            backend = "onnx" if provider == "cpu" else f"onnx-{provider}"
            target = Path(scratch) / f"{provider}.npy"
            found = run_apart([*child_command(), str(voice.folder), backend, str(target)], limit_s)
            if isinstance(found, str):
                log.warning("%s %s and is not used", backend, found)
                continue
            output = np.load(target, allow_pickle=False)
            if expected is None:
                if provider != "cpu":
                    break  # nothing to compare with
                expected = output
            error = relative_rms(output, expected)
            took_ms = float(found["p50_ms"])
            log.info("%s takes %.1f ms a block and differs by %.1e", backend, took_ms, error)
            if error <= TOLERANCE and took_ms < best_ms:
                best, best_ms = backend, took_ms
    return best


def child_command() -> list[str]:
    """What runs this module in a process of its own."""
    return [sys.executable, "-m", _MODULE]


def relative_rms(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """RMS of the difference over that of what is expected; infinite where it is not finite."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    level = max(float(np.sqrt(np.mean(np.square(expected, dtype=np.float64)))), 1e-9)
    return float(np.sqrt(np.mean(np.square(found.astype(np.float64) - expected)))) / level


def time_blocks(voice: Any, config: Any) -> tuple[dict[str, float], NDArray[np.float32]]:
    """Run a voice's stage over synthetic speech; figures in ms and s, and its output [BLOCKS, samples]."""
    from ...models.voice import VoiceParams
    from ..stages import make_stage
    from ..synthetic import speech_like

    began_s = time.perf_counter()
    stage = make_stage(voice, config, "auto")
    assert stage is not None
    size = config.block_ms * stage.input_rate // 1000
    audio = speech_like((BLOCKS + 1) * config.block_ms / 1000.0, stage.input_rate)[: BLOCKS * size].reshape(-1, size)
    out = np.zeros((BLOCKS, config.block_ms * stage.output_rate // 1000), dtype=np.float32)
    params, times_ms, cpu_ms = VoiceParams(), [], []
    for i, block in enumerate(audio):
        started_s, cpu_s = time.perf_counter(), time.thread_time()
        stage.process(block, params, out[i])
        times_ms.append(1000.0 * (time.perf_counter() - started_s))
        cpu_ms.append(1000.0 * (time.thread_time() - cpu_s))
        if i == 0:
            startup_s = time.perf_counter() - began_s
    p50_ms, p99_ms = (float(np.quantile(times_ms[COLD_BLOCKS:], q)) for q in (0.5, 0.99))
    cpu_p50_ms = float(np.median(cpu_ms[COLD_BLOCKS:]))  # of this thread alone; on a busy machine it says more
    return {"startup_s": startup_s, "p50_ms": p50_ms, "p99_ms": p99_ms, "cpu_p50_ms": cpu_p50_ms}, out


def _key(voice: ExportedVoice, candidates: Sequence[str]) -> str:
    """What a result holds for."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    described = {
        "processor": _processor(),
        "gpu": gpu,
        "cuda": torch.version.cuda or "",
        "driver": _text_of(_NVIDIA_DRIVER),
        "system": platform.platform(),  # stands for the drivers that come with it
        "onnxruntime": onnx_version(),
        "providers": list(candidates),
        "graphs": {name: graph.graph_sha256 for name, graph in voice.manifest.graphs.items()},
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _processor() -> str:
    """Name and abilities of the processor."""
    lines = _text_of(Path("/proc/cpuinfo")).splitlines()
    described = sorted({line for line in lines if line.startswith(("model name", "flags"))})
    return " ".join(described) or platform.processor() or platform.machine()


def _text_of(path: Path) -> str:
    """What a small file says; empty if there is none."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _recall() -> dict[str, str]:
    try:
        found = json.loads((library_folder() / _REMEMBERED).read_bytes())
        return {str(key): str(value) for key, value in found.items() if str(value).startswith("onnx")}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _remember(found: Mapping[str, str]) -> None:
    """Write what is known, whole or not at all. A library that cannot be written costs a trial at the next start."""
    newest = dict(list(found.items())[-_MOST_REMEMBERED:])
    target = library_folder() / _REMEMBERED
    unfinished = target.with_name(f".{_REMEMBERED}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(newest, indent=1), "utf-8")
        unfinished.replace(target)
    except OSError as error:
        log.warning("%s cannot be written: %s", target, error.strerror)
        with contextlib.suppress(OSError):
            unfinished.unlink()


def _main(folder: str, backend: str, target: str) -> None:
    from ..config import StreamConfig, with_lengths

    voice = ExportedVoice("voice", Path(folder))
    figures, out = time_blocks(voice, with_lengths(StreamConfig(backend=backend), voice.lengths))
    np.save(target, out, allow_pickle=False)
    print(json.dumps(figures))


if __name__ == "__main__":
    _main(*sys.argv[1:4])
