"""Which default microphone is followed while a session runs, and what is told where devices cannot be watched."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from altervox.realtime.audio.commands import Command
from altervox.realtime.audio.devices import AudioDevice, load_sounddevice
from altervox.realtime.session.commands import SetVoice
from altervox.tools.devices.choose import choose_input, choose_output, list_devices
from altervox.tools.devices.watch import DeviceWatch, Send

if TYPE_CHECKING:
    from pulse import PulseServer

pytestmark = pytest.mark.linux


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it has not come to that"
        time.sleep(0.05)


def followed(device: AudioDevice) -> Command:
    """A command that tells which microphone is meant: no session is there to open it."""
    return SetVoice(device.system_name)


@pytest.fixture(scope="module")
def server(pulse_rig: PulseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseServer]:
    from pulse import pulse_server

    folder = tmp_path_factory.mktemp("watch")
    modules = [
        "module-sine-source source_name=first",
        "module-sine-source source_name=second",
        f"module-pipe-sink sink_name=headphones file={folder / 'fifo'}",
        "module-remap-source master=headphones.monitor source_name=hears_headphones",
    ]
    with pulse_server(folder / "server", modules) as server:
        yield server


@pytest.fixture
def desk(
    server: PulseServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> PulseServer:
    """Seen by this process, the first microphone the default."""
    from pulse import enter

    enter(server, monkeypatch, tmp_path)
    server.pactl("set-default-source", "first")
    caplog.set_level(logging.INFO)
    return server


def watch(allow_loop: bool = False) -> DeviceWatch:
    devices = list_devices(again=True)
    return DeviceWatch(choose_input(devices), [choose_output(devices, "headphones")], followed, allow_loop)


@pytest.mark.parametrize("allow_loop", [False, True])
def test_a_microphone_that_hears_the_output_is_followed_if_that_is_allowed(
    desk: PulseServer, caplog: pytest.LogCaptureFixture, allow_loop: bool
) -> None:
    sent: list[Command] = []
    with watch(allow_loop) as watching:
        watching.start(sent.append)
        desk.pactl("set-default-source", "hears_headphones")
        until(lambda: "is not followed" in caplog.text or "and is followed" in caplog.text)
        desk.pactl("set-default-source", "second")
        until(lambda: SetVoice("second") in sent)
    assert (SetVoice("hears_headphones") in sent) is allow_loop


def test_a_change_before_the_subscription_is_heard_is_not_missed(
    desk: PulseServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a busy machine: `pactl subscribe` is started, but the server hears of it only after the change."""
    real = shutil.which("pactl")
    script = tmp_path / "pactl"
    waits = f'if [ "$1" = subscribe ]; then while [ ! -e {tmp_path}/changed ]; do sleep 0.05; done; fi'
    script.write_text(f'#!/bin/sh\n{waits}\nexec {real} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    looked = threading.Event()
    looks = DeviceWatch._look

    def look(self: DeviceWatch, send: Send) -> bool:
        done = looks(self, send)
        looked.set()
        return done

    monkeypatch.setattr(DeviceWatch, "_look", look)
    sent: list[Command] = []
    with watch() as watching:
        watching.start(sent.append)
        assert looked.wait(60)
        desk.pactl("set-default-source", "second")
        (tmp_path / "changed").touch()
        until(lambda: SetVoice("second") in sent)


def test_a_portaudio_that_fails_once_does_not_end_the_watch(
    desk: PulseServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sounddevice = load_sounddevice()

    def fail() -> None:
        raise sounddevice.PortAudioError("Error initializing PortAudio", -9999)

    sent: list[Command] = []
    with watch() as watching:
        with monkeypatch.context() as broken:
            broken.setattr(sounddevice, "_initialize", fail)
            watching.start(sent.append)
            desk.pactl("set-default-source", "second")
            until(lambda: "is followed later" in caplog.text)
        until(lambda: SetVoice("second") in sent)
    assert "PortAudio does not start" in caplog.text


def test_a_missing_pactl_is_told(
    desk: PulseServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[logging.LogRecord]:
        return [record for record in caplog.records if "are not watched for now: " in record.message]

    with watch() as watching, caplog.at_level(logging.DEBUG):
        monkeypatch.setenv("PATH", str(tmp_path))
        watching.start(lambda command: None)
        until(lambda: len(told()) >= 2)
    assert [record.levelname for record in told()[:2]] == ["WARNING", "DEBUG"], "said once"
    assert "pactl" in told()[0].message
