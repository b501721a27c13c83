"""Settings that a session with devices starts with: plain data for the audio process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..session.settings import SessionSettings
from .devices import AudioDevice, Direction


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """Device and settings of a stream.

    Attributes:
        device: Device to open.
        direction: "input" or "output".
        rate: Sample rate in Hz.
        buffer_ms: Requested device buffer; None for the host API's low latency. The size of callbacks is left to the
            host: a fixed size would leave a remainder waiting in front of each callback.
        channel: Input channel, from 0.
        exclusive: Whether to open the device in exclusive mode, if the host API has one.
        channel_selectors: Channels of an ASIO or Core Audio device; empty for the first ones.
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
    """Settings of a live session.

    Attributes:
        session: Settings of the session; its sample rate is that of the output device.
        source: The microphone.
        outputs: The cable, and a monitor if there is one.
        block_ms: Block size; None to choose the shortest that this machine can afford.
        environment: Variables for PortAudio, set before it is loaded.
        prefill_ms: Output held ready; None to compute it.
        device_delay_ms: Latency of microphone and first output together, as measured; None for what PortAudio reports.
        log_level: Lowest level that the audio process logs; problems are reported in the status.
        began_s: `time.time()` at which the user started the command.
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
