"""The file of a neural voice: weights in float16 and a card, as safetensors, which hold no code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ...kernels.errors import CheckpointError, OutputError
from ...kernels.printable import printable
from ..limits import MAX_NEURAL_VOICE_BYTES
from ..weights import load_weights, on_meta
from .card import ENCODER, FORMAT, FORMAT_VERSION, SHIPPED, SUFFIX, VoiceCard, read_card
from .network import ENVELOPE_BANDS, VOICE, Decoder, Encoder
from .step import Speaking

_OF_DECODER, _OF_ENCODER = "decoder.", "encoder."
_SHAPES = {"voice": (VOICE,), "mean": (ENVELOPE_BANDS,), "sharpen": (ENVELOPE_BANDS, ENVELOPE_BANDS)}


@dataclass(frozen=True, slots=True)
class VoiceFile:
    """What the file of a voice holds.

    Attributes:
        card: Its card.
        speaking: The decoder as this voice.
        encoder: The encoder that it was trained with; None for the one that ships.
    """

    card: VoiceCard
    speaking: Speaking
    encoder: Encoder | None


def encoder_digest(encoder: Encoder) -> str:
    """SHA-256 of an encoder's weights as a file holds them."""
    total = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        total.update(f"{name} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.detach().cpu().half().contiguous().numpy().tobytes())
    return total.hexdigest()


def write_voice(path: Path, voice: VoiceFile) -> None:
    """Write the file of a voice, whole or not at all.

    Args:
        path: The `.safetensors` file; replaced if it exists.
        voice: The voice. Its networks are stored in float16.

    Raises:
        OutputError: the file cannot be written.
        CheckpointError: a weight is not finite in float16.
    """
    tensors = {_OF_DECODER + name: tensor for name, tensor in voice.speaking.decoder.state_dict().items()}
    tensors |= {name: getattr(voice.speaking, name) for name in _SHAPES}
    if voice.encoder is not None:
        tensors |= {_OF_ENCODER + name: tensor for name, tensor in voice.encoder.state_dict().items()}
    _write(path, tensors, {FORMAT: FORMAT_VERSION, "card": voice.card.to_json()})


def write_encoder(path: Path, encoder: Encoder) -> None:
    """Write the encoder that shipped voices share; see `write_voice`."""
    tensors = {_OF_ENCODER + name: tensor for name, tensor in encoder.state_dict().items()}
    _write(path, tensors, {FORMAT: FORMAT_VERSION})


def read_voice_file(path: Path) -> VoiceFile:
    """Read a voice.

    Raises:
        CheckpointError: the file is missing, damaged, too large or of another kind or version, or needs an encoder that
            is not there.
    """
    card = read_card(path)
    tensors = _read(path)
    decoder, encoder = on_meta(Decoder), None
    try:
        load_weights(decoder, _taken(tensors, _OF_DECODER))
        of_encoder = _taken(tensors, _OF_ENCODER)
        if of_encoder:
            encoder = on_meta(Encoder)
            load_weights(encoder, of_encoder)
        for name, shape in _SHAPES.items():
            if name not in tensors or tuple(tensors[name].shape) != shape:
                raise CheckpointError(f"{name} is missing or not of the shape {list(shape)}")
        speaking = Speaking(decoder, *(tensors.pop(name) for name in _SHAPES))
        if tensors:
            raise CheckpointError(f"{printable(next(iter(tensors)), 80)} is not a tensor of such a voice")
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: {error}; get it again") from error
    if encoder is not None and encoder_digest(encoder) != card.encoder_sha256:
        raise CheckpointError(f"{path} is damaged: its encoder is not the one that its card names; get it again")
    return VoiceFile(card, speaking, encoder)


def encoder_of(voice: VoiceFile, path: Path) -> Encoder:
    """The encoder of a voice read from a file: its own, or the one that ships.

    Raises:
        CheckpointError: it needs the one that ships, which is missing or another than it was trained with.
    """
    if voice.encoder is not None:
        return voice.encoder
    encoder, digest = shipped_encoder()
    if digest != voice.card.encoder_sha256:
        raise CheckpointError(
            f"{path} was trained with another encoder than the one of this altervox: get the voice for this version, "
            "or as a file that holds its own encoder"
        )
    return encoder


@cache
def shipped_encoder() -> tuple[Encoder, str]:
    """The encoder that ships, and its `encoder_digest`.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = (SHIPPED / ENCODER).with_suffix(SUFFIX)
    tensors, encoder = _read(path), on_meta(Encoder)
    try:
        load_weights(encoder, _taken(tensors, _OF_ENCODER))
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: {error}; install altervox again") from error
    encoder.eval()
    return encoder, encoder_digest(encoder)


def _taken(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors of one network out of all of them."""
    return {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, all of them finite, in float32."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        with path.open("rb") as file:
            held = file.read(MAX_NEURAL_VOICE_BYTES + 1)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if len(held) > MAX_NEURAL_VOICE_BYTES:
        raise CheckpointError(f"{path} has more than {MAX_NEURAL_VOICE_BYTES >> 20} MiB")
    try:
        tensors = load(held)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
        raise CheckpointError(f"{path} is damaged: {printable(error, 120)}; get it again") from error
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor.float()).all()):
            raise CheckpointError(
                f"{path} is damaged: {printable(name, 80)} holds numbers that are not finite; get it again"
            )
    return {name: tensor.float() for name, tensor in tensors.items()}


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    from safetensors.torch import save

    halves = {name: tensor.detach().cpu().half().contiguous() for name, tensor in tensors.items()}
    for name, tensor in halves.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path} is not written: {name} is not finite in float16")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(save(halves, metadata))
        unfinished.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
