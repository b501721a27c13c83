"""`altervox live`: from the microphone to the virtual cable until Ctrl-C."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import click

from ...kernels.errors import AudioDeviceError, OutputError
from ...models.library import list_voices
from ...models.voice import VoiceParams
from ...realtime.audio.control import LiveControl
from ...realtime.audio.devices import PULSE, AudioDevice, Direction, supported_rates
from ...realtime.audio.settings import LiveSettings, SetSource
from ...realtime.audio.streams import StreamSpec
from ...realtime.config import StreamConfig
from ..devices.choose import (
    choose_input,
    choose_output,
    is_default,
    list_devices,
    listening_name,
    remember,
    wanted_name,
)
from ..devices.watch import DeviceWatch, kept_awake
from .actions import LiveActions
from .hotkeys import global_hot_keys
from .keys import key_actions
from .measure import measure_devices, measured_delay_ms

PREFERRED_RATE = 48000
PULSE_BUFFER_MS = 15.0  # a device then adds 4 to 19 ms; pauses of the system of 11 ms are outlasted
_KEYS_EVERY_S = 0.02
_STATUS_EVERY_S = 0.1
_ENVIRONMENT = ("ALSA_CONFIG_PATH", "PULSE_SERVER", "XDG_RUNTIME_DIR")


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """What the command line asks for; None stands for a default.

    Attributes:
        source: Name or number of the microphone; "default" for the system's, whatever is remembered.
        output: Of the cable; "default" for the one that there is.
        monitor: Of an output to hear oneself on.
        voice: Name or file.
        device: Where networks run.
        block_ms: See `StreamConfig`.
        lookahead_ms: See `StreamConfig`.
        context_ms: See `StreamConfig`.
        device_buffer_ms: How much sound the devices hold; None for what suits the host API.
        prefill_ms: Output held ready; measured where not given.
        exclusive: Keep other programs off the devices.
        channel: Of the microphone.
        denoise: Suppress the microphone's noise.
        input_gain_db: Of the microphone.
        record: Folder to record input and output to.
        monitor_gain_db: Of the monitor.
        allow_loop: Take devices although the microphone hears the output.
        speech_level_db: RMS that the microphone's speech is brought to.
        speech_gate: Probability of speech below which silence is sent.
    """

    source: str | None
    output: str | None
    monitor: str | None
    voice: str
    device: str
    block_ms: int | None
    lookahead_ms: int | None
    context_ms: int | None
    device_buffer_ms: float | None
    prefill_ms: float | None
    exclusive: bool
    channel: int
    denoise: bool
    input_gain_db: float
    record: Path | None
    monitor_gain_db: float = 0.0
    allow_loop: bool = False
    speech_level_db: float | None = None
    speech_gate: float | None = None


def measure(options: LiveOptions, as_json: bool) -> int:
    """Measure the delay of an output and of the input that hears it, and remember it for these two.

    Raises:
        AltervoxError: a device is not there or does not work, or the input does not hear the output.
    """
    devices = list_devices()
    source = choose_input(devices, wanted_name("input", options.source, devices))
    output = choose_output(devices, wanted_name("output", options.output, devices))
    specs = (_stream_spec(options, source, "input"), _stream_spec(options, output, "output"))
    with kept_awake(output):
        return measure_devices(*specs, as_json)


def live(
    options: LiveOptions,
    params: VoiceParams,
    seconds: float | None,
    as_json: bool,
    screenshot: Path | None = None,
    hot_keys: Mapping[str, str] | None = None,
) -> int:
    """Run a session, and print its statistics at the end.

    Args:
        options: What is asked for.
        params: The first parameters.
        seconds: To run; None for until it is told to end.
        as_json: Whether statistics are for programs.
        screenshot: An SVG file for the last view.
        hot_keys: Bindings for `global_hot_keys`; none where nothing is bound.

    Raises:
        AltervoxError: a device or the voice is not there, or does not work; the message says what to do.
    """
    if screenshot is not None and not screenshot.absolute().parent.is_dir():
        raise OutputError(f"{screenshot} cannot be written: there is no folder {screenshot.parent}, make it first")
    devices = list_devices()
    wanted = wanted_name("input", options.source, devices)
    source = choose_input(devices, wanted)
    heard_by = None if options.allow_loop else source
    output = choose_output(devices, wanted_name("output", options.output, devices), heard_by)
    monitor = choose_output(devices, options.monitor, heard_by) if options.monitor else None
    if monitor == output:
        raise AudioDeviceError(f"--monitor is the output {output.name!r} itself: name headphones to hear yourself on")
    settings = live_settings(options, params, source, output, monitor)
    if not as_json:
        click.echo(f"microphone: {source.name}\noutput:     {output.name}", err=True)
        if heard := listening_name(output):
            click.echo(f"in Discord or OBS choose the input device: {heard}", err=True)
        click.echo(f"preparing the voice {options.voice} ...", err=True)
    stopping = _stop_signals()
    outputs = [device for device in (output, monitor) if device is not None]

    def set_source(device: AudioDevice) -> SetSource:
        spec = _stream_spec(options, device, "input")
        return SetSource(spec, measured_delay_ms(spec, settings.outputs[0]))

    names = [info.name for info in list_voices()]
    status: dict[str, Any] | None = None
    try:
        with (
            global_hot_keys(hot_keys) if hot_keys else nullcontext(lambda: "") as next_hot_key,
            DeviceWatch(source, outputs, None if wanted else set_source, options.allow_loop) as watch,
            LiveControl(settings) as control,
        ):
            watch.start(control.send)
            actions = LiveActions(control.send, params, options.voice, names, options.input_gain_db)
            if hot_keys and "talk" in hot_keys:
                actions.do("hush")  # until the key is pressed; obeyed before there is sound
            control.wait_until_running(lambda: bool(stopping))
            try:
                for role, given, device in (("input", options.source, source), ("output", options.output, output)):
                    if given:
                        remember(role, None if is_default(given) else device)
                end = time.monotonic() + (seconds if seconds is not None else float("inf"))
                is_shown = sys.stderr.isatty() and not as_json
                if not (is_shown or as_json):
                    click.echo("running; Ctrl-C ends it", err=True)
                _follow(control, actions, next_hot_key, is_shown, stopping, end)
            finally:
                status = control.status()
    finally:
        if status is not None:  # it has run
            _tell_end(status, as_json, screenshot)
    return 0


def _tell_end(status: dict[str, Any], as_json: bool, screenshot: Path | None) -> None:
    """Print statistics and save the view, also of a session that has failed."""
    click.echo(json.dumps(status) if as_json else _summary(status), err=not as_json)
    if screenshot is not None:
        from .view import save_view

        save_view(status, screenshot)


def _follow(
    control: LiveControl,
    actions: LiveActions,
    next_hot_key: Callable[[], str],
    is_shown: bool,
    stopping: list[int],
    end: float,
) -> None:
    """Show what the session tells of itself, and do what keys ask for, until it is over."""
    with ExitStack() as stack:
        action_sources = [next_hot_key]  # each gives the next action, or "" if there is none
        show = None
        if is_shown:
            from .view import terminal_view

            action_sources.append(stack.enter_context(key_actions()))
            show = stack.enter_context(terminal_view())
        next_status_s = 0.0
        while (now_s := time.monotonic()) < end and not stopping:
            if now_s >= next_status_s:
                next_status_s = now_s + _STATUS_EVERY_S
                status = control.status()
                control.check(status)
                if status["state"] == "stopped":  # it was told to, by somebody else
                    return
                if show is not None:
                    show(status)
            asked = [action for next_action in action_sources if (action := next_action())]
            if not all(map(actions.do, asked)):
                return
            if not asked:
                time.sleep(_KEYS_EVERY_S)


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
        speech_level_db=options.speech_level_db,
        speech_gate=options.speech_gate,
        monitor=monitor is not None,
        monitor_gain_db=options.monitor_gain_db,
        prefill_ms=options.prefill_ms,
        device_delay_ms=measured_delay_ms(spec_in, specs_out[0]),
        log_level=level if (level := logging.getLogger().level) < logging.WARNING else logging.CRITICAL,
    )


def _stream_spec(options: LiveOptions, device: AudioDevice, direction: Direction) -> StreamSpec:
    channel = options.channel if direction == "input" else 0
    if channel >= (count := device.channels(direction)):
        channels = "one channel, 0: leave out --channel" if count == 1 else f"the channels 0 to {count - 1}"
        raise AudioDeviceError(f"{device.name!r} has no channel {channel}, it has {channels}")
    rates = supported_rates(device, direction, [PREFERRED_RATE])
    rate = PREFERRED_RATE if rates else round(device.default_rate)
    buffer_ms = options.device_buffer_ms
    if buffer_ms is None and device.host_api == PULSE:
        buffer_ms = PULSE_BUFFER_MS
    return StreamSpec(device, direction, rate, buffer_ms, channel, options.exclusive)


def _stop_signals() -> list[int]:
    """A list that is no longer empty once this process was told to stop."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    signal.signal(signal.SIGINT, note)
    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, note)
    return received


def _summary(status: dict[str, Any]) -> str:
    cause = f"; {status['cause']}" if status["state"] != "failed" and status["cause"] else ""  # else it is the error
    return (
        f"{status['seconds']:.0f} s, {status['blocks']} blocks, {status['late_blocks']} late, "
        f"{status['shortages']} shortages ({status['starved_samples']} samples; {status['own_shortages']} by slow "
        f"blocks), {status['lost_samples']} samples lost; "
        f"block p50 {status['block_p50_ms']:.1f} p99 {status['block_p99_ms']:.1f} of {status['deadline_ms']:.0f} ms; "
        f"delay {status['total_ms']:.0f} ms{cause}"
    )
