"""`altervox remote convert` against a real server on loopback, with real voices."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from altervox.kernels.types import FloatArray
from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
from altervox.realtime.synthetic import speech_like
from audio_client import directly
from cli_runner import COMMAND, altervox
from remote_session import MemorySession

RATE = 24000


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteServer]:
    folder = tmp_path_factory.mktemp("runtime")
    folder.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        with RemoteServer(MemorySession(), ServerSettings(port=0, audio_workers=1)) as running:
            yield running


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.wav"
    soundfile.write(path, speech(), RATE, "FLOAT")
    return path


def speech() -> FloatArray:
    return speech_like(1.5, RATE).astype(np.float32)[:30_001]


@pytest.mark.parametrize("pace", ["fast", "live"])
def test_a_file_comes_back_in_another_voice(source: Path, tmp_path: Path, pace: str) -> None:
    target = tmp_path / "out.wav"
    done = altervox("remote", "convert", source, "-o", target, "--voice", "robot", "--pace", pace, "--json", "pitch=2")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    found, rate = soundfile.read(target, dtype="float32")
    assert (rate, len(found), told["voice"], told["pace"]) == (RATE, 30_001, "robot", pace)
    if not told["late_blocks"]:  # a busy machine may be late in real time
        np.testing.assert_array_equal(found, directly(speech(), RATE, "robot", pitch_semitones=2.0))


def test_long_blocks_and_other_rates(tmp_path: Path) -> None:
    source, target = tmp_path / "in.flac", tmp_path / "out.flac"
    soundfile.write(source, speech_like(1.0, 96000)[:96000], 96000, "PCM_16")
    done = altervox("remote", "convert", source, "-o", target, "--voice", "man", "--block-ms", "200")
    assert done.code == 0, done.err
    assert done.err == ""
    assert "1.0 s in " in done.out
    info = soundfile.info(target)
    assert (info.samplerate, info.frames, info.subtype) == (48000, 48000, "PCM_16")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--voice", "nobody"], "there is no voice 'nobody'"),
        (["pitch=99"], "pitch is 99; it must lie between -36 and 36"),
        (["loud=3"], "there is no parameter 'loud'"),
        (["--block-ms", "30"], "block_ms is 30; it must be a multiple of 20"),
        (["--pace", "slow"], "'slow' is not one of"),
    ],
)
def test_what_cannot_be_done_says_why_and_leaves_nothing(
    source: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = altervox("remote", "convert", source, "-o", tmp_path / "new" / "out.wav", *arguments)
    assert done.code == 2
    assert said in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav"]


def test_a_file_is_not_replaced_by_itself(source: Path) -> None:
    done = altervox("remote", "convert", source, "-o", source)
    assert done.code == 2
    assert len(soundfile.read(source)[0]) == 30_001


def test_a_session_that_is_ended_leaves_nothing(source: Path, tmp_path: Path) -> None:
    soundfile.write(source, np.tile(speech(), 60), RATE, "FLOAT")
    command = [*COMMAND, "remote", "convert", str(source), "-o", str(tmp_path / "out.wav"), "--pace", "live"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as converting:
        sessions: list[dict[str, Any]] = []
        while not sessions:
            sessions = altervox("remote", "audio", "--json").json["sessions"]
        assert altervox("remote", "audio", "end", sessions[0]["session"]).code == 0
        _, said = converting.communicate()
    assert converting.returncode == 1
    assert "ended by" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.wav"]
