"""Geometry of a stream: the lengths that the user sets and those that follow from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..kernels.errors import ParameterError

FRAME_MS = 10
LIVE_BLOCK_MS = (20, 1000, 20)  # least, greatest, grid of the blocks of what is heard at once
BACKENDS = ("auto", "eager", "cuda-graph", "onnx", "onnx-cuda", "onnx-PROVIDER")  # the last for any other provider
_BACKEND = re.compile(r"auto|eager|cuda-graph|onnx(-[a-z0-9]+)*")


def check_backend(backend: str) -> None:
    """Raises ParameterError unless a name is that of a backend, which need not exist on this machine."""
    if not _BACKEND.fullmatch(backend):
        raise ParameterError(f"backend is {backend!r}; it must be one of {', '.join(BACKENDS)}")


def check_lengths(lengths: Mapping[str, int], limits: Mapping[str, tuple[int, int, int]]) -> None:
    """Raises ParameterError unless each length that has limits lies within (least, greatest, grid)."""
    for name, (least, greatest, grid) in limits.items():
        value = lengths[name]
        if not least <= value <= greatest or value % grid:
            raise ParameterError(f"{name} is {value}; it must be a multiple of {grid} from {least} to {greatest}")


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """Settings of an engine; a change needs a new engine.

    Attributes:
        sample_rate: Sample rate of input and output in Hz.
        block_ms: Audio per call of `Engine.process`; a multiple of 20.
        context_ms: Past audio that the content encoder and the prior encoder see; a multiple of 20.
        lookahead_ms: Audio after a frame that an RVC voice waits for before it renders the frame; a multiple of 10, at
            least 30. The crossfade lies inside it.
        crossfade_ms: Over which consecutive blocks of an RVC voice are joined; a multiple of 10.
        backend: Backend of the networks. "auto": on an NVIDIA GPU each as one CUDA graph; on a CPU the pitch network
            that ships in ONNX Runtime where it is installed, all others call by call. "eager" is call by call
            everywhere, "cuda-graph" refuses to be without a GPU. "onnx" is ONNX Runtime on the CPU, "onnx-cuda" and
            so on with the execution provider of that name: for exported voices and the pitch network that ships, the
            networks of an RVC voice being as with "auto".
        precision: Precision of an RVC voice's content encoder and, on a CPU, of its decoder: "float16", "bfloat16", or
            "auto", which is both of these on a GPU, and "bfloat16" on a CPU with AMX where that is faster. Used only if
            it computes what "float32" does, to a tolerance, which is tried at the start.
        threads: Threads that compute an RVC or exported voice on a CPU: two are faster where two processors are idle.

    Raises:
        ParameterError: a length is out of its range or off its grid.
    """

    sample_rate: int = 48000
    block_ms: int = 40
    context_ms: int = 1000
    lookahead_ms: int = 60
    crossfade_ms: int = 10
    backend: str = "auto"
    precision: str = "auto"
    threads: int = 1

    LIMITS: ClassVar[dict[str, tuple[int, int, int]]] = {  # least, greatest, grid
        "sample_rate": (8000, 192000, 50),
        "block_ms": (20, 20_000, 20),
        "context_ms": (200, 10000, 20),
        "lookahead_ms": (30, 2000, 10),
        "crossfade_ms": (0, 200, 10),
        "threads": (1, 2, 1),
    }

    PRECISIONS: ClassVar[tuple[str, ...]] = ("auto", "float32", "float16", "bfloat16")

    def __post_init__(self) -> None:
        check_backend(self.backend)
        if self.precision not in self.PRECISIONS:
            raise ParameterError(f"precision is {self.precision!r}; it must be one of {', '.join(self.PRECISIONS)}")
        check_lengths({name: getattr(self, name) for name in self.LIMITS}, self.LIMITS)
        if self.crossfade_ms + 20 > self.lookahead_ms:
            raise ParameterError(
                f"crossfade_ms is {self.crossfade_ms}; with lookahead_ms {self.lookahead_ms} it may be "
                f"{self.lookahead_ms - 20} at most"
            )

    @property
    def block_size(self) -> int:
        """Samples per block."""
        return self.sample_rate * self.block_ms // 1000

    @property
    def block_frames(self) -> int:
        """Frames of 10 ms per block."""
        return self.block_ms // FRAME_MS


def with_lengths(config: StreamConfig, lengths: Mapping[str, int]) -> StreamConfig:
    """A config with other lengths, such as those that a voice is bound to.

    Raises:
        ParameterError: one is out of its range or off its grid.
    """
    values: Mapping[str, Any] = lengths
    return replace(config, **values)
