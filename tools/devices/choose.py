"""Which sound devices there are, which one is meant, and which one was chosen before.

Devices are chosen by the description that users know, or a part of it. Without a name, the microphone is the system's
default and the output is altervox's own cable, otherwise the only virtual cable.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import platformdirs

from ...kernels.errors import AudioDeviceError, OutputError, UnknownAudioDeviceError
from ...models.paths import chosen_home
from ...realtime.audio.devices import PULSE, WASAPI, AudioDevice, Direction, portaudio_devices, rescan
from .cables import how_to_get_a_cable, with_cables
from .packages import how_to_install_packages
from .pulse import PulseDevice, prepare_linux_environment, pulse_devices

# The host API that is listed where there are several, best first.
_PREFERRED = {"win32": [WASAPI, "Windows DirectSound", "MME"], "darwin": ["Core Audio"], "linux": [PULSE, "ALSA"]}
_OWN_CABLE = "altervox_cable"
_NAMED_AT_MOST = 6
_PLUG_IN = "plug one in, or run `altervox doctor` to find out why it is not seen"
_NO_INPUT = {  # both hide microphones from programs that may not use them
    "win32": "plug one in, or allow desktop apps to use it in Settings, Privacy & security, Microphone",
    "darwin": "plug one in, or allow your terminal to use it in System Settings, Privacy & Security, Microphone",
}


def settings_folder() -> Path:
    """Folder in which choices are stored: the platform's folder for settings, or `ALTERVOX_HOME`.

    Raises:
        ParameterError: `ALTERVOX_HOME` names a user who is not there.
    """
    return chosen_home() or platformdirs.user_config_path("altervox", appauthor=False)


def list_devices(again: bool = False) -> list[AudioDevice]:
    """Every device, by PortAudio's numbers; those with `is_primary` are what to show.

    On Linux this sets ALSA_CONFIG_PATH in the environment of this process, and of those that it starts, to a file in
    the settings folder (see `pulse.py`).

    Args:
        again: List devices that came since the first time too; ends every open stream of this process.

    Raises:
        AudioDeviceError: PortAudio is missing or does not start, or ALSA's plugin is missing.
    """
    if sys.platform.startswith("linux"):
        os.environ.update(prepare_linux_environment(settings_folder()))
    if again:
        rescan()
    devices = portaudio_devices()
    if sys.platform.startswith("linux"):
        devices = _with_pulse(devices)
    else:
        devices = with_cables(devices)
    present = {device.host_api for device in devices}
    preferred = [*_PREFERRED.get(sys.platform, []), *sorted(present)]
    primary = next((host_api for host_api in preferred if host_api in present), "")
    return [replace(device, is_primary=device.host_api == primary and not device.is_monitor) for device in devices]


def _with_pulse(devices: list[AudioDevice]) -> list[AudioDevice]:
    """The devices; those of the sound server with the server's descriptions."""
    own = {device.portaudio_name: device for device in devices if device.portaudio_name.startswith("altervox_")}
    others = [device for device in devices if device.portaudio_name not in own]
    try:
        served = pulse_devices()
    except AudioDeviceError:
        if not others:
            raise
        return others  # what ALSA has is all there is
    found = [_from_pulse(own[device.pcm], device, served) for device in served if device.pcm in own]
    if served and not found and not others:
        raise AudioDeviceError(
            f"the sound server has {len(served)} devices, but ALSA's plugin for it, through which PortAudio reaches "
            f"them, is not installed: {how_to_install_packages()}"
        )
    if found:  # ALSA's defaults lead to the same server
        others = [replace(device, is_default_input=False, is_default_output=False) for device in others]
    return [*found, *others]


def _from_pulse(device: AudioDevice, pulse: PulseDevice, served: list[PulseDevice]) -> AudioDevice:
    plays = pulse.kind == "sink"
    sink = next((other for other in served if other.kind == "sink" and other.name == pulse.sink), None)
    cable = listening_name = ""
    if sink is not None and sink.is_null:
        cable = "altervox cable" if sink.name == _OWN_CABLE else "null sink"
        ends = [other for other in served if other.kind == "source" and other.sink == sink.name]
        ends.sort(key=lambda end: end.is_monitor)  # programs hide monitors
        listening_name = ends[0].description if ends else ""
    return replace(
        device,
        name=pulse.description,
        host_api=PULSE,
        system_name=pulse.name,
        inputs=0 if plays else pulse.channels,
        outputs=pulse.channels if plays else 0,
        default_rate=float(pulse.rate),
        is_default_input=pulse.is_default and not plays,
        is_default_output=pulse.is_default and plays,
        is_monitor=pulse.is_monitor,
        cable=cable,
        loops=pulse.loops,
        listening_name=listening_name,
    )


def choose_input(devices: Sequence[AudioDevice], wanted: str | None = None) -> AudioDevice:
    """The microphone.

    Args:
        devices: Result of `list_devices`.
        wanted: Number, name, part of a name or stable name; None for the system's default.

    Raises:
        UnknownAudioDeviceError: No device or several devices match the name.
        AudioDeviceError: There is none, or the default is an end of a cable.
    """
    if wanted is not None:
        return _named(devices, "input", wanted)
    candidates = [device for device in devices if device.is_primary and device.inputs and not device.cable]
    if not any(device.inputs for device in devices):
        raise AudioDeviceError(
            f"this machine has no microphone or other input: {_NO_INPUT.get(sys.platform, _PLUG_IN)}"
        )
    default = next((device for device in candidates if device.is_default_input), None)
    if default is not None:
        return default
    listed = _listing(candidates or [device for device in devices if device.is_primary and device.inputs])
    raise AudioDeviceError(
        "the system's default input is the end of a virtual cable or the monitor of an output, or there is none: "
        f"name the microphone with --input, one of {listed}"
    )


def choose_output(
    devices: Sequence[AudioDevice], wanted: str | None = None, source: AudioDevice | None = None
) -> AudioDevice:
    """The output for the voice.

    Args:
        devices: Result of `list_devices`.
        wanted: Number, name, part of a name or stable name; None for altervox's own cable, otherwise the only one.
        source: Input in use; None to accept one that hears the output.

    Raises:
        UnknownAudioDeviceError: No device or several devices match the name.
        AudioDeviceError: There is none, no cable or several, or the input hears this output.
    """
    if wanted is not None:
        output = _named(devices, "output", wanted)
    else:
        if not any(device.outputs for device in devices):
            raise AudioDeviceError(f"this machine has no output to play to: {how_to_get_a_cable()}")
        cables = [device for device in devices if device.is_primary and device.outputs and device.cable]
        if not cables:
            raise AudioDeviceError(
                f"there is no virtual cable to play into: {how_to_get_a_cable()}; or name an output with --output, "
                f"one of {_listing([device for device in devices if device.is_primary and device.outputs])}"
            )
        own = [cable for cable in cables if cable.system_name == _OWN_CABLE]
        if own:  # made by `altervox cable create` for just this
            cables = own
        if len(cables) > 1:
            raise AudioDeviceError(
                f"there are several virtual cables: name the one to play into with --output, one of {_listing(cables)}"
            )
        output = cables[0]
    if source is not None:
        refuse_feedback(source, output)
    return output


def refuse_feedback(source: AudioDevice, output: AudioDevice) -> None:
    """Raise if the input hears the output.

    Raises:
        AudioDeviceError: The input hears the output.
    """
    if not set(source.loops).isdisjoint(output.loops):
        raise AudioDeviceError(
            f"the input {source.name!r} hears the output {output.name!r}, so the voice would be fed back: choose "
            "another input or output, or accept it with --allow-loop"
        )


def _named(devices: Sequence[AudioDevice], direction: Direction, wanted: str) -> AudioDevice:
    """The device that a number or name stands for: whole names before parts, listed devices before others."""
    able = [device for device in devices if device.channels(direction)]
    if not able:
        raise AudioDeviceError(f"this machine has no {direction}: see `altervox doctor`")
    text = wanted.strip().casefold()
    if text.isdecimal():
        return _numbered(devices, direction, int(text))
    listed = [device for device in able if device.is_primary]
    others = [device for device in able if not device.is_primary]
    for pool in (listed, others):
        for matches in (
            [device for device in pool if text in _names(device)],
            [device for device in pool if text and any(text in name for name in _names(device))],
        ):
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise UnknownAudioDeviceError(
                    f"{wanted!r} may mean several {direction}s: say which of {_listing(matches)}, by more of its name "
                    "or by its number"
                )
    near = _near(text, listed or able)
    raise UnknownAudioDeviceError(
        f"no {direction} is called {wanted!r}: {'the nearest are' if near else 'there are'} "
        f"{_listing(near or listed or able)}"
    )


def _numbered(devices: Sequence[AudioDevice], direction: Direction, index: int) -> AudioDevice:
    device = next((device for device in devices if device.index == index), None)
    able = [other for other in devices if other.is_primary and other.channels(direction)]
    if device is None:
        raise UnknownAudioDeviceError(f"no device has the number {index}: the {direction}s are {_listing(able)}")
    if not device.channels(direction):
        raise UnknownAudioDeviceError(
            f"device {index}, {device.name!r}, is not an {direction}: the {direction}s are {_listing(able)}"
        )
    return device


def _names(device: AudioDevice) -> list[str]:
    return [name.casefold() for name in (device.name, device.system_name, device.stable_name)]


def _near(text: str, devices: Sequence[AudioDevice]) -> list[AudioDevice]:
    """Devices with a similar name, or with a word of the name."""
    words = [word for word in text.split() if len(word) > 2]
    close = difflib.get_close_matches(text, [device.name.casefold() for device in devices], n=_NAMED_AT_MOST)
    return [
        device
        for device in devices
        if device.name.casefold() in close or any(word in device.name.casefold() for word in words)
    ]


def _listing(devices: Sequence[AudioDevice]) -> str:
    """Numbers and names; the system's name too where names are the same."""
    names = [device.name for device in devices]
    shown = [
        f"{device.index} {device.name!r}" + (f" ({device.system_name})" if names.count(device.name) > 1 else "")
        for device in devices[:_NAMED_AT_MOST]
    ]
    rest = len(devices) - len(shown)
    return ", ".join(shown) + (f" and {rest} more (`altervox devices`)" if rest else "") if shown else "none"


def is_default(given: str) -> bool:
    """Whether a given name is "default", which also ignores the remembered device."""
    return given.strip().casefold() == "default"


def wanted_name(role: str, given: str | None, devices: Sequence[AudioDevice]) -> str | None:
    """The given name, otherwise the name of the remembered device; None for the default."""
    if given:
        return None if is_default(given) else given
    device = recall(role, devices)
    return device.stable_name if device is not None else None


def remember(role: str, device: AudioDevice | None) -> None:
    """Store the device chosen for a role, "input" or "output"; None forgets it.

    Raises:
        OutputError: The settings folder cannot be written.
    """
    path = settings_folder() / "devices.json"
    noted = {other: name for other, name in _remembered().items() if other != role}
    if device is not None:
        noted[role] = device.stable_name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"devices.json.{os.getpid()}.part")
        part.write_text(json.dumps(noted, ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): set ALTERVOX_HOME to a folder of yours"
        ) from None


def recall(role: str, devices: Sequence[AudioDevice]) -> AudioDevice | None:
    """The device chosen last for a role; None if there was no choice or the device is missing now."""
    name = _remembered().get(role)
    return next((device for device in devices if device.stable_name == name), None)


def _remembered() -> dict[str, str]:
    """The stored choices; a damaged file counts as empty, since choosing again replaces it."""
    try:
        noted = json.loads((settings_folder() / "devices.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(role): str(name) for role, name in noted.items()} if isinstance(noted, dict) else {}
