"""No PortAudio, no plugin, no server, no devices: one sentence each, with what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from altervox.kernels.errors import AudioDeviceError
from altervox.realtime.audio.devices import (
    load_sounddevice,
)
from altervox.tools.devices.choose import (
    choose_output,
    list_devices,
)
from cli_runner import altervox_process
from pulse import PulseServer


@pytest.mark.linux
def test_a_portaudio_that_does_not_start_is_one_sentence_and_is_tried_again(
    rig: PulseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounddevice = load_sounddevice()
    with monkeypatch.context() as broken:

        def fail() -> None:
            raise sounddevice.PortAudioError("Error initializing PortAudio", -9999)

        broken.setattr(sounddevice, "_initialize", fail)
        with pytest.raises(AudioDeviceError, match=r"PortAudio does not start \(Error initializing"):
            list_devices(again=True)
        with pytest.raises(AudioDeviceError, match="PortAudio does not start"):
            list_devices()
    assert choose_output(list_devices(again=True), "Virtual Cable").system_name == "vcable"


@pytest.mark.linux
def test_without_a_server_or_a_card_there_are_no_devices(pulse_rig: PulseServer, tmp_path: Path) -> None:
    environment = {"PULSE_SERVER": f"unix:{tmp_path / 'nowhere'}", "ALTERVOX_HOME": str(tmp_path)}
    listed = altervox_process("devices", env=environment)
    if Path("/dev/snd").exists() and list(Path("/dev/snd").glob("pcm*")):
        assert listed.code == 0
    else:
        assert listed.code == 1
        (sentence,) = listed.complaints
        assert sentence.startswith("altervox: no sound server answers (Connection refused; PULSE_SERVER is unix:")
        live = altervox_process("live", env=environment)
        assert (live.code, live.complaints) == (1, [sentence]), "not a word of plugging a microphone in"
    assert "Traceback" not in listed.err


@pytest.mark.linux
def test_without_alsas_plugin_its_package_is_named(rig: PulseServer, tmp_path: Path) -> None:
    if list(Path("/dev").glob("snd/pcm*")):
        pytest.xfail("a sound card is listed in its place")
    listed = altervox_process("devices", env={"ALSA_PLUGIN_DIR": str(tmp_path)})
    assert listed.code == 1
    (sentence,) = listed.err.splitlines()
    assert "is not installed: sudo apt install libasound2-plugins (" in sentence


def without_portaudio(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where the loader of libraries finds no PortAudio, as ctypes tells sounddevice."""
    code = (
        "import ctypes.util, sys; find = ctypes.util.find_library; "
        "ctypes.util.find_library = lambda name: None if 'portaudio' in name else find(name); "
        f"sys.argv = {['altervox', *arguments]}; from altervox.tools.cli.main import main; main()"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.linux
def test_without_portaudio_one_sentence_says_how_to_install_it() -> None:
    done = without_portaudio("devices")
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(
        "altervox: live audio needs PortAudio, and it cannot be loaded (PortAudio library not found"
    )
    assert "sudo apt install libportaudio2" in sentence


def test_portaudio_is_loaded_only_where_devices_are_needed() -> None:
    modules = "altervox.tools.cli.main, altervox.tools.devices.choose, altervox.tools.devices.cable"
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "altervox.tools.devices.choose" in done.stdout.split()
    assert not {"sounddevice", "torch"} & set(done.stdout.split())
