"""Commands of the recipe that make the voices: prepare, train, package."""

from __future__ import annotations

import logging
from pathlib import Path

import click
import torch
from rich.progress import Progress

_data = click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder of the recordings and their manifest.tsv: see docs/voices.md.",
)
_corpus = click.option(
    "--corpus",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("voices-corpus"),
    show_default=True,
    help="Where the analysed recordings lie; about 1 GB.",
)
_into = click.option(
    "--into",
    "model_folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(__file__).resolve().parents[3] / "models" / "data" / "voices",
    help="Where the files go; by default where altervox looks for them.",
)
_run = click.option(
    "--run",
    "run_folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("voices-run"),
    show_default=True,
    help="Where the state and the log of training lie.",
)


@click.command()
@_data
@_corpus
@click.option("--part", type=(int, int), default=(0, 1), help="Which of how many processes this one is, from 0 on.")
def prepare(data: Path, corpus: Path, part: tuple[int, int]) -> None:
    """Analyse the recordings; what is there already is kept. About 28 minutes on one core."""
    from .corpus import prepare as analyse

    torch.set_num_threads(1)
    for split in ("valid", "train"):
        for name in analyse(data, corpus, split, *part):
            logging.info("%s: %s", split, name)


@click.command()
@_data
@_corpus
@_run
@click.option(
    "--learning-rate", type=click.FloatRange(1e-5, 1e-1), default=1.5e-3, show_default=True, help="Peak learning rate."
)
@click.option("--size", type=click.IntRange(1), default=12, show_default=True, help="Stretches of a batch.")
@click.option(
    "--frames",
    type=click.IntRange(16),
    default=128,
    show_default=True,
    help="Length of each stretch of speech, in frames of 20 ms.",
)
@click.option(
    "--code-noise", type=click.FloatRange(0.0, 2.0), default=0.3, show_default=True, help="Added to the code."
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads that torch uses.")
@click.option("--compile", "is_compiled", is_flag=True, help="A quarter faster; needs a C++ compiler.")
def train(
    data: Path,
    corpus: Path,
    run_folder: Path,
    learning_rate: float,
    size: int,
    frames: int,
    code_noise: float,
    threads: int,
    is_compiled: bool,
) -> None:
    """Train encoder and decoder, or take training up again where it was stopped."""
    from .batches import BatchSource, Disturbances
    from .corpus import NOISES, ROOMS, read_sounds, read_speakers
    from .training import Training, TrainingConfig

    torch.set_num_threads(threads)
    noises, rooms = read_sounds(data, NOISES, "train"), read_sounds(data, ROOMS, "train")
    speakers = read_speakers(corpus, "train")
    known = {speaker.name: speaker for speaker in read_speakers(corpus, "valid")}
    source = BatchSource(speakers, noises, rooms, frames, size, Disturbances())
    valid = BatchSource([known.get(s.name, s) for s in speakers], noises, rooms, frames, size, Disturbances(others=0.0))
    config = TrainingConfig(learning_rate=learning_rate, code_noise=code_noise)
    training = Training(run_folder, config, source, valid, is_compiled)
    with Progress() as progress:
        task = progress.add_task("training", total=config.steps, completed=training.step)
        for done in training.run():
            progress.update(task, completed=done)


@click.command()
@_corpus
@_run
@_into
@click.option("--steps", type=click.IntRange(0), default=250, show_default=True, help="Steps of tuning of each voice.")
@click.option(
    "--variance",
    type=click.FloatRange(0.0, 3.0),
    default=1.0,
    show_default=True,
    help="How much of the envelope's natural variance is given back.",
)
@click.option("--voice", "names", multiple=True, help="A voice to write; without any, all.")
def package(
    corpus: Path, run_folder: Path, model_folder: Path, steps: int, variance: float, names: tuple[str, ...]
) -> None:
    """Tune the decoder to each voice and write the files that ship."""
    from ...voices.tuning import TuningConfig
    from .packaging import package as write_files

    torch.set_num_threads(1)
    for name in write_files(run_folder / "state.pt", corpus, model_folder, TuningConfig(steps=steps), variance, names):
        logging.info("%s", name)


@click.command()
@click.argument("measured", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_into
def cards(measured: Path, model_folder: Path) -> None:
    """Put the figures of an evaluation, a .json that `evaluate --into` wrote, into the cards of the voices."""
    from .packaging import note_figures

    for name in note_figures(measured, model_folder):
        logging.info("%s", name)
