"""`altervox cable`: a virtual cable, made on Linux by the sound server, on Windows and macOS installed by its user.

On Linux it is a null sink, into which altervox plays, and a source made of its monitor: programs list that as a
microphone, while many hide monitors. Both are modules of PulseAudio, which PipeWire's server for its clients has, too.
They last until the sound server ends.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

import click

from ...kernels.errors import AudioDeviceError
from .cables import BLACKHOLE, VB_CABLE
from .choose import list_devices
from .packages import how_to_install_packages, missing_packages
from .pulse import Module, PulseDevice, modules, pactl, pulse_devices

SINK, SOURCE = "altervox_cable", "altervox_microphone"
SINK_DESCRIPTION, SOURCE_DESCRIPTION = "altervox cable", "altervox microphone"
RATE = 48_000
_DISCORD = "Discord: User Settings, Voice & Video, Input Device"
_OBS = "OBS: Sources, +, Audio Input Capture"
_INSTRUCTIONS = {
    "win32": f"""\
Windows has no virtual cable of its own. VB-CABLE is one (donationware):
  1. Download it from {VB_CABLE}, unpack it, run VBCABLE_Setup_x64.exe as administrator, restart Windows.
  2. Run mmsys.cpl. On Playback, CABLE Input, and on Recording, CABLE Output: Properties, Advanced, 48000 Hz.
  3. altervox plays into "CABLE Input". Choose "CABLE Output" to be heard:
     {_DISCORD}
     {_OBS}""",
    "darwin": f"""\
macOS has no virtual cable of its own. BlackHole is one (GPL-3.0):
  1. Download BlackHole 2ch from {BLACKHOLE} and install it, or: brew install blackhole-2ch
  2. In Audio MIDI Setup set BlackHole 2ch to 48,000 Hz.
  3. altervox plays into "BlackHole 2ch". Choose "BlackHole 2ch" to be heard:
     {_DISCORD}
     {_OBS}""",
}


@dataclass(frozen=True, slots=True)
class CableEnds:
    """A cable as it is now.

    Attributes:
        play_into: Name of the end that altervox plays into; empty if missing.
        listen_to: Name of the end to choose in Discord or OBS; empty if missing.
        rate: Hz at which it runs; 0 if missing.
    """

    play_into: str
    listen_to: str
    rate: int

    @property
    def is_whole(self) -> bool:
        """Whether both ends are there."""
        return bool(self.play_into and self.listen_to)


def create() -> int:
    """Make the cable, or what is missing of it. Returns 1 where its user has to install one.

    Raises:
        AudioDeviceError: There is no sound server, it refuses, or something else has the name.
    """
    if not sys.platform.startswith("linux"):
        return _instruct()
    sink, source = _find()
    if source is not None and source.sink != SINK:  # left over from a sink that is gone
        _unload([module for module in modules() if _makes_source(module)], SOURCE)
        source = None
    new_sink = ""
    if sink is None:
        new_sink = pactl(
            "load-module",
            "module-null-sink",
            f"sink_name={SINK}",
            f"rate={RATE}",
            "channels=2",
            f"sink_properties=\"device.description='{SINK_DESCRIPTION}'\"",
        ).strip()
    if source is None:
        try:
            pactl(
                "load-module",
                "module-remap-source",
                f"master={SINK}.monitor",
                f"source_name={SOURCE}",
                f"source_properties=\"device.description='{SOURCE_DESCRIPTION}'\"",
            )
        except BaseException:  # Ctrl-C, too, leaves all of the cable or nothing
            if new_sink:
                pactl("unload-module", new_sink)
            raise
    made = sink is None or source is None
    ends = _ends(*_find())
    if not ends.is_whole:
        raise AudioDeviceError(
            f"the sound server did not make {SINK if not ends.play_into else SOURCE}: see `pactl list short modules`"
        )
    click.echo(f"the cable {'is ready' if made else 'was there already'}, until the sound server ends (log-out)")
    _explain(ends)
    if missing_packages():
        click.echo(f"`altervox live` needs more than that: {how_to_install_packages()}")
    return 0


def remove() -> int:
    """Remove the cable, and nothing else. Returns 1 where its user has to.

    Raises:
        AudioDeviceError: There is no sound server, or it refuses.
    """
    if not sys.platform.startswith("linux"):
        click.echo("altervox makes no cable on this system; uninstall VB-CABLE or BlackHole as their pages say")
        return 1
    loaded = modules()
    mine = [module for module in loaded if _makes_source(module)] + [m for m in loaded if _makes_sink(m)]
    for module in mine:
        pactl("unload-module", str(module.number))
    click.echo("the cable is removed" if mine else "there was no cable to remove")
    return 0


def status(as_json: bool) -> int:
    """Say whether there is a cable. Returns 1 if there is none, or half of one.

    Raises:
        AudioDeviceError: There is no sound server, or on Windows and macOS no PortAudio.
    """
    if sys.platform.startswith("linux"):
        found = [_ends(*_find())]
    else:
        found = [
            CableEnds(device.name, device.listening_name, round(device.default_rate))
            for device in list_devices()
            if device.is_primary and device.cable and device.outputs
        ]
    whole = [ends for ends in found if ends.is_whole]
    if as_json:
        click.echo(json.dumps([asdict(ends) for ends in whole or found], ensure_ascii=False, indent=1))
        return 0 if whole else 1
    for ends in whole:
        click.echo(f"the cable is there, at {ends.rate} Hz")
        _explain(ends)
    if whole:
        return 0
    if not sys.platform.startswith("linux"):
        return _instruct()
    half = [name for ends in found for name in (ends.play_into, ends.listen_to) if name]
    click.echo(f"only half of the cable is there: {half[0]}" if half else "there is no cable")
    click.echo("make it whole with: altervox cable create" if half else "make one with: altervox cable create")
    return 1


def _explain(ends: CableEnds) -> None:
    click.echo(f"altervox plays into {ends.play_into!r}; choose {ends.listen_to!r} to be heard:")
    click.echo(f"  {_DISCORD}")
    click.echo(f"  {_OBS}")


def _instruct() -> int:
    click.echo(_INSTRUCTIONS.get(sys.platform, "altervox knows no virtual cable for this system"))
    return 1


def _find() -> tuple[PulseDevice | None, PulseDevice | None]:
    """The two ends.

    Raises:
        AudioDeviceError: Something that is not a null sink has the name of ours.
    """
    devices = pulse_devices()
    sink = next((d for d in devices if d.kind == "sink" and d.name == SINK), None)
    source = next((d for d in devices if d.kind == "source" and d.name == SOURCE), None)
    if sink is not None and not sink.is_null:
        raise AudioDeviceError(f"an output that is not a virtual cable is called {SINK}: rename it or remove it")
    return sink, source


def _ends(sink: PulseDevice | None, source: PulseDevice | None) -> CableEnds:
    """What they are worth: a source that records something else is none."""
    connected = source is not None and source.sink == SINK
    return CableEnds(
        sink.description if sink else "",
        source.description if source and connected else "",
        sink.rate if sink else 0,
    )


def _makes_sink(module: Module) -> bool:
    return module.name == "module-null-sink" and module.arguments.get("sink_name") == SINK


def _makes_source(module: Module) -> bool:
    return module.name == "module-remap-source" and module.arguments.get("source_name") == SOURCE


def _unload(found: list[Module], name: str) -> None:
    if not found:
        raise AudioDeviceError(f"an input that is not the end of the cable is called {name}: rename it or remove it")
    for module in found:
        pactl("unload-module", str(module.number))
