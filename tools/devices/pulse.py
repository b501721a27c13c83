"""Devices of PulseAudio, and of PipeWire's server for its clients, for PortAudio, which knows neither.

PortAudio reaches them through ALSA's plugin "pulse", as one device without a choice. So altervox writes a configuration
for ALSA that has a PCM of its own for each of the server's devices, and PortAudio then lists those. It must be named in
the environment (ALSA_CONFIG_PATH) before PortAudio is initialised; what was named there, or the system's, is included.

Names and descriptions come from `pactl`, in its text form: its JSON form (pactl 16.1) has "(null)" in place of any text
beyond ASCII.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...kernels.errors import AudioDeviceError
from ...kernels.printable import printable
from .packages import how_to_install_packages
from .programs import started

SYSTEM_CONFIGURATION = Path("/usr/share/alsa/alsa.conf")
_HEADER = "# Written by altervox: a PCM for each device of the sound server, for PortAudio to list."
_STOPGAP = "auto_null"  # the null sink that servers make where there is no other: nobody made it to be a cable
_CLOCK_MS = 10
_SMALL_STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class PulseDevice:
    """A sink or a source.

    Attributes:
        kind: "sink" (plays) or "source" (records).
        name: Name that the server knows it by.
        description: Name that users see.
        rate: Hz at which it runs.
        channels: Number of channels.
        module: Number of the module that made it; -1 if none did.
        sink: Name of the sink itself, or of the sink that the source records; empty if neither.
        loops: Names of the sinks and sources that a sink's sound reaches; for a source, its own name.
        is_monitor: Whether it is the monitor source of a sink.
        is_null: Whether it is a null sink, without hardware.
        is_default: Whether it is the server's default.
    """

    kind: Literal["sink", "source"]
    name: str
    description: str
    rate: int
    channels: int
    module: int
    sink: str
    loops: tuple[str, ...]
    is_monitor: bool
    is_null: bool
    is_default: bool

    @property
    def pcm(self) -> str:
        """ALSA's, and thereby PortAudio's, name of it: names in ALSA's configuration may not hold any character."""
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        return f"altervox_{self.kind}_{digest}"


@dataclass(frozen=True, slots=True)
class Module:
    """A loaded module of the server, and the arguments it was given."""

    number: int
    name: str
    arguments: dict[str, str]


def pactl(*arguments: str) -> str:
    """Output of `pactl`, in English.

    Raises:
        AudioDeviceError: It is not installed, there is no server, or the server refuses.
    """
    program = shutil.which("pactl")
    if program is None:
        raise AudioDeviceError(
            "pactl, which asks PulseAudio and PipeWire for their devices, is not installed: "
            f"{how_to_install_packages()}"
        )
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            [program, *arguments],
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AudioDeviceError("the sound server does not answer within 10 s: restart it") from None
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr.strip() or "no reason given").splitlines()[-1]
    if said.startswith(("Connection failure", "pa_context_connect() failed")):
        raise AudioDeviceError(
            f"no sound server answers ({said.rpartition(': ')[2]}; {_where_it_should_be()}): start PipeWire with "
            "systemctl --user start pipewire-pulse, or PulseAudio with pulseaudio --start"
        )
    raise AudioDeviceError(f"the sound server refuses `pactl {shlex.join(arguments)}`: {printable(said)}")


def _where_it_should_be() -> str:
    """The variable that decides where clients look for the server, and its value."""
    for name in ("PULSE_SERVER", "PULSE_RUNTIME_PATH", "XDG_RUNTIME_DIR"):
        if value := os.environ.get(name):
            return f"{name} is {printable(value)}"
    return "neither PULSE_SERVER nor XDG_RUNTIME_DIR is set"


def server_name() -> str:
    """Name and version of the server, such as "PulseAudio (on PipeWire 1.0.5) 15.0.0"."""
    info = _fields(pactl("info").splitlines())
    return f"{info.get('Server Name', 'unknown')} {info.get('Server Version', '')}".strip()


def device_numbers() -> dict[str, str]:
    """Names of sinks and sources, and the server's number of each: one that was made anew has another number."""
    listed = "".join(pactl("list", "short", kind) for kind in ("sinks", "sources"))
    rows = (line.split("\t") for line in listed.splitlines())
    return {row[1]: row[0] for row in rows if len(row) > 1}


def default_devices() -> tuple[str, str]:
    """Names of the sink and of the source that the server gives to programs that ask for none."""
    info = _fields(pactl("info").splitlines())
    return info.get("Default Sink", ""), info.get("Default Source", "")


def subscribe() -> AbstractContextManager[subprocess.Popen[bytes]]:
    """A program that prints a line for every event of the server, and ends with it."""
    command = [shutil.which("pactl") or "pactl", "subscribe"]
    return started(command, stdout=subprocess.PIPE, environment={**os.environ, "LC_ALL": "C"})


def pulse_devices() -> list[PulseDevice]:
    """Every sink and source of the server."""
    info = _fields(pactl("info").splitlines())
    loaded = modules()
    null_modules = {module.number for module in loaded if module.name == "module-null-sink"}
    sinks, sources = (
        {fields["Name"]: fields for fields in map(_fields, _blocks(kind))} for kind in ("sinks", "sources")
    )
    masters = _masters(loaded, {**sinks, **sources})
    feeds = _feeds(loaded, sinks, sources, masters)
    found = []
    for name, fields in sinks.items():
        is_null = name != _STOPGAP and (
            _number(fields.get("Owner Module", "")) in null_modules
            or fields.get("factory.name") == "support.null-audio-sink"
        )
        loops = tuple(sorted(_reached(name, feeds)))
        found.append(_device("sink", fields, name, loops, False, is_null, name == info.get("Default Sink")))
    for name, fields in sources.items():
        is_monitor = _is_named(fields.get("Monitor of Sink", ""))
        sink = _recorded_sink(name, sources, masters)
        found.append(_device("source", fields, sink, (name,), is_monitor, False, name == info.get("Default Source")))
    return found


def _masters(loaded: list[Module], devices: dict[str, dict[str, str]]) -> dict[str, str]:
    """Names of the devices that remapped or filtered devices are made from, by the names of the latter."""
    masters = {
        name: fields["device.master_device"] for name, fields in devices.items() if "device.master_device" in fields
    }
    for arguments in (module.arguments for module in loaded):  # PipeWire has no such property
        name = arguments.get("sink_name") or arguments.get("source_name")
        if name and "master" in arguments:
            masters.setdefault(name, arguments["master"])
    return masters


def _feeds(
    loaded: list[Module], sinks: dict[str, dict[str, str]], sources: dict[str, dict[str, str]], masters: dict[str, str]
) -> list[tuple[str, str]]:
    """Pairs of devices: the sound of the first one goes to the second one."""
    monitors = [(fields.get("Monitor of Sink", ""), name) for name, fields in sources.items()]
    remapped = [(name, master) if name in sinks else (master, name) for name, master in masters.items()]
    wired = [
        (module.arguments.get("source", ""), module.arguments.get("sink", ""))
        for module in loaded
        if module.name == "module-loopback"
    ]
    combined = [
        (module.arguments.get("sink_name", "combined"), slave)
        for module in loaded
        if module.name == "module-combine-sink"
        for slave in module.arguments.get("slaves", "").split(",")
    ]
    return [(first, second) for first, second in (*monitors, *remapped, *wired, *combined) if first and second]


def _reached(name: str, feeds: list[tuple[str, str]]) -> set[str]:
    """Every device that hears the sound of this one, itself included."""
    reached, before = {name}, 0
    while len(reached) > before:
        before = len(reached)
        reached |= {second for first, second in feeds if first in reached}
    return reached


def _device(
    kind: Literal["sink", "source"],
    fields: dict[str, str],
    sink: str,
    loops: tuple[str, ...],
    is_monitor: bool,
    is_null: bool,
    default: bool,
) -> PulseDevice:
    form = re.search(r"(\d+)ch (\d+)Hz", fields.get("Sample Specification", ""))
    channels, rate = (int(form[1]), int(form[2])) if form else (2, 48_000)
    module = _number(fields.get("Owner Module", ""))
    description = printable(fields.get("Description") or fields["Name"])
    name = fields["Name"]
    return PulseDevice(kind, name, description, rate, channels, module, sink, loops, is_monitor, is_null, default)


def _recorded_sink(name: str, sources: dict[str, dict[str, str]], masters: dict[str, str]) -> str:
    """The sink whose monitor this source is, or is made from by remapping, however often."""
    for _ in sources:
        fields = sources.get(name, {})
        if _is_named(fields.get("Monitor of Sink", "")):
            return fields["Monitor of Sink"]
        name = masters.get(name, "")
        if not name:
            break
    return ""


def _is_named(sink: str) -> bool:
    return sink not in ("", "n/a")


def _number(text: str) -> int:
    return int(text) if text.isdigit() else -1


def _blocks(kind: str) -> Iterator[list[str]]:
    """The lines of each device in the long list."""
    block: list[str] = []
    for line in pactl("list", kind).splitlines():
        if line.startswith(("Sink #", "Source #")):
            if block:
                yield block
            block = []
        elif line.strip():
            block.append(line)
    if block:
        yield block


def _fields(lines: list[str]) -> dict[str, str]:
    """`Name: value` of the device itself and `name = "value"` of its properties; the first of each name counts."""
    fields: dict[str, str] = {}
    for line in lines:
        text = line.strip()
        quoted = re.fullmatch(r'([\w.-]+) = "(.*)"', text)
        if quoted:
            fields.setdefault(quoted[1], re.sub(r"\\(.)", r"\1", quoted[2]))
            continue
        name, colon, value = text.partition(":")
        if colon:
            fields.setdefault(name, value.strip())
    return fields


def modules() -> list[Module]:
    """The server's modules."""
    found = []
    for line in pactl("list", "short", "modules").splitlines():
        match = re.match(r"(\d+)\t(\S+)\t?(.*)", line)
        if match is None:  # PipeWire's own modules have arguments of many lines
            continue
        try:
            words = shlex.split(match[3])
        except ValueError:  # an unbalanced quote, which the server has put up with
            words = match[3].split()
        pairs = (word.partition("=") for word in words)
        found.append(Module(int(match[1]), match[2], {key: value for key, equals, value in pairs if equals}))
    return found


def prepare_linux_environment(folder: Path) -> dict[str, str]:
    """Write ALSA's configuration; returns the environment variables that PortAudio needs before it is initialised.

    Args:
        folder: Folder of the file.

    Returns:
        Variables to set; none where there is no server, or ALSA's own configuration is not where it is expected.

    Raises:
        AudioDeviceError: The folder cannot be written.
    """
    try:
        devices = pulse_devices()
    except AudioDeviceError:
        return {}
    path = folder / "alsa.conf"
    base = _base()
    if base is None:
        return {}
    lines = [_HEADER, f"<{base}>"]
    for device in devices:
        name = device.name.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'pcm.{device.pcm} {{ type pulse device "{name}" handle_underrun 0 hint {{ show off }} }}')
    text = "\n".join(lines) + "\n"
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            folder.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"alsa.conf.{os.getpid()}.part")
            part.write_text(text, encoding="utf-8")
            part.replace(path)
    except OSError as error:
        raise AudioDeviceError(
            f"{path} cannot be written ({error.strerror}): set ALTERVOX_HOME to a folder of yours"
        ) from None
    return {"ALSA_CONFIG_PATH": str(path)}


def _base() -> Path | None:
    """The configuration to include: the current one, or what it includes if altervox wrote it."""
    base = Path(os.environ.get("ALSA_CONFIG_PATH") or SYSTEM_CONFIGURATION)
    try:
        lines = base.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        base, lines = SYSTEM_CONFIGURATION, []
    if lines[:1] == [_HEADER]:
        base = Path(lines[1].strip("<>"))
    return base if base.exists() else None


@contextmanager
def awake(sink: str) -> Iterator[None]:
    """Keep a sink running in steps of a few milliseconds, and wait until it does (up to 3 s).

    A null sink of PulseAudio that nobody uses works 2 s ahead. A stream that comes gets its first callback, and then no
    other until those are over: 1.6 to 2.0 s, measured. A reader of the sink's monitor that asks for little delay makes
    it work in small steps before the stream comes, and goes on doing so when the stream is opened again.

    Args:
        sink: Name of the sink: `system_name` of the output.

    Raises:
        AudioDeviceError: parec is not installed, or the server ended.
    """
    program = shutil.which("parec")
    if program is None:
        raise AudioDeviceError(
            f"parec, which keeps a virtual cable running evenly, is not installed: {how_to_install_packages()}"
        )
    command = [program, "--raw", f"--latency-msec={_CLOCK_MS}", "--client-name=altervox", "--device", f"{sink}.monitor"]
    with started(command):
        end = time.monotonic() + 3
        while _works_ahead_s(sink) > _SMALL_STEP_S and time.monotonic() < end:
            time.sleep(0.05)
        yield


def _works_ahead_s(sink: str) -> float:
    """Latency of a sink in seconds, current or configured; 0 if unknown."""
    fields = next((fields for fields in map(_fields, _blocks("sinks")) if fields["Name"] == sink), {})
    numbers = re.findall(r"(\d+) usec", fields.get("Latency", ""))
    return max((int(number) / 1e6 for number in numbers), default=0.0)
