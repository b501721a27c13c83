"""What a live session is asked for, and the commands that change it while it runs: plain data, for another process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...models.voice import VoiceParams
from ..config import StreamConfig
from .streams import StreamSpec


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """A live session.

    Attributes:
        voice: Name or file of the first voice.
        device: Where networks run: "auto", "cpu", "cuda", ...
        config: Geometry; its sample rate is that of the output device.
        params: The first parameters.
        source: The microphone.
        outputs: The cable, and a monitor if there is one.
        environment: For PortAudio, set before it is loaded.
        record_folder: Where input and output are recorded; None for not at all.
        suppress_noise: Whether RNNoise cleans the microphone.
        input_gain_db: Of the microphone.
        speech_level_db: RMS that the microphone's speech is slowly brought to; None to leave it.
        speech_gate: Probability of speech below which silence is sent; None for no gate.
        monitor: Whether the monitor is to be heard.
        monitor_gain_db: Its level.
        prefill_ms: Instead of what is measured; None to measure.
        device_delay_ms: Of microphone and first output together, as measured; None for what PortAudio reports.
        log_level: From which on the audio process prints what it notes; the status tells the causes of what goes wrong.
    """

    voice: str
    device: str
    config: StreamConfig
    params: VoiceParams
    source: StreamSpec
    outputs: tuple[StreamSpec, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    record_folder: Path | None = None
    suppress_noise: bool = False
    input_gain_db: float = 0.0
    speech_level_db: float | None = None
    speech_gate: float | None = None
    monitor: bool = True
    monitor_gain_db: float = 0.0
    prefill_ms: float | None = None
    device_delay_ms: float | None = None
    log_level: int = logging.CRITICAL


@dataclass(frozen=True, slots=True)
class SetParams:
    """Render with other parameters from the next block on."""

    params: VoiceParams


@dataclass(frozen=True, slots=True)
class SetVoice:
    """Build another voice beside the one that sounds, and go over to it when it is ready."""

    voice: str


@dataclass(frozen=True, slots=True)
class SetBypass:
    """Let the untouched input be heard, with the same delay, or the voice again."""

    bypass: bool


@dataclass(frozen=True, slots=True)
class SetMuted:
    """Send silence, or sound again."""

    muted: bool


@dataclass(frozen=True, slots=True)
class SetMonitor:
    """Let the monitor be heard, or be silent; its device stays open."""

    monitor: bool


@dataclass(frozen=True, slots=True)
class SetInputGain:
    """Amplify the microphone by so much."""

    gain_db: float


@dataclass(frozen=True, slots=True)
class SetSource:
    """Open another microphone in place of this one.

    Attributes:
        source: How to open it.
        device_delay_ms: See `LiveSettings`.
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
class Stop:
    """End the session."""


Command = SetParams | SetVoice | SetBypass | SetMuted | SetMonitor | SetInputGain | SetSource | SetAbsent | Stop
