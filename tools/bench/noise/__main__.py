"""The command line of the noise benchmark."""

from __future__ import annotations

from pathlib import Path

import click

from ...cli.main import run
from .command import bench_noise


@click.command()
@click.argument("recordings", type=click.Path(path_type=Path), nargs=-1, required=True)
def command(recordings: tuple[Path, ...]) -> int:
    """Add noise to clean recordings of speech: what RNNoise takes and leaves, and what the gates of `live` pass."""
    return bench_noise(recordings)


run(command, "python -m altervox.tools.bench.noise")
