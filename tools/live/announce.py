"""Says on the terminal between which devices a session runs."""

from __future__ import annotations

import click

from ...kernels.printable import printable
from ...realtime.audio.devices import AudioDevice


def announce(source: AudioDevice, output: AudioDevice) -> None:
    """Print microphone and output, and what to choose in other programs."""
    click.echo(f"microphone: {printable(source.name)}\noutput:     {printable(output.name)}", err=True)
    if output.listening_name:
        click.echo(f"in Discord or OBS choose the input device: {printable(output.listening_name)}", err=True)
