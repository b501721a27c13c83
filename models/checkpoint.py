"""Model files: read voices and base models, and say what a file is when it is not what it should be.

What is read cannot run anything and costs no more than `altervox.models.limits` says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..kernels.errors import CheckpointError
from ..kernels.printable import printable
from .limits import MAX_INFO_CHARACTERS, MAX_MODEL_BYTES
from .rvc.synthesizer import Synthesizer, sample_rate_of
from .torch_file import Opaque, described, read_torch_file

# What a voice file may say about itself, and what it must not: one sentence's end for each key.
_DECODERS = {"", "hifi-gan", "hifigan", "nsf-hifi-gan", "default"}
_ENCODERS = {"", "contentvec", "contentvec768", "content-vec-best", "content_vec_best"}
_ENCODERS |= {"hubert", "hubert_base", "hubert-base", "hubert_base768", "hubert768", "hubert_base.pt"}
_KNOWN_TEXTS: dict[str, tuple[set[str], str, str]] = {
    "vocoder": (_DECODERS, "vocoder", "HiFi-GAN"),
    "embedder_model": (_ENCODERS, "content encoder", "ContentVec and HuBERT base"),
    "embedder_name": (_ENCODERS, "content encoder", "ContentVec and HuBERT base"),
    "architecture": ({"", "rvc"}, "architecture", "RVC"),
    "version": ({"", "v1", "v2"}, "version", "RVC v1 and v2"),
}
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
        config: The 18 hyper-parameters of the format.
        version: "v1" (256 features) or "v2" (768), by the weights.
        has_f0: Whether it takes pitch, by the weights.
        sample_rate: Hz.
        speakers: Number of speakers.
        info: Text of the trainer about the voice.
    """

    weight: dict[str, Tensor]
    config: list[Any]
    version: str
    has_f0: bool
    sample_rate: int
    speakers: int
    info: str

    @property
    def feature_width(self) -> int:
        """Values of a content feature: 256 or 768."""
        return self.weight["enc_p.emb_phone.weight"].shape[1]

    def synthesizer(self) -> Synthesizer:
        """The network."""
        return Synthesizer.from_state(self.weight, self.config, self.has_f0)


def read_voice(path: Path) -> VoiceCheckpoint:
    """Read an RVC voice.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, of another kind, or of an unsupported architecture.
    """
    _check_file(path)
    payload = read_torch_file(path)
    _refuse_other_kinds(path, payload)
    weight, config = payload["weight"], payload["config"]
    tensors = isinstance(weight, Mapping) and all(isinstance(k, str) for k in weight)
    odd = next((v for v in weight.values() if not isinstance(v, Tensor)), None) if tensors else weight
    if odd is not None:
        raise CheckpointError(
            f"{path} is not a usable voice: its `weight` holds {described(odd)}, not only plain tensors"
        )
    if not isinstance(config, list | tuple) or len(config) not in (18, 19):
        raise CheckpointError(f"{path} is damaged: its `config` is not the list of 18 values of an RVC voice")
    for needed in ("emb_g.weight", "enc_p.emb_phone.weight"):
        if needed not in weight or weight[needed].ndim != 2:
            raise CheckpointError(f"{path} is damaged: it has no tensor {needed}")
    if not len(weight["emb_g.weight"]):
        raise CheckpointError(f"{path} is damaged: it has no speakers, for its tensor emb_g.weight is empty")
    width = weight["enc_p.emb_phone.weight"].shape[1]
    if width not in (256, 768):
        raise CheckpointError(f"{path} takes features of {width} values; RVC voices take 256 (v1) or 768 (v2)")
    _refuse_other_networks(path, payload, width)
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
        info=_info(payload),
    )


def read_state(path: Path, marker: str, what: str) -> dict[str, Tensor]:
    """Read the state dict of a base model: a `.pt`, `.pth`, `.bin` or `.safetensors` file.

    Args:
        path: The file.
        marker: Start of a tensor's name by which this kind of model is known, e.g. "unet.".
        what: Name of the network in messages, e.g. "RMVPE".

    Raises:
        CheckpointError: the file is missing, damaged, unsafe or another model.
    """
    _check_file(path)
    payload = _read_safetensors(path) if path.suffix == ".safetensors" else read_torch_file(path)
    state = payload.get("model", payload) if isinstance(payload, Mapping) else None
    named = state.items() if isinstance(state, Mapping) else ()
    tensors = {k: v for k, v in named if isinstance(v, Tensor) and isinstance(k, str)}
    if not any(name.removeprefix("hubert.").startswith(marker) for name in tensors):
        raise CheckpointError(f"{path} is not {what}: it has no tensor named {marker}*")
    return tensors


def _refuse_other_networks(path: Path, payload: Mapping[str, Any], width: int) -> None:
    """Refuse voices whose tensors fit and whose networks around them are others: they would babble."""
    for key, (known, what, taken) in _KNOWN_TEXTS.items():
        value = payload.get(key)
        text = value.strip().lower() if isinstance(value, str) else "" if value is None else "?"
        if text not in known:
            raise CheckpointError(
                f"{path} was trained with the {what} {described(value)} ({key}); altervox knows {taken} voices"
            )
    layer = 9 if width == 256 else 12
    config, expected = payload["config"], f"voices with {width} feature values take"
    for key, value, accepted in (
        ("embedder_output_layer", payload.get("embedder_output_layer"), f"{expected} layer {layer}"),
        ("embedder_feature_scale", payload.get("embedder_feature_scale"), f"{expected} a scale of 1"),
        ("text_enc_hidden_dim", payload.get("text_enc_hidden_dim"), f"{expected} {width}"),
        ("embedder_dim", payload.get("embedder_dim"), f"{expected} {width}"),
        ("value 18 of config", config[17] if len(config) == 19 else None, f"{expected} {width}"),
        ("energy", payload.get("energy"), "altervox knows no voices that take the energy of the speech"),
    ):
        wanted = {"embedder_output_layer": layer, "embedder_feature_scale": 1, "energy": False}.get(key, width)
        said = value.strip() if isinstance(value, str) else value
        is_plain = isinstance(value, int | float | str | None)  # others, such as tensors, need not compare as these do
        if not is_plain or said not in (None, "", wanted, str(wanted)):
            raise CheckpointError(f"{path} was trained with {key} = {described(value)}; {accepted}")


def _info(payload: Mapping[str, Any]) -> str:
    """What the trainer wrote about a voice."""
    info, epoch = payload.get("info"), payload.get("epoch")
    if isinstance(info, str) and info.strip():
        return printable(info, MAX_INFO_CHARACTERS)
    return printable(f"{epoch}epoch", MAX_INFO_CHARACTERS) if isinstance(epoch, int | str) else ""


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError, KeyError, MemoryError) as error:
        raise CheckpointError(f"{path} is damaged: {printable(error, 120)}; download it again") from error


def _check_file(path: Path) -> None:
    """Refuse what can be told from a file's size and first bytes."""
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file")
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path} is empty; download it again")
    if size > MAX_MODEL_BYTES:
        raise CheckpointError(f"{path} has {size / 1e9:.1f} GB; no model of these kinds has more than 1 GB")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if path.suffix == ".safetensors":
        return
    for pattern, what in _HEADS:
        if re.match(pattern, head, re.IGNORECASE):
            raise CheckpointError(f"{path} {what}")
    if path.suffix.lower() == ".onnx":
        raise CheckpointError(f"{path} is an ONNX file; give the .pth that it was exported from")
    if not head.startswith((b"PK", b"\x80")):  # new files are zip archives, older ones are pickles
        raise CheckpointError(
            f"{path} is not a model file, for it starts with {head[:8]!r}: give the .pth, .pt or .safetensors of one"
        )


def _refuse_other_kinds(path: Path, payload: Any) -> None:
    """Name a file for what it is when it is not a voice."""
    if not isinstance(payload, Mapping):
        kind = payload.name if isinstance(payload, Opaque) else type(payload).__name__
        raise CheckpointError(f"{path} is not an RVC voice: it holds a {kind}")
    if "weight" in payload and "config" in payload:
        return
    names = [str(name) if isinstance(name, str | int) else "?" for name in payload]
    if {"optimizer", "learning_rate"} & set(names) or ("model" in names and "iteration" in names):
        raise CheckpointError(
            f"{path} is a training file (such as G_2333.pth), not a voice; take the smaller .pth that the trainer "
            "writes to its `weights` folder, or extract one there"
        )
    inner = payload.get("model")
    tensors = [name for name in inner if isinstance(name, str)] if isinstance(inner, Mapping) else names
    if any(name.startswith("unet.") for name in tensors):
        raise CheckpointError(f"{path} is RMVPE, the pitch model, not a voice")
    if any("feature_extractor.conv_layers" in name for name in tensors):
        raise CheckpointError(f"{path} is HuBERT or ContentVec, a base model, not a voice")
    if any(name.startswith(("enc_p.", "dec.")) for name in tensors):
        raise CheckpointError(f"{path} holds a generator's weights without the `config` that a voice file has")
    raise CheckpointError(
        f"{path} is not an RVC voice: it has no `weight` and `config`, but {printable(', '.join(names[:5]), 100)}"
    )
