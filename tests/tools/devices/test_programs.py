"""Programs that end with the process that started them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from altervox.tools.devices.programs import end, start, started

pytestmark = pytest.mark.linux

OWNER = (
    "import sys, time; from altervox.tools.devices.programs import start\n"
    "print(start(['sleep', '60']).pid, flush=True); time.sleep(60)"
)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_ends_with_a_process_that_is_killed(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert is_alive(pid)
        owner.send_signal(number)
        owner.wait()
    end_s = time.monotonic() + 2.0
    while is_alive(pid):
        assert time.monotonic() < end_s, "it is left over"
        time.sleep(0.01)


def test_a_program_outlives_the_thread_that_asked_for_it() -> None:
    programs: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(target=lambda: programs.append(start(["sleep", "60"])))
    thread.start()
    thread.join()
    time.sleep(0.3)
    (program,) = programs
    assert program.poll() is None
    end(program)


@pytest.mark.parametrize("tool", ["none", "busybox"])
def test_where_the_tool_lacks_programs_run_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tool: str
) -> None:
    if tool == "busybox":
        (tmp_path / "busybox").write_text("#!/bin/false\n")
        (tmp_path / "busybox").chmod(0o755)
        (tmp_path / "setpriv").symlink_to("busybox")
    (tmp_path / "sleep").symlink_to("/bin/sleep")
    monkeypatch.setenv("PATH", str(tmp_path))
    with started(["sleep", "60"]) as process:
        time.sleep(0.1)
        assert process.poll() is None
    assert process.returncode == -signal.SIGTERM


def test_one_that_does_not_listen_is_ended_by_force() -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with started([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
    assert process.returncode == -signal.SIGKILL
    assert not is_alive(process.pid)
