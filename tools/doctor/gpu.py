"""What `altervox doctor` says about PyTorch and GPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .check import Check

if TYPE_CHECKING:
    import torch

_TORCH_PAGE = "https://pytorch.org/get-started/locally/"


@dataclass(frozen=True, slots=True)
class NvidiaGpu:
    """What the driver says, whatever torch thinks."""

    name: str
    driver: str
    memory_mib: int


def nvidia_gpus() -> list[NvidiaGpu]:
    """The GPUs that NVIDIA's driver lists; none without a driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.splitlines()]
    return [NvidiaGpu(row[0], row[1], int(row[2])) for row in rows if len(row) == 3 and row[2].isdigit()]


def torch_checks(gpus: list[NvidiaGpu]) -> Iterator[Check]:
    """PyTorch, and whether the versions of driver, CUDA and PyTorch are compatible."""
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check("torch", "error", f"does not load: {error}", f"reinstall it: {_TORCH_PAGE}")
        return
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    yield Check(
        "torch", "ok", f"{torch.__version__}, {build}, {torch.get_num_threads()} of {os.cpu_count()} CPU threads"
    )
    yield gpu_check(gpus, torch.version.cuda, torch.cuda.is_available())
    if torch.cuda.is_available():
        yield from cuda_checks(torch.device("cuda"))
    elif torch.backends.mps.is_available():
        yield Check("apple gpu", "ok", "usable with --device mps (untested)")


def gpu_check(gpus: list[NvidiaGpu], torch_cuda: str | None, cuda_works: bool) -> Check:
    """Whether torch can use what the driver lists."""
    if not gpus:
        return Check("nvidia gpu", "ok", "none found; networks run on the CPU")
    names = ", ".join(f"{gpu.name} ({gpu.memory_mib} MiB, driver {gpu.driver})" for gpu in gpus)
    if cuda_works:
        return Check("nvidia gpu", "ok", names)
    if torch_cuda is None:
        remedy = f"install PyTorch for CUDA over it: {_TORCH_PAGE} gives the command for your system"
        return Check("nvidia gpu", "warning", f"{names}, but torch is a CPU build", remedy)
    remedy = f"update the NVIDIA driver, or install PyTorch built for an older CUDA: {_TORCH_PAGE}"
    return Check("nvidia gpu", "warning", f"{names}, but torch for CUDA {torch_cuda} cannot use it", remedy)


def cuda_checks(device: torch.device) -> Iterator[Check]:
    """Free memory and cuDNN."""
    import torch

    free, total = torch.cuda.mem_get_info(device)
    short = free < 2 << 30
    yield Check(
        "gpu memory",
        "warning" if short else "ok",
        f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
        "close what uses the GPU; an RVC voice takes about 2 GiB" if short else "",
    )
    cudnn: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    yield Check(
        "cudnn",
        "ok" if cudnn else "warning",
        str(cudnn) if cudnn else "not found",
        "" if cudnn else "see docs/cudnn.md",
    )
