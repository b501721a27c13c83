"""Shows on a terminal how far the jobs of a long command are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Start = Callable[[str, int], Callable[[], None]]  # of a job with so many steps; gives what to call after each step


@contextmanager
def progress() -> Iterator[Start]:
    """A bar for each job that is started, where standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda name, steps: lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:

        def start(name: str, steps: int) -> Callable[[], None]:
            task = bar.add_task(name, total=steps)
            return lambda: bar.advance(task)

        yield start
