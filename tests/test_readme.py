"""The README's example runs, and its commands exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from altervox.models.dsp.presets import DSP_VOICES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if not language for line in text.splitlines() if "altervox " in line]


def altervox(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "altervox.tools", *arguments]
    environment = {**os.environ, "PYTHONUTF8": "1", "COLUMNS": "120"}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment, check=False)


def test_python_example_runs(tmp_path: Path) -> None:
    example = "\n".join(text for language, text in BLOCKS if language == "python")  # one goes on where the other ends
    recording = ROOT / "tests" / "data" / "alsa_female.wav"
    shutil.copy(recording, tmp_path / "in.wav")
    subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True)
    before, after = soundfile.info(recording), soundfile.info(tmp_path / "out.wav")
    assert after.frames * before.samplerate == before.frames * after.samplerate


def test_commands_are_found() -> None:
    assert len(COMMANDS) >= 6


@pytest.mark.parametrize("line", COMMANDS)
def test_command_exists_and_takes_these_options(line: str) -> None:
    words = shlex.split(line)
    assert words[0] == "altervox"
    group = altervox("--help").stdout
    assert re.search(rf"^ +{words[1]}\b", group, flags=re.MULTILINE), f"no command {words[1]}"
    path = words[1:2]
    if words[1] == "voices" and len(words) > 2:
        path = words[1:3]
    shown = altervox(*path, "--help")
    assert shown.returncode == 0, shown.stderr
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(^|[\s,]){re.escape(option)}\b", shown.stdout, flags=re.MULTILINE), f"no option {option}"


def options_of(heading: str) -> list[str]:
    """What the first column of the tables under a heading names."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`--.*?`) \|", section, flags=re.MULTILINE)
    return [option for cell in cells for option in re.findall(r"`(--[\w-]+)", cell)]


@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command in ("convert", "live") for option in options_of(command.capitalize())],
)
def test_option_of_the_table_exists(command: str, option: str) -> None:
    assert re.search(rf"{option}\b", altervox(command, "--help").stdout)


def test_table_of_voices_is_what_ships() -> None:
    table = README.split("| voice | sounds like |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| ([\w, ]+?) +\|", table, flags=re.MULTILINE)
    assert sorted(name for cell in cells for name in cell.split(", ")) == sorted(DSP_VOICES)


def test_nothing_is_promised_that_does_not_exist() -> None:
    assert "pip install altervox" not in README
    for path in re.findall(r"`((?:\.github|docs|tests|models|tools)/[^`]*|[A-Z_]+\.md)`", README):
        assert (ROOT / path).exists(), path
