"""A real session under remote control: what is commanded is heard, and nothing that clients do makes it stutter."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from remote_sockets import Client, RawSocket
from websockets.sync.client import connect

if TYPE_CHECKING:
    from pulse import PulseServer

pytestmark = pytest.mark.linux

RATE = 48_000
HUM_HZ = 150.0
LINK = r"http://[\d.:]+/#[\w-]{43}"
DEVICES = ["--input", "Virtual Microphone", "--output", "Virtual Cable", "--voice", "man", "--block-ms", "100"]


@contextmanager
def altervox(rig: PulseServer, home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The command line, and the link that it prints; killed at the end."""
    environment = {**os.environ, **rig.variables, "ALTERVOX_HOME": str(home), "ALSA_CONFIG_PATH": ""}
    command = [sys.executable, "-m", "altervox.tools", *arguments]
    log = home / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        end = time.monotonic() + 60
        while not (found := re.search(f"{LINK}$", log.read_text(), re.MULTILINE)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


def entered(link: str) -> Client:
    """A client that the link lets in."""
    address, _, token = link.partition("#")
    client = Client(connect(address.replace("http", "ws"), proxy=None))
    assert client.ask("auth", token=token, client="deck")["ok"]
    return client


def wait_for_state(client: Client, **wanted: Any) -> None:
    end = time.monotonic() + 60
    while {key: value for key, value in client.ask("get")["result"].items() if key in wanted} != wanted:
        assert time.monotonic() < end, client.ask("get")
        time.sleep(0.1)


@contextmanager
def hum(rig: PulseServer, folder: Path) -> Iterator[None]:
    """A steady voiced sound in the microphone meanwhile."""
    times = np.arange(60 * RATE) / RATE
    sound = sum(np.sin(2 * np.pi * k * HUM_HZ * times) / k for k in range(1, 12))
    path = folder / "hum.raw"
    (0.1 * np.asarray(sound)).astype(np.float32).tofile(path)
    command = ["pacat", "--raw", "--format=float32le", "--channels=1", f"--rate={RATE}", "--device", "vmic", str(path)]
    with subprocess.Popen([*command, "--latency-msec=50"], env=rig.environment) as player:
        try:
            yield
        finally:
            player.kill()


def f0_of(samples: NDArray[np.float32]) -> float:
    """F0 of a steady voiced sound, by its autocorrelation."""
    spectrum = np.fft.rfft(samples.astype(np.float64), 2 * len(samples))
    likeness = np.fft.irfft(np.abs(spectrum) ** 2)[: RATE // 50]
    shortest = RATE // 600
    best = float(np.max(likeness[shortest:]))
    lag = shortest + int(np.argmax(likeness[shortest:] > 0.9 * best))
    while likeness[lag + 1] > likeness[lag]:
        lag += 1
    return RATE / lag


@pytest.mark.alone
def test_a_command_changes_what_is_heard_and_no_client_makes_it_stutter(rig: PulseServer, tmp_path: Path) -> None:
    with (
        hum(rig, tmp_path),
        rig.record("vcable.monitor") as cable,
        altervox(rig, tmp_path, "serve", "--port=0", "--start", *DEVICES) as (process, link),
        entered(link) as client,
    ):
        wait_for_state(client, session="running", sounding="man", loading=False)
        cable.wait_for(1.0)
        before = f0_of(cable.newest(0.5))
        client.ask("subscribe", topics={"stats": {"hz": 5}, "meters": {"hz": 20}})
        stats = client.event("stats")["data"]
        assert client.ask("set", pitch=12)["result"] == {"pitch": 12.0}
        port = int(link.split("/")[2].rpartition(":")[2])
        raw = [RawSocket.open(port) for _ in range(100)]
        for number, each in enumerate(raw):  # meanwhile others misbehave
            each.send([b"GET / HT", b"\0" * 9000, b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", b""][number % 4])
        for _ in range(100):
            client.ask("step", name="gain_db", by=0.0)
        cable.wait_for(1.0)
        assert 1.9 < f0_of(cable.newest(0.5)) / before < 2.1
        for each in raw:
            each.tcp.close()
        after = client.event("stats", lambda event: event["data"]["blocks"] > stats["blocks"] + 5)["data"]
        assert {name: after[name] - stats[name] for name in ("underruns", "late_blocks")} == {
            "underruns": 0,
            "late_blocks": 0,
        }
        assert client.event("meters")["data"]["f0_hz"] == pytest.approx(HUM_HZ, rel=0.03)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


class Terminal:
    """A terminal of its own: what is typed into it, and what is shown on it."""

    def __init__(self) -> None:
        import pty

        self._keyboard, self.end = pty.openpty()
        self._shown = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError):  # all have closed their ends
            while True:
                self._shown += os.read(self._keyboard, 65536)

    def type(self, keys: bytes) -> None:
        os.write(self._keyboard, keys)

    def wait_for(self, pattern: str) -> str:
        """What is shown that fits a pattern."""
        end = time.monotonic() + 60
        while not (found := re.search(pattern, self._shown.decode(errors="replace"))):
            assert time.monotonic() < end, self._shown[-3000:].decode(errors="replace")
            time.sleep(0.02)
        return found[0]


def test_keys_and_programs_share_the_session_of_a_terminal(rig: PulseServer, tmp_path: Path) -> None:
    terminal = Terminal()
    environment = {**os.environ, **rig.variables, "ALTERVOX_HOME": str(tmp_path), "ALSA_CONFIG_PATH": ""}
    environment |= {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "altervox.tools", "live", "--remote=0", *DEVICES]
    process = subprocess.Popen(
        command, env=environment, stdin=terminal.end, stdout=terminal.end, stderr=terminal.end, start_new_session=True
    )
    os.close(terminal.end)
    try:
        with entered(terminal.wait_for(LINK)) as client:
            wait_for_state(client, session="running", can_start=False)
            client.ask("subscribe", topics={"state": {}})
            client.event("state", lambda event: event.get("full", False))
            terminal.wait_for("q quit")
            terminal.type(b"\x1b[A")
            event = client.event("state", lambda event: "pitch" in event["data"])
            assert (event["data"]["pitch"], event["by"]) == (1.0, "keyboard")
            assert client.ask("set", mute=True)["ok"]
            terminal.wait_for("muted")
            terminal.type(b"m")
            assert client.event("state", lambda event: "mute" in event["data"])["data"] == {"mute": True}
            assert client.event("state", lambda event: "mute" in event["data"])["data"] == {"mute": False}
            assert client.ask("start")["error"]["code"] == "bad_request"
            client.send("stop")
            assert process.wait(20) == 0
            client.rest()
            assert client.socket.close_code == 4503
        terminal.wait_for("blocks of 100 ms")
    finally:
        process.kill()
        process.wait()
