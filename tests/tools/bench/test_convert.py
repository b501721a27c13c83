"""The benchmark runs and reports what it measured; the files it makes are voices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from altervox.models.checkpoint import read_state, read_voice
from altervox.tools.bench.synthetic import RVC_KINDS, write_base_models, write_voice


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "altervox.tools.bench.convert", "--seconds", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_measures_embedded_and_rvc_voices() -> None:
    done = bench("--voice", "robot", "--voice", "rvc-v2-40k", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["machine"]
    robot, rvc = report["voices"]
    assert (robot["voice"], rvc["voice"]) == ("robot", "rvc-v2-40k")
    assert rvc["rtf"] > robot["rtf"] > 0
    assert rvc["peak_mib"] > robot["peak_mib"] + 400, "a full-size voice with its base models holds 1.4 GB of weights"


def test_an_unknown_voice_lists_the_known() -> None:
    done = bench("--voice", "rvc-v3")
    assert done.returncode == 2
    assert "rvc-v2-40k" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", list(RVC_KINDS))
def test_its_voices_are_voices(kind: str, tmp_path: Path) -> None:
    voice = read_voice(write_voice(tmp_path, kind))
    assert f"rvc-{voice.version}-{voice.sample_rate // 1000}k" == kind
    assert voice.speakers == 109
    voice.synthesizer()


def test_its_base_models_are_base_models(tmp_path: Path) -> None:
    write_base_models(tmp_path / "base")
    assert len(read_state(tmp_path / "base" / "rmvpe.pt", "unet.", "RMVPE")) == 741
    assert read_state(tmp_path / "base" / "hubert_base.pt", "feature_extractor.", "HuBERT")
