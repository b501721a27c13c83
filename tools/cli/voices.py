"""`altervox voices`: list, show, add, remove, give a picture."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from ...kernels.errors import ParameterError, VoiceError
from ...kernels.printable import MESSAGE_LIMIT, encodable, printable
from ...models.library import VoiceInfo, add_voice, list_voices, load_voice, remove_voice
from ...models.pictures import remove_picture, set_picture


def show_list(as_json: bool) -> int:
    """Print every voice."""
    voices = list_voices()
    if as_json:
        click.echo(json.dumps([_row(v) for v in voices], indent=1))
        return 0
    width = max(len(v.name) for v in voices)
    for v in voices:
        rate = f"{v.sample_rate / 1000:g} kHz" if v.sample_rate else ""
        click.echo(f"{v.name:<{width}}  {v.kind:<8} {rate:>8}  {v.description}")
    return 0


def show_one(name: str, as_json: bool, sample: Path | None = None, source: Path | None = None) -> int:
    """Print one voice; a path is read as `convert --voice` would.

    Args:
        name: Name or path of the voice.
        as_json: Print JSON.
        sample: Sound file to write with a sentence in the voice; None for none.
        source: Recording to convert for it; None for a sentence that lies beside the voice.
    """
    from ..voices.show import card_rows, render_sample

    if source is not None and sample is None:
        raise ParameterError("--from names a recording for --sample: say by --sample where the result goes")
    info = next((v for v in list_voices() if v.name == name), None)
    has_card = info is None or info.kind in ("neural", "exported")
    voice = load_voice(name, "cpu") if has_card or sample is not None else None
    if info is None:
        assert voice is not None
        path = Path(name) if Path(name).exists() else None  # a mix has none
        info = VoiceInfo(voice.name, voice.kind, voice.sample_rate, voice.description, path)
    row = _row(info) | ({"path": encodable(info.path)} if info.path else {})
    row |= card_rows(voice) if voice is not None else {}
    if sample is not None and voice is not None:
        row["sample"] = encodable(render_sample(voice, info.path, source, sample))
    if as_json:
        click.echo(json.dumps(row, indent=1))
    else:
        voices_of_mix = row.pop("credits", [])
        click.echo("\n\n".join(_table(rows) for rows in (row, *voices_of_mix)))
    return 0


def _table(row: dict[str, Any]) -> str:
    return "\n".join(f"{key.replace('_', ' '):<15} {_shown(value)}" for key, value in row.items())


def _shown(value: object) -> str:
    if value is None:
        return "follows the input"
    if isinstance(value, dict):
        return ", ".join(f"{printable(key, 100).replace('_', ' ')} {number:g}" for key, number in value.items())
    return printable(value, MESSAGE_LIMIT)


def add(source: Path, name: str | None) -> int:
    """Add a voice to the library."""
    info = add_voice(source, name)
    click.echo(f"added {info.name}: {info.description}, {info.sample_rate} Hz")
    words = ["convert", "in.wav", "-o", "out.wav", "--voice", info.name]
    click.echo(f"try it: {command_line(words)}")
    return 0


def remove(name: str) -> int:
    """Remove a voice from the library."""
    remove_voice(name)
    click.echo(f"removed {name}")
    return 0


def picture(name: str, source: Path | None) -> int:
    """Give a voice a picture for the web panel, or take it away."""
    if name not in {info.name for info in list_voices()}:
        load_voice(name, "cpu")  # says which voices there are
        raise VoiceError(f"{name} is not in the library; add it first: `altervox voices add`")
    if source is not None:
        set_picture(name, source)
        click.echo(f"{name} has a picture now")
    else:
        click.echo(f"the picture of {name} is removed" if remove_picture(name) else f"{name} has no picture")
    return 0


def command_line(words: list[str]) -> str:
    """A command for this program, to be typed as this one was: `altervox` alone works only if the shell finds it."""
    called = Path(sys.argv[0])
    found = shutil.which("altervox")
    if called.name == "__main__.py":
        program = [sys.executable, "-m", "altervox.tools"]
    elif called.name == sys.argv[0] or (found and called.exists() and called.samefile(found)):
        program = ["altervox"]
    else:
        program = [sys.argv[0]]
    return subprocess.list2cmdline(program + words) if sys.platform == "win32" else shlex.join(program + words)


def _row(info: VoiceInfo) -> dict[str, Any]:
    return {
        "name": encodable(info.name),
        "kind": info.kind,
        "sample_rate": info.sample_rate,
        "description": info.description,
    }
