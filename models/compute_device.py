"""Which device the networks run on."""

from __future__ import annotations

import torch

from ..kernels.errors import DeviceError


def choose_device(name: str = "auto") -> torch.device:
    """The torch device of a name; "auto" is CUDA where there is a GPU, else the CPU.

    Raises:
        DeviceError: this machine or this torch build does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"device {name!r} is unknown; choose auto, cpu, cuda, cuda:0 or mps") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            build = "a CPU build" if torch.version.cuda is None else f"built for CUDA {torch.version.cuda}"
            raise DeviceError(
                f"device {name!r}: torch {torch.__version__} is {build} and sees no NVIDIA GPU; see `altervox doctor`"
            )
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise DeviceError(f"device {name!r}: there are {torch.cuda.device_count()} GPUs, counted from cuda:0")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"device {name!r}: this machine has no Apple GPU that torch can use; choose cpu")
    elif device.type not in ("cpu", "mps"):
        raise DeviceError(f"device {name!r} is not supported; choose auto, cpu, cuda, cuda:0 or mps")
    return device
