"""The machine that a figure was measured on, and the memory that this process took."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def machine(device: str) -> str:
    """One line about processor, graphics card and torch; `device` is the torch device that was asked for."""
    import torch

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [
            line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        processor = models[0] if models else processor
    gpu = f", {torch.cuda.get_device_name()}" if device != "cpu" and torch.cuda.is_available() else ""
    return f"{processor}, {os.cpu_count()} CPUs{gpu}, torch {torch.__version__}, float32"


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
