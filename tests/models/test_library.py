"""The library of voices: add, list, load, remove, and archives that try to write elsewhere."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path
from typing import Any

import checkpoints
import faiss
import numpy as np
import pytest
import torch
from altervox.kernels.errors import CheckpointError, UnknownVoiceError, VoiceError
from altervox.models import library, voice_source
from altervox.models.index_file import read_index
from altervox.models.rvc.voice import RvcVoice


@pytest.fixture(scope="module")
def voice_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("voices") / "alice.pth"
    torch.save(checkpoints.voice("v2_40k", speakers=1), path)
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "data folder"))
    return tmp_path / "data folder"


def write_index(path: Path, width: int = 768, vectors: int = 300, kind: str = "IVF4,Flat") -> np.ndarray:
    bank = np.random.default_rng(1).standard_normal((vectors, width)).astype(np.float32)
    index = faiss.index_factory(width, kind)
    index.train(bank)
    index.add(bank)
    path.write_bytes(faiss.serialize_index(index).tobytes())
    return bank


def zipped(path: Path, files: dict[str, Path | bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return path


@pytest.mark.parametrize("form", ["file", "folder", "zip", "zip with a folder"])
@pytest.mark.parametrize("name", ["alice", "it's  \N{SNOWMAN} Алиса"])
def test_a_voice_is_added_listed_loaded_and_removed(form: str, name: str, voice_file: Path, tmp_path: Path) -> None:
    source = tmp_path / f"{name}.pth"
    source.write_bytes(voice_file.read_bytes())
    if form == "folder":
        folder = tmp_path / "a folder"
        folder.mkdir()
        source = source.rename(folder / source.name).parent
        (folder / "G_2333.pth").write_bytes(b"not this")
    elif form.startswith("zip"):
        inner = "some/where/" if "folder" in form else ""
        source = zipped(tmp_path / f"{name}.zip", {f"{inner}{name}.pth": source, f"{inner}readme.txt": b"hi"})
    info = library.add_voice(source)
    assert info.name == name
    assert info.description == "RVC v2, with pitch, 200epoch"
    listed = [v for v in library.list_voices() if v.kind == "rvc"]
    assert listed == [info]
    voice = library.load_voice(name)
    assert isinstance(voice, RvcVoice)
    assert voice.sample_rate == 40000
    library.remove_voice(name)
    assert not [v for v in library.list_voices() if v.kind == "rvc"]


def test_a_user_who_is_not_there_is_no_internal_error(voice_file: Path, home: Path) -> None:
    with pytest.raises(VoiceError, match=r"~nosuchuser/v\.pth does not exist; give"):
        library.add_voice(Path("~nosuchuser/v.pth"))
    for name in ("~nosuchuser/v.pth", "~nosuchuser/v.safetensors"):
        with pytest.raises(CheckpointError, match=f"{name} does not exist"):
            library.load_voice(name)
    with pytest.raises(UnknownVoiceError, match="there is no voice '~nosuchuser'"):
        library.load_voice("~nosuchuser")
    library.add_voice(voice_file, "~nosuchuser")
    assert library.lengths_of("~nosuchuser") == {}
    assert library.load_voice("~nosuchuser", "cpu").name == "~nosuchuser"


@pytest.mark.linux
def test_of_a_voice_that_is_a_link_the_link_is_removed(tmp_path: Path, home: Path) -> None:
    (tmp_path / "real").mkdir()
    (home / "voices").mkdir(parents=True)
    (home / "voices" / "mine").symlink_to(tmp_path / "real")
    library.remove_voice("mine")
    assert list((home / "voices").iterdir()) == []
    assert (tmp_path / "real").is_dir()


def test_a_path_needs_no_library(voice_file: Path, home: Path) -> None:
    assert library.load_voice(voice_file).name == "alice"
    assert library.load_voice(str(voice_file.parent)).kind == "rvc"
    assert not home.exists()


def test_the_index_comes_along_and_is_exact(voice_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "alice"
    folder.mkdir()
    (folder / "alice.pth").write_bytes(voice_file.read_bytes())
    bank = write_index(folder / "added_IVF4_Flat_alice_v2.index")
    write_index(folder / "trained_IVF4_Flat_alice_v2.index", vectors=200)
    assert "index" in library.add_voice(folder).description
    voice = library.load_voice("alice")
    assert isinstance(voice, RvcVoice)
    assert voice.index is not None
    np.testing.assert_array_equal(voice.index.vectors.numpy(), bank)


@pytest.mark.parametrize("kind", ["Flat", "IVF4,Flat"])
def test_every_kind_of_index_gives_its_vectors_in_order(kind: str, tmp_path: Path) -> None:
    bank = write_index(tmp_path / "имя.index", width=256, kind=kind)
    np.testing.assert_array_equal(read_index(tmp_path / "имя.index", 256).vectors.numpy(), bank)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda p: p.write_bytes(b"IwFl" + bytes(50)), "not a readable index"),
        (lambda p: p.write_bytes(b"hello"), "not a readable index"),
        (lambda p: write_index(p, width=256), "of 256 values, the voice takes 768"),
    ],
)
def test_a_bad_index_costs_one_warning_not_the_voice(
    write: Any, message: str, voice_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "alice.pth"
    path.write_bytes(voice_file.read_bytes())
    write(tmp_path / "alice.index")
    with caplog.at_level(logging.WARNING):
        voice = library.load_voice(path)
    assert isinstance(voice, RvcVoice)
    assert voice.index is None
    assert len(caplog.records) == 1
    assert message in caplog.text


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("../evil.pth", "outside of its folder"),
        ("/tmp/evil.pth", "outside of its folder"),
        ("a/../../evil.pth", "outside of its folder"),
        ("..\\evil.pth", "outside of its folder"),
        ("C:\\evil.pth", "outside of its folder"),
    ],
)
def test_archives_that_escape_are_refused(member: str, message: str, tmp_path: Path, home: Path) -> None:
    source = zipped(tmp_path / "evil.zip", {member: b"x"})
    before = sorted(tmp_path.parent.rglob("*.pth"))
    with pytest.raises(VoiceError, match=message):
        library.add_voice(source)
    assert sorted(tmp_path.parent.rglob("*.pth")) == before
    assert not home.exists()


def test_an_archive_with_a_link_is_refused(tmp_path: Path) -> None:
    member = zipfile.ZipInfo("voice.pth")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(VoiceError, match="outside of its folder"):
        library.add_voice(tmp_path / "link.zip")


def test_an_archive_that_grows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_source, "MAX_MODEL_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("voice.pth", bytes(2 << 20))
    with pytest.raises(VoiceError, match="unpacks to"):
        library.add_voice(tmp_path / "bomb.zip")


def test_damaged_and_empty_sources_are_named(tmp_path: Path) -> None:
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04" + bytes(30))
    (tmp_path / "none").mkdir()
    zipped(tmp_path / "none.zip", {"readme.txt": b"hi"})
    for source, message in {
        "cut.zip": "not a complete zip",
        "none": "holds no .pth",
        "none.zip": "holds no .pth",
        "missing.pth": "does not exist",
    }.items():
        with pytest.raises(VoiceError, match=message):
            library.add_voice(tmp_path / source)


def test_several_voices_in_a_folder_are_listed(voice_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("a.pth", "b.pth"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(VoiceError, match=r"holds 2 voices \(a\.pth, b\.pth\); give the path of one"):
        library.add_voice(folder)


def test_a_refused_voice_leaves_nothing(tmp_path: Path, home: Path) -> None:
    torch.save({"hello": 1}, tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError):
        library.add_voice(tmp_path / "wrong.pth")
    assert not list(home.rglob("*")) if home.exists() else True


@pytest.mark.parametrize(
    "name",
    [
        "woman",
        "a/b",
        "..",
        "",
        " x",
        "a:b",
        "x" * 101,
        "\N{SNOWMAN}" * 90,
        "tab\tname",
        "con",
        "NUL.pth",
        "Com1",
        "dot.",
    ],
)
def test_unusable_names_are_refused(name: str, voice_file: Path) -> None:
    with pytest.raises(VoiceError, match="name"):
        library.add_voice(voice_file, name or " ")


def test_a_taken_name_is_refused(voice_file: Path) -> None:
    library.add_voice(voice_file)
    with pytest.raises(VoiceError, match="already"):
        library.add_voice(voice_file)


def test_an_unknown_voice_gets_the_nearest_name(voice_file: Path) -> None:
    library.add_voice(voice_file)
    for asked, near in {"womn": "woman", "alise": "alice"}.items():
        with pytest.raises(UnknownVoiceError, match=f"did you mean '{near}'"):
            library.load_voice(asked)
    with pytest.raises(UnknownVoiceError, match="there is no voice 'zzz'; `altervox voices` lists them"):
        library.load_voice("zzz")
    with pytest.raises(CheckpointError, match="does not exist"):
        library.load_voice("nowhere/x.pth")
    with pytest.raises(UnknownVoiceError):
        library.remove_voice("../alice")
    with pytest.raises(VoiceError, match="built-in"):
        library.remove_voice("woman")


def test_a_damaged_folder_is_listed_as_such(home: Path) -> None:
    (home / "voices" / "broken").mkdir(parents=True)
    (info,) = (v for v in library.list_voices() if v.kind == "rvc")
    assert "damaged" in info.description
    library.remove_voice("broken")


def test_an_index_that_cannot_be_used_is_said_when_the_voice_is_added(
    voice_file: Path, tmp_path: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_index(tmp_path / "other.index", width=256)
    source = zipped(
        tmp_path / "alice.zip", {"w/alice.pth": voice_file, "logs/added_alice.index": tmp_path / "other.index"}
    )
    info = library.add_voice(source)
    assert "index" not in info.description
    assert not (home / "voices" / "alice" / "voice.index").exists()
    assert len(caplog.records) == 1
    assert f"{source}: logs/added_alice.index holds 300 vectors of 256 values" in caplog.text
    assert "the voice goes on without its index" in caplog.text


def test_what_a_killed_process_left_is_removed_by_the_next(voice_file: Path, home: Path) -> None:
    (home / "voices" / ".adding-x" / "voice").mkdir(parents=True)
    (home / "voices" / ".adding-x" / "voice" / "voice.pth").write_bytes(b"half")
    library.add_voice(voice_file)
    assert [path.name for path in (home / "voices").iterdir()] == ["alice"]


def test_room_for_speakers_is_not_taken_for_speakers(tmp_path: Path, home: Path) -> None:
    torch.save(checkpoints.voice("v2_40k", speakers=109), tmp_path / "usual.pth")
    assert "speakers" not in library.add_voice(tmp_path / "usual.pth").description


def test_a_description_from_elsewhere_is_one_short_line(voice_file: Path, home: Path) -> None:
    library.add_voice(voice_file)
    described = home / "voices" / "alice" / "voice.json"
    for text in (
        '{"sample_rate": 40000, "description": "a\\u001b[31m\\nb' + "x" * 1000 + '"}',
        "[" * 60_000,
        '{"sample_rate": 1e999}',
    ):
        described.write_text(text)
        (info,) = (v for v in library.list_voices() if v.kind == "rvc")
        assert info.description.isprintable()
        assert len(info.description) <= 160
