"""What OSC listens to, where it sends to, and which parameters of an avatar control which part of a session."""

from __future__ import annotations

import ipaddress
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ....kernels.errors import ParameterError
from ....kernels.printable import printable
from ...session.state import PARAMETERS
from ..arguments import KEYS

IN_PORT, OUT_PORT = 9001, 9000  # where VRChat sends to, and where it listens
VOICE = "voice"
_KEYS = {KEYS[name]: parameter for name, parameter in PARAMETERS.items()}
_MOST_BYTES = 65_536  # of a map
_MOST_ENTRIES = 256  # of each of its tables
_LONGEST = 200  # characters of a name
_FORMAT = "docs/remote.md shows what a map holds"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address for UDP on this computer.

    Attributes:
        host: IP address.
        port: UDP port.
    """

    host: str
    port: int

    @classmethod
    def read(cls, text: str, option: str) -> Endpoint:
        """The address that an option gives: a port, or host and port.

        Raises:
            ParameterError: it is none, or one of another computer.
        """
        host, _, port = text.rpartition(":")
        name = "127.0.0.1" if host.lower() in ("", "localhost") else host.strip("[]")
        try:
            address, number = ipaddress.ip_address(name), int(port)
        except ValueError:
            raise ParameterError(f"{option} {printable(text)}: give a port, such as 9001 or 127.0.0.1:9001") from None
        if not address.is_loopback:
            raise ParameterError(
                f"{option} {printable(text)}: OSC knows no passwords and is spoken on this computer only: give a port, "
                "such as 127.0.0.1:9001"
            )
        if not 1 <= number <= 65535:
            raise ParameterError(f"{option} {printable(text)}: give a port from 1 to 65535")
        return cls(str(address), number)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Control:
    """What a parameter of an avatar controls.

    Attributes:
        key: "voice", or the key of a parameter of the session.
        source: Two values of the avatar's parameter.
        target: The values of the session's parameter that belong to them.
    """

    key: str
    source: tuple[float, float] = (0.0, 1.0)
    target: tuple[float, float] = (0.0, 1.0)

    @property
    def is_switch(self) -> bool:
        """Whether it is on or off."""
        return self.key != VOICE and isinstance(_KEYS[self.key].default, bool)

    def to_session(self, value: float) -> float:
        """The session's value, not beyond the two that are given."""
        share = (value - self.source[0]) / (self.source[1] - self.source[0])
        return self.target[0] + min(max(share, 0.0), 1.0) * (self.target[1] - self.target[0])

    def to_avatar(self, value: float) -> float:
        """The avatar's value, not beyond the two that are given."""
        share = (value - self.target[0]) / (self.target[1] - self.target[0])
        return self.source[0] + min(max(share, 0.0), 1.0) * (self.source[1] - self.source[0])


_DEFAULT = {
    "AltervoxVoice": Control(VOICE),
    "AltervoxMute": Control("mute"),
    "AltervoxBypass": Control("bypass"),
    "AltervoxMonitor": Control("monitor"),
    "AltervoxPitch": Control("pitch", (-1.0, 1.0), (-12.0, 12.0)),
    "AltervoxFormant": Control("formant", (-1.0, 1.0), (-6.0, 6.0)),
}


@dataclass(frozen=True, slots=True)
class OscMap:
    """Which parameters of an avatar control what.

    Attributes:
        parameters: Controls by the names of the avatar's parameters.
        voices: Voices that the numbers 0, 1, 2 ... mean; empty for the list of all voices.
        avatars: Voices by the IDs of avatars.
    """

    parameters: Mapping[str, Control] = field(default_factory=lambda: dict(_DEFAULT))
    voices: tuple[str, ...] = ()
    avatars: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> OscMap:
        """The map in a TOML file.

        Raises:
            ParameterError: it cannot be read, or says what makes no sense.
        """
        where = f"--osc-map {path}"
        try:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise ParameterError(f"{where}: {error.strerror or 'it cannot be read'}") from None
        if len(data) > _MOST_BYTES:
            raise ParameterError(f"{where}: a map has at most {_MOST_BYTES >> 10} KiB")
        try:
            content = tomllib.loads(data.decode())
        except (ValueError, RecursionError) as error:
            raise ParameterError(f"{where} is not valid TOML ({printable(error, 100)}): {_FORMAT}") from None
        for name in content.keys() - {"voices", "parameters", "avatars"}:
            raise ParameterError(f"{where}: {printable(name, 60)!r} is none of voices, [parameters] and [avatars]")
        voices, parameters, avatars = (content.get(name) for name in ("voices", "parameters", "avatars"))
        if not isinstance(voices, list | None) or not all(isinstance(name, str) for name in voices or ()):
            raise ParameterError(f'{where}: voices is a list of names, such as voices = ["woman", "robot"]')
        for name, table in (("parameters", parameters), ("avatars", avatars)):
            if not isinstance(table, dict | None) or len(table or ()) > _MOST_ENTRIES:
                raise ParameterError(f"{where}: [{name}] is a table of at most {_MOST_ENTRIES} lines; {_FORMAT}")
        for avatar, voice in (avatars or {}).items():
            if not isinstance(voice, str) or len(avatar) > _LONGEST:
                raise ParameterError(
                    f"{where}: [avatars] {printable(avatar, 60)} must be the name of a voice in quotes"
                )
        controls = {
            name: _control(f"{where}: [parameters] {printable(name, 60)}", given)
            for name, given in (parameters or {}).items()
        }
        return cls(controls if parameters is not None else dict(_DEFAULT), tuple(voices or ()), avatars or {})


def _control(where: str, given: Any) -> Control:
    options = {"set": given} if isinstance(given, str) else given
    if (
        not isinstance(options, dict)
        or options.keys() - {"set", "from", "to"}
        or not isinstance(options.get("set"), str)
    ):
        raise ParameterError(f'{where}: write "voice", "mute" or {{ set = "pitch", from = [-1, 1], to = [-12, 12] }}')
    key = options["set"]
    if key != VOICE and key not in _KEYS:
        shown = printable(key, 60)
        raise ParameterError(f"{where} sets {shown!r}; choose one of voice, {', '.join(_KEYS)}")
    if key == VOICE or isinstance(_KEYS[key].default, bool):
        if len(options) > 1:
            raise ParameterError(f"{where}: {key} takes neither from nor to")
        return Control(key)
    limits = _KEYS[key]
    source = _pair(where, "from", options.get("from", [0, 1]), -math.inf, math.inf)
    target = _pair(where, "to", options.get("to", [limits.low, limits.high]), limits.low, limits.high)
    return Control(key, source, target)


def _pair(where: str, name: str, given: Any, low: float, high: float) -> tuple[float, float]:
    is_pair = isinstance(given, list) and len(given) == 2 and all(type(value) in (int, float) for value in given)
    if not is_pair or not all(math.isfinite(value) and low <= value <= high for value in given) or given[0] == given[1]:
        limits = f" from {low:g} to {high:g}" if math.isfinite(low) else ""
        raise ParameterError(f"{where}: {name} must be two different numbers{limits}, such as [-1, 1]")
    return float(given[0]), float(given[1])


@dataclass(frozen=True, slots=True)
class OscSettings:
    """Settings of OSC.

    Attributes:
        listens: Where to listen; None for nowhere.
        sends: Where to send what has changed.
        map: Which parameters of an avatar control what.
    """

    listens: Endpoint | None = None
    sends: tuple[Endpoint, ...] = ()
    map: OscMap = field(default_factory=OscMap)
