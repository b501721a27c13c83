"""How TensorRT's parser is asked; the parser is a stand-in, for TensorRT needs a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from altervox.tools.export.tensorrt_parser import parser_verdict

STAND_IN = """
import os
__version__ = "10.9"
class Logger:
    ERROR = 1
    def __init__(self, level): pass
class Builder:
    def __init__(self, logger):
        if os.environ.get("NO_GPU"):
            os.abort()
    def create_network(self, flags): return object()
class Error:
    def desc(self): return "no importer for\\x1b[31m GRU"
class OnnxParser:
    num_errors = 1
    def __init__(self, network, logger): pass
    def parse_from_file(self, path): return "good" in path
    def get_error(self, i): return Error()
"""


@pytest.fixture
def graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    (tmp_path / "tensorrt.py").write_text(STAND_IN, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return [Path("good.onnx"), Path("bad.onnx")]


def test_without_tensorrt_nothing_is_said() -> None:
    assert parser_verdict([Path("good.onnx")]) is None


def test_what_the_parser_refuses_is_named(graphs: list[Path]) -> None:
    assert parser_verdict(graphs[:1]) == "TensorRT 10.9 parses every graph"
    assert parser_verdict(graphs) == "TensorRT 10.9 refuses bad.onnx (no importer for GRU)"


def test_a_parser_that_crashes_is_one_line(graphs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_GPU", "1")
    assert parser_verdict(graphs) == "TensorRT's parser crashed (signal 6)"
