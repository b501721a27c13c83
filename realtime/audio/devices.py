"""Sound devices as PortAudio gives them: the only file that imports sounddevice, and only when devices are needed.

The tools list and choose devices and pass an `AudioDevice`. It can be pickled: another process finds the device again
by its name.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from ...kernels.errors import AudioDeviceError
from ...kernels.printable import printable

log = logging.getLogger(__name__)

Direction = Literal["input", "output"]

_redirecting = threading.RLock()
# Nobody may ask PortAudio for devices while another thread has it list them again. Taken before `_redirecting`.
_listing = threading.RLock()
_LIBRARY_LINE = re.compile(
    rb"ALSA |Expression '|PaAlsa|Cannot connect to server|jack server|JackShm|connect\(2\)|attempt to"
)

RATES = (16_000, 32_000, 44_100, 48_000, 96_000)
WASAPI, ASIO, CORE_AUDIO = "Windows WASAPI", "ASIO", "Core Audio"
PULSE = "PulseAudio"  # and PipeWire, through ALSA's plugin for it
HOW_TO_INSTALL = {
    "linux": "sudo apt install libportaudio2 (Fedora, Arch: the package portaudio)",
    "darwin": "reinstall it with: python -m pip install --force-reinstall sounddevice, or: brew install portaudio",
    "win32": "reinstall it with: python -m pip install --force-reinstall sounddevice",
}


@dataclass(frozen=True, slots=True)
class AudioDevice:
    """One sound device of one host API.

    Attributes:
        index: PortAudio's number; holds until devices come or go.
        name: Name that users know.
        host_api: PortAudio's name of it, or "PulseAudio" for what is reached through ALSA's plugin for it (PipeWire's
            devices, too).
        system_name: Name by which the system tells devices apart that have the same `name`.
        inputs: Number of input channels.
        outputs: Number of output channels.
        default_rate: Default sample rate in Hz.
        low_input_latency_s: Input latency that PortAudio suggests for interactive use.
        low_output_latency_s: Output latency that PortAudio suggests for interactive use.
        is_default_input: Whether it is the system's default input.
        is_default_output: Whether it is the system's default output.
        is_primary: On the host API that serves this system best, and no monitor of an output: what is listed to people.
        is_monitor: Records what is played to an output.
        cable: Kind of virtual cable that it is an end of, such as "VB-CABLE"; empty if none.
        loops: An input and an output that have one in common are connected: what is played to the one comes out of the
            other.
        listening_name: What to choose in Discord or OBS to hear what is played to this cable; empty if unknown.
        portaudio_name: PortAudio's own name.
        portaudio_host_api: PortAudio's name of the host API.
    """

    index: int
    name: str
    host_api: str
    system_name: str
    inputs: int
    outputs: int
    default_rate: float
    low_input_latency_s: float
    low_output_latency_s: float
    is_default_input: bool
    is_default_output: bool
    is_primary: bool
    is_monitor: bool
    cable: str
    loops: tuple[str, ...]
    listening_name: str
    portaudio_name: str
    portaudio_host_api: str

    @property
    def stable_name(self) -> str:
        """Name by which it is remembered; the index changes as devices come and go."""
        return f"{self.host_api}: {self.system_name}"

    @property
    def is_virtual_cable(self) -> bool:
        """Whether it is an end of a virtual cable."""
        return bool(self.cable)

    def channels(self, direction: Direction) -> int:
        """Channels in that direction."""
        return self.inputs if direction == "input" else self.outputs


def load_sounddevice() -> Any:
    """The module sounddevice, with PortAudio initialised.

    PortAudio lists devices once, now, and reads the environment then.

    Raises:
        AudioDeviceError: PortAudio is not installed or does not start.
    """
    if sys.platform == "win32":
        os.environ.setdefault("SD_ENABLE_ASIO", "1")  # its wheel has two builds and asks this which one to load
    os.environ.setdefault("JACK_NO_START_SERVER", "1")  # a list of devices is no reason to start JACK
    try:
        import sounddevice
    except ImportError as error:
        raise AudioDeviceError(f"sounddevice cannot be loaded ({error}): {_remedy()}") from None
    except OSError as error:
        raise AudioDeviceError(f"live audio needs PortAudio, and it cannot be loaded ({error}): {_remedy()}") from None
    except Exception as error:
        # sounddevice initialises PortAudio as it is imported, before its own exception can be named
        if type(error).__name__ != "PortAudioError":
            raise
        raise _does_not_start(error) from None
    return sounddevice


def _does_not_start(error: Exception) -> AudioDeviceError:
    return AudioDeviceError(f"PortAudio does not start ({error}): `altervox doctor` looks for the cause")


def _remedy() -> str:
    return HOW_TO_INSTALL.get(sys.platform, "install PortAudio with your system's package manager")


def rescan() -> None:
    """Let PortAudio list devices again, which ends every open stream of this process.

    Raises:
        AudioDeviceError: PortAudio is not installed or does not start.
    """
    sounddevice = load_sounddevice()
    try:
        with _listing, quiet():
            if sounddevice._initialized:  # it is not where the last attempt has failed
                sounddevice._terminate()
            sounddevice._initialize()
    except sounddevice.PortAudioError as error:
        raise _does_not_start(error) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Log for `-v` only what ALSA and PortAudio write to stderr meanwhile (Linux); all else comes out at the end."""
    if not sys.platform.startswith("linux"):
        yield
        return
    with _redirecting:
        try:
            before = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        collected = os.memfd_create("altervox-stderr")
        os.dup2(collected, 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            with os.fdopen(collected, "rb") as file:
                file.seek(0)
                _pass_on(file.read())


def _pass_on(written: bytes) -> None:
    ours = []
    for line in written.splitlines(keepends=True):
        if _LIBRARY_LINE.match(line):
            log.debug("%s", printable(line.decode(errors="replace")))
        else:
            ours.append(line)
    if ours:
        os.write(2, b"".join(ours))


def part_from_libraries() -> None:
    """From now on keep off stderr what C libraries write there at any time, such as a lost device (Linux).

    PortAudio's threads write whenever a sound server ends. Python's own stderr goes on. For a process that has nothing
    but sound to do: the last words of a library that crashes are lost, too.
    """
    if not sys.platform.startswith("linux") or sys.stderr is None:
        return
    sys.stderr.flush()
    try:
        own = os.dup(2)
    except OSError:  # there is no stderr
        return
    sys.stderr = os.fdopen(own, "w", buffering=1, errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def portaudio_devices() -> list[AudioDevice]:
    """Every device of every host API, as PortAudio has it: cables are not recognised yet.

    Raises:
        AudioDeviceError: PortAudio is not installed or does not start.
    """
    sounddevice = load_sounddevice()
    try:
        with _listing:
            host_apis, rows = sounddevice.query_hostapis(), sounddevice.query_devices()
    except sounddevice.PortAudioError as error:
        raise _does_not_start(error) from None
    found = []
    for index, row in enumerate(rows):
        host_api = host_apis[row["hostapi"]]
        found.append(
            AudioDevice(
                index=index,
                name=printable(row["name"]),
                host_api=host_api["name"],
                system_name=row["name"],
                inputs=row["max_input_channels"],
                outputs=row["max_output_channels"],
                default_rate=row["default_samplerate"],
                low_input_latency_s=row["default_low_input_latency"],
                low_output_latency_s=row["default_low_output_latency"],
                is_default_input=host_api["default_input_device"] == index,
                is_default_output=host_api["default_output_device"] == index,
                is_primary=False,
                is_monitor=False,
                cable="",
                loops=(),
                listening_name="",
                portaudio_name=row["name"],
                portaudio_host_api=host_api["name"],
            )
        )
    return found


def index_here(device: AudioDevice) -> int:
    """PortAudio's number of a device in this process, which may differ from that in the process that chose it.

    Raises:
        AudioDeviceError: It is gone.
    """
    named = [
        other.index
        for other in portaudio_devices()
        if (other.portaudio_name, other.portaudio_host_api) == (device.portaudio_name, device.portaudio_host_api)
    ]
    if not named:
        raise AudioDeviceError(f"the device {device.name!r} is gone: `altervox devices` shows those that are there")
    return device.index if device.index in named else named[0]


def supported_rates(device: AudioDevice, direction: Direction, rates: Sequence[int] = RATES) -> list[int]:
    """The rates, in Hz, at which a device opens with one channel. Sound servers resample and accept all of them.

    Raises:
        AudioDeviceError: It has no channel in that direction, or is gone.
    """
    if not device.channels(direction):
        raise AudioDeviceError(f"{device.name!r} has no {direction}: `altervox devices` shows what has one")
    sounddevice = load_sounddevice()
    check = sounddevice.check_input_settings if direction == "input" else sounddevice.check_output_settings
    supported = []
    with _listing, quiet():
        index = index_here(device)
        for rate in rates:
            try:
                check(device=index, channels=1, dtype="float32", samplerate=rate)
            except sounddevice.PortAudioError:
                continue
            supported.append(rate)
    return supported


def extra_settings(
    device: AudioDevice, direction: Direction, exclusive: bool = False, channel_selectors: Sequence[int] = ()
) -> Any:
    """What a stream's `extra_settings` should be, None for nothing. Not run on Windows and macOS yet.

    WASAPI: shared streams are converted to the device's rate by Windows, exclusive ones are not. Core Audio: exclusive
    sets the device to the stream's rate instead of converting. ASIO has its device for itself anyway.

    Args:
        device: The device to open.
        direction: Whether to record from it or to play to it.
        exclusive: Keep other programs off, for less delay.
        channel_selectors: The device's channels to use, counted from 0, one for each channel of the stream.

    Raises:
        AudioDeviceError: The host API has no such setting, or the device has no such channel.
    """
    host_api, count = device.portaudio_host_api, device.channels(direction)
    if exclusive and host_api not in (WASAPI, ASIO, CORE_AUDIO):
        raise AudioDeviceError(f"{device.host_api} has no exclusive mode: leave it off for {device.name!r}")
    if channel_selectors and host_api not in (ASIO, CORE_AUDIO):
        raise AudioDeviceError(
            f"{device.host_api} cannot pick channels, and {device.name!r} was asked for {list(channel_selectors)}: "
            f"leave them out, or take an ASIO device (`altervox devices --all`)"
        )
    wrong = [channel for channel in channel_selectors if not 0 <= channel < count]
    if wrong:
        raise AudioDeviceError(f"{device.name!r} has no {direction} channel {wrong[0]}: it has 0 to {count - 1}")
    sounddevice = load_sounddevice()
    if host_api == WASAPI:
        return sounddevice.WasapiSettings(exclusive=exclusive, auto_convert=not exclusive)
    if host_api == ASIO and channel_selectors:
        return sounddevice.AsioSettings(channel_selectors=list(channel_selectors))
    if host_api == CORE_AUDIO and (exclusive or channel_selectors):
        channel_map: list[int] | None = list(channel_selectors) or None
        if channel_map and direction == "output":  # there the map has a stream's channel for each of the device's
            channel_map = [channel_map.index(c) if c in channel_map else -1 for c in range(count)]
        return sounddevice.CoreAudioSettings(
            channel_map=channel_map, change_device_parameters=exclusive, fail_if_conversion_required=exclusive
        )
    return None
