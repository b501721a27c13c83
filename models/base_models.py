"""The networks that voices need beside their own.

Content encoder and full-size pitch network are found in the library or fetched once; a small pitch network ships with
altervox.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..kernels.errors import BaseModelError
from .checkpoint import read_state
from .exclusive import alone
from .paths import base_folder
from .pitch.rmvpe import RMVPE
from .rvc.content import Hubert

log = logging.getLogger(__name__)

_UNFINISHED = "unfinished"  # folder of what is being fetched


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A published file.

    Attributes:
        title: Name of the model in messages.
        filename: Name of the file, in the library and in the repository.
        alternatives: Other files of the same network that may be put into the library by hand.
        marker: Start of a tensor name by which its kind is known.
        repository: On huggingface.co.
        size_bytes: Exact.
        sha256: SHA-256 of the file.
        licence: As the repository states it.
    """

    title: str
    filename: str
    alternatives: tuple[str, ...]
    marker: str
    repository: str
    size_bytes: int
    sha256: str
    licence: str

    def find(self) -> Path | None:
        """Where it lies in the library, None if it does not."""
        candidates = (base_folder() / name for name in (self.filename, *self.alternatives))
        return next((path for path in candidates if path.is_file()), None)

    def fetch(self) -> Path:
        """Find it in the library, or download it there, checking its size and SHA-256.

        Raises:
            BaseModelError: it is not there and cannot be obtained; the message says where to put it by hand.
        """
        found = self.find()
        if found is not None:
            return found
        target = base_folder() / self.filename
        source = f"https://huggingface.co/{self.repository}"
        log.warning(
            "fetching %s (%.0f MB, licence %s) from %s into %s",
            *(self.filename, self.size_bytes / 1e6, self.licence, source, target.parent),
        )
        by_hand = f"download {self.filename} from {source} and put it into {target.parent}"
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
        from huggingface_hub.utils import logging as hub_logging

        hub_logging.set_verbosity(logging.ERROR)  # it would log each try

        unfinished = target.parent / _UNFINISHED
        waiting = f"another altervox is fetching {self.filename}; waiting for it"
        try:
            # Both would write into one folder, and the first to finish would take it from the other.
            # The lock lies outside that folder, which goes while others still wait for it.
            with alone(target.parent, waiting):
                if not target.is_file():
                    # Not forced, it would try for 24 s where there is no network.
                    fetched = Path(
                        hf_hub_download(self.repository, self.filename, local_dir=unfinished, force_download=True)
                    )
                    self._check(fetched, by_hand)
                    fetched.replace(target)
                shutil.rmtree(unfinished, ignore_errors=True)
        except BaseModelError:
            raise
        except Exception as error:  # the errors of the HTTP library have no other class in common
            cause = error.__cause__ or error
            reason = type(cause).__name__
            if isinstance(error, (LocalEntryNotFoundError, ValueError)) and not isinstance(cause, HfHubHTTPError):
                reason = "huggingface.co does not answer"
            raise BaseModelError(f"{self.title} could not be fetched ({reason}): {by_hand}") from error
        return target

    def _check(self, fetched: Path, by_hand: str) -> None:
        """Refuse, and delete, what is not the published file."""
        size = fetched.stat().st_size
        if size != self.size_bytes or _sha256(fetched) != self.sha256:
            fetched.unlink()
            raise BaseModelError(
                f"{self.title}: what came has {size:,} bytes and is not the published {self.filename}: {by_hand}"
            )


CONTENT_ENCODER = BaseModel(
    title="the content encoder (HuBERT base)",
    filename="hubert_base.pt",
    alternatives=(
        "content_vec_best.bin",
        "contentvec.safetensors",
        "content-vec-best/model.safetensors",
        "content-vec-best/pytorch_model.bin",
    ),
    marker="feature_extractor.",
    repository="lj1995/VoiceConversionWebUI",
    size_bytes=189_507_909,
    sha256="f54b40fd2802423a5643779c4861af1e9ee9c1564dc9d32f54f20b5ffba7db96",
    licence="MIT",
)
PITCH_NETWORK = BaseModel(
    title="the pitch network (RMVPE)",
    filename="rmvpe.pt",
    alternatives=("rmvpe.safetensors",),
    marker="unet.",
    repository="lj1995/VoiceConversionWebUI",
    size_bytes=181_184_272,
    sha256="6d62215f4306e3ca278246188607209f09af3dc77ed4232efdd069798c4ec193",
    licence="MIT",
)


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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
