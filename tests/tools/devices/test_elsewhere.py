"""Devices of Windows and macOS, as PortAudio would list them there: cables by their names, settings of host APIs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from altervox.kernels.errors import AudioDeviceError, OutputError, UnknownAudioDeviceError
from altervox.realtime.audio.devices import AudioDevice, extra_settings, load_sounddevice
from altervox.tools.devices.cables import cable_of, how_to_get_a_cable, with_cables
from altervox.tools.devices.choose import choose_input, choose_output, remember
from made_up_device import made_up_device


def made_up(name: str, **changes: Any) -> AudioDevice:
    """A device of another system, as PortAudio would have it."""
    windows = {"host_api": "Windows WASAPI", "portaudio_host_api": "Windows WASAPI"}
    return made_up_device(name, **{**windows, **changes})


def test_an_unwritable_settings_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "file" / "below"))
    with pytest.raises(OutputError, match=r"devices\.json cannot be written \(.*\): set ALTERVOX_HOME"):
        remember("input", made_up("Mic"))


@pytest.mark.parametrize(
    ("name", "kind", "loop", "listening"),
    [
        ("CABLE Input (VB-Audio Virtual Cable)", "VB-CABLE", "vb-cable", "CABLE Output"),
        ("CABLE Input (VB-Audio Virtual C", "VB-CABLE", "vb-cable", "CABLE Output"),  # MME
        ("CABLE Output (VB-Audio Virtual Cable)", "VB-CABLE", "vb-cable", "CABLE Output"),
        ("CABLE In 16ch (VB-Audio Virtual Cable)", "VB-CABLE", "vb-cable", "CABLE Output"),
        ("To Discord (VB-Audio Virtual Cable)", "VB-CABLE", "vb-cable", "CABLE Output"),
        ("CABLE-B Input (VB-Audio Cable B)", "VB-CABLE", "vb-cable-b", "CABLE-B Output"),
        ("To OBS (VB-Audio Cable D)", "VB-CABLE", "vb-cable-d", "CABLE-D Output"),
        ("VB-Cable", "VB-CABLE", "vb-cable", "VB-Cable"),
        ("Hi-Fi Cable Input (VB-Audio Hi-Fi Cable)", "Hi-Fi Cable", "hi-fi-cable", "Hi-Fi Cable Output"),
        ("VoiceMeeter Aux Input (VB-Audio VoiceMeeter AUX VAIO)", "VoiceMeeter", "", "VoiceMeeter Aux Output"),
        ("Voicemeeter Input (VB-Audio Voicemeeter VAIO)", "VoiceMeeter", "", "VoiceMeeter Output"),
        ("Voicemeeter In 1 (VB-Audio Voicemeeter VAIO)", "VoiceMeeter", "", "Voicemeeter Out B1"),
        ("Line 2 (Virtual Audio Cable)", "Virtual Audio Cable", "vac-line-2", "Line 2 (Virtual Audio Cable)"),
        ("BlackHole 2ch", "BlackHole", "blackhole-2ch", "BlackHole 2ch"),
        ("BlackHole 64ch", "BlackHole", "blackhole-64ch", "BlackHole 64ch"),
        ("Loopback Audio 2", "Loopback", "loopback-audio-2", "Loopback Audio 2"),
    ],
)
def test_cables_of_other_systems_are_recognised(name: str, kind: str, loop: str, listening: str) -> None:
    cable = cable_of(name)
    assert cable is not None
    assert (cable.kind, cable.loop, cable.listening_name) == (kind, loop, listening)


@pytest.mark.parametrize(
    "name", ["Speakers (Realtek Audio)", "Line In (Realtek Audio)", "USB Cable Input", "HDMI Output", "Microphone"]
)
def test_other_devices_are_no_cables(name: str) -> None:
    assert cable_of(name) is None


def test_the_end_to_listen_to_is_called_what_its_user_calls_it() -> None:
    play = made_up("CABLE Input (VB-Audio Virtual Cable)")
    listen = made_up("Voice (VB-Audio Virtual Cable)", index=1, inputs=2, outputs=0)
    mme = made_up("CABLE Output (VB-Audio Virtual C", index=2, inputs=2, outputs=0, host_api="MME", is_primary=False)
    other = made_up("CABLE-A Output (VB-Audio Cable A)", index=3, inputs=2, outputs=0)
    marked = with_cables([play, listen, mme, other])
    assert marked[0].listening_name == "Voice (VB-Audio Virtual Cable)"
    with pytest.raises(AudioDeviceError, match="the voice would be fed back"):
        choose_output(marked, "CABLE Input", choose_input(marked, "Voice"))
    assert choose_output(marked, "CABLE Input", choose_input(marked, "CABLE-A")) is marked[0]
    assert choose_input(marked, "CABLE Output") is marked[2], "another host API's, as no listed one is called that"


def test_a_machine_with_one_direction_only() -> None:
    with pytest.raises(AudioDeviceError, match="no microphone"):
        choose_input([made_up("Speakers")])
    with pytest.raises(AudioDeviceError, match="no output"):
        choose_output([made_up("Mic", inputs=1, outputs=0)])
    with pytest.raises(AudioDeviceError, match="no input"):
        choose_input([], "Mic")


def test_long_lists_are_cut() -> None:
    many = [made_up(f"Output {number}", index=number) for number in range(20)]
    with pytest.raises(UnknownAudioDeviceError, match="and 14 more"):
        choose_output(many, "Output")
    assert choose_output(many, "Output 1").index == 1, "the whole name comes before parts of names"


@pytest.mark.parametrize(
    ("system", "words"), [("linux", "cable create"), ("darwin", "BlackHole"), ("win32", "VB-CABLE")]
)
def test_every_system_has_its_way_to_a_cable(system: str, words: str) -> None:
    assert words in how_to_get_a_cable(system)


@pytest.mark.linux
def test_settings_of_host_apis_are_made_where_they_exist(pulse_rig: object) -> None:
    sounddevice = load_sounddevice()
    wasapi = made_up("Speakers")
    shared, exclusive = extra_settings(wasapi, "output"), extra_settings(wasapi, "output", exclusive=True)
    flags = sounddevice._lib.paWinWasapiExclusive, sounddevice._lib.paWinWasapiAutoConvert
    assert [setting._streaminfo.flags for setting in (exclusive, shared)] == list(flags)
    asio = made_up("Interface", portaudio_host_api="ASIO", host_api="ASIO", outputs=8)
    assert list(extra_settings(asio, "output", channel_selectors=[6, 7])._selectors) == [6, 7]
    assert extra_settings(asio, "output", exclusive=True) is None
    with pytest.raises(AudioDeviceError, match="'Interface' has no output channel 8: it has 0 to 7"):
        extra_settings(asio, "output", channel_selectors=[8])
    with pytest.raises(AudioDeviceError, match="WASAPI cannot pick channels"):
        extra_settings(wasapi, "output", channel_selectors=[0])
    alsa = made_up("cable", host_api="PulseAudio", portaudio_host_api="ALSA")
    assert extra_settings(alsa, "output") is None
    with pytest.raises(AudioDeviceError, match="PulseAudio has no exclusive mode"):
        extra_settings(alsa, "output", exclusive=True)
