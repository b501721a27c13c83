"""`altervox remote` against a real server on loopback, with a session in memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
from altervox.realtime.session.commands import Set
from cli_runner import COMMAND, Outcome, altervox
from remote_session import MemorySession, voice


@pytest.fixture
def session() -> MemorySession:
    return MemorySession()


@pytest.fixture(autouse=True)
def server(session: MemorySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteServer]:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    with RemoteServer(session, ServerSettings(port=0, url_buttons=True)) as running:
        yield running


def remote(*arguments: object) -> str:
    """Output of a command that succeeds."""
    done = altervox("remote", *arguments)
    assert (done.code, done.err) == (0, "")
    return done.out


def test_every_command_of_a_session(session: MemorySession) -> None:
    assert remote("set", "pitch=3", "mute=on") == "pitch  3\nmute   on\n"
    assert remote("step", "pitch", "-1.5") == "pitch  1.5\n"
    assert remote("toggle", "mute") == "mute  off\n"
    assert remote("voice", "robot") == "voice  robot\n"
    assert remote("voice", "--previous") == "voice  man\n"
    assert remote("voice", "--next", "--json") == '{\n "voice": "robot"\n}\n'
    assert remote("voice", "--random").startswith("voice  ")
    held = json.loads(remote("hold", "voice=off", "pitch=5", "30", "--json"))
    assert (held["seconds"], held["values"]["voice"]) == (30, "off")
    assert session.state().voice == "off"
    assert "holds            id" in remote("state")
    assert remote("release", held["hold"]) == "released  1\n"
    assert remote("record", "on") == "recording  on\n"
    assert remote("block", "60") == "block_ms  60\n"
    assert remote("stop") == "session  stopped\n"
    assert remote("measure") == "latency_ms  21.5\n"
    assert remote("start", "--block-ms", "40") == "session  running\n"
    state = json.loads(remote("state", "--json"))
    assert (state["session"], state["pitch"], state["block_ms"]) == ("running", 1.5, 40)


def test_lists(session: MemorySession) -> None:
    session.lists.append(voice("v\x1b[31mred\n"))
    voices = remote("voices")
    assert "robot     dsp   sounds like robot\n" in voices
    assert "\x1b" not in voices
    assert [line.split() for line in remote("devices").splitlines()[0:3]] == [
        ["inputs:"],
        ["name", "default", "cable", "listening", "name"],
        ["Microphone", "on", "off", "-"],
    ]
    assert len(json.loads(remote("voices", "--json"))["voices"]) == 6


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("voice", "robott"), 2, "did you mean 'robot'?"),
        (("release", "nothing"), 2, "hold"),
        (("start",), 1, "the session runs already"),
        (("measure",), 1, "stop the session first"),
        (("clients", "remove", "nobody"), 2, "nobody"),
    ],
)
def test_what_the_server_refuses(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = altervox("remote", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert done.err.startswith("altervox: ")
    assert done.err.count("\n") == 1


def test_a_panel_address_and_a_button(server: RemoteServer) -> None:
    assert remote("panel").startswith(f"{server.address}#")
    address = remote("button", "add", "deeper", "step", "name=pitch", "by=-1")
    assert address.startswith(f"{server.address}b/")
    assert address.endswith("/deeper\n")
    names, line = remote("button", "list").splitlines()
    assert names.split() == ["id", "label", "cmd", "params"]
    listed = line.split()
    assert listed[1:] == ["deeper", "step", "name", "pitch,", "by", "-1"]
    assert altervox("remote", "button", "remove", listed[0]).code == 0
    assert remote("button", "list") == ""


@pytest.mark.linux
def test_the_panel_is_opened_only_on_a_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def note(address: str) -> bool:
        opened.append(address)
        return True

    monkeypatch.setattr("webbrowser.open", note)
    monkeypatch.setenv("DISPLAY", ":0")
    assert remote("panel", "--open").split() == opened
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    done = altervox("remote", "panel", "--open")  # a browser in the terminal would take it
    assert (done.code, len(opened)) == (1, 1)
    assert "no browser can be opened here" in done.err


@pytest.mark.parametrize("is_named", [True, False])
def test_pairing_and_the_token_that_comes_of_it(server: RemoteServer, tmp_path: Path, is_named: bool) -> None:
    there = (*(("--url", server.address) if is_named else ()), "--token-file", tmp_path / "bot.token")
    asking: list[Outcome] = []
    command = [*COMMAND, "remote", *map(str, there), "pair", "bot"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        code = process.stderr.readline().split()[-2]
        shown = remote("clients").split("asks for a token: ")[1]
        assert shown.startswith(f"bot, role control, code {code}: altervox remote clients allow ")
        remote("clients", "allow", shown.split("allow ")[1].split(",")[0], "--role", "view")
        out, _ = process.communicate(timeout=10)
        asking.append(Outcome(process.returncode, out, ""))
    assert asking[0].code == 0
    assert (tmp_path / "bot.token").stat().st_mode & 0o777 == 0o600
    assert "session" in altervox("remote", *there, "state").out
    refused = altervox("remote", *there, "set", "pitch=1")
    assert (refused.code, refused.err) == (1, "altervox: set needs the role control\n")
    again = altervox("remote", *there, "pair", "bot")
    assert (again.code, "exists: name a new file" in again.err) == (2, True)
    client = next(line for line in remote("clients").splitlines() if " bot " in line)
    assert "view" in client
    remote("clients", "remove", client.split()[0])
    assert altervox("remote", *there, "state").err.startswith("altervox: the token is wrong")


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A program that ends by itself, or with the test."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("as_json", [False, True])
def test_watch_shows_changes_until_it_is_interrupted(session: MemorySession, as_json: bool) -> None:
    command = [*COMMAND, "remote", "watch", "--meters", "20", *(["--json"] if as_json else [])]
    changing = threading.Event()

    def change() -> None:  # the session goes on, so there are meters
        while not changing.wait(0.05):
            session.report(seconds=time.monotonic())

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with running(command) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            while len(lines) < 10 or "deck" not in lines[-1]:
                if len(lines) == 9:
                    session.do(Set({"pitch_semitones": 2.0}), "deck\x1b[31m")
                lines.append(process.stdout.readline())
                assert len(lines) < 100
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10)
    finally:
        changing.set()
        thread.join()
    assert (process.returncode, errors) == (0, "")
    assert "\x1b" not in "".join(lines)
    if as_json:
        events = [json.loads(line) for line in lines]
        assert (events[0]["event"], events[0]["full"], events[0]["data"]["pitch"]) == ("state", True, 0.0)
        assert events[-1]["by"].startswith("deck")
        assert events[-1]["data"] == {"pitch": 2.0}
        assert any(event["event"] == "meters" for event in events)
    else:
        assert "session running, voice woman" in lines[0]
        assert "pitch 2  (deck)" in lines[-1]
        assert any(line.startswith("in  ") for line in lines)


def test_watch_waits_for_a_server_that_comes_back(session: MemorySession, server: RemoteServer) -> None:
    command = [*COMMAND, "remote", "watch"]
    with running(command) as process:
        assert process.stdout is not None
        process.stdout.readline()
        server.__exit__(None, None, None)
        assert "the server shuts down); connecting again ..." in process.stdout.readline()
        with RemoteServer(session, ServerSettings(port=0)):
            said = process.stdout.readline() + process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.wait(10)
    assert "connected again" in said
    assert "session running" in said


def test_a_command_loads_nothing_that_takes_long() -> None:
    """A press of a button waits for it."""
    code = (
        "import sys; from altervox.tools.cli.main import main; sys.argv = ['altervox', 'remote', 'set', 'pitch=1']\n"
        "try: main()\nexcept SystemExit: print(*sys.modules)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "websockets.asyncio.client" in done.stdout.split()
    assert not {"numpy", "torch", "rich", "numba", "av", "sounddevice", "jinja2"} & set(done.stdout.split())
