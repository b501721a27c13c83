"""Programs of this user find the server on this machine, and no file of another time or another user misleads them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from altervox.kernels.errors import ServerError
from altervox.realtime.serve.runtime import LocalServer, announced, local_server, local_servers

SERVER = LocalServer(7788, "a token", process_id=os.getpid())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_runtime_path", lambda *_, **__: tmp_path / "altervox")
    return tmp_path / "altervox"


def test_a_server_is_found_while_it_runs(folder: Path) -> None:
    with announced(SERVER), announced(LocalServer(9000, "another", certificate="PEM")):
        assert local_server(7788) == SERVER
        assert local_server(9000).socket_url == "wss://127.0.0.1:9000/v1"
        assert len(local_servers()) == 2
        if sys.platform != "win32":
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
        with pytest.raises(ServerError, match=r"serves port 1, only .*9000.*: choose that one"):
            local_server(1)
    assert not list(folder.iterdir())
    with pytest.raises(ServerError, match="start `altervox serve`"):
        local_server()


def test_addresses() -> None:
    assert SERVER.page_url == "http://127.0.0.1:7788/"
    assert SERVER.socket_url == "ws://127.0.0.1:7788/v1"
    assert LocalServer(1, "", host="::1").page_url == "http://[::1]:1/"


@pytest.mark.linux
def test_a_killed_server_leaves_nothing_that_misleads(folder: Path) -> None:
    code = (
        "import sys, pathlib, time, platformdirs\n"
        f"platformdirs.user_runtime_path = lambda *_, **__: pathlib.Path({str(folder)!r})\n"
        "from altervox.realtime.serve.runtime import LocalServer, announced\n"
        "with announced(LocalServer(7788, 'old')):\n    print('on', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        assert local_server().token == "old"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(folder.glob("*.json"))
    with announced(SERVER):  # on the same port
        assert local_servers() == [SERVER]
    assert local_servers() == []
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"port": 1}',
        b'{"port": "1", "token": "t"}',
        b'{"port": true, "token": "t"}',
        b'{"port": 1, "token": "t", "more": 1}',
        b"[" * 70_000,
        b'{"port": 1, "token": "' + b"t" * 70_000 + b'"}',
    ],
)
def test_a_damaged_file_is_passed_over(folder: Path, content: bytes) -> None:
    with announced(SERVER):
        (path,) = folder.glob("*.json")
        path.write_bytes(content)
        assert local_servers() == []


@pytest.mark.linux
def test_a_file_that_others_can_read_or_have_put_there_is_passed_over(folder: Path, tmp_path: Path) -> None:
    with announced(SERVER):
        (path,) = folder.glob("*.json")
        path.chmod(0o644)
        assert local_servers() == []
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text(json.dumps(asdict(SERVER)))
        elsewhere.chmod(0o600)
        path.unlink()
        path.symlink_to(elsewhere)
        assert local_servers() == []
        path.unlink()
        os.mkfifo(path, 0o600)
        assert local_servers() == []


def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(ServerError, match="runtime folder cannot be written"), announced(SERVER):
        pass
