"""A session between real virtual devices, from inside: what becomes of monitors, requests and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from spawned import spawned_by, streams_of

if TYPE_CHECKING:
    from altervox.realtime.audio.control import LiveControl
    from pulse import PulseServer

pytestmark = pytest.mark.linux

HEADPHONES = ("module-null-sink", "sink_name=headphones", "rate=48000")
DEVICES = ["--input", "Virtual Microphone", "--output", "Virtual Cable", "--voice", "off", "--block-ms", "100"]
STREAM = "protocol-native.c"  # of a program, not of a module of the server


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it has not come to that"
        time.sleep(0.05)


def streams(rig: PulseServer, sink: str) -> list[str]:
    """Numbers of the streams that programs play to a sink."""
    (number,) = (
        row.split("\t")[0] for row in rig.pactl("list", "short", "sinks").splitlines() if row.split("\t")[1] == sink
    )
    rows = [line.split("\t") for line in rig.pactl("list", "short", "sink-inputs").splitlines()]
    return [row[0] for row in rows if row[1] == number and row[3] == STREAM]


@contextmanager
def live(rig: PulseServer, home: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**rig.environment, "ALTERVOX_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "altervox.tools", "live", *DEVICES, *options]
    until(lambda: not streams(rig, "vcable"))  # the server lets go of a session before this one a little later
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_headphones_that_go_leave_the_cable_alone_and_are_heard_again_when_back(
    pulse_rig: PulseServer, tmp_path: Path
) -> None:
    module = pulse_rig.pactl("load-module", *HEADPHONES).strip()
    with live(pulse_rig, tmp_path, "--monitor", "headphones", "--json") as process:
        until(lambda: len(streams_of(pulse_rig, process.pid)) == 2, 60.0)
        cable = streams(pulse_rig, "vcable")
        assert len(cable) == 1
        pulse_rig.pactl("unload-module", module)
        # The server moves the stream, to the cable say, until the session lets go of it.
        until(lambda: len(pulse_rig.pactl("list", "short", "sink-inputs").splitlines()) == 1)
        time.sleep(1.0)
        assert streams(pulse_rig, "vcable") == cable
        module = pulse_rig.pactl("load-module", *HEADPHONES).strip()
        until(lambda: bool(streams(pulse_rig, "headphones")))
        until(lambda: len(streams(pulse_rig, "vcable")) == 1)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    pulse_rig.pactl("unload-module", module)
    assert process.returncode == 0, errors


def test_whoever_gives_up_while_the_voice_is_prepared_need_not_wait(pulse_rig: PulseServer, tmp_path: Path) -> None:
    with live(pulse_rig, tmp_path) as process:
        assert process.stderr is not None
        while "preparing" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert ", 0 blocks" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("after_s", [0.0, 1.0])
def test_ctrl_c_while_it_starts_leaves_no_traceback(after_s: float, pulse_rig: PulseServer, tmp_path: Path) -> None:
    """As in a terminal, where it reaches all processes of the group at once."""
    environment = {**pulse_rig.environment, "ALTERVOX_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "altervox.tools", "live", *DEVICES]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    until(lambda: bool(children.read_text()), 30.0)  # the command has begun, and started the audio process
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode in (0, 130)
    assert "Traceback" not in errors


def test_a_session_whose_audio_process_is_told_to_stop_ends(pulse_rig: PulseServer, tmp_path: Path) -> None:
    with live(pulse_rig, tmp_path, "--json") as process:
        until(lambda: len(streams_of(pulse_rig, process.pid)) == 1, 60.0)
        (audio,) = spawned_by(process.pid)
        os.kill(audio, signal.SIGTERM)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert json.loads(out)["state"] == "stopped"


@pytest.fixture
def control(pulse_rig: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveControl]:
    """A session in the hands of the test."""
    from altervox.realtime.audio.control import LiveControl
    from altervox.realtime.session.settings import SessionSettings
    from altervox.realtime.session.state import SessionState
    from altervox.tools.devices.choose import choose_input, choose_output, list_devices
    from altervox.tools.live.options import LiveOptions, live_settings
    from pulse import enter

    enter(pulse_rig, monkeypatch, tmp_path)
    devices = list_devices(again=True)
    source, output = choose_input(devices, "Virtual Microphone"), choose_output(devices, "Virtual Cable")
    options = LiveOptions(SessionSettings(SessionState(voice="off")), block_ms=100)
    with LiveControl() as control:
        control.begin(live_settings(options, source, output))
        control.wait_until_running()
        yield control


def test_while_devices_are_away_requests_are_shown_and_losses_stay_counted(
    pulse_rig: PulseServer, control: LiveControl
) -> None:
    from altervox.realtime.session.commands import Set

    until(lambda: control.status().latency.prefill > 0.0)  # sound has begun
    pulse_rig.pactl("suspend-source", "vmic_source", "1")
    try:
        until(lambda: control.status().state == "reconnecting")
        control.send(Set({"muted": True, "bypass": True, "input_gain_db": 6.0}))
        until(lambda: control.status().session.input_gain_db == 6.0)
        status = control.status()
        assert status.state == "reconnecting"
        assert status.session.muted
        assert status.session.bypass
        assert status.input_peak_db == -100.0
    finally:
        pulse_rig.pactl("suspend-source", "vmic_source", "0")
    until(lambda: control.status().state == "running")
    time.sleep(0.5)
    after = control.status()
    assert after.session == status.session
    assert after.underruns >= status.underruns > 0  # the microphone fell silent under a running output
    assert after.interrupted_ms > 0.0


def test_blocks_of_another_length_are_gone_over_to_while_it_runs(pulse_rig: PulseServer, control: LiveControl) -> None:
    from altervox.realtime.audio.commands import SetBlock
    from altervox.realtime.session.commands import Set

    until(lambda: control.status().latency.prefill > 0.0)
    control.send(Set({"pitch_semitones": 2.0}))
    control.send(SetBlock(30))  # off the grid: refused, and the session goes on
    until(lambda: any("block_ms is 30" in cause for cause in control.status().causes))
    until(lambda: control.status().state == "running")
    control.send(SetBlock(40))
    until(lambda: control.status().block_ms == 40.0)
    until(lambda: control.status().state == "running" and control.status().latency.prefill > 0.0)
    status = control.status()
    assert status.latency.block == 40.0
    assert status.session.params.pitch_semitones == 2.0
    assert status.causes == ()


def test_voices_change_beside_busy_processes_without_a_silence(pulse_rig: PulseServer, control: LiveControl) -> None:
    """As beside a game: one busy process per processor."""
    from altervox.realtime.session.commands import StepVoice

    until(lambda: control.status().latency.prefill > 0.0)
    before = control.status()
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        for _ in range(5):
            control.send(StepVoice(1))
            time.sleep(0.1)
            until(lambda: control.status().voice == control.status().session.voice, 60.0)
            time.sleep(0.5)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    status = control.status()
    assert status.voice != before.voice
    assert status.causes == ()
    assert status.failed_blocks == 0
    # A machine that is busy elsewhere may cost single blocks of 100 ms; a silence at every change would be far more.
    assert status.underrun_ms - before.underrun_ms < 200.0
