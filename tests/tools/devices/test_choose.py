"""Sound devices on a real sound server and a real PortAudio: listed, told apart, chosen, opened, remembered."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from altervox.kernels.errors import AudioDeviceError, UnknownAudioDeviceError
from altervox.realtime.audio.devices import (
    RATES,
    index_here,
    load_sounddevice,
    portaudio_devices,
    rescan,
    supported_rates,
)
from altervox.tools.devices.choose import (
    choose_input,
    choose_output,
    list_devices,
    recall,
    remember,
    settings_folder,
    wanted_name,
)
from altervox.tools.devices.pulse import awake, prepare_linux_environment, pulse_devices
from cli_runner import altervox_process
from pulse import RATE, PulseServer, clean_environment, compare, enter, pulse_server
from rich.cells import cell_len

ODD_NAME = 'Колонки é "2.0": x'


@pytest.mark.linux
def test_each_device_is_one_row_with_the_name_that_users_know(rig: PulseServer) -> None:
    listed = altervox_process("devices", "--json")
    assert (listed.code, listed.err) == (0, "")
    rows = {row["name"]: row for row in listed.json}
    assert list(rows) == ["Virtual Microphone Feed", "Virtual Cable", "Virtual Microphone", "Virtual Cable Output"]
    cable = rows["Virtual Cable"]
    assert (cable["inputs"], cable["outputs"], cable["default_rate"]) == (0, 2, 48000)
    assert (cable["cable"], cable["listening_name"]) == ("null sink", "Virtual Cable Output")
    assert cable["stable_name"] == "PulseAudio: vcable"
    assert 0 < cable["low_output_latency_s"] < 0.1
    microphone = rows["Virtual Microphone"]
    assert (microphone["inputs"], microphone["outputs"]) == (1, 0)
    everything = {row["name"]: row for row in altervox_process("devices", "--json", "--all").json}
    assert everything["Monitor of Virtual Cable"]["is_monitor"]
    assert set(rows) < set(everything)


@pytest.mark.linux
def test_rows_for_people_say_what_to_choose_in_discord(rig: PulseServer) -> None:
    listed = altervox_process("devices")
    (line,) = (line for line in listed.out.splitlines() if " Virtual Cable  " in line)
    assert "null sink (in Discord or OBS choose 'Virtual Cable Output')" in line
    assert "2" in line.split()
    assert "48000" in line.split()


@pytest.mark.linux
def test_names_beyond_ascii_are_shown_and_chosen(rig: PulseServer) -> None:
    escaped = ODD_NAME.replace('"', '\\"')
    properties = f"sink_properties=\"device.description='{escaped}'\""
    module = rig.pactl("load-module", "module-null-sink", "sink_name=odd", properties).strip()
    try:
        devices = list_devices(again=True)
        assert choose_output(devices, ODD_NAME).system_name == "odd"
        assert choose_output(devices, "колонки").name == ODD_NAME
        assert ODD_NAME in altervox_process("devices", env={"LANG": "ru_RU.UTF-8", "LANGUAGE": "ru"}).out
    finally:
        rig.pactl("unload-module", module)


@pytest.mark.linux
def test_columns_stand_below_each_other_whatever_a_name_is_written_in(rig: PulseServer) -> None:
    names = ["マイク入力", "Headset 🎧", "Cafe\u0301", "red \x1b[31malert\x07"]
    modules = [
        rig.pactl(
            "load-module", "module-null-sink", f"sink_name=w{n}", f"sink_properties=\"device.description='{name}'\""
        )
        for n, name in enumerate(names)
    ]
    try:
        head, *rows = altervox_process("devices", env={"PYTHONUTF8": "1"}).out.splitlines()
    finally:
        for module in modules:
            rig.pactl("unload-module", module.strip())
    column = cell_len(head[: head.index("host API")])
    assert {cell_len(row[: row.index("PulseAudio")]) for row in rows} == {column}
    text = "\n".join(rows)
    assert all(name in text for name in [*names[:3], "red alert"])
    assert "\x1b" not in text


@pytest.mark.linux
@pytest.mark.parametrize(
    "wanted", ["Virtual Cable", "virtual cable", " VIRTUAL CABLE ", "vcable", "PulseAudio: vcable", "number", "al cab"]
)
def test_an_output_is_chosen_by_any_of_its_names(rig: PulseServer, wanted: str) -> None:
    devices = list_devices(again=True)
    if wanted == "number":
        wanted = str(next(device.index for device in devices if device.system_name == "vcable"))
    assert choose_output(devices, wanted).system_name == "vcable"


@pytest.mark.linux
def test_an_input_is_chosen_among_inputs_only(rig: PulseServer) -> None:
    devices = list_devices(again=True)
    assert choose_input(devices, "cable").system_name == "vcable_source"
    assert choose_output(devices, "cable").system_name == "vcable"
    assert choose_input(devices, "Monitor of Virtual Cable").system_name == "vcable.monitor", "unlisted, but named"


@pytest.mark.linux
def test_names_that_are_unclear_or_unknown_are_answered_with_the_near_ones(rig: PulseServer) -> None:
    devices = list_devices(again=True)
    with pytest.raises(UnknownAudioDeviceError, match="may mean several inputs") as refused:
        choose_input(devices, "virtual")
    assert "'Virtual Microphone'" in str(refused.value)
    assert "'Virtual Cable Output'" in str(refused.value)
    assert "Monitor" not in str(refused.value)
    with pytest.raises(
        UnknownAudioDeviceError, match="no input is called 'Virtuel Microfone': the nearest are"
    ) as refused:
        choose_input(devices, "Virtuel Microfone")
    assert "'Virtual Microphone'" in str(refused.value)
    with pytest.raises(UnknownAudioDeviceError, match=r"there are .*'Virtual Microphone', .*'Virtual Cable Output'"):
        choose_input(devices, "xyzzy")
    with pytest.raises(UnknownAudioDeviceError, match="there are"):
        choose_input(devices, "")
    with pytest.raises(UnknownAudioDeviceError, match="no device has the number 99"):
        choose_input(devices, "99")
    cable = next(device for device in devices if device.system_name == "vcable")
    with pytest.raises(UnknownAudioDeviceError, match=f"device {cable.index}, 'Virtual Cable', is not an input"):
        choose_input(devices, str(cable.index))


@pytest.mark.linux
def test_devices_of_the_same_name_are_told_apart_by_the_systems(rig: PulseServer) -> None:
    properties = "sink_properties=\"device.description='Virtual Cable'\""
    module = rig.pactl("load-module", "module-null-sink", "sink_name=second", properties).strip()
    try:
        devices = list_devices(again=True)
        with pytest.raises(UnknownAudioDeviceError) as refused:
            choose_output(devices, "Virtual Cable")
        assert "(vcable)" in str(refused.value)
        assert "(second)" in str(refused.value)
        assert choose_output(devices, "second").stable_name == "PulseAudio: second"
    finally:
        rig.pactl("unload-module", module)


@pytest.mark.linux
def test_without_a_name_the_microphone_is_the_systems_and_the_output_the_only_cable(desk: PulseServer) -> None:
    devices = list_devices(again=True)
    microphone = choose_input(devices)
    assert (microphone.system_name, microphone.is_default_input, microphone.cable) == ("sine", True, "")
    with pytest.raises(AudioDeviceError, match=r"altervox cable create.*'Headphones'"):
        choose_output(devices, None, microphone)

    desk.pactl("load-module", "module-null-sink", "sink_name=one")
    cable = choose_output(list_devices(again=True), None, microphone)
    assert (cable.system_name, cable.listening_name) == ("one", "Monitor of Null Output")

    desk.pactl("load-module", "module-null-sink", "sink_name=two")
    with pytest.raises(AudioDeviceError, match=r"several virtual cables.*\(one\).*\(two\)"):
        choose_output(list_devices(again=True))

    desk.pactl("load-module", "module-null-sink", "sink_name=altervox_cable")
    own = choose_output(list_devices(again=True), None, microphone)
    assert own.system_name == "altervox_cable", "it is there for nothing else"


@pytest.mark.linux
def test_the_stopgap_of_a_machine_without_outputs_is_no_cable(
    pulse_rig: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server makes itself a null sink then, which nobody hears and nobody meant."""
    with pulse_server(tmp_path / "server", ["module-always-sink"]) as server:
        enter(server, monkeypatch, tmp_path / "home")
        assert server.names("sinks") == ["auto_null"]
        with pytest.raises(AudioDeviceError, match="there is no virtual cable"):
            choose_output(list_devices(again=True))


PIPEWIRE = {  # of pipewire-pulse 0.3.65, shortened: its own modules have arguments of many lines, sources no master
    "info": "Server Name: PulseAudio (on PipeWire 0.3.65)\nDefault Sink: altervox_cable\nDefault Source: mic",
    "list short modules": (
        "1\tlibpipewire-module-rt\t{\n            nice.level    = -11\n            #rt.prio      = 88\n        }\t\n"
        "536870913\tmodule-null-sink\tsink_name=altervox_cable rate=48000 "
        "sink_properties=\"device.description='altervox cable'\"\t\n"
        "536870914\tmodule-remap-source\tmaster=altervox_cable.monitor source_name=altervox_microphone\t"
    ),
    "list sinks": (
        "Sink #48\n\tName: altervox_cable\n\tDescription: altervox cable\n\tDriver: PipeWire\n"
        "\tSample Specification: float32le 2ch 48000Hz\n\tOwner Module: 536870913\n"
        '\tLatency: 0 usec, configured 0 usec\n\tProperties:\n\t\tfactory.name = "support.null-audio-sink"\n'
        "Sink #50\n\tName: made_elsewhere\n\tDescription: Made by PipeWire's configuration\n"
        "\tSample Specification: float32le 2ch 44100Hz\n\tOwner Module: 4294967295\n"
        '\tProperties:\n\t\tfactory.name = "support.null-audio-sink"\n'
    ),
    "list sources": (
        "Source #48\n\tName: altervox_cable.monitor\n\tDescription: Monitor of altervox cable\n"
        "\tSample Specification: float32le 2ch 48000Hz\n\tOwner Module: 536870913\n\tMonitor of Sink: altervox_cable\n"
        "\n"
        "Source #55\n\tName: altervox_microphone\n\tDescription: altervox microphone\n"
        "\tSample Specification: float32le 2ch 48000Hz\n\tOwner Module: 536870914\n\tMonitor of Sink: n/a\n"
    ),
}


@pytest.mark.linux
def test_what_pipewire_answers_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for question, answer in PIPEWIRE.items():
        (tmp_path / question).write_text(answer, encoding="utf-8")
    stand_in = tmp_path / "pactl"
    stand_in.write_text(f'#!/bin/sh\nexec /bin/cat "{tmp_path}/$*"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {device.name: device for device in pulse_devices()}
    assert len(found) == 4
    assert found["altervox_cable"].is_null
    assert found["altervox_cable"].is_default
    assert (found["made_elsewhere"].is_null, found["made_elsewhere"].rate) == (True, 44100)
    assert found["altervox_microphone"].sink == "altervox_cable"
    assert not found["altervox_microphone"].is_monitor
    assert "altervox_microphone" in found["altervox_cable"].loops
    assert "altervox_microphone" not in found["made_elsewhere"].loops
    assert found["altervox_cable.monitor"].is_monitor


@pytest.mark.linux
def test_sound_goes_to_the_chosen_output_and_comes_from_the_chosen_input(rig: PulseServer) -> None:
    """Streams to the two cables at once, each with its own sound: exact, and only where it belongs."""
    sounddevice = load_sounddevice()
    devices = list_devices(again=True)
    output = choose_output(devices, "Virtual Cable")
    source = choose_input(
        devices,
        "Virtual Microphone",
    )
    noise = np.random.default_rng(1)
    to_cable, to_microphone = (noise.uniform(-0.3, 0.3, RATE).astype(np.float32) for _ in range(2))
    told = []
    for _ in range(3):  # the rig itself loses sound now and then
        heard: list[np.ndarray[Any, Any]] = []
        position = -RATE // 4  # some silence first

        def play(block: np.ndarray[Any, Any], frames: int, when: Any, status: Any) -> None:
            nonlocal position
            block[:] = 0
            first, last = max(position, 0), min(position + frames, RATE)
            if last > first:
                block[first - position : last - position, 0] = to_cable[first:last]
            position += frames

        def hear(
            block: np.ndarray[Any, Any], frames: int, when: Any, status: Any, heard: list[np.ndarray[Any, Any]] = heard
        ) -> None:
            heard.append(block[:, 0].copy())

        options = {"samplerate": RATE, "channels": 1, "dtype": "float32", "blocksize": 480, "latency": "low"}
        with (
            rig.record("vcable.monitor") as at_cable,
            sounddevice.InputStream(device=index_here(source), callback=hear, **options),
            sounddevice.OutputStream(device=index_here(output), callback=play, **options),
        ):
            rig.play(to_microphone, "vmic")
            at_cable.wait_for(0.7)
        arrived = compare(to_cable, at_cable.samples)
        came = compare(to_microphone, np.concatenate(heard))
        astray = compare(to_microphone, at_cable.samples)
        told.append((arrived, came))
        assert astray.correlation < 0.1
        if arrived.bad_frames == came.bad_frames == 0:
            break
    assert (arrived.bad_frames, arrived.frames, arrived.missing) == (0, 100, 0), told
    assert (came.bad_frames, came.frames, came.missing) == (0, 100, 0), told


@pytest.mark.linux
def test_an_unused_cable_is_woken_before_it_is_played_into(desk: PulseServer) -> None:
    """Else a stream's second callback comes up to 2 s after its first. No clock of the rig's keeps this sink awake."""
    desk.pactl("load-module", "module-null-sink", "sink_name=slow", "rate=48000")
    sounddevice = load_sounddevice()
    output = choose_output(list_devices(again=True), "slow")
    readers = len(desk.pactl("list", "short", "source-outputs").splitlines())
    times: list[float] = []

    def play(block: Any, frames: int, when: Any, status: Any) -> None:
        block[:] = 0
        times.append(time.monotonic())

    options = {"samplerate": RATE, "channels": 1, "blocksize": 480, "latency": "low", "callback": play}
    with awake(output.system_name):
        for _ in range(2):
            times.clear()
            with sounddevice.OutputStream(device=index_here(output), **options):
                end = time.monotonic() + 20
                while len(times) < 40:  # as long as they should be in 0.4 s
                    assert time.monotonic() < end
                    time.sleep(0.02)
            assert np.diff(times[:40]).max() < 1.0
    assert len(desk.pactl("list", "short", "source-outputs").splitlines()) == readers, "its reader ends with it"


@pytest.mark.linux
def test_another_process_finds_the_device_again(rig: PulseServer) -> None:
    cable = choose_output(list_devices(again=True), "Virtual Cable")
    code = (
        "import pickle, sys; from altervox.realtime.audio.devices import index_here, load_sounddevice; "
        "device = pickle.load(sys.stdin.buffer); sd = load_sounddevice(); i = index_here(device); "
        "print(sd.query_devices(i)['name'] == device.portaudio_name)"
    )
    moved = replace(cable, index=cable.index + 1)
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(moved), capture_output=True, check=True)
    assert done.stdout.split() == [b"True"]
    with pytest.raises(AudioDeviceError, match="is gone"):
        index_here(replace(cable, portaudio_name="altervox_sink_00000000"))


@pytest.mark.linux
def test_a_sound_server_takes_every_rate(rig: PulseServer, capfd: pytest.CaptureFixture[str]) -> None:
    devices = list_devices(again=True)
    assert supported_rates(choose_output(devices, "Virtual Cable"), "output") == list(RATES)
    assert supported_rates(choose_input(devices, "Virtual Microphone"), "input") == list(RATES)
    assert supported_rates(choose_output(devices, "Virtual Cable"), "output", [48_000, 0]) == [48_000]
    with pytest.raises(AudioDeviceError, match="'Virtual Cable' has no input"):
        supported_rates(choose_output(devices, "Virtual Cable"), "input")
    assert capfd.readouterr().err == "", "ALSA's own complaints are for nobody"


@pytest.mark.linux
def test_the_configuration_in_force_stays_included(rig: PulseServer, tmp_path: Path, monkeypatch: Any) -> None:
    mine = tmp_path / "mine.conf"
    mine.write_text('</usr/share/alsa/alsa.conf>\npcm.mine { type pulse device "vcable" }\n')
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(mine))
    for folder in ("first", "first", "second"):  # as a process does that another altervox has started
        told = prepare_linux_environment(tmp_path / folder)
        assert told == {"ALSA_CONFIG_PATH": str(tmp_path / folder / "alsa.conf")}
        monkeypatch.setenv("ALSA_CONFIG_PATH", told["ALSA_CONFIG_PATH"])
        text = (tmp_path / folder / "alsa.conf").read_text()
        assert f"<{mine}>" in text
        assert all(device.pcm in text for device in pulse_devices())
    assert "mine" in [row["name"] for row in altervox_process("devices", "--json", "--all").json]


@pytest.mark.linux
def test_what_was_chosen_is_remembered(rig: PulseServer) -> None:
    devices = list_devices(again=True)
    assert recall("output", devices) is None
    cable, microphone = choose_output(devices, "Virtual Cable"), choose_input(devices, "Virtual Microphone")
    remember("output", cable)
    remember("input", microphone)
    assert recall("output", devices) == cable
    moved = [replace(device, index=device.index + 5) for device in devices]
    found = recall("input", moved)
    assert found is not None
    assert (found.index, found.stable_name) == (microphone.index + 5, "PulseAudio: vmic_source")
    assert recall("input", [cable]) is None, "it is not there now"
    (settings_folder() / "devices.json").write_text('["damaged"]')
    assert recall("input", devices) is None
    remember("input", microphone)
    assert recall("input", devices) == microphone


@pytest.mark.linux
def test_default_forgets_what_was_chosen(rig: PulseServer) -> None:
    devices = list_devices(again=True)
    cable, microphone = choose_output(devices, "Virtual Cable"), choose_input(devices, "Virtual Microphone")
    remember("output", cable)
    remember("input", microphone)
    assert wanted_name("input", None, devices) == "PulseAudio: vmic_source"
    assert wanted_name("input", "cable", devices) == "cable"
    assert wanted_name("input", " Default", devices) is None
    remember("input", None)
    assert wanted_name("input", None, devices) is None
    assert recall("output", devices) == cable, "it is another role"


def test_the_rig_leaves_no_foreign_server_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULSE_SERVER", "unix:/somewhere")
    monkeypatch.setenv("ALSA_CONFIG_PATH", "/somewhere")
    assert not {"PULSE_SERVER", "ALSA_CONFIG_PATH"} & set(clean_environment())
    assert os.environ["PULSE_SERVER"] == "unix:/somewhere"


@pytest.mark.linux
def test_devices_can_be_listed_while_another_thread_lists_them_again(rig: PulseServer) -> None:
    wanted, ended = {device.portaudio_name for device in list_devices(again=True)}, threading.Event()

    def list_again() -> None:
        while not ended.is_set():
            rescan()

    thread = threading.Thread(target=list_again)
    thread.start()
    try:
        for _ in range(15):
            assert wanted <= {device.portaudio_name for device in portaudio_devices()}
            time.sleep(0.01)
    finally:
        ended.set()
        thread.join()
