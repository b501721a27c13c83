"""A network that several threads of torch compute together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from . import Runner


class ThreadedRunner:
    """A runner on the CPU whose runs take several threads; what comes between them takes one, as before.

    Args:
        runner: What runs.
        threads: Threads.
    """

    def __init__(self, runner: Runner, threads: int) -> None:
        self._runner, self._threads = runner, threads

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """See `Runner`."""
        return self._runner.inputs

    @property
    def outputs(self) -> Mapping[str, Tensor]:
        """See `Runner`."""
        return self._runner.outputs

    def reset(self) -> None:
        """See `Runner.reset`."""
        self._runner.reset()

    def run(self) -> None:
        """See `Runner.run`."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            self._runner.run()
        finally:
            torch.set_num_threads(before)
