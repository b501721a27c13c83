"""What the doctor finds about sound: on a real sound server, and in made-up folders of the kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from altervox.realtime.audio.devices import AudioDevice
from altervox.tools.devices.choose import list_devices
from altervox.tools.doctor.check import Check
from altervox.tools.doctor.sound import (
    content_checks,
    device_checks,
    governor_check,
    linux_permission,
    realtime_check,
    server_check,
)
from pulse import PulseServer, pulse_server

NAMES = ["sound server", "portaudio", "alsa plugin", "microphones", "outputs", "virtual cable"]


@pytest.fixture
def server(pulse_rig: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PulseServer]:
    """A server with a microphone and nothing else that is not the server's own."""
    with pulse_server(tmp_path / "server", ["module-sine-source source_name=sine"]) as started:
        for name, value in {**started.variables, "ALTERVOX_HOME": str(tmp_path), "ALSA_CONFIG_PATH": ""}.items():
            monkeypatch.setenv(name, value)
        yield started


def checks(**environment: str) -> dict[str, dict[str, Any]]:
    """The rows of `altervox doctor --json`: a process of its own, for PortAudio reads its surroundings but once."""
    command = [sys.executable, "-m", "altervox.tools", "doctor", "--json"]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""
    rows = json.loads(done.stdout)
    assert all(row["remedy"] for row in rows if row["status"] != "ok"), "whatever is wrong has a remedy"
    return {row["check"]: row for row in rows}


@pytest.mark.linux
def test_a_machine_that_is_ready(server: PulseServer) -> None:
    server.pactl("load-module", "module-null-sink", "sink_name=altervox_cable", "rate=48000")
    found = checks()
    assert [found[name]["status"] for name in NAMES] == ["ok"] * len(NAMES)
    assert found["sound server"]["found"].startswith("pulseaudio ")
    assert "PortAudio V19" in found["portaudio"]["found"]
    assert found["portaudio"]["found"].endswith("ALSA")
    assert found["alsa plugin"]["found"] == "PortAudio sees all 3 devices of the sound server"
    assert found["microphones"]["found"] == "1, by default 'Sine source at 440 Hz'"
    assert "altervox cable" in found["virtual cable"]["found"]


@pytest.mark.linux
def test_no_cable_and_a_cable_of_another_rate(server: PulseServer) -> None:
    def cable() -> Check:
        devices = [device for device in list_devices(again=True) if device.is_primary]
        return next(check for check in content_checks(devices) if check.check == "virtual cable")

    assert (cable().status, cable().remedy) == ("warning", "make one with: altervox cable create")
    server.pactl("load-module", "module-null-sink", "sink_name=slow", "rate=44100")
    assert cable().status == "warning"
    assert "it runs at 44100 Hz, not 48000" in cable().found
    assert "48000" in cable().remedy


@pytest.mark.linux
def test_without_a_server(server: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path / 'nowhere'}")
    check = server_check()
    looked = f"PULSE_SERVER is unix:{tmp_path / 'nowhere'}"
    assert (check.status, check.found) == ("warning", f"no sound server answers (Connection refused; {looked})")
    assert check.remedy.startswith("start PipeWire with systemctl")


@pytest.mark.linux
def test_a_latency_that_spoils_playing_is_found(server: PulseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_LATENCY_MSEC", "30")
    check = server_check()
    assert (check.status, check.remedy) == ("warning", "unset PULSE_LATENCY_MSEC")


@pytest.mark.linux
def test_without_alsas_plugin(server: PulseServer, tmp_path: Path) -> None:
    found = checks(ALSA_PLUGIN_DIR=str(tmp_path))
    name = "alsa plugin" if "alsa plugin" in found else "sound devices"  # the one where a sound card is there
    assert found[name]["status"] == "warning"
    assert "sudo apt install libasound2-plugins" in found[name]["remedy"]


@pytest.mark.linux
def test_without_portaudio(server: PulseServer) -> None:
    code = (
        "import ctypes.util, json; ctypes.util.find_library = lambda name: None; "
        "from dataclasses import asdict; from altervox.tools.doctor.sound import device_checks; "
        "print(json.dumps([asdict(check) for check in device_checks()]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = {row["check"]: row for row in json.loads(done.stdout)}
    assert found["portaudio"]["status"] == "warning", "files can be converted all the same"
    assert found["portaudio"]["remedy"].startswith("sudo apt install libportaudio2")
    assert "microphones" not in found
    assert "priority" in found, "the rest is checked all the same"


def test_nothing_to_record_from() -> None:
    found = {check.check: check for check in content_checks([])}
    assert found["microphones"].status == "warning"
    assert found["microphones"].remedy
    assert found["virtual cable"].status == "warning"


@pytest.mark.linux
def test_a_cable_is_neither_microphone_nor_output(server: PulseServer) -> None:
    server.pactl("load-module", "module-null-sink", "sink_name=one", "rate=48000")
    server.pactl("load-module", "module-remap-source", "master=one.monitor", "source_name=two")
    ends: list[AudioDevice] = [device for device in list_devices(again=True) if device.cable]
    assert len(ends) == 3
    found = {check.check: check for check in content_checks(ends)}
    assert found["microphones"].status == "warning"
    assert found["outputs"].found.startswith("none but virtual cables")
    plain = [replace(end, cable="") for end in ends]
    assert next(content_checks(plain)).status == "ok"


@pytest.mark.parametrize(
    ("allowed", "is_root", "status", "words"),
    [
        (0, False, "warning", "real-time priority is limited to 0"),
        (3, False, "warning", "callbacks need 4"),
        (0, True, "ok", "may be taken"),
        (95, False, "ok", "up to 95"),
        (-1, False, "ok", "may be taken"),
    ],
)
def test_realtime_priority(allowed: int, is_root: bool, status: str, words: str) -> None:
    check = realtime_check(allowed, is_root)
    assert check.status == status
    assert words in check.found
    assert "-1" not in check.found
    assert bool(check.remedy) == (status != "ok")


@pytest.mark.parametrize(
    ("governors", "status", "words"),
    [
        ([], "ok", "cannot be checked"),
        (["performance", "performance"], "ok", "governor performance"),
        (["powersave", "performance"], "warning", "performance, powersave"),
        (["schedutil", "schedutil"], "warning", "governor schedutil"),
    ],
)
def test_processor_governor(governors: list[str], status: str, words: str, tmp_path: Path) -> None:
    for number, governor in enumerate(governors):
        folder = tmp_path / f"cpu{number}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{governor}\n")
    (tmp_path / "cpufreq").mkdir()
    check = governor_check(tmp_path)
    assert check.status == status
    assert words in check.found
    assert bool(check.remedy) == (status != "ok")


@pytest.mark.linux
def test_sound_cards_that_are_closed_to_the_user(tmp_path: Path) -> None:
    assert "not checked" in linux_permission(tmp_path).found
    (tmp_path / "pcmC0D0c").write_bytes(b"")
    assert linux_permission(tmp_path).found.startswith("all 1 devices")
    (tmp_path / "pcmC0D0p").symlink_to(tmp_path / "nothing")  # root may open whatever there is
    check = linux_permission(tmp_path)
    assert check.status == "warning"
    assert "1 of 2 devices" in check.found
    assert "usermod -aG audio" in check.remedy


def test_every_check_is_made_and_none_fails() -> None:
    found = list(device_checks())
    assert {"microphone use", "priority", "cpu speed"} <= {check.check for check in found}
    assert not [check for check in found if check.status == "error"], "converting files needs none of this"
