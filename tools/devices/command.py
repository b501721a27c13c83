"""`altervox devices`: lists inputs and outputs."""

from __future__ import annotations

import json
from dataclasses import asdict

import click
from rich.cells import cell_len

from ...kernels.errors import AudioDeviceError
from ...realtime.audio.devices import AudioDevice
from .cables import how_to_get_a_cable
from .choose import list_devices


def show(as_json: bool, everything: bool) -> int:
    """Print one row for each device; with `everything`, of every host API, and monitors of outputs too.

    Raises:
        AudioDeviceError: There are none, or PortAudio is missing.
    """
    devices = [device for device in list_devices() if everything or device.is_primary]
    if as_json:
        click.echo(json.dumps([_row(device) for device in devices], ensure_ascii=False, indent=1))
        return 0
    if not devices:
        raise AudioDeviceError("there are no sound devices on this machine: `altervox doctor` looks for the cause")
    width = max(cell_len(device.name) for device in devices)
    api = max(cell_len(device.host_api) for device in devices)
    click.echo(f"{'':>3} {'name':<{width}}  {'host API':<{api}}  {'in':>3} {'out':>3}  {'Hz':>6}  {'ms in/out':>9}")
    for device in devices:
        delay_in = _ms(device.low_input_latency_s, device.inputs)
        delay_out = _ms(device.low_output_latency_s, device.outputs)
        line = (
            f"{device.index:>3} {_padded(device.name, width)}  {_padded(device.host_api, api)}  {device.inputs:>3} "
            f"{device.outputs:>3}  {device.default_rate:>6.0f}  {f'{delay_in}/{delay_out}':>9}"
        )
        click.echo("  ".join([line, *_marks(device)]))
    if not any(device.cable and device.outputs for device in devices):
        click.echo(f"no virtual cable: {how_to_get_a_cable()}")
    return 0


def _padded(text: str, width: int) -> str:
    """The text and spaces up to that many columns of a terminal, in which some characters take two and some none."""
    return text + " " * (width - cell_len(text))


def _ms(seconds: float, channels: int) -> str:
    return f"{seconds * 1e3:.0f}" if channels else "-"


def _marks(device: AudioDevice) -> list[str]:
    marks = []
    if device.is_default_input:
        marks.append("default input")
    if device.is_default_output:
        marks.append("default output")
    if device.cable and device.outputs:
        marks.append(f"{device.cable} (in Discord or OBS choose {device.listening_name!r})")
    elif device.cable:
        marks.append(f"{device.cable} (the end for Discord or OBS)")
    return marks


def _row(device: AudioDevice) -> dict[str, object]:
    return {**asdict(device), "stable_name": device.stable_name, "is_virtual_cable": device.is_virtual_cable}
