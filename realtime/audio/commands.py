"""What a session with devices can be told beyond the commands of every session."""

from __future__ import annotations

from dataclasses import dataclass

from ..session import commands
from .settings import StreamSpec


@dataclass(frozen=True, slots=True)
class SetSource:
    """Open another microphone in place of this one.

    Attributes:
        source: How to open it.
        device_delay_ms: Latency of it and the output together, as measured; None for what PortAudio reports.
    """

    source: StreamSpec
    device_delay_ms: float | None


@dataclass(frozen=True, slots=True)
class SetAbsent:
    """Let go of devices that are gone: the system would move the streams to others, which nobody chose.

    Attributes:
        names: Stable names of those that are gone now; all are opened again once none is.
    """

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class SetBlock:
    """Go on with blocks of another length; sound pauses for as long as the voice takes to prepare.

    Attributes:
        block_ms: A length, or None for the one that is offered because blocks are late.
    """

    block_ms: int | None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the session."""


Command = commands.Command | SetSource | SetAbsent | SetBlock | Stop
