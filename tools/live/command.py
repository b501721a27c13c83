"""`altervox live`: from the microphone to the virtual cable until Ctrl-C."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...kernels.errors import AltervoxError, AudioDeviceError, OutputError
from ...kernels.printable import MESSAGE_LIMIT, printable
from ...realtime.audio.devices import AudioDevice
from ...realtime.serve.port import StartRequest
from ...realtime.session.settings import SessionSettings
from ...realtime.session.status import Status
from .actions import QUIT, command_for
from .announce import announce
from .host import LiveHost, measured_pair
from .hotkeys import global_hot_keys
from .keys import key_actions
from .options import LiveOptions
from .signals import stop_signals

if TYPE_CHECKING:
    from ...realtime.serve.settings import ServerSettings

_KEYS_EVERY_S = 0.02
_STATUS_EVERY_S = 0.1
_KEYBOARD = "keyboard"


def measure(options: LiveOptions, as_json: bool) -> int:
    """Measure the latency of an output and an input that hears it, and store it for these two.

    Raises:
        AltervoxError: a device is not there or does not work, or the input does not hear the output.
    """
    from .measure import measure_devices

    return measure_devices(*measured_pair(options), as_json)


def live(
    options: LiveOptions,
    seconds: float | None = None,
    as_json: bool = False,
    screenshot: Path | None = None,
    hot_keys: Mapping[str, str] | None = None,
    remote: ServerSettings | None = None,
) -> int:
    """Run a session, and print its statistics at the end. Returns the exit code.

    Args:
        options: Options of the command line.
        seconds: Duration of the session; None to run until it is stopped.
        as_json: Whether to print the statistics as JSON.
        screenshot: SVG file for the last terminal view.
        hot_keys: Bindings for `global_hot_keys`; none for no global hot keys.
        remote: Where to serve the session's remote control; None for nowhere.

    Raises:
        AltervoxError: a device or the voice is missing or does not work; the message says what to do.
    """
    if screenshot is not None and not screenshot.absolute().parent.is_dir():
        raise OutputError(f"{screenshot} cannot be written: folder {screenshot.parent} does not exist; create it first")
    status = shown = None
    stopping = stop_signals()

    def chosen(source: AudioDevice, output: AudioDevice) -> None:
        if not as_json:
            announce(source, output)
            click.echo(f"preparing the voice {options.session.state.voice} ...", err=True)

    host = LiveHost(options, False, bool(hot_keys) or remote is not None or sys.stdin.isatty(), chosen)
    try:
        with (
            global_hot_keys(hot_keys) if hot_keys else nullcontext(lambda: "") as next_hot_key,
            host,
            _served(host, remote, options.session),
        ):
            host.start(StartRequest(), lambda: bool(stopping))
            try:
                end = time.monotonic() + (seconds if seconds is not None else float("inf"))
                is_shown = sys.stderr.isatty() and not as_json and os.environ.get("TERM") not in ("dumb", "unknown")
                if not (is_shown or as_json):
                    click.echo("running; press Ctrl-C to stop", err=True)
                _follow(host, next_hot_key, is_shown, stopping, end)
            finally:
                shown = host.status()
                host.stop()
                status = host.status()
    except AltervoxError:
        if stopping and status is None:  # Ctrl-C has also ended the programs that list devices
            raise KeyboardInterrupt from None
        raise
    finally:
        if status is not None and shown is not None:  # it has begun
            _report_end(status, shown if status.state == "stopped" else status, as_json, screenshot)
    if host.was_killed:
        raise AudioDeviceError(
            "the audio process did not end within 5 s and was killed; the end of a recording may be missing"
        )
    if status is not None and status.recording_error:
        raise OutputError(status.recording_error)
    return 0


def _served(host: LiveHost, settings: ServerSettings | None, audio: SessionSettings) -> AbstractContextManager[object]:
    """Serve the remote control of a session within the context, if there are settings for it."""
    if settings is None:
        return nullcontext()
    from ..serve.command import served

    return served(host, settings, to_stderr=True, audio=audio)


def _report_end(status: Status, shown: Status, as_json: bool, screenshot: Path | None) -> None:
    """Print statistics and save the view, also of a session that has failed."""
    click.echo(json.dumps(status.as_json()) if as_json else _summary(status), err=not as_json)
    if screenshot is not None:
        from .view import save_view

        save_view(shown, screenshot)


def _follow(host: LiveHost, next_hot_key: Callable[[], str], is_shown: bool, stopping: list[int], end: float) -> None:
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
                status = host.status()
                if status.state == "failed":
                    raise AltervoxError("; ".join(status.causes))
                if status.state == "stopped":  # another client stopped it
                    return
                if show is not None:
                    show(status)
            asked = [action for next_action in action_sources if (action := next_action())]
            for action in asked:
                if action == QUIT:
                    return
                host.do(command_for(action), _KEYBOARD)
            if not asked:
                time.sleep(_KEYS_EVERY_S)


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
