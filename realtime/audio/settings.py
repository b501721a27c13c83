"""What a session with devices starts with: plain data, for the audio process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..session.settings import SessionSettings
from .devices import AudioDevice, Direction


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How to open a device.

    Attributes:
        device: Which.
        direction: "input" or "output".
        rate: Hz.
        buffer_ms: How much sound the device is asked to hold; None for what the host API calls low. How much it gives
            or takes at a time is left to it: another number would leave a remainder waiting in front of each callback.
        channel: Of an input, from 0.
        exclusive: Keep other programs off, where the host API can.
        channel_selectors: Of an ASIO or Core Audio device.
    """

    device: AudioDevice
    direction: Direction
    rate: int
    buffer_ms: float | None
    channel: int = 0
    exclusive: bool = False
    channel_selectors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """A live session.

    Attributes:
        session: The session; its sample rate is that of the output device.
        source: The microphone.
        outputs: The cable, and a monitor if there is one.
        block_ms: Length of the blocks; None to choose the shortest that this machine can afford.
        environment: Variables for PortAudio, set before it is loaded.
        prefill_ms: Output held ready; None to work it out.
        device_delay_ms: Latency of microphone and first output together, as measured; None for what PortAudio reports.
        log_level: Level from which on the audio process prints what it logs; the status tells what goes wrong.
        began_s: `time.time()` at which the user asked for the session.
    """

    session: SessionSettings
    source: StreamSpec
    outputs: tuple[StreamSpec, ...]
    block_ms: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    prefill_ms: float | None = None
    device_delay_ms: float | None = None
    log_level: int = logging.CRITICAL
    began_s: float = 0.0
