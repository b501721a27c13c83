"""The command line of the conversion benchmark."""

from __future__ import annotations

import click

from ...cli.main import run
from ...cli.options import backend_option
from .command import bench_convert


@click.command()
@click.option("--seconds", type=click.FloatRange(1, 3600), default=20.0, show_default=True, help="Length of the audio.")
@click.option("--voice", "names", multiple=True, help="Only these: embedded names, or rvc-v1-40k, rvc-v2-40k ...")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@backend_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
def command(seconds: float, names: tuple[str, ...], device: str, backend: str | None, as_json: bool) -> int:
    """Convert synthetic speech with the built-in voices and with full-size RVC voices made for the purpose."""
    return bench_convert(seconds, list(names), device, backend or "auto", as_json)


run(command, "python -m altervox.tools.bench.convert")
