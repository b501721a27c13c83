"""Whether graphs compute what the networks compute that they were made from: each one, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.errors import AltervoxError
from ...kernels.salience import decode_salience
from ...kernels.types import FloatArray
from ...models.graph import GraphSpec, Step
from ...models.pitch.mel import HOP
from ...realtime.runners import Runner
from ...realtime.runners.eager import EagerRunner
from .sources import Source, run_file

BLOCKS = 50
GRAPH_TOLERANCE = 1e-4  # relative RMS of a block of one tensor
STREAM_TOLERANCE = 1e-3  # of a block of the whole stream: what the graphs differ by adds up
QUIETEST_DB = -40.0  # below, a reference compares nothing
_FIXTURE_BLOCKS = range(20, 24)
_STREAM_SHIFT = 7  # blocks by which each stream of a batch is ahead of the one before

Values = dict[str, Tensor]  # of one block, by the name of the tensor
Arrays = dict[str, NDArray[Any]]


class ParityError(AltervoxError):
    """A graph does not compute what its network computes."""


@dataclass(slots=True)
class Parity:
    """What was found.

    Attributes:
        errors: Largest relative RMS difference of each graph and of the whole stream.
        rms_db: Level of the stream as torch renders it, in dBFS; None for a stream that is no audio.
        f0_cents: Largest difference of F0 between pitch graph and network; None without a pitch network.
        voicing_frames: Frames that only one of the two finds voiced, of `frames`.
        frames: Frames compared.
        fixtures: Inputs and outputs of some blocks for each graph, and of the whole stream.
    """

    errors: dict[str, float] = field(default_factory=dict)
    rms_db: float | None = None
    f0_cents: float | None = None
    voicing_frames: int = 0
    frames: int = 0
    fixtures: dict[str, Arrays] = field(default_factory=dict)


def compared(source: Source, folder: Path, batch: int, speech: FloatArray) -> Parity:
    """Stream speech through the networks and through the graphs of a folder.

    Args:
        source: What was exported.
        folder: With the graphs and a manifest of them.
        batch: Streams of the graphs.
        speech: 16 kHz mono, at least `BLOCKS` blocks.

    Raises:
        ParityError: a graph, or all of them together, differ by more than rounding; it names graph, tensor and block.
    """
    size = source.config.block_frames * HOP
    blocks = speech[: BLOCKS * size].astype(np.float32).reshape(BLOCKS, size)
    parity, recorders = Parity(), dict[str, _Recorder]()
    modules = source.steps(1)

    def record(name: str) -> Runner:
        recorders[name] = _Recorder(modules[name])
        return recorders[name]

    stream = source.exported(folder, record)
    for block in blocks:
        stream(block)
    if batch > 1:
        steps = source.steps(batch)
        recorders = {name: _replayed(steps[name], recorder.given, batch) for name, recorder in recorders.items()}
    for name, recorder in recorders.items():
        _compare_graph(name, recorder, run_file(folder, name), parity)
    if batch == 1:
        _compare_stream(source, folder, blocks, parity)
    return parity


class _Recorder(EagerRunner):
    """Runs a step and keeps what each block gave and took, and in a few of them what was carried."""

    def __init__(self, step: Step) -> None:
        super().__init__(step.spec, step)
        self.spec = step.spec
        self.given: list[Values] = []
        self.results: list[Values] = []
        self.carried: list[Values] = []
        self.forgotten: list[list[str]] = []  # what was zero before each block: a stage may drop it at any time
        self._free = [name for name in step.spec.inputs if name not in step.spec.carries]

    def run(self) -> None:
        """See `Runner.run`."""
        if len(self.given) in _FIXTURE_BLOCKS:
            self.carried.append({name: self.inputs[name].clone() for name in self.spec.carries})
        self.given.append({name: self.inputs[name].clone() for name in self._free})
        self.forgotten.append([name for name in self.spec.carries if not self.inputs[name].any()])
        super().run()
        self.results.append({name: tensor.clone() for name, tensor in self.outputs.items()})


def _replayed(step: Step, given: Sequence[Values], batch: int) -> _Recorder:
    """A step run for several streams, each ahead of the one before."""
    recorder = _Recorder(step)
    for i in range(len(given)):
        rows = [given[(i + _STREAM_SHIFT * b) % len(given)] for b in range(batch)]
        for name in rows[0]:
            recorder.inputs[name].copy_(torch.cat([row[name] for row in rows]))
        recorder.run()
    return recorder


def _compare_graph(name: str, recorder: _Recorder, graph: Runner, parity: Parity) -> None:
    """Run a graph beside what was recorded of its step; each carries its own state."""
    spec, found_blocks = recorder.spec, []
    for values, forgotten in zip(recorder.given, recorder.forgotten, strict=True):
        for tensor, value in values.items():
            graph.inputs[tensor].copy_(value)
        for tensor in forgotten:
            graph.inputs[tensor].zero_()
        graph.run()
        found_blocks.append(_outputs(graph, spec))
    for tensor in spec.outputs:
        expected, found = (
            np.stack([result[tensor].numpy() for result in results]).astype(np.float64)
            for results in (recorder.results, found_blocks)
        )
        worst = _largest_error(expected, found, GRAPH_TOLERANCE, f"the graph {name}: {tensor}")
        parity.errors[name] = max(parity.errors.get(name, 0.0), worst)
    if name == "rmvpe":
        _compare_f0(recorder, found_blocks, parity)
    kept = [
        carried | recorder.given[i] | recorder.results[i]
        for i, carried in zip(_FIXTURE_BLOCKS, recorder.carried, strict=False)
    ]
    if kept:
        parity.fixtures[name] = {tensor: np.stack([block[tensor].numpy() for block in kept]) for tensor in kept[0]}


def _outputs(graph: Runner, spec: GraphSpec) -> Values:
    """What a graph gave; what it carries was copied to its inputs."""
    back = {result: name for name, result in spec.carries.items()}
    return {name: (graph.inputs[back[name]] if name in back else graph.outputs[name]).clone() for name in spec.outputs}


def _compare_f0(recorder: _Recorder, found_blocks: Sequence[Values], parity: Parity) -> None:
    """F0 of the frames that were given out."""
    expected_hz, found_hz = (
        np.concatenate(
            [
                decode_salience(rows[: int(last) + 1].numpy())
                for result, values in zip(results, recorder.given, strict=True)
                for rows, last in zip(result["salience"], values["last_row"], strict=True)
            ]
        )
        for results in (recorder.results, found_blocks)
    )
    both = (expected_hz > 0.0) & (found_hz > 0.0)
    cents = 1200.0 * np.abs(np.log2(found_hz[both].astype(np.float64) / expected_hz[both]))
    parity.f0_cents = float(cents.max()) if len(cents) else 0.0
    parity.voicing_frames = int(((expected_hz > 0.0) != (found_hz > 0.0)).sum())
    parity.frames = len(expected_hz)


def _compare_stream(source: Source, folder: Path, blocks: NDArray[np.float32], parity: Parity) -> None:
    reference, exported = source.reference(), source.exported(folder, None)
    expected, found = ([stream(block) for block in blocks] for stream in (reference, exported))
    if source.kind == "rvc":
        level = float(np.sqrt(np.mean(np.square(np.concatenate(expected), dtype=np.float64))))
        parity.rms_db = 20.0 * float(np.log10(max(level, 1e-10)))
        if parity.rms_db < QUIETEST_DB:
            raise ParityError(
                f"{source.name} renders the test speech at {parity.rms_db:.0f} dBFS, too quietly to compare anything "
                f"({QUIETEST_DB:.0f} dBFS is needed): its file may be damaged"
            )
    lengths = {len(block) for block in expected}
    padded = [
        np.stack([np.pad(block, [(0, max(lengths) - len(block))] + [(0, 0)] * (block.ndim - 1)) for block in side])
        for side in (expected, found)
    ]
    parity.errors["stream"] = _largest_error(
        padded[0].astype(np.float64), padded[1].astype(np.float64), STREAM_TOLERANCE, "the whole stream: its output"
    )
    parity.fixtures["stream"] = {"audio": blocks.reshape(-1), "output": np.concatenate(found)}


def _largest_error(expected: NDArray[np.float64], found: NDArray[np.float64], tolerance: float, what: str) -> float:
    """Largest relative RMS difference of any block `[blocks, ...]`.

    Raises:
        ParityError: one is beyond the tolerance, or not finite.
    """
    over = tuple(range(1, expected.ndim))
    level = max(float(np.sqrt(np.mean(expected**2))), 1e-12)
    errors = np.sqrt(np.mean((found - expected) ** 2, axis=over)) / level
    bad = np.flatnonzero(~(errors <= tolerance))
    if len(bad):
        raise ParityError(
            f"{what} differs from the network by {errors[bad[0]]:.1e} of its RMS in block {bad[0]}, the first of "
            f"{len(bad)} bad ones of {len(errors)} (at most {tolerance:.0e} is rounding): nothing was exported; "
            "please report it with the versions of torch, onnx and onnxruntime"
        )
    return float(errors.max())


def flat(parity: Parity) -> Mapping[str, float]:
    """The figures as a manifest has them."""
    figures = {f"{name}.relative_rms": error for name, error in parity.errors.items()}
    if parity.rms_db is not None:
        figures["stream.rms_dbfs"] = parity.rms_db
    if parity.f0_cents is not None:
        figures |= {"f0.cents": parity.f0_cents, "f0.voicing_frames": parity.voicing_frames, "f0.frames": parity.frames}
    return figures
