"""Microphones that hear what altervox plays, by whatever way, are refused."""

from __future__ import annotations

import pytest
from altervox.kernels.errors import AudioDeviceError
from altervox.tools.devices.choose import (
    choose_input,
    choose_output,
    list_devices,
)
from pulse import PulseServer


@pytest.mark.linux
def test_the_end_of_a_cable_is_no_default_microphone(desk: PulseServer) -> None:
    desk.pactl("load-module", "module-null-sink", "sink_name=one")
    desk.pactl("set-default-source", "one.monitor")
    with pytest.raises(AudioDeviceError, match=r"name the microphone with --input, one of .*Sine source at 440 Hz"):
        choose_input(list_devices(again=True))


@pytest.mark.linux
def test_feedback_is_refused(rig: PulseServer) -> None:
    devices = list_devices(again=True)
    for wanted in ("Virtual Cable Output", "Monitor of Virtual Cable"):
        heard = choose_input(devices, wanted)
        with pytest.raises(AudioDeviceError, match=f"the input '{wanted}' hears the output 'Virtual Cable'"):
            choose_output(devices, "Virtual Cable", heard)
    microphone = choose_input(devices, "Virtual Microphone")
    assert choose_output(devices, "Virtual Cable", microphone).system_name == "vcable"


@pytest.mark.linux
def test_the_monitor_of_headphones_is_feedback_too(desk: PulseServer) -> None:
    devices = list_devices(again=True)
    with pytest.raises(AudioDeviceError, match="fed back"):
        choose_output(devices, "Headphones", choose_input(devices, "Monitor of Headphones"))


LOOPS = {  # how what is played to the sink `out` comes to the source `heard`
    "remapped sink": (
        "module-remap-sink master=headphones sink_name=out",
        "module-remap-source master=headphones.monitor source_name=heard",
    ),
    "remapped twice": (
        "module-remap-sink master=headphones sink_name=first",
        "module-remap-sink master=first sink_name=out",
        "module-remap-source master=first.monitor source_name=second",
        "module-remap-source master=second source_name=heard",
    ),
    "combined sinks": (
        "module-null-sink sink_name=one",
        "module-combine-sink sink_name=out slaves=headphones,one",
        "module-remap-source master=one.monitor source_name=heard",
    ),
    "loopback": (
        "module-null-sink sink_name=out",
        "module-null-sink sink_name=one",
        "module-loopback source=out.monitor sink=one",
        "module-remap-source master=one.monitor source_name=heard",
    ),
}


@pytest.mark.linux
@pytest.mark.parametrize("loop", LOOPS)
def test_feedback_by_another_way_is_refused(desk: PulseServer, loop: str) -> None:
    desk.pactl("load-module", "module-null-sink", "sink_name=apart")
    for module in LOOPS[loop]:
        desk.pactl("load-module", *module.split())
    devices = list_devices(again=True)
    with pytest.raises(AudioDeviceError, match=r"fed back.*--allow-loop"):
        choose_output(devices, "out", choose_input(devices, "heard"))
    assert choose_output(devices, "out", choose_input(devices, "sine")).system_name == "out"
    assert choose_output(devices, "apart", choose_input(devices, "heard")).system_name == "apart"
