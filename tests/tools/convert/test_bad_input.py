"""`altervox convert` on what goes wrong: one clear line, the exit code, nothing lost and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import soundfile
import torch
from cli_runner import COMMAND, MALE, Outcome, altervox, full_disk, left_over, speech, write_ffmpeg

RATE = 16000
POSIX = sys.platform != "win32"


def wav(path: Path, samples: Any = None, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, speech(0.3) if samples is None else samples, RATE, subtype)
    return path


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def bad(kind: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = folder / "in.wav"
        samples = speech(1.0)
        if kind == "folder":
            (folder / "in.wav").mkdir()
            (folder / "in.wav" / "notes.txt").write_text("x")
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "text":
            path.write_text("hello\n" * 100)
        elif kind == "html":
            path.write_text("<!DOCTYPE html><html><body>404</body></html>")
        elif kind == "no samples":
            wav(path, np.zeros(0))
        elif kind in ("nan", "inf"):
            samples[RATE // 2] = float(kind)
            wav(path, samples, "FLOAT")
        elif kind == "moov":
            cut(write_ffmpeg(folder / "in.m4a", samples, RATE, "aac").rename(path), 0.5)
        elif kind != "missing":
            wav(path)

    return make


def hostile(folder: Path) -> None:
    wav(folder / "in.wav")
    checkpoints.EXECUTED.unlink(missing_ok=True)
    torch.save(checkpoints.hostile(), folder / "evil.pth")


def plain(*options: str, out: str = "out.wav") -> list[str]:
    return ["convert", "in.wav", "-o", out, "--voice", "off", *options]


NEAR = r"there is no voice 'womn' \(did you mean 'woman'\?\)"
# What is there, the arguments, the exit code, and a regular expression of what is said.
REFUSED: dict[str, tuple[Callable[[Path], None], list[str], int, str]] = {
    "missing file": (bad("missing"), plain(), 1, r"in\.wav does not exist"),
    "missing folder": (
        bad("missing"),
        ["convert", "nowhere/", "-o", "x/", "--voice", "off"],
        1,
        "nowhere does not exist",
    ),
    "folder without audio": (bad("folder"), plain(), 1, r"in\.wav holds no audio files"),
    "empty file": (bad("empty"), plain(), 1, r"in\.wav is empty: .*0 bytes"),
    "text": (bad("text"), plain(), 1, r"in\.wav is not audio"),
    "html": (bad("html"), plain(), 1, r"in\.wav is not audio"),
    "zero length": (bad("no samples"), plain(), 1, r"in\.wav holds no audio: it has 0 samples"),
    "NaN": (bad("nan"), plain(), 1, r"in\.wav .*NaN or infinite samples.* 0\.500 s; --repair"),
    "infinity": (bad("inf"), plain("--voice", "woman"), 1, r"in\.wav .*NaN or infinite samples.* 0\.500 s; --repair"),
    "M4A without index": (bad("moov"), plain(), 1, r"in\.wav is an MP4 file without its index"),
    "unknown voice": (bad(""), plain("--voice", "womn"), 2, NEAR),
    "missing voice file": (bad(""), plain("--voice", "x/v.pth"), 1, r"x/v\.pth does not exist"),
    "audio as a voice": (bad(""), plain("--voice", "in.wav"), 1, r"in\.wav"),
    "hostile voice": (hostile, plain("--voice", "evil.pth"), 1, r"evil\.pth"),
    "unknown ending": (bad(""), plain(out="out.xyz"), 2, r"out\.xyz ends in '\.xyz'; use one of .*\.wav .*\.mp3"),
    "no ending": (bad(""), plain(out="out"), 2, r"output out has no file extension; use one of"),
    "unwritable format": (bad(""), plain(out="out.m4a"), 2, r"out\.m4a ends in '\.m4a'"),
    "below a file": (bad(""), plain(out="in.wav/x.wav"), 1, r"in\.wav.x\.wav cannot be written"),
    "folder that is a file": (bad(""), plain(out="in.wav/"), 2, r"in\.wav names a file"),
    "folder that is an old file": (bad(""), plain("in.wav", out="old.wav"), 2, r"old\.wav names a file"),
    "input is output": (bad(""), plain(out="in.wav"), 2, r"in\.wav is the input in\.wav"),
    "input is output, dotted": (bad(""), plain(out="./x/../in.wav"), 2, r"in\.wav is the input in\.wav"),
}
# The same of wrong usage, which click tells.
USAGE: dict[str, tuple[list[str], str]] = {
    "unknown F0 method": (plain("--f0-method", "dio"), r"'dio' is not one of 'auto', 'rmvpe-small', 'rmvpe'"),
    "pitch": (plain("--pitch", "99"), r"--pitch.*99.* not in the range -36"),
    "pitch is a word": (plain("--pitch", "high"), r"--pitch.*'high'"),
    "pitch is not a number": (plain("--pitch", "nan"), r"nan"),
    "formant": (plain("--formant", "-13"), r"--formant.*-13"),
    "index rate": (plain("--index-rate", "1.5"), r"--index-rate.*1\.5"),
    "protect": (plain("--protect", "0.6"), r"--protect.*0\.6"),
    "rms mix": (plain("--rms-mix", "-1"), r"--rms-mix.*-1"),
    "speaker": (plain("--speaker", "-1"), r"--speaker.*-1"),
    "seed": (plain("--seed", "-1"), r"--seed.*-1"),
    "unknown option": (plain("--picth", "3"), r"No such option.*--picth"),
    "unknown command": (["convrt", "in.wav"], r"No such command 'convrt'"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "home"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in folder.rglob("*")}


def assert_refused(done: Outcome, code: int, said: str) -> None:
    assert "Traceback" not in done.err
    assert "internal error" not in done.err
    assert done.code == code, done.err
    assert len(done.complaints) == 1, done.err
    assert re.search(said, done.complaints[0]), done.err
    assert done.out == ""


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_said_in_one_line(case: str, place: Path) -> None:
    make, arguments, code, said = REFUSED[case]
    wav(place / "old.wav", speech(0.1))
    make(place)
    before = contents(place)
    assert_refused(altervox(*arguments), code, said)
    assert contents(place) == before
    assert not checkpoints.EXECUTED.exists()


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage(case: str, place: Path) -> None:
    wav(place / "in.wav")
    arguments, said = USAGE[case]
    done = altervox(*arguments)
    assert done.code == 2, done.err
    assert re.search(said, done.err)
    assert "Traceback" not in done.err
    assert done.out == ""
    assert list(contents(place)) == ["in.wav"]


def test_no_inputs(place: Path) -> None:
    assert altervox("convert", "--voice", "off").code == 2
    done = altervox("convert")
    assert done.code == 2
    assert "Usage: altervox convert" in done.err


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cpu:7x"])
def test_an_unknown_device(device: str, place: Path) -> None:
    wav(place / "in.wav")
    torch.save(checkpoints.voice("v2_40k", speakers=1), place / "alice.pth")
    done = altervox(*plain("--voice", "alice.pth", "--device", device))
    assert_refused(done, 1, f"device '{device}'")


@pytest.mark.parametrize("target", ["", "./", "x/../"])
@pytest.mark.parametrize("kind", ["symlink", "hard link"])
def test_links_to_the_input_are_the_input(kind: str, target: str, place: Path) -> None:
    wav(place / "in.wav")
    (place / "x").mkdir()
    link = place / "link.wav"
    link.symlink_to("in.wav") if kind == "symlink" else link.hardlink_to(place / "in.wav")
    before = contents(place)
    assert_refused(altervox(*plain(out=f"{target}link.wav")), 2, r"link\.wav is the input in\.wav")
    assert_refused(
        altervox("convert", "link.wav", "-o", "in.wav", "--voice", "off"), 2, r"in\.wav is the input link\.wav"
    )
    assert contents(place) == before
    assert link.is_symlink() == (kind == "symlink")


@pytest.mark.parametrize("kind", ["nan", "text", "empty"])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_an_older_result_stays_where_the_new_one_fails(kind: str, suffix: str, place: Path) -> None:
    bad(kind)(place)
    old = place / f"out.{suffix}"
    soundfile.write(old, speech(0.2), RATE)
    before = contents(place)
    assert altervox(*plain(out=old.name)).code == 1
    assert contents(place) == before
    (place / "in.wav").unlink()
    wav(place / "in.wav", speech(0.4))
    assert altervox(*plain(out=old.name)).code == 0
    assert soundfile.info(old).duration == 0.4
    assert not left_over(place)


@pytest.mark.parametrize("voice", ["off", "woman", "robot", "whisper"])
def test_one_sample_is_audio(voice: str, place: Path) -> None:
    wav(place / "in.wav", np.array([0.5]))
    done = altervox(*plain("--voice", voice))
    assert (done.code, done.err) == (0, "")
    assert soundfile.info("out.wav").frames == 1


@pytest.mark.parametrize("kind", ["nan", "inf"])
@pytest.mark.parametrize("voice", ["off", "woman"])
def test_repair(kind: str, voice: str, place: Path) -> None:
    bad(kind)(place)
    done = altervox(*plain("--repair", "--voice", voice))
    assert done.code == 0
    assert len(done.complaints) == 1
    assert re.search(r"in\.wav: 1 NaN or infinite samples? w\w+ replaced", done.complaints[0])
    assert np.isfinite(soundfile.read("out.wav")[0]).all()


@pytest.mark.parametrize("form", ["mp3", "wav", "flac"])
def test_what_is_left_of_a_truncated_file_is_converted(form: str, place: Path) -> None:
    source = place / f"in.{form}"
    soundfile.write(source, speech(8.0), RATE)
    cut(source, 0.6)
    done = altervox("convert", source, "-o", "out.wav", "--voice", "off")
    assert done.code == 0
    assert 3.0 < soundfile.info("out.wav").duration < 5.6
    assert any(re.search(r"cut short: \d\.\d s", line) for line in done.complaints)
    assert done.err.splitlines() == done.complaints
    assert len(set(done.complaints)) == len(done.complaints) <= 2


@pytest.mark.parametrize("output", ["/proc/x.wav", "/proc/new/x.wav", "/dev/null/x.wav"])
def test_a_place_that_takes_no_files(output: str, place: Path) -> None:
    wav(place / "in.wav")
    if sys.platform != "linux":
        return
    assert_refused(altervox(*plain(out=output)), 1, rf"{output} cannot be written: [A-Z]")


def _long_input(path: Path, minutes: int) -> Path:
    minute = np.tile(soundfile.read(MALE, dtype="int16")[0], 12)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write(minute)
    return path


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "opus", "mp3", "aiff"])
@pytest.mark.parametrize("limit", [0, 100, 60_000])
def test_a_full_disk(ending: str, limit: int, place: Path) -> None:
    if not POSIX:
        return
    wav(place / "in.wav", speech(30.0))
    (place / f"out.{ending}").write_bytes(b"an older result")
    before = contents(place)

    with full_disk(limit):
        done = altervox(*plain(out=f"out.{ending}"))
    assert_refused(done, 1, rf"out\.{ending} c(ould not be written completely: File too large|annot be written)")
    assert contents(place) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_being_stopped_leaves_nothing(number: signal.Signals, place: Path) -> None:
    if not POSIX:
        return
    _long_input(place / "in.wav", 10)
    wav(place / "out.wav", speech(0.1))
    before = contents(place)
    process = subprocess.Popen(
        [*COMMAND, *plain("--voice", "woman")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},  # where a library that does not survive it gave up
    )
    try:
        give_up = time.monotonic() + 60
        while not (parts := left_over(place)) or not parts[0].stat().st_size:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < give_up
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, err.decode()
    assert out == b""
    assert err.decode().split() == ["altervox:", "interrupted"]
    assert contents(place) == before


def test_a_bar_shows_on_a_terminal_and_goes(place: Path) -> None:
    if not POSIX:
        return
    import pty
    import select

    cut(wav(place / "in.wav", speech(20.0)), 0.6)
    main, terminal = pty.openpty()
    list_of_results = place / "list.txt"
    with list_of_results.open("wb") as results:
        process = subprocess.Popen(
            [*COMMAND, "convert", "in.wav", "--voice", "woman"],
            stdout=results,
            stderr=terminal,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )
    os.close(terminal)
    shown = b""
    while True:
        if select.select([main], [], [], 0.1)[0]:
            try:
                shown += os.read(main, 65536)
            except OSError:  # the other side is closed
                break
    os.close(main)
    assert process.wait() == 0
    assert b"in.wav" in shown
    assert b"x real time" in shown
    assert shown.endswith(b"\x1b[2K"), "the bar's line is wiped"
    assert b"Traceback" not in shown
    assert re.search(rb"(\r\n|\x1b\[2K)altervox: in\.wav: it is cut short", shown)
    assert list_of_results.read_text().startswith("in.woman.wav")
