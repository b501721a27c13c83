"""The command line of RVC's real-time loop over a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ....kernels.errors import VoiceError
from ....models.library import load_voice
from ....models.resample import resampled
from ....models.rvc.voice import RvcVoice
from ....models.voice import check_speaker
from ....realtime.files import through_engine
from ...cli.main import run
from ...cli.options import voice_options, voice_params
from ...convert.batch import limited
from ...convert.reader import open_audio
from ...convert.writer import accepted_rate, container_of, kept_subtype, open_writer
from .loop import ReferenceConfig, reference_loop


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@voice_options
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1), default=0, help="Of the noise in the voice.")
@click.option("--block-ms", type=int, default=250, show_default=True, help="Audio per step.")
@click.option("--context-ms", type=int, default=2500, show_default=True, help="Past audio that each step sees.")
def command(
    source: Path, target: Path, voice: str, device: str, seed: int, block_ms: int, context_ms: int, **options: Any
) -> None:
    """Convert a file with an RVC voice through RVC's own real-time loop, to compare altervox's engine with."""
    loaded = load_voice(voice, device)
    if not isinstance(loaded, RvcVoice):
        raise VoiceError(f"RVC's own loop is for RVC voices, and {loaded.name} is none; choose one by --voice")
    gate_db = options.pop("gate_db")
    params = voice_params(options, seed=seed)
    check_speaker(loaded, params)
    rate, container = loaded.sample_rate, container_of(target)
    written_rate = accepted_rate(container, rate)
    loop = reference_loop(loaded, ReferenceConfig(rate, block_ms, context_ms, gate_db=gate_db), params)
    with open_audio(source) as audio:
        rendered = limited(through_engine(loop, resampled(audio.blocks(), audio.sample_rate, rate)), loaded.name)
        subtype = kept_subtype(container, audio.subtype)
        with open_writer(target, container, subtype, written_rate, None) as writer:
            for block in resampled(rendered, rate, written_rate):
                writer.write(block)


run(command, "python -m altervox.tools.bench.reference")
