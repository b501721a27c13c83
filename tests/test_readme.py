"""README and docs: the Python example runs, and every command, option, file and module that they name exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import soundfile
from altervox.models.dsp.presets import DSP_VOICES
from altervox.models.library import shipped_neural_voices
from altervox.tools.cli.main import cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in PAGES}
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", flags=re.DOTALL)


def commands(text: str) -> list[str]:
    """Every use of `altervox` in a text: lines of its fenced blocks, and code between backticks."""
    fenced = [line for language, block in _FENCED.findall(text) if not language for line in block.splitlines()]
    inline = [" ".join(code.split()) for _, code in _INLINE.findall(_FENCED.sub("", text))]
    found = (re.search(r"(?<![\w./-])altervox [a-z].*", line) for line in (*fenced, *inline))
    return sorted({match.group() for match in found if match})


def options_of_tables(text: str) -> list[str]:
    """What the first column of the tables in a text names."""
    cells = re.findall(r"^\| (`--.*?`) \|", text, flags=re.MULTILINE)
    return [option for cell in cells for option in re.findall(r"`(--[\w-]+)", cell)]


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words begin with, and the words after it."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options(command: click.Command) -> set[str]:
    """All that a command takes."""
    return {option for parameter in command.params for option in parameter.opts if option.startswith("-")}


def test_python_example_runs(tmp_path: Path) -> None:
    blocks = [text for language, text in _FENCED.findall(README) if language == "python"]
    recording = ROOT / "tests" / "data" / "alsa_female.wav"
    shutil.copy(recording, tmp_path / "in.wav")
    example = "\n".join(blocks)  # one goes on where the other ends
    subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True)
    before, after = soundfile.info(recording), soundfile.info(tmp_path / "out.wav")
    assert after.frames * before.samplerate == before.frames * after.samplerate


@pytest.mark.parametrize("name", TEXTS)
def test_commands_exist_and_take_their_options(name: str) -> None:
    for line in commands(TEXTS[name]):
        words = shlex.split(line, comments=True)[1:]
        command, rest = command_of(words)
        assert command is not cli, f"no command: {line}"
        known = options(command)
        for option in (word for word in rest if re.match("--?[a-z]", word)):
            assert option in known, f"no option {option}: {line}"


def test_commands_are_found() -> None:
    assert len(commands(README)) >= 8
    assert len(commands(TEXTS["live.md"])) >= 8


@pytest.mark.parametrize(("name", "page"), [("convert", "convert"), ("live", "live"), ("serve", "remote")])
def test_table_of_options_is_complete(name: str, page: str) -> None:
    listed = options_of_tables(TEXTS[f"{page}.md"])
    exist = options(cli.commands[name])
    assert set(listed) <= exist
    if name == "convert":
        assert exist - set(listed) == {"-o", "--output"}
    else:  # those of the voice are in convert.md, those of a session in live.md
        others = options_of_tables(TEXTS["convert.md"] + (TEXTS["live.md"] if name == "serve" else ""))
        assert exist - set(listed) - set(others) == set()


def test_table_of_voices_is_what_ships() -> None:
    table = README.split("| voice | sounds like |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| ([\w, ]+?) +\|", table, flags=re.MULTILINE)
    assert sorted(name for cell in cells for name in cell.split(", ")) == sorted(
        [*DSP_VOICES, *shipped_neural_voices()]
    )


@pytest.mark.parametrize("name", TEXTS)
def test_files_and_modules_exist(name: str) -> None:
    text = TEXTS[name]
    for path in re.findall(r"`((?:\.github|docs|kernels|tests|models|realtime|tools)/[\w./]*|[A-Z_]+\.md)`", text):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\(([^):]+)\)", text):
        folder = ROOT if (ROOT / name).exists() else ROOT / "docs"
        file, _, anchor = target.partition("#")
        assert (folder / file).exists(), target
        headings = re.findall(r"^#+ (.+)$", (folder / file).read_text("utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in headings}
    for module in re.findall(r"python -m (altervox[\w.]+)", text):
        assert importlib.util.find_spec(module) is not None, module


def test_readme_does_not_promise_a_package() -> None:
    assert "pip install altervox" not in README


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150
