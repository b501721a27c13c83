"""What `altervox doctor` says about sound devices, and about what keeps sound from stuttering."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ...kernels.errors import AudioDeviceError
from ...realtime.audio.devices import AudioDevice, load_sounddevice
from ...realtime.audio.priority import CALLBACKS
from ..devices.cables import how_to_get_a_cable
from ..devices.choose import list_devices
from ..devices.pulse import pulse_devices, server_name
from .check import Check

CABLE_RATE = 48_000
CPUS = Path("/sys/devices/system/cpu")
SOUND_CARDS = Path("/dev/snd")
_CONSENT = r"Software\Microsoft\Windows\CurrentVersion\CapabilityAccessManager\ConsentStore\microphone"
_SET_RATE = {
    "win32": "run mmsys.cpl; on Playback and on Recording: the cable, Properties, Advanced, 48000 Hz",
    "darwin": "in Audio MIDI Setup set the cable to 48,000 Hz",
}


def device_checks() -> Iterator[Check]:
    """PortAudio, devices, cables, permissions and priorities."""
    if sys.platform.startswith("linux"):
        yield server_check()
    yield from portaudio_checks()
    yield permission_check()
    yield from priority_checks()


def _refusal(check: str, error: AudioDeviceError) -> Check:
    """The two halves of the sentence, between which stands the first colon outside of parentheses."""
    found, remedy = re.split(r": (?![^(]*\))", str(error), maxsplit=1)
    return Check(check, "warning", found, remedy)


def server_check() -> Check:
    """PulseAudio, or PipeWire in its place (Linux)."""
    try:
        name, devices = server_name(), pulse_devices()
    except AudioDeviceError as error:
        return _refusal("sound server", error)
    latency = os.environ.get("PULSE_LATENCY_MSEC")
    if latency is not None:
        found = f"{name}; PULSE_LATENCY_MSEC={latency} is set, which makes playing through ALSA stutter"
        return Check("sound server", "warning", found, "unset PULSE_LATENCY_MSEC")
    return Check("sound server", "ok", f"{name}, {len(devices)} devices")


def portaudio_checks() -> Iterator[Check]:
    """PortAudio and what it lists."""
    devices: list[AudioDevice] = []
    refusal = None
    try:
        devices = list_devices()  # before all else: it prepares what PortAudio reads as it is loaded
    except AudioDeviceError as error:
        refusal = error
    try:
        sounddevice = load_sounddevice()
    except AudioDeviceError as error:
        yield _refusal("portaudio", error)
        return
    used = ", ".join(api["name"] for api in sounddevice.query_hostapis() if api["devices"])
    version = re.sub(r", revision .*", "", sounddevice.get_portaudio_version()[1])
    yield Check("portaudio", "ok", f"{version}; host APIs with devices: {used or 'none'}")
    if refusal is not None:
        yield _refusal("sound devices", refusal)
        return
    if sys.platform.startswith("linux"):
        yield plugin_check(devices)
    yield from content_checks([device for device in devices if device.is_primary])


def plugin_check(devices: list[AudioDevice]) -> Check:
    """Whether PortAudio sees the sound server's devices (Linux)."""
    try:
        served = len(pulse_devices())
    except AudioDeviceError:
        return Check("alsa plugin", "ok", "not looked for, as there is no sound server")
    seen = sum(device.host_api == "PulseAudio" for device in devices)
    if seen < served:
        found = f"PortAudio sees {seen} of the sound server's {served} devices"
        return Check("alsa plugin", "warning", found, "sudo apt install libasound2-plugins")
    return Check("alsa plugin", "ok", f"PortAudio sees all {served} devices of the sound server")


def content_checks(devices: list[AudioDevice]) -> Iterator[Check]:
    """Whether there is something to record from, to play to and to be heard through."""
    empty = "none but virtual cables" if devices else "none"
    microphones = [device for device in devices if device.inputs and not device.cable]
    default = next((f", by default {device.name!r}" for device in microphones if device.is_default_input), "")
    if microphones:
        yield Check("microphones", "ok", f"{len(microphones)}{default}")
    else:
        yield Check("microphones", "warning", empty, "plug one in or switch it on")
    outputs = [device for device in devices if device.outputs and not device.cable]
    default = next((f", by default {device.name!r}" for device in outputs if device.is_default_output), "")
    if outputs:
        yield Check("outputs", "ok", f"{len(outputs)}{default}")
    else:
        yield Check("outputs", "ok", f"{empty}; you need one only to hear yourself")
    cables = [device for device in devices if device.cable and device.outputs]
    if not cables:
        yield Check("virtual cable", "warning", "none; only you would hear the voice", how_to_get_a_cable())
    for cable in cables:
        found = f"{cable.name!r} ({cable.cable}); in Discord or OBS choose {cable.listening_name!r}"
        if round(cable.default_rate) == CABLE_RATE:
            yield Check("virtual cable", "ok", found)
            continue
        remedy = _SET_RATE.get(sys.platform, "altervox cable create makes one of 48000 Hz")
        yield Check("virtual cable", "warning", f"{found}; it runs at {cable.default_rate:.0f} Hz, not 48000", remedy)


def permission_check() -> Check:
    """Whether this system lets programs have the microphone, as far as that can be seen."""
    if sys.platform.startswith("linux"):
        return linux_permission(SOUND_CARDS)
    if sys.platform == "darwin":
        return Check(
            "microphone use",
            "ok",
            "cannot be checked: macOS asks at the first use; if only silence comes in, see System Settings, "
            "Privacy & Security, Microphone",
        )
    return _windows_permission()


def linux_permission(folder: Path) -> Check:
    """Whether this user may open the devices of the sound cards; a sound server does so for its clients."""
    cards = sorted(folder.glob("pcm*"))
    if not cards:
        return Check("microphone use", "ok", f"not checked: there is no sound card ({folder} has no pcm)")
    closed = [card.name for card in cards if not os.access(card, os.R_OK | os.W_OK)]
    if closed:
        found = f"{len(closed)} of {len(cards)} devices in {folder} are closed to you, such as {closed[0]}"
        return Check("microphone use", "warning", found, "sudo usermod -aG audio $USER, then log in again")
    return Check("microphone use", "ok", f"all {len(cards)} devices in {folder} are open to you")


def _windows_permission() -> Check:
    """The switches of Windows' privacy settings. Not run on Windows yet."""
    if sys.platform != "win32":  # also tells type checkers that what follows is for Windows only
        return Check("microphone use", "ok", "cannot be checked on this system")
    import winreg

    for key in (_CONSENT, rf"{_CONSENT}\NonPackaged"):
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, key) as opened:
                value, _ = winreg.QueryValueEx(opened, "Value")
        except OSError:
            return Check("microphone use", "ok", "cannot be checked: this Windows does not note it where others do")
        if value == "Deny":
            return Check(
                "microphone use",
                "warning",
                "Windows' privacy settings deny programs the microphone",
                "Settings, Privacy & security, Microphone: let desktop apps access it",
            )
    return Check("microphone use", "ok", "allowed by Windows' privacy settings")


def priority_checks() -> Iterator[Check]:
    """Whether sound can be given priority, and the processor runs at its full speed."""
    if not sys.platform.startswith("linux"):
        yield Check("priority", "ok", "cannot be checked on this system, which grants it when asked")
        yield Check("cpu speed", "ok", "cannot be checked on this system: choose its high-performance power mode")
        return
    import resource

    _, allowed = resource.getrlimit(resource.RLIMIT_RTPRIO)
    yield realtime_check(allowed, os.geteuid() == 0)
    yield governor_check(CPUS)


def realtime_check(allowed: int, is_root: bool) -> Check:
    """Whether Linux grants real-time priority.

    Args:
        allowed: Highest priority that this user may take (RLIMIT_RTPRIO), 0 for none, -1 for any.
        is_root: Root may always.
    """
    if is_root or allowed < 0 or allowed >= CALLBACKS:
        limit = f", up to {allowed}" if allowed > 0 and not is_root else ""
        return Check("priority", "ok", f"real-time priority may be taken{limit}")
    found = f"real-time priority is limited to {allowed} (RLIMIT_RTPRIO); callbacks need {CALLBACKS}"
    remedy = (
        'put "@audio - rtprio 95" into /etc/security/limits.d/audio.conf, yourself into that group '
        "(sudo usermod -aG audio $USER), and log in again"
    )
    return Check("priority", "warning", found, remedy)


def governor_check(folder: Path) -> Check:
    """Whether the processor waits for load before it speeds up (Linux).

    Args:
        folder: The kernel's folder of processors.
    """
    governors = sorted({path.read_text().strip() for path in folder.glob("cpu[0-9]*/cpufreq/scaling_governor")})
    if not governors:
        return Check("cpu speed", "ok", "cannot be checked: the kernel has no cpufreq here (a virtual machine?)")
    if governors == ["performance"]:
        return Check("cpu speed", "ok", "governor performance")
    remedy = "while you are live: sudo cpupower frequency-set -g performance (or powerprofilesctl set performance)"
    return Check("cpu speed", "warning", f"governor {', '.join(governors)}: blocks may come late", remedy)
