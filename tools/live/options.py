"""Options of a live session, and the settings of a session that follow from them and the devices."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, replace

from ...kernels.errors import AudioDeviceError
from ...realtime.audio.devices import PULSE, AudioDevice, Direction, supported_rates
from ...realtime.audio.settings import LiveSettings, StreamSpec
from ...realtime.session.settings import SessionSettings
from .measured import measured_delay_ms

PREFERRED_RATE = 48000
RATE_GRID = 50  # Hz; of such rates blocks of multiples of 20 ms are whole samples
PULSE_BUFFER_MS = 15.0  # a device then adds 4 to 19 ms; pauses of the system of 11 ms are outlasted
_ENVIRONMENT = ("ALSA_CONFIG_PATH", "PULSE_SERVER", "XDG_RUNTIME_DIR")


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Options of the command line.

    Attributes:
        session: Settings of the session; its sample rate becomes that of the output.
        source: Name or number of the microphone; "default" for the system's; None for the remembered one, otherwise
            the system's.
        output: Name or number of the cable; "default" for the only one; None for the remembered one, otherwise the
            only one.
        monitor: Name or number of an output to hear oneself on; None for none.
        block_ms: Block size; None to choose the shortest that this machine can afford.
        device_buffer_ms: Device buffer; None for what suits the host API.
        prefill_ms: Output held ready; None to compute it.
        exclusive: Whether to open the devices in exclusive mode.
        channel: Channel of the microphone, from 0.
        allow_loop: Whether to accept a microphone that hears the output.
        share_output: Whether to accept an output that another session plays into.
    """

    session: SessionSettings = field(default_factory=SessionSettings)
    source: str | None = None
    output: str | None = None
    monitor: str | None = None
    block_ms: int | None = None
    device_buffer_ms: float | None = None
    prefill_ms: float | None = None
    exclusive: bool = False
    channel: int = 0
    allow_loop: bool = False
    share_output: bool = False


def live_settings(
    options: LiveOptions,
    source: AudioDevice,
    output: AudioDevice,
    monitor: AudioDevice | None = None,
    began_s: float = 0.0,
) -> LiveSettings:
    """Settings of a session between these devices."""
    from ...models.library import list_voices  # late, for it takes a while: the audio process loads meanwhile

    spec_in = stream_spec(options, source, "input")
    specs_out = [stream_spec(options, device, "output") for device in (output, monitor) if device is not None]
    level = logging.getLogger().level
    session = options.session
    return LiveSettings(
        session=replace(
            session,
            state=replace(session.state, monitor=monitor is not None),
            config=replace(session.config, sample_rate=specs_out[0].rate),
            voices=tuple(info.name for info in list_voices()),
        ),
        source=spec_in,
        outputs=tuple(specs_out),
        block_ms=options.block_ms,
        environment={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        prefill_ms=options.prefill_ms,
        device_delay_ms=measured_delay_ms(spec_in, specs_out[0]),
        log_level=level if level < logging.WARNING else logging.CRITICAL,
        began_s=began_s,
    )


def stream_spec(options: LiveOptions, device: AudioDevice, direction: Direction) -> StreamSpec:
    """Settings of a stream on a device.

    Raises:
        AudioDeviceError: the device has no such channel, or opens at no rate that altervox can use.
    """
    channel = options.channel if direction == "input" else 0
    if channel >= (count := device.channels(direction)):
        channels = "one channel, 0: leave out --channel" if count == 1 else f"the channels 0 to {count - 1}"
        raise AudioDeviceError(f"{device.name!r} has no channel {channel}, it has {channels}")
    buffer_ms = options.device_buffer_ms
    if buffer_ms is None and device.host_api == PULSE:
        buffer_ms = PULSE_BUFFER_MS
    return StreamSpec(device, direction, _rate(device, direction), buffer_ms, channel, options.exclusive)


def _rate(device: AudioDevice, direction: Direction) -> int:
    """48 kHz if the device opens at it, otherwise its default rate, otherwise another rate that it opens at."""
    if supported_rates(device, direction, [PREFERRED_RATE]):
        return PREFERRED_RATE
    default = round(device.default_rate)
    others = [default, *supported_rates(device, direction)]
    rate = next((rate for rate in others if rate > 0 and rate % RATE_GRID == 0), None)
    if rate is None:
        raise AudioDeviceError(
            f"{device.name!r} opens only at {default} Hz, but altervox needs a rate that is a multiple of {RATE_GRID} "
            "Hz: set it to 48000 Hz in the system's sound settings, or choose another device"
        )
    return rate
