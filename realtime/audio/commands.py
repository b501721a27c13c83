"""Commands to a session with devices, beyond those of every session."""

from __future__ import annotations

from dataclasses import dataclass

from ..session import commands
from .settings import StreamSpec


@dataclass(frozen=True, slots=True)
class SetSource:
    """Switch to another microphone.

    Attributes:
        source: Device and settings of the microphone.
        device_delay_ms: Measured latency of microphone and output together; None for what PortAudio reports.
    """

    source: StreamSpec
    device_delay_ms: float | None


@dataclass(frozen=True, slots=True)
class SetAbsent:
    """Close the streams of devices that are gone, which the system would move to devices that nobody chose.

    Attributes:
        names: Stable names of the devices that are gone now; all are reopened once none is.
    """

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class SetBlock:
    """Change the block size; sound pauses until the voice is prepared again.

    Attributes:
        block_ms: Block size; None for the one that is offered because blocks are late.
    """

    block_ms: int | None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the session."""


Change = commands.Change | SetBlock  # what keys and remote programs may ask for
Command = commands.Command | SetSource | SetAbsent | SetBlock | Stop
