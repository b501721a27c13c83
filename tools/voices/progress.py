"""How far training is: bars with the remaining time on a terminal, a line for each part elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

Part = Callable[[str, int], Callable[[int], None]]
"""Begins a part of so many steps; what it returns is called with the steps that are done."""


@contextmanager
def shown() -> Iterator[Part]:
    """Shows parts on stderr until it is left."""
    if not sys.stderr.isatty():

        def say(what: str, steps: int) -> Callable[[int], None]:
            click.echo(f"{what} ...", err=True)
            return lambda done: None

        yield say
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def begin(what: str, steps: int) -> Callable[[int], None]:
            task = bars.add_task(what, total=steps)
            return lambda done: bars.update(task, completed=done)

        yield begin
