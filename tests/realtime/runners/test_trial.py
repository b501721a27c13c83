"""Providers are tried in processes of their own: whatever they do there, one that works is found, and remembered."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from altervox.realtime.runners import trial

# What providers do when they are tried.
CHILD = """
import json, os, sys, time
import numpy as np
folder, backend, target = sys.argv[1:]
provider = backend.removeprefix("onnx-")
with open(folder + "/tried", "a") as file:
    file.write(provider + "\\n")
if provider == "crashing":
    os.abort()
if provider == "hanging":
    time.sleep(60)
if provider == "failing":
    sys.exit("no driver\\x1b[31m")
if provider == "silent":
    sys.exit(0)
out = np.ones((40, 8), np.float32)
if provider == "wrong":
    out += 1.0
if provider == "broken":
    out[3, 3] = np.nan
np.save(target, out)
print("what a library prints")
print(json.dumps({"p50_ms": {"onnx": 10.0, "slow": 20.0}.get(provider, 5.0)}))
"""


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.setattr(trial, "child_command", lambda: [sys.executable, str(tmp_path / "child.py")])
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "home"))
    graphs = {"prior": SimpleNamespace(graph_sha256="0")}
    return SimpleNamespace(name="alice", folder=tmp_path, manifest=SimpleNamespace(graphs=graphs))


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    found = [f"{name.capitalize()}ExecutionProvider" for name in (*names, "cpu")] + ["AzureExecutionProvider"]
    monkeypatch.setattr(trial, "onnx_providers", lambda: found)


def tried(voice: Any) -> list[str]:
    path = voice.folder / "tried"
    return path.read_text().split() if path.exists() else []


def test_the_cpu_alone_needs_no_trial(voice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    assert trial.best_backend(voice) == "onnx"
    assert tried(voice) == []


@pytest.mark.parametrize("name", ["crashing", "hanging", "failing", "silent", "wrong", "broken", "slow"])
def test_a_provider_that_is_no_good_is_not_used(name: str, voice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, name)
    assert trial.best_backend(voice, limit_s=5.0 if name != "hanging" else 1.0) == "onnx"
    assert tried(voice) == ["onnx", name]


def test_the_fastest_is_found_once_for_each_voice_and_machine(
    voice: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, "crashing", "fast")
    for _ in range(2):
        assert trial.best_backend(voice) == "onnx-fast"
    assert tried(voice) == ["onnx", "crashing", "fast"]
    voice.manifest.graphs["prior"].graph_sha256 = "1"
    monkeypatch.setattr(trial, "onnx_version", lambda: "99")
    assert trial.best_backend(voice) == "onnx-fast"
    assert len(tried(voice)) == 6
    driver = tmp_path / "driver"
    driver.write_text("NVRM version: 580.1")
    monkeypatch.setattr(trial, "_NVIDIA_DRIVER", driver)
    assert trial.best_backend(voice) == "onnx-fast"
    assert len(tried(voice)) == 9
    (stored,) = (voice.folder / "home").iterdir()
    assert len(json.loads(stored.read_text())) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "rm -rf"}', "\xff"])
def test_what_was_remembered_may_be_damaged(text: str, voice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "fast")
    (voice.folder / "home").mkdir()
    (voice.folder / "home" / "providers.json").write_text(text, "latin-1")
    assert trial.best_backend(voice) == "onnx-fast"


def test_a_library_that_cannot_be_written_is_no_obstacle(voice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "fast")
    (voice.folder / "home").write_text("a file in its place")
    assert trial.best_backend(voice) == "onnx-fast"


def test_a_failure_is_told_in_one_printable_line() -> None:
    told = trial.run_apart([sys.executable, "-c", "import sys; sys.exit('no driver\\x1b[31m here')"], 10.0)
    assert told == "failed (no driver here)"
    assert trial.run_apart(["/nonexistent/program"], 10.0) == "could not be started (No such file or directory)"
