"""An exported voice: its graphs, its folder, and that all who run it give the same sound."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up_voice
import numpy as np
import onnx
import pytest
import torch
from altervox.kernels.errors import (
    AltervoxError,
    CheckpointError,
    MissingDependencyError,
    OutputError,
    ParameterError,
    VoiceError,
)
from altervox.models.base_models import small_pitch_network
from altervox.models.export.manifest import LENGTHS, read_manifest
from altervox.models.export.rules import check_graph
from altervox.models.export.tensorrt import problems, trtexec_lines
from altervox.models.export.voice import ExportedVoice
from altervox.models.library import add_voice, lengths_of, list_voices, load_voice
from altervox.models.voice import VoiceParams
from altervox.realtime.config import StreamConfig
from altervox.realtime.engine import Engine
from altervox.realtime.files import convert_stream
from altervox.realtime.runners import trial
from altervox.realtime.session.settings import SessionSettings
from altervox.realtime.session.state import SessionState
from altervox.realtime.session.warm_up import warmed_up
from altervox.realtime.stages import make_stage
from altervox.realtime.stages.exported import ExportedStage
from altervox.realtime.stages.rvc import RvcStage
from altervox.tools.export import parity
from altervox.tools.export.command import ExportOptions, write_export
from cli_runner import altervox, envelope, full_disk, speech
from made_up_export import CONFIG, index, indexed_voice, pitch

ROOT = Path(__file__).resolve().parents[3]
CPU = torch.device("cpu")
OPTIONS = ExportOptions(CONFIG)
GRAPHS = ("content", "prior", "generator", "rmvpe", "retrieval")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, parity.Parity]:
    folder = tmp_path_factory.mktemp("export") / "alice"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "BLOCKS", 24)  # as many as fixtures need
        return folder, write_export(indexed_voice(), folder, OPTIONS)[1]


@pytest.fixture(scope="module")
def folder(exported: tuple[Path, parity.Parity]) -> Path:
    return exported[0]


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """Its manifest and graphs, to be spoilt: only what is written anew takes space."""
    target = tmp_path / "copied"
    target.mkdir()
    for path in folder.iterdir():
        if path.suffix == ".onnx":
            os.link(path, target / path.name)
    shutil.copy(folder / "manifest.json", target)
    return target


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    described = json.loads((folder / "manifest.json").read_text("utf-8"))
    change(described)
    (folder / "manifest.json").write_text(json.dumps(described), "utf-8")


# What is written


def test_every_graph_is_static_plain_and_without_hidden_state(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert set(manifest.graphs) == set(GRAPHS)
    for name, graph in manifest.graphs.items():
        model = onnx.load(folder / graph.stored.file)
        onnx.checker.check_model(model)
        inputs, outputs = check_graph(model, name)
        assert list(inputs) == list(graph.inputs)
        assert list(outputs) == list(graph.outputs)
        assert {entry.domain for entry in model.opset_import} == {""}
        assert not {node.op_type for node in model.graph.node} & {"Shape", "Range", "Dropout", "Random", "Loop", "If"}
        said = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(said["altervox.carries"]) == graph.carries
        assert json.loads(said["altervox.lengths"]) == manifest.lengths
        assert said["altervox.graph_sha256"] == graph.graph_sha256
        assert str(Path.home()) not in str(model.graph.node)
    assert set(manifest.graphs["generator"].carries) == {"phase_in", "flow_mem_in", "decoder_mem_in"}
    assert manifest.graphs["rmvpe"].carries == {"h_in": "h_out"}
    assert any(node.op_type == "GRU" for node in onnx.load(folder / "rmvpe.onnx").graph.node)


def test_graphs_and_stream_compute_what_the_networks_compute(exported: tuple[Path, parity.Parity]) -> None:
    folder, found = exported
    assert set(found.errors) == {*GRAPHS, "stream"}
    assert max(found.errors.values()) < 2e-4
    assert found.rms_db is not None
    assert found.rms_db > -40.0
    assert (found.f0_cents or 0.0) < 0.1
    assert found.voicing_frames == 0
    assert found.voiced_frames > 0.5 * found.frames, "it was speech"
    assert read_manifest(folder).parity["stream.relative_rms"] == found.errors["stream"]


def test_fixtures_are_real_blocks(folder: Path) -> None:
    """What a runtime in another language is tested with: the graph gives what the fixture says."""
    manifest = read_manifest(folder)
    assert set(manifest.fixtures) == {*GRAPHS, "stream"}
    module = example()
    for name, described in json.loads((folder / "manifest.json").read_text("utf-8"))["graphs"].items():
        with np.load(folder / manifest.fixtures[name].file, allow_pickle=False) as blocks:
            graph = module.Graph(folder, described)
            results = graph.run(**{key: blocks[key][1] for key in graph.inputs})
            for key, value in results.items():
                np.testing.assert_allclose(value, blocks[key][1], rtol=1e-3, atol=1e-4, err_msg=f"{name} {key}")
    assert sum(path.stat().st_size for path in folder.glob("*.npz")) < 8e6


# Who runs it


def example() -> Any:
    spec = importlib.util.spec_from_file_location("run_export", ROOT / "examples" / "run_export.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks() -> np.ndarray[Any, np.dtype[np.float32]]:
    size = CONFIG.block_ms * 16
    samples = speech(4.0)[16000:].astype(np.float32)
    return samples[: len(samples) // size * size].reshape(-1, size)[:25]


def rendered(stage: RvcStage | ExportedStage, params: VoiceParams, skipped: tuple[int, ...] = ()) -> Any:
    out = np.zeros((len(blocks()), CONFIG.block_ms * made_up_voice.RATE // 1000), dtype=np.float32)
    for i, block in enumerate(blocks()):
        if i in skipped:
            stage.advance(block, params)
        else:
            stage.process(block, params, out[i])
    return out


def relative(found: Any, expected: Any) -> float:
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(np.square(expected, dtype=np.float64))))


PARAMS = VoiceParams(pitch_semitones=4.0, speaker=2, seed=5, rms_mix=0.5, index_rate=0.6, protect=0.2)


def test_the_engine_renders_it_like_the_voice_it_came_from(folder: Path) -> None:
    """In late blocks, too: phase and frames go on."""
    voice = load_voice(folder)
    assert (voice.kind, voice.sample_rate, voice.speakers) == ("exported", made_up_voice.RATE, made_up_voice.SPEAKERS)
    made_from = made_up_voice.voice()
    made_from.index = index()
    eager = dataclasses.replace(CONFIG, backend="eager")
    expected = RvcStage(made_from, made_up_voice.content(), small_pitch_network(CPU), eager)
    found = ExportedStage(ExportedVoice("alice", folder), CONFIG)
    late = (11, 12, 13)
    assert relative(rendered(found, PARAMS, late), rendered(expected, PARAMS, late)) < 1e-3


def test_formants_stay_where_they_are(folder: Path) -> None:
    voice = ExportedVoice("alice", folder)
    assert "formant_semitones" not in voice.uses
    plain, shifted = (ExportedStage(voice, CONFIG) for _ in range(2))
    first = rendered(plain, VoiceParams(), tuple(range(6, 25)))
    assert np.array_equal(rendered(shifted, VoiceParams(formant_semitones=5.0), tuple(range(6, 25))), first)


def test_onnx_runtime_and_numpy_alone_give_the_same_sound(folder: Path) -> None:
    stage, other = ExportedStage(ExportedVoice("alice", folder), CONFIG), example().Voice(folder)
    expected = rendered(stage, PARAMS)
    found = np.stack([other.process(block, 4.0, 0.6, 0.2, 0.5, speaker=2, seed=5) for block in blocks()])
    assert np.sqrt(np.mean(expected[10:] ** 2)) > 0.01
    assert relative(found, expected) < 1e-3


def test_the_example_needs_no_torch_and_no_altervox(folder: Path, tmp_path: Path) -> None:
    samples = speech(2.0)
    with wave.open(str(tmp_path / "in.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    check = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['altervox'] = None; "
        "runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    script = ROOT / "examples" / "run_export.py"
    command = [sys.executable, "-c", check, script, folder, tmp_path / "in.wav", tmp_path / "out.wav"]
    subprocess.run(list(map(str, command)), check=True, timeout=60)
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (made_up_voice.RATE, 2 * made_up_voice.RATE)
        wav = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0
    expected = np.concatenate(list(convert_stream(load_voice(folder), [samples], 16000)))
    ours, theirs = (envelope(x, made_up_voice.RATE) for x in (wav, expected))
    # The engine resamples the input, which moves the noise of each frame.
    assert np.sum(ours * theirs) > 0.95 * np.sqrt(np.sum(ours**2) * np.sum(theirs**2))
    assert np.std(ours) == pytest.approx(np.std(theirs), rel=0.1)


def test_convert_takes_the_lengths_of_the_folder(folder: Path, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "in.wav", speech(1.0), 16000)
    for quality in ("live", "offline"):
        target = tmp_path / f"{quality}.wav"
        done = altervox("convert", tmp_path / "in.wav", "-o", target, "--voice", folder, "--quality", quality)
        assert (done.code, done.complaints) == (0, [])
        wav, rate = soundfile.read(target)
        assert (len(wav), rate) == (made_up_voice.RATE, made_up_voice.RATE)
        assert np.sqrt(np.mean(wav**2)) > 0.01


def test_the_library_takes_it(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "home"))
    done = altervox("voices", "add", folder, "--name", "bob")
    assert done.code == 0, done.err
    assert [(v.kind, v.sample_rate) for v in list_voices() if v.name == "bob"] == [("exported", made_up_voice.RATE)]
    assert lengths_of("bob") == lengths_of(folder) == {**read_manifest(folder).lengths}
    assert lengths_of("woman") == {}
    engine = Engine(load_voice("bob"))
    assert engine.config.block_ms == CONFIG.block_ms
    engine.process(np.zeros(engine.block_size, dtype=np.float32), np.zeros(engine.block_size, dtype=np.float32))


# Bad input: one sentence, nothing half-written


def refusal(folder: Path, config: StreamConfig = CONFIG) -> str:
    with pytest.raises(AltervoxError) as error:
        make_stage(load_voice(folder), config, "auto")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_changed_file_is_refused(copy: Path) -> None:
    held = bytearray((copy / "prior.onnx").read_bytes())
    held[len(held) // 2] ^= 1
    (copy / "prior.onnx").unlink()
    (copy / "prior.onnx").write_bytes(held)
    assert "prior.onnx is not the file that was exported" in refusal(copy)
    with pytest.raises(CheckpointError, match=r"prior\.onnx"):
        add_voice(copy, "changed")


def test_a_missing_graph_and_a_link_are_refused(copy: Path, folder: Path) -> None:
    (copy / "content.onnx").unlink()
    assert "lacks content.onnx" in refusal(copy)
    (copy / "content.onnx").symlink_to(folder / "content.onnx")
    assert "lacks content.onnx" in refusal(copy)


def graph_of(described: dict[str, Any], name: str) -> dict[str, Any]:
    graph: dict[str, Any] = described["graphs"][name]
    return graph


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "version": (lambda m: m.update(format_version=1), "has version 1 of the export format"),
    "format": (lambda m: m.update(format="other"), "does not say"),
    "kind": (lambda m: m.update(kind="tts"), "kind of the manifest is 'tts'"),
    "unknown entry": (lambda m: m.update(code="os.system"), "unknown entry 'code'"),
    "missing entry": (lambda m: m.pop("sample_rate"), "lacks sample_rate"),
    "missing graph": (lambda m: m["graphs"].pop("prior"), "no graph prior"),
    "unknown graph": (lambda m: m["graphs"].update(extra=m["graphs"]["prior"]), "unknown graph 'extra'"),
    "path outside": (lambda m: graph_of(m, "prior").update(file="../prior.onnx"), "file of the graph prior"),
    "absolute path": (lambda m: graph_of(m, "prior").update(file="/etc/passwd"), "file of the graph prior"),
    "hash": (lambda m: graph_of(m, "prior").update(sha256="0"), "sha256 of the graph prior"),
    "size": (lambda m: graph_of(m, "prior").update(bytes=1 << 40), "bytes of the graph prior"),
    "shape": (lambda m: graph_of(m, "prior")["inputs"]["phone"].update(shape=[1, 1 << 20, 1 << 20]), "shape"),
    "type": (lambda m: graph_of(m, "prior")["inputs"]["phone"].update(dtype="object"), "dtype of phone"),
    "carries": (lambda m: graph_of(m, "rmvpe").update(carries={"h_in": "salience"}), "carries salience into h_in"),
    "text": (lambda m: m.update(name=7), "name of the manifest"),
    "rate": (lambda m: m.update(sample_rate=True), "sample_rate of the manifest"),
    "geometry": (lambda m: m["lengths"].update(context_ms=400), "exported for context_ms 400"),
    "batch": (lambda m: m.update(batch=2), "in a batch of 2"),
    "nan": (lambda m: m["parity"].update(stream=float("nan")), "parity of stream"),
}


@pytest.mark.parametrize(("change", "reason"), MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_manifest_is_not_believed(
    change: Callable[[dict[str, Any]], object], reason: str, copy: Path, folder: Path
) -> None:
    change_manifest(copy, change)
    assert reason in refusal(copy)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format": 1}', "\xff\x00", "x" * (1 << 21)])
def test_a_text_that_is_no_manifest_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, "latin-1")
    assert "manifest" in refusal(tmp_path)


def test_a_graph_of_another_geometry_is_refused(copy: Path) -> None:
    """Manifest and lengths agree with one another, but not with what the graphs take."""
    change_manifest(copy, lambda m: m["lengths"].update(context_ms=400))
    assert "made for another geometry" in refusal(copy, dataclasses.replace(CONFIG, context_ms=400))


def test_a_graph_from_a_stranger_is_refused(copy: Path) -> None:
    """Hashes are right, for the stranger wrote them too."""
    import hashlib

    model = onnx.load(copy / "prior.onnx")
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    held = model.SerializeToString()
    (copy / "prior.onnx").unlink()
    (copy / "prior.onnx").write_bytes(held)
    entry = {"bytes": len(held), "sha256": hashlib.sha256(held).hexdigest()}
    change_manifest(copy, lambda m: graph_of(m, "prior").update(entry))
    assert "in another file, which is never opened" in refusal(copy)


def test_lengths_that_no_graph_was_made_for_are_refused(folder: Path, tmp_path: Path) -> None:
    import soundfile

    longer = dataclasses.replace(CONFIG, block_ms=100)
    assert "exported for block_ms 40, and block_ms is 100" in refusal(folder, longer)
    soundfile.write(tmp_path / "in.wav", speech(0.5), 16000)
    done = altervox("convert", tmp_path / "in.wav", "--voice", folder, "--block-ms", 100)
    assert done.code != 0
    assert "exported for block_ms 40" in done.err
    done = altervox("live", "--voice", folder, "--lookahead-ms", 100)
    assert done.code == 2
    assert "leave --lookahead-ms out" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("eager", "cannot run alice, which is exported"),
        ("onnx-cuda", "backend onnx-cuda is not in the ONNX Runtime installed.*onnxruntime-gpu"),
        ("onnx-tensorrt", "tensorrt-cu13<11"),
        ("onnx-nosuch", "backend onnx-nosuch is not in the ONNX Runtime installed, which has .*cpu"),
    ],
)
def test_a_backend_that_is_not_there_says_what_to_install(
    backend: str, reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("altervox.realtime.runners.onnx.onnx_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ParameterError, match=reason):
        ExportedStage(ExportedVoice("alice", folder), dataclasses.replace(CONFIG, backend=backend))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["woman"], "woman is a DSP voice"),
        (["off"], "off is a DSP voice"),
        (["nobody"], "there is no voice 'nobody'"),
        (["rmvpe-small", "--block-ms", "30"], "block_ms is 30"),
        (["rmvpe-small", "--block-ms", "2000", "--gru", "unrolled"], "--gru unrolled makes"),
    ],
)
def test_what_cannot_be_exported_says_why(arguments: list[str], reason: str, tmp_path: Path) -> None:
    done = altervox("export", *arguments, "-o", tmp_path / "out")
    assert done.code != 0
    assert len(done.complaints) == 1
    assert reason in done.complaints[0]
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_it_says_what_to_install(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "needs the package onnx" in refusal(folder)
    with pytest.raises(MissingDependencyError, match=r"onnx: .*export"):
        write_export(pitch(unrolled=False), tmp_path / "out", OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_not_exported_again(folder: Path, tmp_path: Path) -> None:
    done = altervox("export", folder, "-o", tmp_path / "out")
    assert "exported already" in done.err
    done = altervox("export", "rmvpe-small", "-o", folder)
    assert "exists already" in done.err
    assert (folder / "manifest.json").is_file()


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with full_disk(200_000), pytest.raises(OutputError, match="cannot be written"):
        write_export(pitch(unrolled=False), tmp_path / "out", OPTIONS)
    assert list(tmp_path.iterdir()) == []


# TensorRT


def test_the_unrolled_pitch_network_keeps_to_tensorrts_rules(folder: Path, tmp_path: Path) -> None:
    manifest, found = write_export(pitch(unrolled=True), tmp_path / "out", ExportOptions(CONFIG, gru="unrolled"))
    assert problems(tmp_path / "out", manifest, "rmvpe") == []
    assert found.errors["rmvpe"] < 1e-4
    assert found.voicing_frames == 0
    (line,) = trtexec_lines(tmp_path / "out", manifest)
    assert re.fullmatch(r"trtexec --onnx=\S+rmvpe\.onnx --saveEngine=\S+rmvpe\.engine --noTF32", line)
    ours = read_manifest(folder)
    assert [name for name in ours.graphs if problems(folder, ours, name)] == ["rmvpe"]
    assert "--gru unrolled" in problems(folder, ours, "rmvpe")[0]
    with pytest.raises(VoiceError, match="pitch network alone"):
        load_voice(tmp_path / "out")


def test_a_trial_runs_in_a_process_of_its_own(folder: Path, tmp_path: Path) -> None:
    found = trial.run_apart([*trial.child_command(), str(folder), "onnx", str(tmp_path / "out.npy")], 60.0)
    assert isinstance(found, dict), found
    assert 0.0 < found["p50_ms"] <= found["p99_ms"]
    out = np.load(tmp_path / "out.npy")
    assert out.shape == (trial.BLOCKS, CONFIG.block_ms * made_up_voice.RATE // 1000)
    assert np.sqrt(np.mean(out**2)) > 0.01


def test_a_session_takes_the_lengths_of_the_folder(folder: Path) -> None:
    settings = SessionSettings(state=SessionState(voice=str(folder)))
    processor, found = warmed_up(settings, None)
    assert found.block_ms == CONFIG.block_ms
    assert {name: getattr(processor.settings.config, name) for name in LENGTHS} == lengths_of(folder)
    with pytest.raises(ParameterError, match="exported for block_ms 40"):
        warmed_up(settings, 100)
