"""`altervox serve` as a user meets it: what it refuses, what it prints, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from altervox.realtime.serve.runtime import local_servers
from altervox.tools.cli.live import live
from altervox.tools.cli.serve import serve
from audio_client import SECONDS, AudioClient
from cli_runner import altervox
from remote_sockets import Client, until
from spawned import spawned_by
from websockets.sync.client import connect

pytestmark = pytest.mark.linux

LINK = re.compile(r"(http://127\.0\.0\.1:(\d+)/)#([\w-]{43})\n")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--port", "70000"], 2, "0<=x<=65535"),
        (["--bind", "0.0.0.0"], 2, "--token-file FILE (it is made if it is missing), and --cert and --key for TLS"),
        (["--bind", "somewhere"], 2, "--bind somewhere: give an IP address"),
        (["--cert", "nowhere.pem"], 1, "--cert nowhere.pem: No such file"),
        (["--key", "nowhere.pem"], 2, "give its certificate with --cert"),
        (["--allow-origin", "example"], 2, "--allow-origin example: give scheme and host"),
        (["--host-name", "a:1"], 2, "--host-name a:1: give a name without port"),
        (["--pitch", "99"], 2, "--pitch"),
        (["--audio-workers", "-1"], 2, "0<=x<=256"),
        (["--max-sessions", "0"], 2, "1<=x<=256"),
        (["--hot-key", "dance=f8"], 2, "dance"),
        (["--seconds", "3"], 2, "No such option"),
        (["--osc-in", "0.0.0.0:9001"], 2, "on this computer only"),
        (["--osc-out", "VRChat"], 2, "--osc-out VRChat: give a port"),
        (["--osc-map", "nowhere.toml"], 2, "--osc-map nowhere.toml: give --osc-in or --osc-out, too"),
        (["--osc-in", "9001", "--osc-map", "nowhere.toml"], 2, "--osc-map nowhere.toml: No such file"),
    ],
)
def test_refused(options: list[str], code: int, said: str) -> None:
    done = altervox("serve", "--port", 0, *options)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_programs_control_a_session_with_remote_only() -> None:
    for option in (["--voicemod-api"], ["--osc-in"], ["--osc-out", "9000"], ["--allow-origin", "https://example.org"]):
        done = altervox("live", *option)
        assert (done.code, done.out) == (2, "")
        assert "with --remote only" in done.err


def test_a_busy_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = altervox("serve", "--port", port)
    assert done.code == 1
    assert done.complaints == [
        f"altervox: port {port} is taken by another program, perhaps another altervox: choose another with --port, "
        "0 for any that is free"
    ]


def test_every_option_of_a_session_is_an_option_of_both_commands() -> None:
    def options(command: object) -> set[str]:
        return {option for parameter in command.params for option in parameter.opts}  # type: ignore[attr-defined]

    of_the_terminal = {"--measure", "--screenshot", "--seconds", "--json", "--remote"}
    assert options(live) - of_the_terminal < options(serve)


@contextmanager
def process(home: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """A server in a process of its own, and a client that the printed link lets in."""
    runtime = home / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    nobody = {"PULSE_SERVER": f"unix:{home}/nowhere", "XDG_RUNTIME_DIR": str(runtime), "ALTERVOX_HOME": str(home)}
    with (home / "log").open("w") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "altervox.tools", *arguments],
            env={**os.environ, **nobody, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert running.stdout is not None
        printed = running.stdout.readline()
        link = LINK.fullmatch(printed)
        assert link is not None, printed + (home / "log").read_text()
        with urllib.request.urlopen(link[1], timeout=10) as page:
            assert b"<title>" in page.read()
        with Client(connect(f"ws://127.0.0.1:{link[2]}/v1", proxy=None)) as client:
            assert client.ask("auth", token=link[3], client="panel")["result"]["role"] == "admin"
            yield running, client
    finally:
        running.kill()
        running.wait()


def test_without_sound_it_serves_and_says_why_nothing_starts(tmp_path: Path) -> None:
    with process(tmp_path, "serve", "--port=0", "--start") as (running, client):
        state = client.ask("get")["result"]
        assert (state["session"], state["can_start"]) == ("stopped", True)
        reply = client.ask("start")
        assert reply["error"]["code"] == "failed"
        assert "sound server" in reply["error"]["message"]
        assert client.ask("set", pitch=3)["result"] == {"pitch": 3.0}  # for when it starts
        assert client.ask("voice", name="robot")["result"] == {"voice": "robot"}
        assert str(tmp_path) not in str(reply)
        until(lambda: "the panel can start it" in (tmp_path / "log").read_text())
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
        client.rest()
        assert client.socket.close_code == 4503
    said = (tmp_path / "log").read_text()
    assert "altervox: " in said
    assert "Traceback" not in said
    assert not list((tmp_path / "run" / "altervox").iterdir())
    assert (tmp_path / "remote.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_server(tmp_path: Path, number: signal.Signals) -> None:
    with process(tmp_path, "serve", "--port=0", "--audio-workers=1", "--max-sessions=1") as (running, client):
        AudioClient(client, rate=48000, voice="off")
        (worker,) = spawned_by(running.pid)
        running.send_signal(number)
        running.wait(20)
        until(lambda: not Path(f"/proc/{worker}").exists(), SECONDS)


def test_a_killed_one_is_not_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with process(tmp_path, "serve", "--port=0") as (running, client):
        port = client.socket.remote_address[1]
        running.kill()
        running.wait()
        client.rest()
    assert len(list((tmp_path / "run" / "altervox").glob("*.json"))) == 1
    with process(tmp_path, "serve", f"--port={port}") as (running, client):
        monkeypatch.setattr("altervox.realtime.serve.runtime.runtime_folder", lambda: tmp_path / "run" / "altervox")
        assert [server.port for server in local_servers()] == [port]
        assert len(list((tmp_path / "run" / "altervox").glob("*.json"))) == 1
        running.terminate()
        assert running.wait(20) == 0
