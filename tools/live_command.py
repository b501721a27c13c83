"""`altervox live`: from the microphone to the virtual cable until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from ..models.voice import VoiceParams
from ..realtime.config import StreamConfig
from ..realtime.device import AudioDevice, Direction, supported_rates
from ..realtime.live.control import LiveControl
from ..realtime.live.settings import LiveSettings, SetBypass, SetMuted, SetParams, SetVoice
from ..realtime.live.streams import StreamSpec
from .devices import choose_input, choose_output, list_devices, listening_name, recall, remember
from .live_measure import measure_devices, measured_delay_ms

if TYPE_CHECKING:
    from rich.console import RenderableType

PREFERRED_RATE = 48000
_POLL_S = 0.1
_KEY_STEPS = {
    "up": ("pitch_semitones", 1.0),
    "down": ("pitch_semitones", -1.0),
    "right": ("formant_semitones", 0.5),
    "left": ("formant_semitones", -0.5),
}
_ENVIRONMENT = ("ALSA_CONFIG_PATH", "PULSE_SERVER", "XDG_RUNTIME_DIR")


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What the command line asks for; None stands for a default.

    Attributes:
        source: Name or number of the microphone.
        output: Of the cable.
        monitor: Of an output to hear oneself on.
        voice: Name or file.
        device: Where networks run.
        block_ms: See `StreamConfig`.
        lookahead_ms: See `StreamConfig`.
        context_ms: See `StreamConfig`.
        callback_ms: How much audio the devices give and take at a time.
        prefill_ms: Output held ready; measured where not given.
        exclusive: Keep other programs off the devices.
        channel: Of the microphone.
        denoise: Suppress the microphone's noise.
        input_gain_db: Of the microphone.
        record: Folder to record input and output to.
    """

    source: str | None
    output: str | None
    monitor: str | None
    voice: str
    device: str
    block_ms: int | None
    lookahead_ms: int | None
    context_ms: int | None
    callback_ms: float
    prefill_ms: float | None
    exclusive: bool
    channel: int
    denoise: bool
    input_gain_db: float
    record: Path | None


def measure(options: LiveOptions, as_json: bool) -> int:
    """Measure the delay of an output and of the input that hears it, and remember it for these two.

    Raises:
        AltervoxError: a device is not there or does not work, or the input does not hear the output.
    """
    devices = list_devices()
    source = choose_input(devices, options.source or _remembered("input", devices))
    output = choose_output(devices, options.output or _remembered("output", devices))
    specs = (_stream_spec(options, source, "input"), _stream_spec(options, output, "output"))
    with _awake(output):
        return measure_devices(*specs, as_json)


def live(options: LiveOptions, params: VoiceParams, seconds: float | None, as_json: bool) -> int:
    """Run a session, and print its statistics at the end.

    Raises:
        AltervoxError: a device or the voice is not there, or does not work; the message says what to do.
    """
    devices = list_devices()
    source = choose_input(devices, options.source or _remembered("input", devices))
    output = choose_output(devices, options.output or _remembered("output", devices), source)
    monitor = choose_output(devices, options.monitor, source) if options.monitor else None
    settings = live_settings(options, params, source, output, monitor)
    if not as_json:
        click.echo(f"microphone: {source.name}\noutput:     {output.name}", err=True)
        if heard := listening_name(output):
            click.echo(f"in Discord or OBS choose the input device: {heard}", err=True)
        click.echo(f"preparing the voice {options.voice} ...", err=True)
    stopping = _stop_signals()
    with _awake(output), LiveControl(settings) as control:
        control.wait_until_running()
        for role, given, device in (("input", options.source, source), ("output", options.output, output)):
            if given:
                remember(role, device)
        end = time.monotonic() + (seconds if seconds is not None else float("inf"))
        if sys.stderr.isatty() and not as_json:
            _show(control, params, options.voice, stopping, end)
        else:
            if not as_json:
                click.echo("running; Ctrl-C ends it", err=True)
            while time.monotonic() < end and not stopping:
                control.check(control.status())
                time.sleep(_POLL_S)
        status = control.status()
    if as_json:
        click.echo(json.dumps(status))
    else:
        click.echo(_summary(status), err=True)
    return 0


def _awake(output: AudioDevice) -> AbstractContextManager[object]:
    """Keeps a cable of PulseAudio from sleeping: an idle null sink wakes every 2 s only."""
    from .devices import PULSE
    from .devices_pulse import awake

    return awake(output.system_name) if output.host_api == PULSE and output.cable else nullcontext()


def _show(control: LiveControl, params: VoiceParams, voice: str, stopping: list[int], end: float) -> None:
    """The terminal view, and what its keys do."""
    from rich.console import Console
    from rich.live import Live

    from ..models.library import list_voices
    from .keys import key_presses
    from .live_view import live_view

    def view() -> RenderableType:
        return live_view(control.status(), params.pitch_semitones, params.formant_semitones)

    names = [info.name for info in list_voices()]
    with key_presses() as pressed, Live(view(), console=Console(stderr=True), auto_refresh=False) as live_display:
        while time.monotonic() < end and not stopping:
            status = control.status()
            control.check(status)
            match key := pressed():
                case "":
                    time.sleep(_POLL_S)
                case "q":
                    return
                case "b":
                    control.send(SetBypass(not status["bypass"]))
                case "m":
                    control.send(SetMuted(not status["muted"]))
                case "v":
                    voice = names[(names.index(voice) + 1) % len(names)] if voice in names else names[0]
                    control.send(SetVoice(voice))
                case _ if key in _KEY_STEPS:
                    name, step = _KEY_STEPS[key]
                    low, high = VoiceParams.RANGES[name]
                    value = min(max(getattr(params, name) + step, low), high)
                    params = replace(params, **{name: value})
                    control.send(SetParams(params))
            live_display.update(view(), refresh=True)


def _remembered(role: str, devices: list[AudioDevice]) -> str | None:
    device = recall(role, devices)
    return device.stable_name if device is not None else None


def live_settings(
    options: LiveOptions,
    params: VoiceParams,
    source: AudioDevice,
    output: AudioDevice,
    monitor: AudioDevice | None = None,
) -> LiveSettings:
    """What a session between these devices is asked for."""
    spec_in = _stream_spec(options, source, "input")
    specs_out = [_stream_spec(options, device, "output") for device in (output, monitor) if device is not None]
    lengths = {
        name: value
        for name in ("block_ms", "lookahead_ms", "context_ms")
        if (value := getattr(options, name)) is not None
    }
    return LiveSettings(
        voice=options.voice,
        device=options.device,
        config=StreamConfig(sample_rate=specs_out[0].rate, **lengths),
        params=params,
        source=spec_in,
        outputs=tuple(specs_out),
        environment={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        record_folder=options.record,
        suppress_noise=options.denoise,
        input_gain_db=options.input_gain_db,
        prefill_ms=options.prefill_ms,
        device_delay_ms=measured_delay_ms(spec_in, specs_out[0]),
    )


def _stream_spec(options: LiveOptions, device: AudioDevice, direction: Direction) -> StreamSpec:
    rates = supported_rates(device, direction, [PREFERRED_RATE])
    rate = PREFERRED_RATE if rates else round(device.default_rate)
    frames = round(rate * options.callback_ms / 1000.0)
    channel = options.channel if direction == "input" else 0
    return StreamSpec(device, direction, rate, frames, channel, options.exclusive)


def _stop_signals() -> list[int]:
    """A list that is no longer empty once this process was told to stop."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    signal.signal(signal.SIGINT, note)
    if sys.platform != "win32":
        signal.signal(signal.SIGTERM, note)
    return received


def _summary(status: dict[str, object]) -> str:
    return (
        f"{status['seconds']:.0f} s, {status['blocks']} blocks, {status['late_blocks']} late, "
        f"{status['shortages']} shortages ({status['starved_samples']} samples), "
        f"{status['lost_samples']} samples lost; "
        f"block p50 {status['block_p50_ms']:.1f} p99 {status['block_p99_ms']:.1f} of {status['deadline_ms']:.0f} ms; "
        f"delay {status['total_ms']:.0f} ms"
    )
