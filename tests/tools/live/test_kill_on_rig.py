"""What is left of a session, or of a bench, 2 s after kill -9; a session beside it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from spawned import spawned_by, streams_of

if TYPE_CHECKING:
    from pulse import PulseServer

pytestmark = pytest.mark.linux

LEFT_S = 2.0
SECOND_CABLE = "module-null-sink sink_name=second_cable rate=48000"


def until(holds: Callable[[], bool], seconds: float, what: str = "it has not come to that") -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def parents() -> dict[int, int]:
    """Of each process that lives (a zombie does not), its parent's number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if state != "Z":
            found[int(path.parent.name)] = int(parent)
    return found


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    known, found = parents(), {pid}
    while more := {child for child, parent in known.items() if parent in found} - found:
        found |= more
    return found


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:  # it has ended meanwhile
        return b""


def clients(server: PulseServer) -> set[str]:
    """Numbers of programs that the server plays for or records for; those that only ask it something come and go."""
    rows = server.pactl("list", "short", "clients").splitlines()
    return {row.split("\t")[0] for row in rows if not row.rstrip().endswith("pactl")}


def names(pids: set[int]) -> list[str]:
    return [command_line(pid).decode()[-200:] for pid in pids]


@contextmanager
def altervox(server: PulseServer, home: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command line, working; killed at the end."""
    home.mkdir(exist_ok=True)
    environment = {**os.environ, **server.variables, "ALTERVOX_HOME": str(home), "ALSA_CONFIG_PATH": ""}
    command = [sys.executable, "-m", "altervox.tools", *arguments]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def session(server: PulseServer, home: Path, sink: str) -> Iterator[subprocess.Popen[bytes]]:
    arguments = ["live", "--voice", "off", "--input", "vmic_source", "--output", sink]
    with altervox(server, home, *arguments) as process:
        until(lambda: b"running; " in (home / "log").read_bytes(), 60.0, (home / "log").read_text())
        yield process


@pytest.fixture
def server(pulse_rig: PulseServer) -> Iterator[PulseServer]:
    module = pulse_rig.pactl("load-module", *SECOND_CABLE.split()).strip()
    yield pulse_rig
    pulse_rig.pactl("unload-module", module)


@pytest.mark.parametrize("killed", ["control process", "audio process", "both"])
def test_nothing_outlives_a_session(server: PulseServer, tmp_path: Path, killed: str) -> None:
    before = clients(server)
    with session(server, tmp_path / "beside", "second_cable") as beside:
        clients_beside = clients(server)
        with session(server, tmp_path / "killed", "vcable") as process:
            owned, others = family(process.pid), family(beside.pid)
            assert any("parec" in name for name in names(owned)), "it keeps the cable awake"
            assert clients(server) - clients_beside
            (audio,) = spawned_by(process.pid)
            for pid in {"control process": [process.pid], "audio process": [audio]}.get(killed, [audio, process.pid]):
                os.kill(pid, signal.SIGKILL)
            time.sleep(LEFT_S)
            left = (owned - {process.pid} if process.poll() is not None else owned) & set(parents())
            assert not left, names(left)
        assert clients(server) <= clients_beside  # of a test before this one, some may still have been there
        assert others <= set(parents()), "the session beside it goes on"
        assert beside.poll() is None
    until(lambda: clients(server) <= before, LEFT_S + 1.0)


@pytest.mark.parametrize("seconds", [0.7, 1.5, 2.5])
def test_nothing_outlives_a_session_that_is_killed_as_it_starts(
    server: PulseServer, tmp_path: Path, seconds: float
) -> None:
    arguments = ["live", "--voice", "woman", "--input", "vmic_source", "--output", "vcable"]
    with altervox(server, tmp_path / "home", *arguments) as process:
        time.sleep(seconds)
        owned = family(process.pid)
        process.kill()
        process.wait()
        time.sleep(LEFT_S)
        left = owned & set(parents())
        assert not left, names(left)


def test_nothing_outlives_a_bench(server: PulseServer, tmp_path: Path) -> None:
    before = server.pactl("list", "short", "modules")
    arguments = ["bench", "live", "--seconds", "30", "--voice", "off", "--block-ms", "40", "--load", "1"]
    with altervox(server, tmp_path / "home", *arguments) as process:
        until(lambda: "altervox_bench_" in server.pactl("list", "short", "sources"), 30.0)
        until(lambda: "block 40 ms" in (tmp_path / "home" / "log").read_text(), 60.0)
        time.sleep(1.0)
        owned = family(process.pid)
        assert len(owned) > 3
        # Asks the sound server to remove one module after the other, which a busy one takes its time for.
        remover = {pid for pid in owned if b".bench.sinks " in command_line(pid)}
        process.kill()
        process.wait()
        time.sleep(LEFT_S)
        left = owned & set(parents()) - remover
        assert not left, names(left)
        until(lambda: not remover & set(parents()), 20.0, "the modules are still being removed")
    assert server.pactl("list", "short", "modules") == before


def test_a_second_session_on_one_cable_is_refused_until_the_first_is_dead(server: PulseServer, tmp_path: Path) -> None:
    arguments = ["live", "--voice", "off", "--input", "vmic_source", "--output", "vcable", "--seconds", "1"]
    log = tmp_path / "second" / "log"
    with session(server, tmp_path / "first", "vcable") as first:
        with altervox(server, tmp_path / "second", *arguments) as second:
            assert second.wait(30) == 1
        (sentence,) = log.read_text().splitlines()
        assert sentence == (
            f"altervox: another altervox (process {first.pid}) already plays into 'Virtual Cable': stop it, choose "
            "another output with --output, or let both be heard with --share-output"
        )
        with altervox(server, tmp_path / "second", *arguments, "--share-output") as second:
            assert second.wait(60) == 0, log.read_text()
        first.kill()
        first.wait()
        with altervox(server, tmp_path / "second", *arguments) as second:
            assert second.wait(60) == 0, log.read_text()


def test_a_server_that_is_killed_and_comes_back_leaves_no_lines_of_libraries(pulse_rig: object, tmp_path: Path) -> None:
    from pulse import RIG, pulse_server

    home, folder = tmp_path / "home", tmp_path / "server"
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        server = first.enter_context(pulse_server(folder, RIG))
        process = stack.enter_context(session(server, home, "vcable"))
        (pid,) = (pid for pid in parents() if f"{folder}/server.pa".encode() in command_line(pid))
        os.kill(pid, signal.SIGKILL)
        first.close()
        time.sleep(2.0)
        with pulse_server(folder, RIG) as again:
            until(lambda: bool(streams_of(again, process.pid)), 30.0)
            time.sleep(1.0)
            process.terminate()
            assert process.wait(10) == 0
    log = (home / "log").read_text().splitlines()
    assert not [line for line in log if "ALSA" in line or "Expression" in line or "pa_" in line], log
