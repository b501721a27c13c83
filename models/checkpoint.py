"""Read model files without running what is in them, and say what a file is when it is not what it should be.

A `.pth` or `.pt` file is a pickle, and a pickle can run any program. Voices are read with `weights_only`, which knows
tensors and plain data only. The published `hubert_base.pt` also pickles classes of fairseq; it is read by an unpickler
that puts inert stand-ins in their place and refuses everything else.
"""

from __future__ import annotations

import io
import pickle
import re
import types
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..kernels.errors import CheckpointError
from .rvc.synthesizer import Synthesizer, sample_rate_of

MAX_BYTES = 4 << 30  # of a model file, unpacked

# Packages whose classes the fairseq checkpoint refers to; none of them is imported.
_INERT_PACKAGES = {"fairseq", "omegaconf", "argparse", "numpy", "enum", "typing", "hydra"}
_PLAIN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
}
_DECODERS = {None, "", "hifi-gan", "hifigan", "default"}
_ENCODERS = {None, "", "contentvec", "hubert", "hubert_base", "content-vec-best"}
_HEADS = [
    (
        rb"\s*<(!doctype|html|\?xml)",
        "is a web page, not a model: the download link led to a page; download the file itself",
    ),
    (rb"version https://git-lfs", "is a Git LFS pointer, not the model itself; fetch it with `git lfs pull`"),
    (rb"\s*\{", "is a JSON text, not a model"),
    (rb"Ix|Iw|IH|Im", "is a retrieval index; give the .pth of the voice, with the .index in the same folder"),
    (rb"\x93NUMPY", "is a NumPy array, not a model"),
    (rb"Rar!|7z\xbc\xaf", "is a RAR or 7z archive; unpack it and add the folder"),
]


@dataclass(frozen=True, slots=True)
class VoiceCheckpoint:
    """An RVC voice file.

    Attributes:
        weight: The generator's state dict.
        config: Its hyper-parameters, the 18 of the format.
        version: "v1" (256 features) or "v2" (768), by the weights.
        has_f0: Whether it takes pitch, by the weights.
        sample_rate: Hz.
        speakers: Number of speakers.
        info: What the trainer wrote about it.
    """

    weight: dict[str, Tensor]
    config: list[Any]
    version: str
    has_f0: bool
    sample_rate: int
    speakers: int
    info: str

    def synthesizer(self) -> Synthesizer:
        """The network."""
        return Synthesizer.from_state(self.weight, self.config, self.has_f0)


def read_voice(path: Path) -> VoiceCheckpoint:
    """Read an RVC voice.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, of another kind, or of an unsupported architecture.
    """
    payload = _read_plain(path)
    _refuse_other_kinds(path, payload)
    weight, config = payload["weight"], payload["config"]
    if not isinstance(weight, Mapping) or not all(isinstance(v, Tensor) for v in weight.values()):
        raise CheckpointError(f"{path} is damaged: its `weight` holds more than tensors")
    if not isinstance(config, list | tuple) or len(config) < 18:
        raise CheckpointError(f"{path} is damaged: its `config` is not the list of 18 values of an RVC voice")
    for key, known, what in (("vocoder", _DECODERS, "vocoder"), ("embedder_model", _ENCODERS, "content encoder")):
        name = payload.get(key)
        if (name.lower() if isinstance(name, str) else name) not in known:
            accepted = "HiFi-GAN" if key == "vocoder" else "ContentVec"
            raise CheckpointError(f"{path} was trained with the {what} {name!r}; altervox knows {accepted} voices")
    for needed in ("emb_g.weight", "enc_p.emb_phone.weight"):
        if needed not in weight:
            raise CheckpointError(f"{path} is damaged: it has no tensor {needed}")
    width = weight["enc_p.emb_phone.weight"].shape[-1]
    if width not in (256, 768):
        raise CheckpointError(f"{path} takes features of {width} values; RVC voices take 256 (v1) or 768 (v2)")
    try:
        rate = sample_rate_of(config[-1])
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return VoiceCheckpoint(
        weight=dict(weight),
        config=list(config),
        version="v1" if width == 256 else "v2",
        has_f0="enc_p.emb_pitch.weight" in weight,
        sample_rate=rate,
        speakers=weight["emb_g.weight"].shape[0],
        info=str(payload.get("info") or (f"{payload['epoch']}epoch" if "epoch" in payload else "")),
    )


def read_state(path: Path, marker: str, what: str) -> dict[str, Tensor]:
    """Read the state dict of a base model: a `.pt`, `.pth`, `.bin` or `.safetensors` file.

    Args:
        path: The file.
        marker: Start of a tensor's name by which this kind of model is known, e.g. "unet.".
        what: Its name for messages, e.g. "RMVPE".

    Raises:
        CheckpointError: the file is missing, damaged, unsafe or another model.
    """
    payload = _read_safetensors(path) if path.suffix == ".safetensors" else _read_plain(path, inert=True)
    state = payload.get("model", payload) if isinstance(payload, Mapping) else None
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, Mapping) else {}
    if not any(name.removeprefix("hubert.").startswith(marker) for name in tensors):
        raise CheckpointError(f"{path} is not {what}: it has no tensor named {marker}*")
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_file(path)
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged: {error}; download it again") from error


def _read_plain(path: Path, inert: bool = False) -> Any:
    """Unpickle tensors and plain data. With `inert`, classes of known packages become stand-ins."""
    _check_file(path)
    try:
        if inert:
            # Not weights_only, but narrower: the unpickler given resolves no global beyond `_PLAIN` and stand-ins.
            return torch.load(path, map_location="cpu", pickle_module=_inert_pickle(), weights_only=False)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        name = found[1] if found else ""
        if name.split(".")[0] in _INERT_PACKAGES:
            _refuse_other_kinds(path, _read_plain(path, inert=True))
        if name:
            raise CheckpointError(
                f"{path} wants to run {name} when it is opened; a model has no need to, so it is not opened: "
                "get it from a source that you trust"
            ) from error
        raise CheckpointError(f"{path} is no model file of PyTorch; download it again") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged ({reason}); download it again") from error


def _check_file(path: Path) -> None:
    """Refuse what can be told from a file's size and first bytes."""
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path} is empty; download it again")
    if size > MAX_BYTES:
        raise CheckpointError(f"{path} has {size / 1e9:.1f} GB; no model of these kinds has more than 4 GB")
    with path.open("rb") as file:
        head = file.read(64)
    if path.suffix == ".safetensors":
        return
    for pattern, what in _HEADS:
        if re.match(pattern, head, re.IGNORECASE):
            raise CheckpointError(f"{path} {what}")
    if path.suffix.lower() == ".onnx":
        raise CheckpointError(f"{path} is an ONNX file; give the .pth that it was exported from")
    if head.startswith(b"PK"):
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except zipfile.BadZipFile as error:
            raise CheckpointError(f"{path} is cut short: the download is incomplete; download it again") from error
        if not any(m.filename.endswith("data.pkl") for m in members):
            raise CheckpointError(f"{path} is a zip archive; add it with `altervox voices add`, named .zip")
        if sum(m.file_size for m in members) > MAX_BYTES:
            raise CheckpointError(f"{path} unpacks to more than 4 GB; no model of these kinds does")
    elif not head.startswith(b"\x80"):  # what every older torch file starts with
        raise CheckpointError(f"{path} is not a model file: it starts with {head[:8]!r}; download it again")


def _refuse_other_kinds(path: Path, payload: Any) -> None:
    """Name a file for what it is when it is not a voice."""
    if not isinstance(payload, Mapping):
        raise CheckpointError(f"{path} is not an RVC voice: it holds a {type(payload).__name__}")
    if "weight" in payload and "config" in payload:
        return
    names = [str(name) for name in payload]
    if {"optimizer", "learning_rate"} & set(names) or ("model" in names and "iteration" in names):
        raise CheckpointError(
            f"{path} is a training file (G_*.pth or D_*.pth), not a voice; take the smaller .pth that the trainer "
            "writes to its `weights` folder, or extract one there"
        )
    inner = payload.get("model")
    tensors = [str(name) for name in inner] if isinstance(inner, Mapping) else names
    if any(name.startswith("unet.") for name in tensors):
        raise CheckpointError(f"{path} is RMVPE, the pitch model, not a voice")
    if any("feature_extractor.conv_layers" in name for name in tensors):
        raise CheckpointError(f"{path} is HuBERT or ContentVec, a base model, not a voice")
    if any(name.startswith(("enc_p.", "dec.")) for name in tensors):
        raise CheckpointError(f"{path} holds a generator's weights without the `config` that a voice file has")
    raise CheckpointError(f"{path} is not an RVC voice: it has no `weight` and `config`, but {', '.join(names[:5])}")


class _Inert:
    """Stands where a class of another package was pickled, and does nothing."""

    def __new__(cls, *_: object, **__: object) -> _Inert:
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Ignored."""

    def extend(self, items: object) -> None:
        """Ignored."""


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return _PLAIN[module, name]
        if module == "torch" and (name.endswith("Storage") or isinstance(getattr(torch, name, None), torch.dtype)):
            return getattr(torch, name)
        if module.split(".")[0] in _INERT_PACKAGES:
            return type(name, (_Inert,), {})
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is not allowed")


def _inert_pickle() -> Any:
    """What `torch.load` takes for a pickle module."""

    def load(file: BinaryIO, **options: Any) -> Any:
        return _InertUnpickler(file, **options).load()

    def loads(data: bytes, **options: Any) -> Any:
        return load(io.BytesIO(data), **options)

    return types.SimpleNamespace(Unpickler=_InertUnpickler, load=load, loads=loads, __name__="inert_pickle")
