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
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import click

from ...kernels.errors import AltervoxError, AudioDeviceError, OutputError
from ...kernels.printable import MESSAGE_LIMIT, printable
from ...models.voice import UNCHANGED
from ...realtime.audio.commands import SetSource
from ...realtime.audio.control import LiveControl
from ...realtime.audio.devices import PULSE, AudioDevice, Direction, supported_rates
from ...realtime.audio.settings import LiveSettings, StreamSpec
from ...realtime.session.settings import SessionSettings
from ...realtime.session.status import Status
from ..devices.choose import (
    choose_input,
    choose_output,
    is_default,
    list_devices,
    listening_name,
    remember,
    wanted_name,
)
from ..devices.claim import claimed
from ..devices.watch import DeviceWatch, kept_awake
from .actions import QUIT, command_for
from .hotkeys import global_hot_keys
from .keys import key_actions
from .measured import measured_delay_ms

PREFERRED_RATE = 48000
RATE_GRID = 50  # Hz; of such rates blocks of multiples of 20 ms are whole samples
PULSE_BUFFER_MS = 15.0  # a device then adds 4 to 19 ms; pauses of the system of 11 ms are outlasted
_KEYS_EVERY_S = 0.02
_STATUS_EVERY_S = 0.1
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


def measure(options: LiveOptions, as_json: bool) -> int:
    """Measure the latency of an output and an input that hears it, and store it for these two.

    Raises:
        AltervoxError: a device is not there or does not work, or the input does not hear the output.
    """
    from .measure import measure_devices

    devices = list_devices()
    source = choose_input(devices, wanted_name("input", options.source, devices))
    output = choose_output(devices, wanted_name("output", options.output, devices))
    specs = (_stream_spec(options, source, "input"), _stream_spec(options, output, "output"))
    with kept_awake(output):
        return measure_devices(*specs, as_json)


def live(
    options: LiveOptions,
    seconds: float | None = None,
    as_json: bool = False,
    screenshot: Path | None = None,
    hot_keys: Mapping[str, str] | None = None,
) -> int:
    """Run a session, and print its statistics at the end. Returns the exit code.

    Args:
        options: Options of the command line.
        seconds: Duration of the session; None to run until it is stopped.
        as_json: Whether to print the statistics as JSON.
        screenshot: SVG file for the last terminal view.
        hot_keys: Bindings for `global_hot_keys`; none for no global hot keys.

    Raises:
        AltervoxError: a device or the voice is missing or does not work; the message says what to do.
    """
    began_s = time.time() - time.process_time()  # about when this process was started
    if screenshot is not None and not screenshot.absolute().parent.is_dir():
        raise OutputError(f"{screenshot} cannot be written: folder {screenshot.parent} does not exist; create it first")
    status = shown = None
    was_killed = False
    stopping = _stop_signals()
    try:
        with ExitStack() as stack:
            # Its process loads while devices are looked for.
            can_change = bool(hot_keys) or sys.stdin.isatty()
            control = stack.enter_context(LiveControl(can_change or options.session.state.voice != UNCHANGED))
            devices = list_devices()
            wanted = wanted_name("input", options.source, devices)
            source = choose_input(devices, wanted)
            heard_by = None if options.allow_loop else source
            output = choose_output(devices, wanted_name("output", options.output, devices), heard_by)
            monitor = choose_output(devices, options.monitor, heard_by) if options.monitor else None
            if monitor == output:
                raise AudioDeviceError(
                    f"--monitor is the output {output.name!r} itself: name headphones to hear yourself on"
                )
            if not options.share_output:
                stack.enter_context(claimed(output))
            settings = live_settings(options, source, output, monitor, began_s)
            if not as_json:
                click.echo(f"microphone: {source.name}\noutput:     {output.name}", err=True)
                if heard := listening_name(output):
                    click.echo(f"in Discord or OBS choose the input device: {heard}", err=True)
                click.echo(f"preparing the voice {options.session.state.voice} ...", err=True)

            def set_source(device: AudioDevice) -> SetSource:
                spec = _stream_spec(options, device, "input")
                return SetSource(spec, measured_delay_ms(spec, settings.outputs[0]))

            next_hot_key = stack.enter_context(global_hot_keys(hot_keys) if hot_keys else nullcontext(lambda: ""))
            outputs = [device for device in (output, monitor) if device is not None]
            watch = stack.enter_context(
                DeviceWatch(source, outputs, None if wanted else set_source, options.allow_loop)
            )
            control.begin(settings)
            watch.start(control.send)
            if hot_keys and "talk" in hot_keys:
                control.send(command_for("release"))  # until the key is pressed; handled before sound starts
            control.wait_until_running(lambda: bool(stopping))
            try:
                for role, given, device in (("input", options.source, source), ("output", options.output, output)):
                    if given and not stopping:
                        remember(role, None if is_default(given) else device)
                end = time.monotonic() + (seconds if seconds is not None else float("inf"))
                is_shown = sys.stderr.isatty() and not as_json and os.environ.get("TERM") not in ("dumb", "unknown")
                if not (is_shown or as_json):
                    click.echo("running; press Ctrl-C to stop", err=True)
                _follow(control, next_hot_key, is_shown, stopping, end)
            finally:
                shown = control.status()
                control.stop()
                status, was_killed = control.status(), control.was_killed
    except AltervoxError:
        if stopping and status is None:  # Ctrl-C has also ended the programs that list devices
            raise KeyboardInterrupt from None
        raise
    finally:
        if status is not None and shown is not None:  # it has begun
            _report_end(status, shown if status.state == "stopped" else status, as_json, screenshot)
    if was_killed:
        raise AudioDeviceError(
            "the audio process did not end within 5 s and was killed; the end of a recording may be missing"
        )
    if status is not None and status.recording_error:
        raise OutputError(status.recording_error)
    return 0


def _report_end(status: Status, shown: Status, as_json: bool, screenshot: Path | None) -> None:
    """Print statistics and save the view, also of a session that has failed."""
    click.echo(json.dumps(status.as_json()) if as_json else _summary(status), err=not as_json)
    if screenshot is not None:
        from .view import save_view

        save_view(shown, screenshot)


def _follow(
    control: LiveControl, next_hot_key: Callable[[], str], is_shown: bool, stopping: list[int], end: float
) -> None:
    """Show the status of the session and handle keys until it ends."""
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
                control.check()
                status = control.status()
                if status.state == "stopped":  # another client stopped it
                    return
                if show is not None:
                    show(status)
            asked = [action for next_action in action_sources if (action := next_action())]
            for action in asked:
                if action == QUIT:
                    return
                control.send(command_for(action))
            if not asked:
                time.sleep(_KEYS_EVERY_S)


def live_settings(
    options: LiveOptions,
    source: AudioDevice,
    output: AudioDevice,
    monitor: AudioDevice | None = None,
    began_s: float = 0.0,
) -> LiveSettings:
    """Settings of a session between these devices."""
    from ...models.library import list_voices  # late, for it takes a while: the audio process loads meanwhile

    spec_in = _stream_spec(options, source, "input")
    specs_out = [_stream_spec(options, device, "output") for device in (output, monitor) if device is not None]
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


def _stream_spec(options: LiveOptions, device: AudioDevice, direction: Direction) -> StreamSpec:
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


def _stop_signals() -> list[int]:
    """A list that is empty until this process receives a signal to stop."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    signal.signal(signal.SIGINT, note)
    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, note)
    return received


def _summary(status: Status) -> str:
    # After a failure the cause is printed as the error.
    shown = status.causes if status.state != "failed" else ()
    causes = "".join(f"; {printable(cause, MESSAGE_LIMIT)}" for cause in shown)
    interrupted = f", {status.interrupted_ms / 1000.0:.1f} s without devices" if status.interrupted_ms else ""
    return (
        f"{status.seconds:.0f} s, {status.blocks} blocks of {status.block_ms:.0f} ms, {status.late_blocks} late, "
        f"{status.underruns} underruns ({status.underrun_ms:.0f} ms), {status.overruns} overruns "
        f"({status.overrun_ms:.0f} ms){interrupted}; block p50 {status.p50_ms:.1f} p99 {status.p99_ms:.1f} ms; "
        f"latency {status.latency.total:.0f} ms{causes}"
    )
