"""Neural voices exported: one graph of the voice and one of its pitch network, run as they are written."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path

import made_up_neural
import numpy as np
import pytest
import torch
from altervox.kernels.errors import CheckpointError, ParameterError
from altervox.models.base_models import small_pitch_network
from altervox.models.export.manifest import read_manifest
from altervox.models.export.voice import ExportedVoice
from altervox.models.library import load_voice
from altervox.models.neural.voice import NeuralVoice
from altervox.models.voice import VoiceParams
from altervox.realtime.config import StreamConfig
from altervox.realtime.engine import Engine
from altervox.tools.export.command import ExportOptions, write_export
from altervox.tools.export.sources import neural_source
from cli_runner import altervox, speech

ROOT = Path(__file__).resolve().parents[3]
CONFIG = StreamConfig(block_ms=20)


def mix() -> NeuralVoice:
    return made_up_neural.voice(1).mixed_with(made_up_neural.voice(2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "both"
    source = neural_source(mix(), small_pitch_network(torch.device("cpu")), CONFIG, unrolled=False)
    _, parity = write_export(source, folder, ExportOptions(CONFIG))
    assert set(parity.errors) == {"voice", "rmvpe", "stream"}
    return folder


def rendered(engine: Engine, seconds: float = 1.5) -> np.ndarray:
    audio = speech(seconds, 48000).astype(np.float32)
    blocks = audio[: len(audio) // engine.block_size * engine.block_size].reshape(-1, engine.block_size)
    out = np.zeros_like(blocks)
    for block, result in zip(blocks, out, strict=True):
        engine.process(block, result)
    return out.reshape(-1)


def test_the_folder_sounds_as_the_voice(folder: Path) -> None:
    params = VoiceParams(pitch_semitones=2.0, formant_semitones=-1.0, mix=0.3)
    exported = load_voice(folder)
    assert (exported.kind, exported.sample_rate) == ("exported", 24000)
    assert {"mix", "formant_semitones", "pitch_semitones", "seed"} <= exported.uses
    engine, wanted = Engine(exported, CONFIG, params), Engine(mix(), CONFIG, params)
    assert engine.latency_samples == wanted.latency_samples
    expected = rendered(wanted)
    assert np.abs(rendered(engine) - expected).max() < 1e-2 * np.abs(expected).max()


def test_the_manifest_says_what_the_stage_needs(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert (manifest.kind, manifest.f0_log2) == ("neural", ((6.7, 0.25), (7.7, 0.25)))
    assert set(manifest.graphs) == {"voice", "rmvpe"}
    assert set(manifest.graphs["voice"].carries) == {"encoder_mem_in", "decoder_mem_in", "decoder_mem_2_in"}


@pytest.mark.parametrize("f0_log2", [None, [], [[6.7]], [[6.7, 0.25]] * 3, [["6.7", 0.25]], [[99, 0.25]], [[7, 0]], 3])
def test_a_manifest_without_a_range_of_pitch_is_refused(f0_log2: object, folder: Path, tmp_path: Path) -> None:
    described = json.loads((folder / "manifest.json").read_text("utf-8")) | {"f0_log2": f0_log2}
    (tmp_path / "manifest.json").write_text(json.dumps(described), "utf-8")
    with pytest.raises(CheckpointError, match="f0_log2 is"):
        read_manifest(tmp_path)


def changed(folder: Path, target: Path, **entries: object) -> Path:
    """A folder with only a manifest, some of whose entries are others; None leaves an entry out."""
    described = json.loads((folder / "manifest.json").read_text("utf-8")) | entries
    described = {name: value for name, value in described.items() if value is not None}
    (target / "manifest.json").write_text(json.dumps(described), "utf-8")
    return target


CREDITS = {"name": "anna", "speaker": "Anna", "licence": "CC BY 4.0", "attribution": "Anna A.", "consent": "by letter"}


def test_credits_of_both_voices_of_a_mix_go_along(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))
    assert read_manifest(folder).credits == tuple(card.credits for card in mix().cards)
    shown = altervox("voices", "show", folder, "--json").json
    made_by = {"attribution": "a random generator"}
    assert shown["credits"] == [{"name": "voice 1"} | made_by, {"name": "voice 2"} | made_by]
    out = altervox("voices", "show", folder).out
    for name in ("voice 1", "voice 2"):
        assert f"\n\nname            {name}\nattribution     a random generator\n" in out
    assert altervox("voices", "add", folder, "--name", "both").code == 0
    assert altervox("voices", "show", "both", "--json").json["credits"] == shown["credits"]


def test_credits_of_an_exported_voice_are_shown(folder: Path, tmp_path: Path) -> None:
    one = changed(folder, tmp_path, f0_log2=[[6.7, 0.25]], credits=[CREDITS])
    shown = altervox("voices", "show", one, "--json").json
    assert shown == shown | CREDITS | {"name": tmp_path.name}
    out = altervox("voices", "show", one).out
    assert all(f"{key:<15} {CREDITS[key]}\n" in out for key in ("speaker", "licence", "attribution", "consent"))


def test_a_manifest_without_credits_is_read(folder: Path, tmp_path: Path) -> None:
    assert read_manifest(changed(folder, tmp_path, credits=None)).credits == ()
    assert "credits" not in altervox("voices", "show", tmp_path, "--json").json


@pytest.mark.parametrize(
    ("credits", "said"),
    [
        ({}, "credits is not a list for at most 2 voices"),
        ([CREDITS] * 3, "credits is not a list for at most 2 voices"),
        (["anna"], "credits is not an object"),
        ([CREDITS | {"licence": "x" * 4001}], "licence of credits is 'x"),
        ([CREDITS | {"consent": 1}], "consent of credits is '1'"),
        ([CREDITS | {"home": "x"}], "credits has the unknown entry 'home'"),
        ([{"name": "anna"}], "credits lacks speaker"),
    ],
)
def test_credits_are_not_believed(credits: object, said: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_manifest(changed(folder, tmp_path, credits=credits))


def test_graphs_of_another_voice_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    described = json.loads((copy / "manifest.json").read_text("utf-8"))
    described["f0_log2"] = described["f0_log2"][:1]
    (copy / "manifest.json").write_text(json.dumps(described), "utf-8")
    with pytest.raises(CheckpointError, match="the graph voice was made for another geometry"):
        Engine(ExportedVoice("copy", copy))
    with pytest.raises(ParameterError, match="was exported for block_ms 20, and block_ms is 40"):
        Engine(load_voice(folder), StreamConfig(block_ms=40))


def test_the_example_for_rvc_voices_refuses_it_in_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["run_export.py", str(folder), "in.wav", "out.wav"])
    with pytest.raises(SystemExit, match="is an export of the kind 'neural', and this example runs the kind 'rvc'"):
        runpy.run_path(str(ROOT / "examples" / "run_export.py"), run_name="__main__")


def test_the_command_exports_a_file_for_several_streams(tmp_path: Path) -> None:
    """Several rows say different things and are compared with streams of their own."""
    voice = made_up_neural.write(tmp_path / "alice.safetensors")
    done = altervox("export", voice, "-o", tmp_path / "out", "--block-ms", 40, "--batch", 2)
    assert (done.code, done.complaints) == (0, [])
    assert "voice.onnx" in done.out
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.batch, manifest.graphs["voice"].inputs["features"].shape) == (2, (2, 4, 80))
