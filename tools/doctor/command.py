"""`altervox doctor`: look at the machine, say what is wrong and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    import torch

Status = Literal["ok", "warning", "error"]

GRU_LENGTHS = (65_535, 65_536, 70_000)  # the last that cuDNN has been seen to take, the first refused, one beyond
_TORCH_PAGE = "https://pytorch.org/get-started/locally/"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Attributes:
        check: What was looked at.
        status: "ok", "warning" (something will be missing or slow) or "error" (something will fail).
        found: What is there.
        remedy: What to do; empty when all is well.
    """

    check: str
    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class NvidiaGpu:
    """What the driver says, whatever torch thinks."""

    name: str
    driver: str
    memory_mib: int


def doctor(audio: Path | None, as_json: bool) -> int:
    """Print the report. Returns 1 if anything is an error."""
    checks = []
    for check in _all(audio):
        checks.append(check)
        if not as_json:
            click.echo(f"{_mark(check.status)} {check.check:<14} {check.found}")
            if check.remedy:
                click.echo(f"{'':10}{check.remedy}")
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], ensure_ascii=False, indent=1))
    return 1 if any(check.status == "error" for check in checks) else 0


def _mark(status: Status) -> str:
    colour = {"ok": "green", "warning": "yellow", "error": "red"}[status]
    return click.style(f"{status:<8}", fg=colour)


def _all(audio: Path | None) -> Iterator[Check]:
    gpus = nvidia_gpus()
    yield python_check()
    yield from torch_checks(gpus)
    yield onnx_check()
    yield index_check()
    yield from library_checks()
    from .devices import device_checks

    yield from device_checks()
    if audio is not None:
        from .audio import audio_checks

        yield from audio_checks(audio)


def python_check() -> Check:
    """Version of Python and of altervox."""
    system = f"{platform.system()} {platform.machine()}"
    found = f"Python {platform.python_version()} on {system}, altervox {version('altervox')}"
    if sys.maxsize < 2**32:
        return Check("python", "error", f"{found}, 32 bits", "install a 64-bit Python; torch has no other")
    return Check("python", "ok", found)


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
    """Torch, CUDA, cuDNN and the driver, and whether they fit one another."""
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
        yield Check("apple gpu", "ok", "usable with --device mps; not tried by us")


def gpu_check(gpus: list[NvidiaGpu], torch_cuda: str | None, cuda_works: bool) -> Check:
    """Whether torch can use what the driver lists."""
    if not gpus:
        return Check("nvidia gpu", "ok", "none found; networks run on the CPU")
    names = ", ".join(f"{gpu.name} ({gpu.memory_mib} MiB, driver {gpu.driver})" for gpu in gpus)
    if cuda_works:
        return Check("nvidia gpu", "ok", names)
    if torch_cuda is None:
        remedy = f"install torch for CUDA over it, by the line that {_TORCH_PAGE} gives for your system"
        return Check("nvidia gpu", "warning", f"{names}, but torch is a CPU build", remedy)
    remedy = f"update the NVIDIA driver, or install torch for an older CUDA: {_TORCH_PAGE}"
    return Check("nvidia gpu", "warning", f"{names}, but torch for CUDA {torch_cuda} cannot use it", remedy)


def cuda_checks(device: torch.device) -> Iterator[Check]:
    """Memory, cuDNN and the GRU at the lengths where cuDNN has been seen to give up."""
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
    from ...models.pitch.gru import BoundedGRU

    layer = BoundedGRU(384, 256).eval().to(device)
    for frames in GRU_LENGTHS:
        with torch.inference_mode():
            x = torch.zeros(1, frames, 384, device=device)
            try:
                layer(x, layer.initial_state(1, x))
                torch.cuda.synchronize(device)
            except RuntimeError as error:
                yield Check(f"gru {frames}", "error", str(error).splitlines()[0], "see docs/cudnn.md")
                continue
        how = f"{layer.cudnn_refusals} calls went without cuDNN" if layer.cudnn_refusals else "with cuDNN"
        yield Check(f"gru {frames}", "ok", f"{frames} frames ({frames / 6000:.1f} min) pass, {how}")


def onnx_check() -> Check:
    """ONNX Runtime, of which at most one of two packages may be installed.

    The one without CUDA is no fault on a GPU: there the networks run as CUDA graphs.
    """
    installed = {}
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    if len(installed) == 2:
        return Check(
            "onnx runtime",
            "error",
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other",
            "python -m pip uninstall -y onnxruntime onnxruntime-gpu, then install the one you need",
        )
    if not installed:
        return Check("onnx runtime", "ok", "not installed; it would find pitch three times as fast on a CPU")
    from ...realtime.runners.onnx import onnx_providers

    ((package, release),) = installed.items()
    try:
        providers = onnx_providers()
    except ImportError as error:
        return Check("onnx runtime", "error", f"{package} {release} does not load: {error}", f"reinstall {package}")
    return Check("onnx runtime", "ok", f"{package} {release}: {', '.join(providers)}")


def index_check() -> Check:
    """faiss, for the .index files of RVC voices."""
    try:
        return Check("faiss", "ok", f"{version('faiss-cpu')}; .index files are used")
    except PackageNotFoundError:
        return Check(
            "faiss", "warning", "not installed; voices go without their .index", "python -m pip install faiss-cpu"
        )


def library_checks() -> Iterator[Check]:
    """The library folder and the base models in it."""
    from ...models.base_models import CONTENT_ENCODER, PITCH_NETWORK
    from ...models.paths import base_folder, library_folder

    folder = library_folder()
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        yield Check("library", "ok", str(folder))
    else:
        yield Check("library", "error", f"{folder} cannot be written", "set ALTERVOX_HOME to a folder of yours")
    for model in (CONTENT_ENCODER, PITCH_NETWORK):
        path = model.find()
        if path is None:
            remedy = (
                f"fetched on first use ({model.size_bytes / 1e6:.0f} MB), or put {model.filename} from "
                f"https://huggingface.co/{model.repository} into {base_folder()}"
            )
            if model is PITCH_NETWORK:
                yield Check(model.filename, "ok", "not there; only --f0-method rmvpe needs it", remedy)
            else:
                yield Check(model.filename, "warning", "not there; RVC voices need it", remedy)
            continue
        size = path.stat().st_size
        published = "the published size" if size == model.size_bytes else "not the published size"
        yield Check(model.filename, "ok", f"{path}, {size / 1e6:.0f} MB, {published}")
