"""Model files: what is read, and what each wrong file is said to be."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from altervox.kernels.errors import CheckpointError
from altervox.models.checkpoint import read_state, read_voice
from altervox.models.pitch.rmvpe import RMVPE
from altervox.models.rvc.content import Hubert


@pytest.fixture(scope="module")
def payload() -> dict[str, Any]:
    return checkpoints.voice("v2_40k")


@pytest.fixture(scope="module")
def rmvpe_state() -> dict[str, torch.Tensor]:
    return RMVPE(4, 1, 1, 16).state_dict()


@pytest.mark.parametrize("name", ["v1_32k_nof0", "v1_40k", "v1_48k", "v2_32k", "v2_40k", "v2_40k_nof0", "v2_48k"])
def test_voices_of_every_kind_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / 'it\'s a "voice" - голос.pth'
    torch.save(checkpoints.voice(name, speakers=3), path)
    voice = read_voice(path)
    assert (voice.version, voice.has_f0) == (name[:2], "nof0" not in name)
    assert voice.sample_rate == int(name[3:5]) * 1000
    assert voice.speakers == 3, "of the weights, for the config says 109"
    assert voice.info == "200epoch"
    net = voice.synthesizer()
    assert net.shape.samples_per_frame * 100 == voice.sample_rate


def spelled(payload: dict[str, Any]) -> dict[str, Any]:
    new = {".weight_g": ".parametrizations.weight.original0", ".weight_v": ".parametrizations.weight.original1"}
    weight = {re.sub(r"\.weight_[gv]$", lambda m: new[m[0]], k): v for k, v in payload["weight"].items()}
    return {**payload, "weight": weight}


VARIANTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "parametrized": spelled,
    "applio": lambda p: {**p, "sr": 40000, "f0": True, "vocoder": "HiFi-GAN", "embedder_model": "contentvec"},
    "early": lambda p: {k: v for k, v in p.items() if k not in ("version", "f0")},
    "rate as text": lambda p: {**p, "config": [*p["config"][:-1], "40k"]},
    "with enc_q": lambda p: {**p, "weight": {**p["weight"], "enc_q.pre.weight": torch.zeros(2, 2)}},
}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_variants_are_the_same_voice(variant: str, payload: dict[str, Any], tmp_path: Path) -> None:
    torch.save(VARIANTS[variant](payload), tmp_path / "voice.pth")
    net = read_voice(tmp_path / "voice.pth").synthesizer()
    weight = payload["weight"]
    magnitude, direction = (weight[f"dec.ups.0.weight_{part}"].float() for part in "gv")
    folded = direction * magnitude / torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)
    torch.testing.assert_close(net.dec.ups[0].weight, folded)


def test_the_old_serialization_is_read(payload: dict[str, Any], tmp_path: Path) -> None:
    torch.save(payload, tmp_path / "voice.pth", _use_new_zipfile_serialization=False)
    assert read_voice(tmp_path / "voice.pth").sample_rate == 40000


def changed(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda payload: {**payload, **changes}


WRONG_PAYLOADS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "training file": (
        lambda p: {"model": p["weight"], "iteration": 3, "optimizer": {}, "learning_rate": 1e-4},
        "training file",
    ),
    "weights without config": (lambda p: dict(p["weight"]), "without the `config`"),
    "another vocoder": (changed(vocoder="RefineGAN"), "vocoder 'RefineGAN'"),
    "another encoder": (changed(embedder_model="chinese-hubert-base"), "content encoder 'chinese-hubert-base'"),
    "another encoder's name": (changed(embedder_name="hubert-base-japanese"), "content encoder 'hubert-base-japanese'"),
    "another layer": (changed(embedder_name="contentvec", embedder_output_layer=9), "embedder_output_layer = 9"),
    "another architecture": (changed(architecture="SVC"), "architecture 'SVC'"),
    "another version": (changed(version="voras_beta"), "version 'voras_beta'"),
    "energy": (changed(energy=True), "energy = True"),
    "a tensor for a layer": (
        changed(embedder_output_layer=torch.tensor([12, 12])),
        "embedder_output_layer = a Tensor",
    ),
    "a tensor for energy": (changed(energy=torch.zeros(2)), "energy = a Tensor"),
    "a tensor for a width": (
        lambda p: {**p, "config": [*p["config"][:17], torch.tensor([768, 768]), *p["config"][17:]]},
        "value 18 of config = a Tensor",
    ),
    "a feature scale": (changed(embedder_feature_scale=10.0), "embedder_feature_scale = 10.0"),
    "another width": (changed(text_enc_hidden_dim=1024), "text_enc_hidden_dim = 1024"),
    "19 values of another width": (
        lambda p: {**p, "config": [*p["config"][:17], 256, *p["config"][17:]]},
        "value 18 of config = 256",
    ),
    "a number for a weight": (lambda p: {**p, "weight": {**p["weight"], "x": 1.0}}, "not only plain tensors"),
    "escape codes": (changed(vocoder="\x1b[31mred\n"), "vocoder 'red'"),
    "another rate": (lambda p: {**p, "config": [*p["config"][:-1], 44100]}, "44100"),
    "a short config": (changed(config=[1, 2]), "not the list of 18"),
    "no speakers": (lambda p: {**p, "weight": {k: v for k, v in p["weight"].items() if k != "emb_g.weight"}}, "emb_g"),
    "room for no speakers": (
        lambda p: {**p, "weight": {**p["weight"], "emb_g.weight": torch.zeros(0, 256)}},
        "it has no speakers",
    ),
    "RMVPE": (lambda _: RMVPE(4, 1, 1, 16).state_dict(), "is RMVPE"),
    "HuBERT": (lambda _: {"model": {"feature_extractor.conv_layers.0.0.weight": torch.zeros(1)}}, "is HuBERT"),
    "ContentVec": (
        lambda _: {"feature_extractor.conv_layers.0.conv.weight": torch.zeros(1)},
        "is HuBERT or ContentVec",
    ),
    "something else": (lambda _: {"hello": "world"}, "has no `weight` and `config`, but hello"),
    "a list": (lambda _: [1, 2], "it holds a list"),
}


@pytest.mark.parametrize("kind", list(WRONG_PAYLOADS))
def test_other_kinds_are_named(kind: str, payload: dict[str, Any], tmp_path: Path) -> None:
    make, expected = WRONG_PAYLOADS[kind]
    path = tmp_path / "voice.pth"
    torch.save(make(payload), path)
    with pytest.raises(CheckpointError, match=re.escape(expected)) as caught:
        read_voice(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def plain_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("voice.pth", b"x")


WRONG_BYTES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "does not exist"),
    "a folder": (lambda p: p.mkdir(), "is not a file"),
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "a web page": (lambda p: p.write_text("<!DOCTYPE html><html></html>"), "is a web page"),
    "an LFS pointer": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
    "an index": (lambda p: p.write_bytes(b"IwFl" + bytes(100)), "retrieval index"),
    "text": (lambda p: p.write_text("hello world"), "is not a model file"),
    "a zip": (plain_zip, "is a zip archive"),
    "junk after the right start": (lambda p: p.write_bytes(b"\x80\x02" + bytes(range(100))), "PyTorch|damaged"),
}


@pytest.mark.parametrize("kind", list(WRONG_BYTES))
def test_files_that_are_no_model_are_named(kind: str, tmp_path: Path) -> None:
    make, expected = WRONG_BYTES[kind]
    path = tmp_path / "voice.pth"
    make(path)
    with pytest.raises(CheckpointError, match=expected) as caught:
        read_voice(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_download_is_named(share: float, payload: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "voice.pth"
    torch.save(payload, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match="cut short"):
        read_voice(path)


@pytest.mark.parametrize("new_format", [True, False])
def test_nothing_in_a_hostile_file_runs(new_format: bool, tmp_path: Path) -> None:
    path = tmp_path / "voice.pth"
    checkpoints.EXECUTED.unlink(missing_ok=True)
    torch.save(checkpoints.hostile(), path, _use_new_zipfile_serialization=new_format)
    with pytest.raises(CheckpointError, match=r"wants to run (io|_io|builtins)\.open"):
        read_voice(path)
    with pytest.raises(CheckpointError, match=r"wants to run (io|_io|builtins)\.open"):
        read_state(path, "unet.", "RMVPE")
    assert not checkpoints.EXECUTED.exists()


@pytest.fixture(scope="module")
def hubert_state() -> dict[str, torch.Tensor]:
    return checkpoints.state("content_fairseq")


@pytest.mark.parametrize("layout", ["bare", "fairseq", "safetensors"])
def test_base_models_of_every_layout_are_read(
    layout: str, hubert_state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / {"bare": "a.pt", "fairseq": "b.pt", "safetensors": "c.safetensors"}[layout]
    if layout == "bare":
        torch.save(hubert_state, path)
    elif layout == "fairseq":
        checkpoints.write_fairseq(path, hubert_state)
    else:
        from safetensors.torch import save_file

        save_file(hubert_state, path)
    net = Hubert.from_state(read_state(path, "feature_extractor.", "HuBERT"))
    torch.testing.assert_close(net.final_proj.weight, hubert_state["final_proj.weight"].float())
    if layout == "fairseq":
        with pytest.raises(CheckpointError, match="is HuBERT or ContentVec, a base model, not a voice"):
            read_voice(path)


def test_a_voice_is_not_a_base_model(payload: dict[str, Any], tmp_path: Path) -> None:
    torch.save(payload, tmp_path / "voice.pth")
    with pytest.raises(CheckpointError, match="is not RMVPE: it has no tensor named unet"):
        read_state(tmp_path / "voice.pth", "unet.", "RMVPE")


def test_rmvpe_of_any_size_is_read(rmvpe_state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in rmvpe_state.items()}, tmp_path / "rmvpe.pt")
    net = RMVPE.from_state(read_state(tmp_path / "rmvpe.pt", "unet.", "RMVPE"))
    assert net.gru.gru.hidden_size == 16
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_a_width_of_zero_is_refused(rmvpe_state: dict[str, torch.Tensor]) -> None:
    name, empty = "fc.0.gru.weight_hh_l0", torch.zeros(3, 0)
    with pytest.raises(CheckpointError, match="these weights are not RMVPE's: fc"):
        RMVPE.from_state({**rmvpe_state, name: empty})
    with pytest.raises(CheckpointError, match="these weights are not HuBERT base's: "):
        Hubert.from_state({"layer_norm.weight": torch.zeros(0)})


def replaced(config: list[Any], at: int, value: Any) -> list[Any]:
    return [*config[:at], value, *config[at + 1 :]]


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (13, 6144, "6144 channels"),
        (13, 1 << 62, "channels"),
        (13, 2048, "has the shape"),
        (13, "512", "'512'"),
        (11, [[1, 3, 10**7]] * 3, "dilations"),
        (11, [[1, 3, 5]] * 100_000, "dilations"),
        (10, [3, 7, 10**7 + 1], "kernels"),
        (12, [10, 10, 2, 2] * 100_000, "upsample rates"),
        (12, [-10, -10, 2, 2], "upsample rates"),
        (12, [10, 10, 4, 1], "upsample rates"),
        (14, [16, 16, 4, 10**9], "kernel sizes"),
    ],
)
def test_a_config_that_costs_much_is_refused_at_once(
    at: int, value: Any, message: str, payload: dict[str, Any], tmp_path: Path
) -> None:
    torch.save({**payload, "config": replaced(payload["config"], at, value)}, tmp_path / "voice.pth")
    voice = read_voice(tmp_path / "voice.pth")
    start = time.process_time()
    with pytest.raises(CheckpointError, match=message) as caught:
        voice.synthesizer()
    assert time.process_time() - start < 2.0
    assert len(str(caught.value)) < 400


def test_factors_of_a_weight_that_multiply_out_are_refused(payload: dict[str, Any], tmp_path: Path) -> None:
    wide = {"dec.ups.0.weight_v": torch.ones(50_000, 1, 1), "dec.ups.0.weight_g": torch.ones(1, 50_000, 1)}
    torch.save({**payload, "weight": {**payload["weight"], **wide}}, tmp_path / "voice.pth")
    with pytest.raises(CheckpointError, match=r"dec\.ups\.0\.weight_v has the shape"):
        read_voice(tmp_path / "voice.pth").synthesizer()


def test_what_a_file_says_of_itself_is_one_short_line(payload: dict[str, Any], tmp_path: Path) -> None:
    for said, shown in (
        ({"info": "\x1b]0;owned\x07\x1b[31mred\nline 2" * 9}, "redline"),
        ({"epoch": np.int64(300)}, "300epoch"),
    ):
        torch.save({**payload, "info": "", **said}, tmp_path / "voice.pth")
        info = read_voice(tmp_path / "voice.pth").info
        assert info.startswith(shown[:3])
        assert info.isprintable()
        assert len(info) <= 60


@pytest.mark.parametrize("name", ["hubert_base768", "ContentVec", "contentvec"])
def test_names_of_the_encoder_that_is_there_are_known(name: str, payload: dict[str, Any], tmp_path: Path) -> None:
    config = [*payload["config"][:17], 768, *payload["config"][17:]]
    newer = {"embedder_name": name, "embedder_output_layer": 12, "energy": False, "architecture": "RVC"}
    torch.save({**payload, **newer, "config": config}, tmp_path / "voice.pth")
    assert read_voice(tmp_path / "voice.pth").synthesizer().shape.sample_rate == 40000
