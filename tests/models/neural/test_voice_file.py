"""The file of a neural voice: written, read, and refused in one sentence for whatever may be wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up_neural
import pytest
import torch
from altervox.kernels.errors import CheckpointError, OutputError
from altervox.models.limits import MAX_NEURAL_VOICE_BYTES
from altervox.models.neural.card import VoiceCard, card_of, read_card
from altervox.models.neural.voice import NeuralVoice
from altervox.models.neural.voice_file import VoiceFile, read_voice_file, write_encoder, write_voice
from safetensors.torch import load, save


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made_up_neural.write(tmp_path_factory.mktemp("voice") / "alice.safetensors").read_bytes()


def card(**changes: Any) -> str:
    """The card of a good voice as JSON, with other entries; None removes one."""
    described = json.loads(made_up_neural.file(name="alice").card.to_json()) | changes
    return json.dumps({name: value for name, value in described.items() if value is not None})


def rewritten(
    good: bytes,
    *,
    drop: str = "",
    metadata: dict[str, str] | None = None,
    tensors: dict[str, torch.Tensor] | None = None,
) -> bytes:
    """A good file with other tensors or other metadata."""
    kept = {name: tensor for name, tensor in load(good).items() if not drop or not name.startswith(drop)}
    return save(kept | (tensors or {}), {"altervox": "1", "card": card()} | (metadata or {}))


def test_a_voice_is_read_as_it_was_written(tmp_path: Path) -> None:
    wanted = made_up_neural.file(2, name="Алиса \N{SNOWMAN}")
    write_voice(tmp_path / "a.safetensors", wanted)
    found = read_voice_file(tmp_path / "a.safetensors")
    assert found.card == wanted.card == read_card(tmp_path / "a.safetensors")
    assert found.encoder is not None
    assert wanted.encoder is not None
    for one, other in ((found.speaking, wanted.speaking), (found.encoder, wanted.encoder)):
        state = other.state_dict()
        assert one.state_dict().keys() == state.keys()
        for name, tensor in one.state_dict().items():
            torch.testing.assert_close(tensor, state[name].half().float(), rtol=0.0, atol=0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda good: b"", "is not a safetensors file"),
    "a web page": (lambda good: b"<!DOCTYPE html>" + good, "is not a safetensors file"),
    "a pickle": (lambda good: b"\x80\x02}q\x00." * 100, "is not a safetensors file"),
    "cut off in its head": (lambda good: good[:1000], "is damaged: it ends within its head"),
    "cut off in its weights": (lambda good: good[:-1000], "is damaged: "),
    "more at its end": (lambda good: good + b"more", "is damaged: "),
    "a head that is not JSON": (lambda good: good[:9] + b"!" + good[10:], "is damaged: its head is not JSON"),
    "a head of 2 ** 62 bytes": (lambda good: (1 << 62).to_bytes(8, "little") + good[8:], "is not a safetensors file"),
    "a deep head": (
        lambda good: (200_002).to_bytes(8, "little") + b'{"a":' + b"[" * 199_996 + b"}" + good,
        "is damaged: its head is not JSON",
    ),
    "other weights": (lambda good: save({"x": torch.zeros(3)}), "is not a neural voice of altervox, but another"),
    "another version": (
        lambda good: rewritten(good, metadata={"altervox": "2\x1b[31m"}),
        "is a neural voice of format 2, and this altervox reads format 1: update altervox",
    ),
    "no card": (lambda good: rewritten(good, metadata={"card": ""}), "its card cannot be used, for it is not JSON"),
    "a card that is not JSON": (lambda good: rewritten(good, metadata={"card": "{'a': 1}"}), "for it is not JSON"),
    "a card that is a list": (lambda good: rewritten(good, metadata={"card": "[]"}), "for it is not a JSON object"),
    "a card without its F0": (lambda good: rewritten(good, metadata={"card": card(f0_log2_mean=None)}), "f0_log2_mean"),
    "a card with NaN": (
        lambda good: rewritten(good, metadata={"card": card(f0_log2_mean=float("nan"))}),
        "f0_log2_mean is nan",
    ),
    "a card with a spread of 0": (
        lambda good: rewritten(good, metadata={"card": card(f0_log2_std=0)}),
        "f0_log2_std is 0",
    ),
    "a card with a huge number": (
        lambda good: rewritten(good, metadata={"card": card(f0_log2_mean=10**400)}),
        "f0_log2_mean is",
    ),
    "control characters in the name": (
        lambda good: rewritten(good, metadata={"card": card(name="a\x1b]0;x\x07")}),
        "the name 'a' is empty, too long or holds control characters",
    ),
    "no name": (lambda good: rewritten(good, metadata={"card": card(name="")}), "the name '' is empty"),
    "a name that is a number": (lambda good: rewritten(good, metadata={"card": card(name=3)}), "name is not a text"),
    "a text of 5000 characters": (
        lambda good: rewritten(good, metadata={"card": card(limits="x" * 5000)}),
        "limits is not a text of at most 4000 characters",
    ),
    "a text as a metric": (
        lambda good: rewritten(good, metadata={"card": card(metrics={"wer": "low"})}),
        "the metric 'wer' is not a number",
    ),
    "metrics that are a list": (lambda good: rewritten(good, metadata={"card": card(metrics=[1])}), "metrics is no"),
    "no voice": (lambda good: rewritten(good, drop="voice"), "voice is missing or not of the shape [2560]"),
    "a voice of another shape": (
        lambda good: rewritten(good, tensors={"voice": torch.zeros(3)}),
        "not of the shape [2560]",
    ),
    "no decoder": (lambda good: rewritten(good, drop="decoder."), "is missing"),
    "a layer of another shape": (
        lambda good: rewritten(good, tensors={"decoder.leave.weight": torch.zeros(3, 3)}),
        "leave.weight has the shape [3, 3]",
    ),
    "half of an encoder": (lambda good: rewritten(good, drop="encoder.blocks"), "is missing"),
    "one tensor more": (
        lambda good: rewritten(good, tensors={"other": torch.zeros(3)}),
        "other is not a tensor of such a voice",
    ),
    "NaN": (
        lambda good: rewritten(good, tensors={"mean": torch.full((80,), torch.nan)}),
        "mean holds numbers that are not finite",
    ),
    "whole numbers": (
        lambda good: rewritten(good, tensors={"mean": torch.zeros(80, dtype=torch.int64)}),
        "mean holds numbers that are not finite",
    ),
    "another encoder than the card names": (
        lambda good: rewritten(good, metadata={"card": card(encoder_sha256="0" * 64)}),
        "its encoder is not the one that its card names",
    ),
    "too large": (
        lambda good: good + bytes(MAX_NEURAL_VOICE_BYTES),
        "no neural voice of altervox has more than 32 MiB",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_in_one_sentence(damage: str, good: bytes, tmp_path: Path) -> None:
    damaged, said = DAMAGES[damage]
    path = tmp_path / "alice.safetensors"
    path.write_bytes(damaged(good))
    with pytest.raises(CheckpointError) as refused:
        read_voice_file(path)
    message = str(refused.value)
    assert message.startswith(f"{path} ")
    assert said in message
    assert message.isprintable()
    assert len(message) < 400 + len(str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "no.safetensors", "does not exist"), (tmp_path, "cannot be read")):
        with pytest.raises(CheckpointError, match=said):
            read_voice_file(path)


def test_a_voice_without_its_encoder_needs_the_one_that_it_was_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from altervox.models.neural import voice_file

    monkeypatch.setattr(voice_file, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "shipped").mkdir()
    path = tmp_path / "alice.safetensors"
    write_voice(path, replace(made_up_neural.file(), encoder=None))
    for encoder_seed, said in ((None, "does not exist"), (1, "another encoder"), (0, "")):
        voice_file.shipped_encoder.cache_clear()
        if encoder_seed is not None:
            write_encoder(tmp_path / "shipped" / "encoder.safetensors", made_up_neural.encoder(encoder_seed))
        if said:
            with pytest.raises(CheckpointError, match=said):
                NeuralVoice.from_file("alice", path)
        else:
            assert NeuralVoice.from_file("alice", path).cards[0].name == "voice 1"
    voice_file.shipped_encoder.cache_clear()


def test_what_is_not_finite_is_not_written(tmp_path: Path) -> None:
    made = made_up_neural.file()
    made.speaking.mean.fill_(1e6)
    with pytest.raises(CheckpointError, match="mean is not finite in float16"):
        write_voice(tmp_path / "a.safetensors", made)
    with pytest.raises(OutputError, match="cannot be written"):
        write_voice(tmp_path / "no folder" / "a.safetensors", made_up_neural.file())
    assert list(tmp_path.iterdir()) == []


def test_texts_of_a_card_are_fit_for_a_terminal() -> None:
    found = card_of(card(description="a\x1b[31m\nb", limits="c\x07", later="unknown entries are passed over"))
    assert (found.description, found.limits) == ("a b", "c")
    assert isinstance(found, VoiceCard)
    assert isinstance(made_up_neural.file(), VoiceFile)
