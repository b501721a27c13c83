"""What users give as a voice: folders and zips of every layout, odd and damaged archives."""

from __future__ import annotations

import random
import struct
import tempfile
import zipfile
from pathlib import Path

import pytest
from altervox.kernels.errors import AltervoxError, CheckpointError, VoiceError
from altervox.models import library, voice_source
from altervox.models.voice_source import VoiceFiles, voice_files

PTH, INDEX = b"\x80the weights", b"the vectors"


def content(files: VoiceFiles) -> tuple[bytes, bytes | None, str]:
    return files.weights.read_bytes(), files.index.read_bytes() if files.index else None, files.remark


def found(source: Path) -> tuple[bytes, bytes | None, str]:
    with voice_files(source) as files:
        return content(files)


def made(place: Path, form: str, names: dict[str, bytes]) -> Path:
    """A folder or a zip with these files."""
    source = place / ("v.zip" if form == "zip" else "v")
    if form == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            for name, data in names.items():
                archive.writestr(name, data)
    else:
        for name, data in names.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(data)
    return source


LAYOUTS: dict[str, dict[str, bytes]] = {
    "flat": {"v.pth": PTH, "v.index": INDEX},
    "web ui": {"assets/weights/v.pth": PTH, "logs/v/added_IVF9_Flat_nprobe_1_v_v2.index": INDEX},
    "training beside it": {"v.pth": PTH, "G_2333.pth": b"", "D_2333.pth": b"", "logs/added_x.index": INDEX},
    "added and trained": {"v.pth": PTH, "trained_IVF9_v.index": b"", "added_IVF9_v.index": INDEX},
    "litter": {"v.pth": PTH, "a/v.index": INDEX, "__MACOSX/._v.pth": b"", "__MACOSX/a/._v.index": b"", "._v.pth": b""},
    "epoch in the name": {"v_e300_s9000.pth": PTH, "added_v_v2.index": INDEX, "trained_other.index": b""},
}


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_the_one_index_is_taken_wherever_it_lies(layout: str, form: str, tmp_path: Path) -> None:
    weights, index, remark = found(made(tmp_path, form, LAYOUTS[layout]))
    assert (weights, index) == (PTH, INDEX)
    assert bool(remark) == (layout == "epoch in the name"), "it is said where another one was passed over"


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_among_several_indexes_none_is_guessed(form: str, tmp_path: Path) -> None:
    names = {"v.pth": PTH, "added_a.index": INDEX, "logs/added_b.index": INDEX}
    weights, index, remark = found(made(tmp_path, form, names))
    assert (weights, index) == (PTH, None)
    assert remark.startswith("2 index files fit v (")
    assert "added_a.index" in remark
    assert "added_b.index" in remark
    assert "none is used" in remark


def test_an_index_of_another_voice_in_a_folder_of_many_is_not_taken(tmp_path: Path) -> None:
    source = made(tmp_path, "folder", {"v.pth": PTH, "w.pth": PTH, "added_w.index": INDEX})
    assert found(source / "v.pth")[1] is None
    assert found(source / "w.pth")[1] == INDEX


@pytest.mark.parametrize("dots", ["./", ".", "./a/./"])
def test_dots_in_names_are_nothing(dots: str, tmp_path: Path) -> None:
    assert found(made(tmp_path, "zip", {dots: b"", "./a/./v.pth": PTH}))[0] == PTH


def test_only_names_that_a_trainer_gives_are_training_files(tmp_path: Path) -> None:
    for place, name in enumerate(("G_Dragon.pth", "D_anna_e200.pth", "g_.pth")):
        beside = {name: PTH, "G_latest.pth": b"", "g_2333.PTH": b"", "D_0.pth": b""}
        (tmp_path / str(place)).mkdir()
        assert found(made(tmp_path / str(place), "zip", beside))[0] == PTH


def test_backslashes_and_names_that_no_system_takes_are_read(tmp_path: Path) -> None:
    for name in ("a\\v.pth", "con.pth", "x" * 3000 + ".pth", "a\nb\x1b[31m.pth", "?*.pth", "a./v .pth"):
        assert found(made(tmp_path, "zip", {name: PTH}))[0] == PTH


NO_VOICES: dict[str, tuple[dict[str, bytes], str]] = {
    "two epochs": ({"v_e100.pth": PTH, "v_e300.pth": PTH}, r"holds 2 voices \(v_e100\.pth, v_e300\.pth\); "),
    "case clash": ({"V.pth": PTH, "v.pth": PTH}, r"holds 2 voices \(V\.pth, v\.pth\); "),
    "safetensors": ({"v/model.safetensors": b"x"}, "holds no .pth of a voice, but a .safetensors file; "),
    "onnx": ({"v.onnx": b"x"}, "but an .onnx file; give the .pth that it was exported from"),
    "inner": ({"v.zip": b"x"}, "but another zip; unpack it and add what is inside"),
    "index only": ({"v.index": b"x"}, "but an .index only; "),
    "training": ({"G_1.pth": b"x"}, "but training files"),
    "words": ({"readme\x07.txt": b"x"}, "but readme.txt; "),
    "litter": ({"__MACOSX/._v.pth": b"x"}, "it is empty"),
}


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("kind", list(NO_VOICES))
def test_what_is_there_instead_is_said(kind: str, form: str, tmp_path: Path) -> None:
    names, message = NO_VOICES[kind]
    source = made(tmp_path, form, names)
    with pytest.raises(VoiceError, match=message) as caught:
        found(source)
    assert str(caught.value).startswith(f"{source} holds")
    assert str(caught.value).isprintable()
    assert ("unpack it" in str(caught.value)) == ((form == "zip" and "2 voices" in message) or kind == "inner")


def patched(place: Path, at_magic: bytes, offset: int, value: bytes, packing: int = zipfile.ZIP_STORED) -> Path:
    """A zip of a voice with bytes changed at each place where a structure starts."""
    source = place / "v.zip"
    with zipfile.ZipFile(source, "w", packing) as archive:
        archive.writestr("v.pth", PTH * 50)
    data = bytearray(source.read_bytes())
    at = data.find(at_magic)
    while at >= 0:
        data[at + offset : at + offset + len(value)] = value
        at = data.find(at_magic, at + 1)
    source.write_bytes(data)
    return source


ODD: dict[str, tuple[bytes, int, bytes, str]] = {
    "checksum": (b"PK\x01\x02", 16, b"\0\0\0\0", "not a complete zip archive .*CRC"),
    "compression": (b"PK\x01\x02", 10, b"\x63\0", "packed in a way that is unknown"),
    "encrypted": (b"PK\x01\x02", 8, b"\x01\0", "is encrypted"),
    "size": (b"PK\x01\x02", 24, b"\xf0\xff\xff\xff", r"unpacks to 4\.3 GB"),
    "offset": (b"PK\x01\x02", 42, b"\xf0\xff\xff\x0f", "not a complete zip archive"),
    "disks": (b"PK\x05\x06", 4, b"\x02\0\x02\0", "."),
    "directory": (b"PK\x05\x06", 12, b"\xf0\xff\xff\x7f", "not a complete zip archive"),
    "link": (b"PK\x01\x02", 38, struct.pack("<I", 0o120777 << 16), "outside of its folder"),
}


@pytest.mark.parametrize("kind", list(ODD))
def test_odd_archives_end_in_one_sentence(kind: str, tmp_path: Path) -> None:
    magic, offset, value, message = ODD[kind]
    source = patched(tmp_path, magic, offset, value)
    if kind == "disks":  # the numbers of disks say nothing about what is in this file
        assert found(source)[0] == PTH * 50
        return
    with pytest.raises(VoiceError, match=message) as caught:
        found(source)
    assert str(source) in str(caught.value)
    assert tempfile.gettempdir() + "/altervox-" not in str(caught.value)


def test_a_name_that_is_not_utf8_is_said(tmp_path: Path) -> None:
    source = made(tmp_path, "zip", {"\N{SNOWMAN}.pth": PTH})
    source.write_bytes(source.read_bytes().replace("\N{SNOWMAN}".encode(), b"\xff\xfe\xfd"))
    with pytest.raises(VoiceError, match="file name that is not UTF-8; unpack it and add the folder"):
        found(source)


def test_a_long_list_of_files_is_refused(tmp_path: Path) -> None:
    source = made(tmp_path, "zip", {f"{i}.txt": b"" for i in range(1100)} | {"v.pth": PTH})
    with pytest.raises(VoiceError, match="holds 1101 files"):
        found(source)
    source = made(tmp_path, "zip", {"x" * 60_000 + str(i): b"" for i in range(80)})
    with pytest.raises(VoiceError, match="its list of files is too long"):
        found(source)


def test_a_folder_of_everything_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_source, "MAX_FOLDER_FILES", 10)
    source = made(tmp_path, "folder", {f"{i}/v.txt": b"" for i in range(12)})
    with pytest.raises(VoiceError, match="holds more than 10 files; give the folder of one voice"):
        found(source)


def test_errors_about_what_is_inside_name_the_zip(tmp_path: Path) -> None:
    source = made(tmp_path, "zip", {"inside/alice.pth": PTH, "a.index": INDEX})
    with voice_files(source) as files:
        assert files.told(f"{files.index} is bad") == f"{source}: a.index is bad"
    assert not files.weights.exists()
    with pytest.raises(CheckpointError, match=r"v\.zip: inside/alice\.pth is damaged"):
        library.add_voice(source)


@pytest.mark.linux
def test_a_zip_that_cannot_be_opened_is_not_called_incomplete(tmp_path: Path) -> None:
    (tmp_path / "v.zip").symlink_to("v.zip")
    with pytest.raises(VoiceError, match=r"v\.zip cannot be read: Too many levels"):
        found(tmp_path / "v.zip")


def test_random_damage_ends_in_one_sentence(tmp_path: Path) -> None:
    rng, refused = random.Random(1), list[str]()
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        source = tmp_path / "v.zip"
        with zipfile.ZipFile(source, "w", packing) as archive:
            archive.writestr("w/v.pth", bytes(rng.randrange(256) for _ in range(300)))
            archive.writestr("v.index", INDEX * 10)
        good = source.read_bytes()
        for _ in range(150):
            bad = bytearray(good)
            for _ in range(rng.choice((1, 2, 6))):
                bad[rng.randrange(len(bad))] = rng.randrange(256)
            source.write_bytes(bad[: rng.choice((len(bad), len(bad), rng.randrange(len(bad))))])
            try:
                found(source)
            except AltervoxError as error:
                refused.append(str(error))
    assert len(refused) > 150
    assert all(str(source) in said and said.isprintable() for said in refused)
