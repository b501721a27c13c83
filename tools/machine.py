"""The machine that a figure was measured on, and what processes took of it."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def processor() -> str:
    """Name of the processor, and how many of it there are."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} CPUs"


def machine(device: str) -> str:
    """One line about processor, graphics card and torch; `device` is the torch device that was asked for."""
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if device != "cpu" and torch.cuda.is_available() else ""
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{processor()}{gpu}, torch {torch.__version__} with {capability}, float32"


def cpu_s(process_id: int) -> float:
    """Seconds of processor time that a process has taken so far (Linux)."""
    fields = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib() -> float | None:
    """Peak resident memory of this process in MiB, None on Windows."""
    if sys.platform == "win32":
        return None
    if sys.platform == "linux":  # where getrusage would begin with the peak of the parent process
        status = Path("/proc/self/status").read_text()
        kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
        return round(int(kib) / 1024, 1)
    import resource

    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1)  # bytes on macOS
