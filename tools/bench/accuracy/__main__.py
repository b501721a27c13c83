"""The command line of the accuracy benchmark."""

from __future__ import annotations

from pathlib import Path

import click

from ...cli.main import run
from .command import PARTS, bench_accuracy


@click.command()
@click.argument("recording", type=click.Path(path_type=Path))
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(PARTS),
    help="Only this part; may be given several times. pitch and content take a minute or two each.",
)
@click.option("--plots", type=click.Path(path_type=Path), metavar="FOLDER", help="Draw figures there, as PNG.")
def command(recording: Path, parts: tuple[str, ...], plots: Path | None) -> int:
    """Compare what a stream makes of a recording of speech with the whole of it, by lookahead and by context."""
    return bench_accuracy(recording, parts or PARTS, plots)


run(command, "python -m altervox.tools.bench.accuracy")
