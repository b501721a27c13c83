"""An export that does not compute what its networks compute is refused, in whichever row of a batch."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from altervox.models.export.manifest import read_manifest
from altervox.tools.export import parity
from altervox.tools.export.command import ExportOptions, write_export
from altervox.tools.export.parity import ParityError
from altervox.tools.export.speech import recorded_speech
from cli_runner import altervox
from made_up_export import CONFIG, indexed_voice, pitch

OPTIONS, BATCH = ExportOptions(CONFIG), ExportOptions(CONFIG, batch=2)
GRAPHS = {"content", "prior", "generator", "rmvpe", "retrieval"}
FEWER_BLOCKS = 24  # as many as fixtures need


def test_a_mismatch_fails_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph whose GRU computes in another order: the fault that an exporter once had."""
    from altervox.realtime.runners import onnx as runner

    def spoil(source: Path, target: Path) -> None:
        model = onnx.load(source)
        for tensor in model.graph.initializer:
            if tuple(tensor.dims)[-1:] == (360,):
                values = onnx.numpy_helper.to_array(tensor) * np.float32(1.001)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        onnx.save(model, source)
        fold(source, target)

    fold = runner.fold_constants
    monkeypatch.setattr(runner, "fold_constants", spoil)
    with pytest.raises(ParityError, match=r"the graph rmvpe: salience differs .* in block 0") as error:
        write_export(pitch(unrolled=False), tmp_path / "out", OPTIONS)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_streams_of_a_batch_know_nothing_of_one_another(tmp_path: Path) -> None:
    done = altervox("export", "rmvpe-small", "-o", tmp_path / "out", "--block-ms", "40", "--batch", "3")
    assert done.code == 0, done.err
    manifest = read_manifest(tmp_path / "out")
    assert {tensor.shape[0] for tensor in manifest.graphs["rmvpe"].inputs.values()} == {3}
    assert manifest.parity["rmvpe.relative_rms"] < 1e-4
    assert manifest.parity["stream.relative_rms"] < 1e-3
    assert manifest.parity["f0.voiced_frames"] > 0.5 * manifest.parity["f0.frames"]
    with np.load(tmp_path / "out" / manifest.fixtures["stream"].file) as kept:
        assert len(kept["audio"]) == len(kept["output"]) == 3
        assert not np.allclose(kept["audio"][0], kept["audio"][1]), "each row says something else"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice for two streams at once."""
    folder = tmp_path_factory.mktemp("batch") / "sound"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "BLOCKS", FEWER_BLOCKS)
        write_export(indexed_voice(), folder, BATCH)
    return folder


def test_all_graphs_are_compared_for_each_row_of_a_batch(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert {tensor.shape[0] for graph in manifest.graphs.values() for tensor in graph.inputs.values()} == {2}
    assert {name for name in manifest.parity if name.endswith(".relative_rms")} == {
        f"{name}.relative_rms" for name in (*GRAPHS, "stream")
    }
    assert manifest.parity["stream.relative_rms"] < 2e-4
    assert manifest.parity["stream.rms_dbfs"] > -40.0


def test_a_fault_that_no_graph_has_alone_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs them all lets the rows meet, from one block on."""

    class Spoilt(parity._SharedGraph):
        def __init__(self, graph: Any, batch: int) -> None:
            super().__init__(graph, batch)
            self.runs = 0
            self.meeting = threading.Barrier(batch, self.run)

        def run(self) -> None:
            self.graph.run()
            self.runs += 1
            if "m" in self.graph.outputs and self.runs > 15:
                self.graph.outputs["m"][1].mul_(1.1)

    monkeypatch.setattr(parity, "_SharedGraph", Spoilt)
    with pytest.raises(ParityError, match=r"all graphs in a row: wav of the graph generator .* block 15 of row 1"):
        parity._compare_stream(indexed_voice(), folder, rows(), parity.Parity())


def test_a_voice_that_gives_silence_is_refused(folder: Path) -> None:
    with pytest.raises(ParityError, match=r"renders the test speech at -\d+ dBFS, too quietly"):
        parity._compare_stream(indexed_voice(loudness=1e-6), folder, rows(), parity.Parity())


def rows() -> list[parity.Blocks]:
    return [recorded_speech(FEWER_BLOCKS * CONFIG.block_ms / 1000.0, row).reshape(FEWER_BLOCKS, -1) for row in range(2)]


def test_a_row_that_fails_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = parity._Row.run

    def fail(row: Any) -> None:
        if row.inputs["mel"].storage_offset() if "mel" in row.inputs else False:
            raise RuntimeError("row 1 fails")
        run(row)

    monkeypatch.setattr(parity._Row, "run", fail)
    with pytest.raises(RuntimeError, match="row 1 fails"):
        write_export(pitch(unrolled=False), tmp_path / "out", BATCH)
    assert list(tmp_path.iterdir()) == []


def test_what_is_silent_or_zero_compares_nothing() -> None:
    zeros, ones = np.zeros((50, 1, 8)), np.ones((50, 1, 8))
    with pytest.raises(ParityError, match="zero or not finite"):
        parity._largest_error(zeros, zeros, 1e-4, "the graph prior: m")
    with pytest.raises(ParityError, match="zero or not finite"):
        parity._largest_error(ones * np.nan, ones, 1e-4, "the graph prior: m")
    assert parity._largest_error(ones, ones, 1e-4, "the graph prior: m") == 0.0
