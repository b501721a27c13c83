"""Virtual cables of Windows and macOS, recognised by name, and where to get one.

A cable has two ends: altervox plays into the one, and Discord or OBS listens to the other. Some have one name for both.
Cables of PulseAudio and PipeWire are recognised by how they are made: `pulse.py`.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace

from ...realtime.audio.devices import AudioDevice

VB_CABLE, BLACKHOLE = "https://vb-audio.com/Cable/", "https://existential.audio/blackhole/"
# Kind, pattern of the name of either end, which cable of that kind it is, name of the end to listen to. VoiceMeeter has
# no "which": its user wires inputs to outputs, so that one of each need not be a loop.
_FAMILIES = [
    ("VB-CABLE", r"^CABLE(-[A-D])? (?:Input|Output|In \d+ ?ch) \(VB-Audio", r"vb-cable\1", r"CABLE\1 Output"),
    ("VB-CABLE", r"\(VB-Audio Cable ([A-D])\b", r"vb-cable-\1", r"CABLE-\1 Output"),  # renamed by its user
    ("VB-CABLE", r"\(VB-Audio Virtual C", "vb-cable", "CABLE Output"),
    ("VB-CABLE", r"^VB-Cable( [A-D])?$", r"vb-cable\1", r"VB-Cable\1"),  # macOS
    ("Hi-Fi Cable", r"Hi-?Fi Cable (?:Input|Output) \(VB-Audio", "hi-fi-cable", "Hi-Fi Cable Output"),
    ("VoiceMeeter", r"^VoiceMeeter( AUX| VAIO3)? (?:Input|Output) \(VB-Audio", "", r"VoiceMeeter\1 Output"),
    ("VoiceMeeter", r"^VoiceMeeter (?:In \d|Out [AB]\d) \(VB-Audio", "", "Voicemeeter Out B1"),
    ("Virtual Audio Cable", r"^(Line \d+) \(Virtual Audio Cable", r"vac-\1", r"\1 (Virtual Audio Cable)"),
    ("BlackHole", r"^BlackHole (\d+ch)\b", r"blackhole-\1", r"BlackHole \1"),
    ("Loopback", r"^(Loopback Audio(?: \d+)?)$", r"\1", r"\1"),
]


@dataclass(frozen=True, slots=True)
class Cable:
    """What the name of one of its ends says about a cable.

    Attributes:
        kind: Name of the product.
        loop: Which cable of that kind; empty where its ends need not be connected.
        listening_name: Name of the end to listen to, if nobody renamed it.
    """

    kind: str
    loop: str
    listening_name: str


def cable_of(name: str) -> Cable | None:
    """The cable that a device of that name is an end of. MME cuts names to 31 characters, which is enough."""
    for kind, pattern, loop, listening_name in _FAMILIES:
        match = re.search(pattern, name, flags=re.IGNORECASE)
        if match:
            which = match.expand(loop).lower().replace(" ", "-")
            return Cable(kind, which, match.expand(listening_name))
    return None


def with_cables(devices: list[AudioDevice]) -> list[AudioDevice]:
    """The devices, with what their names say about cables filled in. Not run on Windows and macOS yet."""
    marked = []
    for device in devices:
        cable = cable_of(device.name)
        if cable is None:
            marked.append(device)
            continue
        ends = [
            other.name
            for other in devices
            if other.inputs and other.host_api == device.host_api and cable_of(other.name) == cable
        ]
        listening_name = ends[0] if len(ends) == 1 else cable.listening_name
        marked.append(
            replace(device, cable=cable.kind, loops=(cable.loop,) if cable.loop else (), listening_name=listening_name)
        )
    return marked


def how_to_get_a_cable(system: str = sys.platform) -> str:
    """How to get a virtual cable on this system."""
    if system.startswith("linux"):
        return "make one with: altervox cable create"
    if system == "darwin":
        return f"install BlackHole 2ch from {BLACKHOLE}"
    if system == "win32":
        return f"install VB-CABLE from {VB_CABLE} and restart Windows"
    return "altervox knows no virtual cable for this system"
