"""A module captured once as a CUDA graph, and replayed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...models.graph import GraphSpec
from .eager import EagerRunner, device_of

_WARM_UP_RUNS = 3  # cuDNN chooses its kernels and torch its workspaces before anything is captured


class CudaGraphRunner(EagerRunner):
    """The module captured once and replayed: one launch per run, nothing allocated, the host never waits.

    The copy of the carried state is part of the graph. Another voice may be sounding while this one is captured, so
    nothing here waits for more than the runner's own work: `torch.cuda.graph` would wait for the whole device and empty
    the allocator's cache.
    """

    def __init__(self, spec: GraphSpec, module: nn.Module, share: Mapping[str, Tensor] | None = None) -> None:
        super().__init__(spec, module, share)
        device = device_of(module)
        with torch.cuda.device(device):
            here = torch.cuda.current_stream()
            stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            stream.wait_stream(here)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP_RUNS):
                    super().run()
                stream.synchronize()
                # Thread-local: what other threads do meanwhile is neither part of the graph nor an error.
                self._graph.capture_begin(capture_error_mode="thread_local")
                try:
                    super().run()
                finally:
                    self._graph.capture_end()
            here.wait_stream(stream)
        self.reset()

    def run(self) -> None:
        """See `Runner.run`."""
        self._graph.replay()
