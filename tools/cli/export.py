"""The command line of `altervox export`."""

from __future__ import annotations

from pathlib import Path

import click

from ...models.voice import F0_METHODS


@click.command(no_args_is_help=True)
@click.argument("voice")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder to write, which does not exist yet.",
)
@click.option("--block-ms", type=int, default=100, show_default=True, help="Block size in ms, a multiple of 20.")
@click.option("--lookahead-ms", type=int, default=60, show_default=True, help="Lookahead in ms, a multiple of 10.")
@click.option("--context-ms", type=int, default=1000, show_default=True, help="Context in ms, a multiple of 20.")
@click.option(
    "--f0-method",
    type=click.Choice(list(F0_METHODS)),
    default="auto",
    show_default=True,
    help="Pitch network that goes along: rmvpe is the published one, downloaded once; auto and rmvpe-small are the one "
    "that ships.",
)
@click.option(
    "--gru",
    type=click.Choice(["onnx", "unrolled"]),
    default="onnx",
    show_default=True,
    help="Recurrent layer of the pitch network: one GRU operator, or plain products for TensorRT, where a GRU is slow.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Streams that each run computes, for servers of your own; altervox itself runs folders of 1.",
)
@click.option("--opset", type=click.IntRange(17, 20), default=17, show_default=True, help="ONNX operator set version.")
def export(
    voice: str,
    output: Path,
    block_ms: int,
    lookahead_ms: int,
    context_ms: int,
    f0_method: str,
    gru: str,
    batch: int,
    opset: int,
) -> int:
    """Export a neural or RVC voice, a mix such as clara+edgar, or rmvpe-small as ONNX graphs that run without torch.

    The graphs have fixed shapes, and whatever they carry from block to block is an input and an output. They are
    compared with the networks over 50 blocks before the folder is put in place; docs/export.md describes it.

    \b
      altervox export alice -o alice-export
      altervox convert in.wav -o out.wav --voice alice-export
      altervox export rmvpe-small -o rmvpe-export --gru unrolled
    """
    from ...realtime.config import StreamConfig
    from ..export.command import ExportOptions
    from ..export.command import export as run

    config = StreamConfig(block_ms=block_ms, lookahead_ms=lookahead_ms, context_ms=context_ms)
    return run(voice, output, ExportOptions(config, gru, batch, opset, f0_method))
