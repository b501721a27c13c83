"""`python -m altervox.tools.recipes.voices`: make and measure the neural voices that ship."""

from __future__ import annotations

import logging

import click

from ...cli.main import run
from .evaluate_command import evaluate
from .training_commands import cards, package, prepare, train


@click.group(help=__doc__)
def recipe() -> None:
    """Set the log up."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


for command in (prepare, train, package, evaluate, cards):
    recipe.add_command(command)

if __name__ == "__main__":
    run(recipe, "python -m altervox.tools.recipes.voices")
