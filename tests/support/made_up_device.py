"""A sound device that is nowhere, for what needs only its description."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from altervox.realtime.audio.devices import AudioDevice


def made_up_device(name: str, **changes: Any) -> AudioDevice:
    """An output of an ordinary device, as PortAudio would list it; anything else by name."""
    device = AudioDevice(
        index=0,
        name=name,
        host_api="ALSA",
        system_name=name,
        inputs=0,
        outputs=2,
        default_rate=48000.0,
        low_input_latency_s=0.01,
        low_output_latency_s=0.01,
        is_default_input=False,
        is_default_output=False,
        is_primary=True,
        is_monitor=False,
        cable="",
        loops=(),
        listening_name="",
        portaudio_name=name,
        portaudio_host_api="ALSA",
    )
    return replace(device, **changes)
