"""What the doctor finds, and what it advises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from altervox.kernels.extras import how_to_install
from altervox.tools.doctor.gpu import NvidiaGpu, gpu_check, nvidia_gpus
from cli_runner import Outcome, altervox, altervox_process

DATA = Path(__file__).parents[2] / "data"


def run(*arguments: str, **environment: str) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        return altervox("doctor", *arguments)


def checks(*arguments: str, **environment: str) -> dict[str, dict[str, Any]]:
    return judged(run(*arguments, "--json", **environment))


def judged(done: Outcome) -> dict[str, dict[str, Any]]:
    rows = done.json
    assert all(set(row) == {"check", "status", "found", "remedy"} for row in rows)
    assert all(row["remedy"] for row in rows if row["status"] != "ok"), "whatever is wrong has a remedy"
    assert done.code == (1 if any(row["status"] == "error" for row in rows) else 0)
    return {row["check"]: row for row in rows}


def test_a_fresh_machine(tmp_path: Path) -> None:
    found = judged(altervox_process("doctor", "--json", env={"ALTERVOX_HOME": str(tmp_path / "new")}))
    for name in ("python", "torch", "library", "onnx runtime"):
        assert found[name]["status"] == "ok", found[name]
    assert str(tmp_path / "new" / "base") in found["rmvpe.pt"]["remedy"]
    assert found["hubert_base.pt"]["status"] == "warning"
    assert not (tmp_path / "new").exists(), "looking changes nothing"


def test_a_missing_extra_is_installed_by_the_one_command_that_is_named_everywhere() -> None:
    code = (
        "import importlib.metadata as metadata; from altervox.tools.doctor import extras\n"
        "def missing(name): raise metadata.PackageNotFoundError(name)\n"
        "extras.version = missing\n"
        "checks = extras.onnx_check(False), extras.onnx_check(True)\n"
        "print(*(check.remedy for check in checks), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [how_to_install("cpu"), how_to_install("gpu")]


def test_base_models_are_found(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "rmvpe.pt").write_bytes(b"x")
    found = checks(ALTERVOX_HOME=str(tmp_path))["rmvpe.pt"]
    assert found["status"] == "ok"
    assert "not the published size" in found["found"]


def test_an_unwritable_library_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    found = checks(ALTERVOX_HOME=str(tmp_path / "file" / "below"))["library"]
    assert found["status"] == "error"
    assert "ALTERVOX_HOME" in found["remedy"]


def test_for_people_it_is_lines_with_remedies(tmp_path: Path) -> None:
    done = run(ALTERVOX_HOME=str(tmp_path))
    assert "warning  hubert_base.pt" in done.out
    assert "ok       rmvpe.pt" in done.out
    assert "or put rmvpe.pt from https://huggingface.co/" in done.out
    assert not done.err


@pytest.mark.parametrize(
    ("gpus", "cuda", "works", "status", "words"),
    [
        ([], None, False, "ok", "none found"),
        ([NvidiaGpu("RTX", "550.1", 8192)], "12.8", True, "ok", "driver 550.1"),
        ([NvidiaGpu("RTX", "550.1", 8192)], None, False, "warning", "torch is a CPU build"),
        ([NvidiaGpu("RTX", "390.1", 8192)], "13.0", False, "warning", "torch for CUDA 13.0 cannot use it"),
    ],
)
def test_torch_and_driver_that_do_not_fit(
    gpus: list[NvidiaGpu], cuda: str | None, works: bool, status: str, words: str
) -> None:
    check = gpu_check(gpus, cuda, works)
    assert check.status == status
    assert words in check.found
    assert bool(check.remedy) == (status != "ok")


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in driver tool is a shell script")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("NVIDIA GeForce RTX 4060, 550.54.14, 8188", [NvidiaGpu("NVIDIA GeForce RTX 4060", "550.54.14", 8188)]),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", []),
        ("", []),
    ],
)
def test_the_driver_tool_is_read(
    answer: str, expected: list[NvidiaGpu], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\necho "{answer}"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert nvidia_gpus() == expected


def test_a_good_file() -> None:
    found = checks(str(DATA / "librivox_male.wav"))
    assert found["format"]["found"] == "WAV, PCM_16, 16000 Hz, 1 channel"
    assert found["integrity"]["status"] == "ok"
    for_people = run(str(DATA / "librivox_male.wav"))
    assert "format         WAV, PCM_16" in for_people.out


@pytest.mark.parametrize(
    ("name", "write", "check", "status", "words"),
    [
        ("missing.wav", lambda p: None, "audio", "error", "does not exist"),
        ("empty.wav", lambda p: p.write_bytes(b""), "audio", "error", "is empty"),
        ("text.wav", lambda p: p.write_text("hello " * 99), "audio", "error", "is not audio"),
        ("none.wav", lambda p: soundfile.write(p, np.zeros(0), 16000), "length", "error", "0 samples"),
        ("quiet.wav", lambda p: soundfile.write(p, np.zeros(800), 16000), "level", "warning", "digital silence"),
        ("loud.wav", lambda p: soundfile.write(p, np.ones(800), 16000), "level", "warning", "clipped"),
        (
            "nan.wav",
            lambda p: soundfile.write(p, np.full(800, np.nan), 16000, subtype="FLOAT"),
            "integrity",
            "error",
            "800 samples are NaN or infinite",
        ),
    ],
)
def test_bad_files_are_diagnosed(name: str, write: Any, check: str, status: str, words: str, tmp_path: Path) -> None:
    write(tmp_path / name)
    found = checks(str(tmp_path / name))[check]
    assert found["status"] == status
    assert words in found["found"]


@pytest.mark.linux
def test_a_name_with_escape_sequences_does_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "e\x1b[31mvil\x1b]0;own\x07 \u00fc.wav"
    path.write_text("hello " * 99)
    for_people, as_json = run(str(path)), run(str(path), "--json")
    assert f"{tmp_path}{os.sep}evil \u00fc.wav is not audio" in for_people.out
    assert not {"\x1b", "\x07"} & set(for_people.out + as_json.out)
    assert as_json.out.isascii()
    assert path.name in judged(as_json)["audio"]["found"]


def test_what_the_reader_finds_wrong_is_a_warning(tmp_path: Path) -> None:
    content = bytearray((DATA / "librivox_male.wav").read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = bytes(4)  # as of a recording that was never closed
    (tmp_path / "open.wav").write_bytes(content)
    found = checks(str(tmp_path / "open.wav"))["reading"]
    assert found["status"] == "warning"
    assert "header" in found["found"]
    assert not run(str(tmp_path / "open.wav")).err, "said once"
