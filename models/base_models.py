"""The networks that voices need beside their own: the published ones, and the small pitch network that ships."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..kernels.errors import BaseModelError
from .checkpoint import read_state
from .pitch.rmvpe import RMVPE
from .published import CONTENT_ENCODER, PITCH_NETWORK
from .rvc.content import Hubert

_Network = TypeVar("_Network", bound=nn.Module)
_in_use: weakref.WeakValueDictionary[tuple[Any, ...], nn.Module] = weakref.WeakValueDictionary()
_loading = threading.Lock()


def content_encoder(path: Path, device: torch.device) -> Hubert:
    """The content encoder of a file, the same one for as long as somebody holds it and the file stays as it is.

    Raises:
        CheckpointError: the file is not one.
    """

    def load() -> Hubert:
        return Hubert.from_state(read_state(path, CONTENT_ENCODER.marker, "HuBERT or ContentVec"))

    return _shared(load, path, device)


def pitch_network(path: Path, device: torch.device) -> RMVPE:
    """The pitch network of a file, the same one for as long as somebody holds it and the file stays as it is.

    Raises:
        CheckpointError: the file is not one.
    """
    return _shared(lambda: RMVPE.from_state(read_state(path, PITCH_NETWORK.marker, "RMVPE")), path, device)


def _shared(load: Callable[[], _Network], path: Path, device: torch.device) -> _Network:
    """The network of a file on a device: the one in use if there is one, else loaded."""
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    with _loading:
        stat = path.stat() if path.is_file() else None  # without one, loading says what is wrong
        key = (path, stat and (stat.st_size, stat.st_mtime_ns), device)
        network = _in_use.get(key)
        if network is None:
            network = _in_use[key] = load().to(device)
        return network  # type: ignore[return-value]  # a file is of one kind


def small_pitch_network_path() -> Path:
    """The weights of the pitch network that ships with altervox: RMVPE's layers and key names, 0.9 million weights."""
    return Path(__file__).with_name("data") / "rmvpe_small.safetensors"


def small_pitch_network_onnx_path() -> Path:
    """One step of the same network as a graph for ONNX Runtime, written by `models.export.rmvpe.export_step`."""
    return Path(__file__).with_name("data") / "rmvpe_small.onnx"


def small_pitch_network(device: torch.device) -> RMVPE:
    """The pitch network that ships with altervox, shared as `pitch_network` is."""
    return pitch_network(small_pitch_network_path(), device)


def full_pitch_network(device: torch.device) -> RMVPE:
    """The published pitch network, fetched if it is not in the library.

    Raises:
        BaseModelError: it cannot be obtained.
        CheckpointError: its file is not RMVPE's.
    """
    try:
        path = PITCH_NETWORK.fetch()
    except BaseModelError as error:
        raise BaseModelError(f"{error}; or leave --f0-method at auto, which needs no download") from error
    return pitch_network(path, device)
