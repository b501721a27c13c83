"""Inputs of odd kinds: links, pipes, names that are no Unicode, folders that cannot be read; each is named alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import soundfile
from altervox.kernels.errors import AudioFileError, ParameterError
from altervox.tools.convert.plan import plan
from altervox.tools.convert.reader import open_audio
from cli_runner import altervox, speech

pytestmark = pytest.mark.linux
RATE = 16000


def wav(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    soundfile.write(os.fsencode(path), speech(0.2), RATE, format="WAV")
    return path


def make(kind: str, path: Path) -> None:
    if kind == "loop":
        path.symlink_to(path.name)
    elif kind == "long loop":
        path.symlink_to(f"other-{path.name}")
        path.with_name(f"other-{path.name}").symlink_to(path.name)
    elif kind == "dangling":
        path.symlink_to("nothing.wav")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()


REFUSED = {
    "loop": "a link that leads back to itself",
    "long loop": "a link that leads back to itself",
    "dangling": "a link to nothing.wav, which does not exist",
    "pipe": "a device or a pipe",
    "socket": "a device or a pipe",
    "device": "a device or a pipe",
    "folder": "a folder",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_file_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(kind, Path("x.wav"))
    with pytest.raises(AudioFileError, match=REFUSED[kind]), open_audio(Path("x.wav")):
        pass
    wav(Path("good.wav"))
    plan([Path("x.wav"), Path("good.wav")], Path("out"), "off", to_folder=True) if kind != "folder" else None


@pytest.mark.parametrize("kind", ["loop", "long loop", "dangling", "pipe", "device", "folder"])
def test_the_rest_of_a_folder_is_converted(kind: str, tmp_path: Path) -> None:
    wav(tmp_path / "in" / "good.wav")
    make(kind, tmp_path / "in" / "x.wav")
    done = altervox("convert", tmp_path / "in", "-o", tmp_path / "out", "--voice", "off")
    assert (tmp_path / "out" / "good.wav").exists()
    assert done.code == (0 if kind == "folder" else 1)
    if kind != "folder":
        assert REFUSED[kind] in done.complaints[0]
        assert done.complaints[-1].endswith("files failed")
        assert len(done.complaints) == len(done.err.splitlines())


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("output", ["out", None])
def test_a_name_that_is_no_unicode_fails_alone(output: str | None, as_json: bool, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    wav(folder / "good.wav")
    wav(folder / os.fsdecode(b"m\xfcller\x1b[31m.wav"))
    options = (["-o", tmp_path / output] if output else []) + (["--json"] if as_json else [])
    done = altervox("convert", folder, "--voice", "off", *options)
    assert done.code == 1
    assert (tmp_path / "out" / "good.wav" if output else folder / "good.off.wav").exists()
    assert f"{folder}{os.sep}m\\xfcller.wav has a name that is not valid Unicode; rename it" in done.complaints[0]
    assert "\x1b" not in done.err + done.out
    if as_json:
        assert [set(row) for row in done.json if "error" in row] == [{"input", "error"}]
        assert done.out.isascii()
    else:
        assert done.complaints[1] == "altervox: 1 of 2 files failed"


def test_single_files_with_such_names(tmp_path: Path) -> None:
    bad = wav(tmp_path / os.fsdecode(b"m\xfcller.wav"))
    done = altervox("convert", bad, "-o", tmp_path / "out.wav", "--voice", "off")
    assert (done.code, len(done.complaints)) == (1, 1)
    with pytest.raises(ParameterError, match="not valid Unicode"):
        plan([wav(tmp_path / "good.wav")], bad, "off")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is the system's own by another way."""
    wav(tmp_path / "in" / "good.wav")
    (tmp_path / "in" / "sub").mkdir()
    scan = os.scandir

    def refuses(path: str) -> object:
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuses)
    jobs = plan([tmp_path / "in"], tmp_path / "out", "off")
    assert [job.refused for job in jobs] == ["", f"{tmp_path / 'in' / 'sub'} cannot be read: Permission denied"]


def test_links_in_a_circle_of_folders_end(tmp_path: Path) -> None:
    wav(tmp_path / "in" / "good.wav")
    (tmp_path / "in" / "again").symlink_to("..")
    (tmp_path / "in" / "loop").symlink_to("loop")
    assert len(plan([tmp_path / "in"], tmp_path / "out", "off")) == 1


@pytest.mark.parametrize("target", ["loop/x.wav", "loop", "x" * 300 + ".wav"])
def test_outputs_that_cannot_be(target: str, tmp_path: Path) -> None:
    wav(tmp_path / "good.wav")
    (tmp_path / "loop").symlink_to("loop")
    done = altervox("convert", tmp_path / "good.wav", "-o", tmp_path / target, "--voice", "off")
    assert done.code in (1, 2)
    assert len(done.complaints) == len(done.err.splitlines()) == 1
    assert "internal error" not in done.err
    assert target.split("/")[0] in done.err
    assert sys.platform == "linux"


def test_a_folder_is_converted_again_without_its_results(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a", "b"):
        wav(folder / f"{name}.wav")
    assert altervox("convert", folder, "--voice", "off").code == 0
    wav(folder / "c.wav")
    done = altervox("convert", folder, "--voice", "off")
    assert (done.code, done.err) == (0, "")
    names = ["a.off.wav", "a.wav", "b.off.wav", "b.wav", "c.off.wav", "c.wav"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_an_input_that_would_be_replaced_refuses_one_file_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a.wav", "b.wav"):
        wav(folder / name)
    earlier = wav(folder / "a.off.wav")
    jobs = plan([folder, earlier], None, "off")
    assert {job.source.name: job.refused for job in jobs} == {
        "a.wav": f"output {earlier} is the input {earlier} too; name another output",
        "b.wav": "",
        "a.off.wav": "",
    }
    with pytest.raises(ParameterError, match="is the input"):
        plan([folder / "a.wav", earlier], None, "off")


@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize(
    ("name", "words"),
    [("folder.wav", "is a folder; name another output"), (f"{'x' * 248}.wav", "has a name of 256 bytes, and 255 is")],
)
def test_a_target_that_cannot_be_is_found_while_planning(name: str, words: str, is_named: bool, tmp_path: Path) -> None:
    source = wav(tmp_path / "in" / name)
    wav(tmp_path / "in" / "good.wav")
    (tmp_path / "in" / "folder.off.wav").mkdir()
    if is_named:
        with pytest.raises(ParameterError, match=words):
            plan([source], None, "off")
    else:
        jobs = {job.source.name: job.refused for job in plan([tmp_path / "in"], None, "off")}
        assert words in jobs[name]
        assert jobs["good.wav"] == ""
