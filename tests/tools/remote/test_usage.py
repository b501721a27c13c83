"""What `altervox remote` refuses before it has a server: one sentence and the exit code 2, or 1 if there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import altervox


@pytest.fixture(autouse=True)
def _no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("set", "pitch"), "'pitch' is not of the form name=value, such as pitch=3"),
        (("set", "pitch=high"), "pitch is 'high'; it must be a number from -36 to 36"),
        (("set", "pitch=nan"), "pitch is 'nan'; it must be a number from -36 to 36"),
        (("set", "pitch=99"), "pitch is 99; it must lie between -36 and 36"),
        (("set", "mute=perhaps"), "mute is 'perhaps'; it must be true or false"),
        (("set", "pich=1"), "there is no parameter 'pich'; choose one of pitch, "),
        (("set", "pitch=1", "pitch=2"), "pitch is given twice"),
        (("set", "\x1b[31mpitch"), "'pitch' is not of the form"),
        (("set", "voice=robot"), "a voice is not a parameter: change it with `altervox remote voice NAME`"),
        (("step", "pitch", "up"), "by is 'up'; it must be a number"),
        (("hold", "voice=robot", "forever"), "seconds is 'forever'; it must be a number"),
        (("hold", "voice=robot", "0"), "seconds is 0"),
        (("voice",), "name one voice, or use one of --next, --previous and --random"),
        (("voice", "robot", "--next"), "name one voice, or use one of"),
        (("block", "short"), "ms is 'short'; it must be a whole number"),
        (("pair", "bot"), "name a new file for the token, before the command: --token-file FILE"),
        (("button", "add", "b", "explode"), "there is no command 'explode'"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], expected: str) -> None:
    done = altervox("remote", *arguments)
    assert (done.code, done.out) == (2, "")
    assert expected in done.err
    assert "\x1b" not in done.err


def test_no_server() -> None:
    done = altervox("remote", "set", "pitch=1")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "altervox: no running altervox was found: start `altervox serve`, or `altervox live --remote`, first\n"
    )


def test_a_server_elsewhere_needs_a_token() -> None:
    done = altervox("remote", "--url", "ws://192.0.2.1:7788", "state")
    assert done.code == 2
    assert "ws://192.0.2.1:7788 needs a token: --token-file names a file with one, and" in done.err


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"a\nb"])
def test_a_token_file_without_a_token(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    done = altervox("remote", "--url", "ws://127.0.0.1:9", "--token-file", tmp_path / "token", "state")
    assert done.code == 2
    assert "token" in done.err


def test_nobody_listens_there(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")
    done = altervox("remote", "--url", "http://127.0.0.1:9", "--token-file", tmp_path / "token", "state")
    assert done.code == 1
    assert done.err == "altervox: there is no altervox to control at 127.0.0.1:9: Connection refused\n"


def test_an_address_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")
    done = altervox("remote", "--url", "ftp://here", "--token-file", tmp_path / "token", "state")
    assert done.code == 2
    assert "'ftp://here' is not the address of a server" in done.err
