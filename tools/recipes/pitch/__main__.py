"""`python -m altervox.tools.recipes.pitch`: make the pitch network that ships, from nothing but packages."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click
import torch
from rich.progress import Progress

from ...cli.main import run
from .evaluate_command import evaluate

_MODEL_FOLDER = Path(__file__).resolve().parents[3] / "models" / "data"
_folder = click.option(
    "--corpus",
    "corpus_folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("pitch-corpus"),
    show_default=True,
    help="Where speech, noise and labelled clips lie; about 1 GB.",
)
_run = click.option(
    "--run",
    "run_folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("pitch-run"),
    show_default=True,
    help="Where the state and the log of training lie.",
)


@click.group(help=__doc__)
def recipe() -> None:
    """Set the log up."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


@recipe.command()
@_folder
def synthesise(corpus_folder: Path) -> None:
    """Let the synthetic voices speak and label what they said; what is there already is kept.

    About an hour on two cores.
    """
    from .corpus import SINGERS, build_sentence, build_singers
    from .noises import build_noises
    from .sources import SPEAKERS
    from .speech import speak_all

    with Progress() as progress:
        task = progress.add_task("noises", total=None)
        for _ in build_noises(corpus_folder / "noises"):
            progress.advance(task)
        task = progress.add_task("sentences", total=sum(speaker.clips for speaker in SPEAKERS))
        for speaker, index, path in speak_all(corpus_folder / "speech"):
            build_sentence(corpus_folder, speaker, index, path)
            progress.advance(task)
        task = progress.add_task("singers", total=sum(SINGERS.values()))
        for _ in build_singers(corpus_folder):
            progress.advance(task)


@recipe.command()
@_folder
@_run
@click.option(
    "--steps", type=click.IntRange(1), default=4000, show_default=True, help="Steps of the first part of the training."
)
@click.option(
    "--learning-rate", type=click.FloatRange(1e-5, 1e-1), default=3e-3, show_default=True, help="Peak learning rate."
)
@click.option(
    "--from",
    "first_weights",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Weights (safetensors) to begin with in place of random ones: another round.",
)
@click.option("--threads", type=click.IntRange(1), default=None, help="Threads that torch uses.")
def train(
    corpus_folder: Path,
    run_folder: Path,
    steps: int,
    learning_rate: float,
    first_weights: Path | None,
    threads: int | None,
) -> None:
    """Train, or take training up again where it was stopped.

    About 0.9 s a step on one core.
    """
    from safetensors.torch import load_file

    from ....models.pitch.rmvpe import RMVPE
    from .corpus import read_clips
    from .noises import read_noises
    from .training import Training, TrainingConfig

    if threads is not None:
        torch.set_num_threads(threads)
    clips = read_clips(corpus_folder, "train")
    if not clips:
        raise click.ClickException(f"{corpus_folder} holds no training clips: run `synthesise` first")
    config = TrainingConfig(steps=steps, learning_rate=learning_rate)
    noises = read_noises(corpus_folder / "noises")
    first = RMVPE.from_state(load_file(first_weights)) if first_weights is not None else None
    training = Training(run_folder, config, clips, noises, read_clips(corpus_folder, "tune")[::3], first)
    with Progress() as progress:
        task = progress.add_task("training", total=config.all_steps, completed=training.step)
        for done in training.run():
            progress.update(task, completed=done)


@recipe.command()
@_folder
@_run
@click.option(
    "--into",
    "model_folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=_MODEL_FOLDER,
    help="Where they go; by default where altervox looks for them.",
)
def package(corpus_folder: Path, run_folder: Path, model_folder: Path) -> None:
    """Set the decision on voicing with the tuning split, and write the files that ship."""
    from .corpus import read_clips
    from .packaging import package as write_files

    clips = read_clips(corpus_folder, "tune")
    if not clips:
        raise click.ClickException(f"{corpus_folder} holds no tuning clips: run `synthesise` first")
    click.echo(json.dumps(write_files(run_folder / "state.pt", clips, model_folder)))


recipe.add_command(evaluate)

if __name__ == "__main__":
    run(recipe, "python -m altervox.tools.recipes.pitch")
