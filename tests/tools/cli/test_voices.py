"""`altervox voices`: what there is, and a user's own voices from `add` to `remove`."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from pathlib import Path

import checkpoints
import made_up_neural
import pytest
import torch
from altervox.models.dsp.presets import DSP_VOICES
from altervox.models.library import shipped_neural_voices
from cli_runner import altervox, full_disk

EMBEDDED = [*DSP_VOICES, *shipped_neural_voices()]
ODD_NAME = "it's  \N{SNOWMAN} Алиса"


@pytest.fixture(scope="module")
def voice_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("voices") / "alice.pth"
    torch.save(checkpoints.voice("v2_40k", speakers=2), path)
    return path


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "library"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "library"


def test_the_embedded_voices_are_listed() -> None:
    for words in (["voices"], ["voices", "list"]):
        done = altervox(*words)
        assert (done.code, done.err) == (0, "")
        assert [line.split()[0] for line in done.out.splitlines()] == EMBEDDED
        rows = altervox(*words, "--json").json
        assert [row["name"] for row in rows] == EMBEDDED
        assert all(set(row) == {"name", "kind", "sample_rate", "description"} for row in rows)
        rates = {row["name"]: (row["kind"], row["sample_rate"]) for row in rows}
        assert all(rates[name] == ("dsp", None) for name in DSP_VOICES)
        assert all(rates[name] == ("neural", 24000) for name in shipped_neural_voices())


def test_a_home_of_a_user_who_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTERVOX_HOME", "~nosuchuser/library")
    done = altervox("voices")
    assert done.code == 2
    assert done.complaints == [
        "altervox: ALTERVOX_HOME is ~nosuchuser/library, and there is no such user; give the whole path"
    ]


@pytest.mark.parametrize(("form", "name"), [("file", None), ("folder", ODD_NAME), ("zip", None), ("zip", ODD_NAME)])
def test_a_voice_of_your_own(form: str, name: str | None, voice_file: Path, tmp_path: Path, library: Path) -> None:
    source = voice_file
    if form == "folder":
        source = tmp_path / "a folder"
        source.mkdir()
        (source / "alice.pth").write_bytes(voice_file.read_bytes())
    elif form == "zip":
        source = tmp_path / "alice.zip"
        with zipfile.ZipFile(source, "w") as archive:
            archive.write(voice_file, "inside/alice.pth")
    title = name or "alice"
    done = altervox("voices", "add", source, *(["--name", name] if name else []))
    assert (done.code, done.err) == (0, "")
    assert f"added {title}: RVC v2, with pitch, 2 speakers" in done.out

    row = altervox("voices", "--json").json[-1]
    assert (row["name"], row["kind"], row["sample_rate"]) == (title, "rvc", 40000)
    assert re.search(rf"{re.escape(title)} +rvc +40 kHz  RVC v2", altervox("voices").out)
    shown = altervox("voices", "show", title, "--json").json
    assert shown == row | {"path": str(library / "voices" / title)}

    removed = altervox("voices", "remove", title)
    assert (removed.code, removed.out) == (0, f"removed {title}\n")
    assert [r["name"] for r in altervox("voices", "--json").json] == EMBEDDED
    assert list((library / "voices").iterdir()) == []
    assert source.exists(), "only the copy goes"


def test_a_neural_voice_of_your_own(tmp_path: Path, library: Path) -> None:
    source = made_up_neural.write(tmp_path / "nina.safetensors", 2)
    done = altervox("voices", "add", source)
    assert (done.code, done.err) == (0, "")
    assert "added nina: random weights from 2, 24000 Hz" in done.out
    row = altervox("voices", "--json").json[-1]
    expected = {"name": "nina", "kind": "neural", "sample_rate": 24000, "description": "random weights from 2"}
    assert row == expected
    assert re.search(r"nina +neural +24 kHz  random weights from 2", altervox("voices").out)
    shown = altervox("voices", "show", "nina", "--json").json
    assert shown == shown | row | {"path": str(library / "voices" / "nina")}
    mixed = altervox("voices", "show", f"nina+{source}", "--json").json
    assert (mixed["kind"], [one["name"] for one in mixed["credits"]]) == ("neural", ["nina", "nina"])
    (tmp_path / "face.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert altervox("voices", "picture", "nina", tmp_path / "face.png").out == "nina has a picture now\n"
    assert altervox("voices", "remove", "nina").code == 0
    assert not any(path.is_file() for path in library.rglob("*") if path.name != ".lock")


def test_show_tells_what_a_voice_is(voice_file: Path) -> None:
    out = altervox("voices", "show", "woman").out
    assert re.search(r"^name +woman$", out, re.MULTILINE)
    assert re.search(r"^sample rate +follows the input$", out, re.MULTILINE)
    by_path = altervox("voices", "show", voice_file, "--json").json
    assert (by_path["name"], by_path["sample_rate"], by_path["path"]) == ("alice", 40000, str(voice_file))


def test_show_tells_the_licences_of_a_mix() -> None:
    rows = {name: altervox("voices", "show", name, "--json").json for name in ("clara", "edgar")}
    kept = ("name", "speaker", "licence", "attribution", "consent")
    shown = altervox("voices", "show", "clara+edgar", "--json").json
    assert shown["credits"] == [{key: row[key] for key in kept} for row in rows.values()]
    first, *cards = altervox("voices", "show", "clara+edgar").out.split("\n\n")
    assert "a mix of clara and edgar" in first
    for card, row in zip(cards, rows.values(), strict=True):
        assert card.splitlines() == [f"{key:<15} {row[key]}" for key in kept]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "womn"], 2, r"no voice 'womn' \(did you mean 'woman'\?\)"),
        (["remove", "robto"], 2, r"no voice 'robto' \(did you mean 'robot'\?\)"),
        (["remove", "../library"], 2, r"no voice '\.\./library'"),
        (["remove", "woman"], 1, r"'woman' is a built-in voice and stays"),
        (["remove", "alice"], 2, r"no voice 'alice'"),
        (["picture", "robto", "page.pth"], 2, r"no voice 'robto' \(did you mean 'robot'\?\)"),
        (["picture", "voice.pth", "page.pth"], 1, r"voice.pth is not in the library; add it first"),
        (["picture", "robot", "page.pth"], 1, r"page\.pth is not an image that browsers can show"),
        (["add", "nowhere.pth"], 1, r"nowhere\.pth does not exist"),
        (["add", "page.pth"], 1, r"page\.pth"),
        (["add", "page.zip"], 1, r"page\.zip is not a complete zip archive"),
        (["add", "evil.pth"], 1, r"evil\.pth"),
        (["show", "evil.pth"], 1, r"evil\.pth"),
        (["add", "empty"], 1, r"empty holds no \.pth"),
        (["add", "evil.zip"], 1, r"evil\.zip is unsafe: '\.\./evil\.pth' would be written outside"),
        (["add", "voice.pth", "--name", "woman"], 1, r"'woman' is a built-in voice; give another name by --name"),
        (["add", "voice.pth", "--name", "a/b"], 1, r"'a/b' cannot be a voice's name"),
    ],
)
def test_what_is_refused_is_said_in_one_line(
    words: list[str], code: int, said: str, voice_file: Path, tmp_path: Path, library: Path
) -> None:
    (tmp_path / "voice.pth").write_bytes(voice_file.read_bytes())
    for name in ("page.pth", "page.zip"):
        (tmp_path / name).write_text("<!DOCTYPE html><html>404</html>", "utf-8")
    (tmp_path / "empty").mkdir()
    checkpoints.EXECUTED.unlink(missing_ok=True)
    torch.save(checkpoints.hostile(), tmp_path / "evil.pth")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.write(voice_file, "../evil.pth")
    before = sorted(tmp_path.rglob("*"))
    done = altervox("voices", *words)
    assert done.code == code
    assert len(done.complaints) == 1
    assert done.err.splitlines() == done.complaints, "no traceback"
    assert re.search(said, done.complaints[0])
    assert done.out == ""
    assert [p for p in sorted(tmp_path.rglob("*")) if library not in (p, *p.parents)] == before
    assert not any(p.is_file() for p in library.rglob("*"))
    assert not checkpoints.EXECUTED.exists()


def test_a_full_disk_leaves_no_half_of_a_voice(voice_file: Path, library: Path) -> None:
    if sys.platform == "win32":
        return
    with full_disk(100_000):
        done = altervox("voices", "add", voice_file)
    assert done.code == 1
    assert re.fullmatch(r"altervox: .*alice cannot be written: .+", done.err.strip())
    assert list((library / "voices").iterdir()) == []


def test_a_name_that_is_taken(voice_file: Path) -> None:
    assert altervox("voices", "add", voice_file).code == 0
    done = altervox("voices", "add", voice_file)
    assert done.code == 1
    assert done.complaints == [
        "altervox: there is a voice 'alice' already; remove it first or give another name by --name"
    ]


def test_a_damaged_voice_is_listed_as_what_it_is(voice_file: Path, library: Path) -> None:
    altervox("voices", "add", voice_file)
    (library / "voices" / "alice" / "voice.json").write_text("{", "utf-8")
    row = altervox("voices", "--json").json[-1]
    assert row["name"] == "alice"
    assert "damaged" in row["description"]
    assert altervox("voices", "remove", "alice").code == 0


@pytest.mark.linux
def test_an_odd_path_is_shown_printable(voice_file: Path, tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"a\x1b[31m\xfc.pth")
    source.write_bytes(voice_file.read_bytes())
    done = altervox("voices", "show", source)
    assert done.code == 0
    assert done.out.replace("\n", "").isprintable()
    assert "\\xfc.pth" in done.out
    assert "\\xfc.pth" in altervox("voices", "show", source, "--json").json["path"]
