"""Whether graphs compute what the networks compute that they were made from: each one, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.errors import AltervoxError
from ...kernels.salience import decode_salience
from ...models.graph import GraphSpec, Step
from ...models.pitch.mel import HOP
from ...realtime.runners import Runner
from ...realtime.runners.eager import EagerRunner
from .sources import Source, Stream, run_file
from .speech import recorded_speech

BLOCKS = 50
GRAPH_TOLERANCE = 1e-4  # relative RMS of a block of one tensor
# Of a block of the whole stream: what the graphs differ by adds up; of a neural voice also in the phase of its pulses.
STREAM_TOLERANCES = {"neural": 1e-2, "rmvpe": 1e-3, "rvc": 1e-3}
QUIETEST_DB = -40.0  # below, a reference compares nothing
_FIXTURE_BLOCKS = range(20, 24)
_MOST_KEPT_MS = 60_000  # of the whole stream's fixture

Values = dict[str, Tensor]  # of one block, by the name of the tensor
Arrays = dict[str, NDArray[Any]]
Blocks = NDArray[np.float32]  # 16 kHz audio [blocks, samples]


class ParityError(AltervoxError):
    """A graph does not compute what its network computes."""


@dataclass(slots=True)
class Parity:
    """What was found.

    Attributes:
        errors: Largest relative RMS difference of each graph and of the whole stream.
        rms_db: Level of the stream as torch renders it, in dBFS, of the quietest row; None for a stream that is no
            audio.
        f0_cents: Largest difference of F0 between pitch graph and network; None without a pitch network.
        voicing_frames: Frames that only one of the two finds voiced, of `frames`.
        voiced_frames: Frames that the network finds voiced.
        frames: Frames compared.
        fixtures: Inputs and outputs of some blocks for each graph, and of the whole stream.
    """

    errors: dict[str, float] = field(default_factory=dict)
    rms_db: float | None = None
    f0_cents: float | None = None
    voicing_frames: int = 0
    voiced_frames: int = 0
    frames: int = 0
    fixtures: dict[str, Arrays] = field(default_factory=dict)


def compared(source: Source, folder: Path, batch: int) -> Parity:
    """Stream speech through the networks and through the graphs of a folder.

    Args:
        source: What was exported.
        folder: With the graphs and a manifest of them.
        batch: Streams of the graphs; each of them says something else.

    Raises:
        ParityError: a graph, or all of them together, differ by more than rounding; it names graph, tensor and block.
    """
    size = source.config.block_frames * HOP
    speech = [recorded_speech(BLOCKS * source.config.block_ms / 1000.0, row) for row in range(batch)]
    rows = [samples.reshape(BLOCKS, size) for samples in speech]
    parity, modules = Parity(), source.steps(1)
    recorders: dict[str, list[_Recorder]] = {}

    def record(name: str) -> Runner:
        recorder = _Recorder(modules[name])
        recorders.setdefault(name, []).append(recorder)
        return recorder

    for blocks in rows:
        stream = source.exported(folder, record)
        for block in blocks:
            stream(block)
    for name, of_rows in recorders.items():
        _compare_graph(name, of_rows, run_file(folder, name), parity)
    _compare_stream(source, folder, rows, parity)
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


def _compare_graph(name: str, recorders: Sequence[_Recorder], graph: Runner, parity: Parity) -> None:
    """Run a graph beside what was recorded of its step, once for each row; it carries its own state."""
    spec, found_blocks = recorders[0].spec, []
    given = [_stacked(values) for values in zip(*(recorder.given for recorder in recorders), strict=True)]
    results = [_stacked(values) for values in zip(*(recorder.results for recorder in recorders), strict=True)]
    for i, values in enumerate(given):
        for tensor, value in values.items():
            graph.inputs[tensor].copy_(value)
        for row, recorder in enumerate(recorders):
            for tensor in recorder.forgotten[i]:
                graph.inputs[tensor][row].zero_()
        graph.run()
        found_blocks.append(_outputs(graph, spec))
    for tensor in spec.outputs:
        expected, found = (
            np.stack([block[tensor].numpy() for block in blocks]).astype(np.float64)
            for blocks in (results, found_blocks)
        )
        worst = _largest_error(expected, found, GRAPH_TOLERANCE, f"the graph {name}: {tensor}")
        parity.errors[name] = max(parity.errors.get(name, 0.0), worst)
    if name == "rmvpe":
        _compare_f0(given, results, found_blocks, parity)
    carried = [_stacked(values) for values in zip(*(recorder.carried for recorder in recorders), strict=True)]
    kept = [before | given[i] | results[i] for i, before in zip(_FIXTURE_BLOCKS, carried, strict=False)]
    if kept:
        parity.fixtures[name] = {tensor: np.stack([block[tensor].numpy() for block in kept]) for tensor in kept[0]}


def _stacked(rows: Sequence[Values]) -> Values:
    """The tensors of one block of all rows."""
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def _outputs(graph: Runner, spec: GraphSpec) -> Values:
    """What a graph gave; what it carries was copied to its inputs."""
    back = {result: name for name, result in spec.carries.items()}
    return {name: (graph.inputs[back[name]] if name in back else graph.outputs[name]).clone() for name in spec.outputs}


def _compare_f0(
    given: Sequence[Values], results: Sequence[Values], found_blocks: Sequence[Values], parity: Parity
) -> None:
    """F0 of the frames that were given out."""
    expected_hz, found_hz = (
        np.concatenate(
            [
                decode_salience(frames[: int(last) + 1].numpy())
                for block, values in zip(blocks, given, strict=True)
                for frames, last in zip(block["salience"], values["last_row"], strict=True)
            ]
        )
        for blocks in (results, found_blocks)
    )
    both = (expected_hz > 0.0) & (found_hz > 0.0)
    cents = 1200.0 * np.abs(np.log2(found_hz[both].astype(np.float64) / expected_hz[both]))
    parity.f0_cents = float(cents.max()) if len(cents) else 0.0
    parity.voicing_frames = int(((expected_hz > 0.0) != (found_hz > 0.0)).sum())
    parity.voiced_frames, parity.frames = int((expected_hz > 0.0).sum()), len(expected_hz)
    if not parity.voiced_frames:
        raise ParityError(
            "the pitch network finds no voice in the test speech, so F0 was not compared: its file may be damaged"
        )


class _SharedGraph:
    """A graph that runs when all rows of its batch have what they give it."""

    def __init__(self, graph: Runner, batch: int) -> None:
        self.graph, self.meeting = graph, Barrier(batch, graph.run)


class _Row:
    """One row of a graph's batch, for who knows one stream."""

    def __init__(self, shared: _SharedGraph, row: int) -> None:
        self.inputs, self.outputs = (
            {name: tensor[row : row + 1] for name, tensor in tensors.items()}
            for tensors in (shared.graph.inputs, shared.graph.outputs)
        )
        self._shared = shared

    def run(self) -> None:
        """See `Runner.run`."""
        self._shared.meeting.wait()

    def reset(self) -> None:
        """See `Runner.reset`."""
        self._shared.graph.reset()


def _rendered_together(source: Source, folder: Path, rows: Sequence[Blocks]) -> list[list[NDArray[np.float32]]]:
    """What the graphs of a folder make of each row's blocks. All rows go on together, each in a thread of its own."""
    graphs: dict[str, _SharedGraph] = {}

    def stream_of(row: int) -> Stream:
        def run_graph(name: str) -> Runner:
            if name not in graphs:
                graphs[name] = _SharedGraph(run_file(folder, name), len(rows))
            return _Row(graphs[name], row)

        return source.exported(folder, run_graph)

    streams = [stream_of(row) for row in range(len(rows))]

    def render(row: int) -> list[NDArray[np.float32]]:
        try:
            return [streams[row](block) for block in rows[row]]
        except BaseException:
            for shared in graphs.values():
                shared.meeting.abort()  # the other rows need not wait
            raise

    with ThreadPoolExecutor(len(rows)) as threads:
        pending = [threads.submit(render, row) for row in range(len(rows))]
    failures = [error for future in pending if (error := future.exception()) is not None]
    for failure in sorted(failures, key=lambda error: isinstance(error, BrokenBarrierError)):
        raise failure  # the one that the others stopped for
    return [future.result() for future in pending]


def _compare_stream(source: Source, folder: Path, rows: Sequence[Blocks], parity: Parity) -> None:
    found, expected = _rendered_together(source, folder, rows), []
    for blocks in rows:
        reference = source.reference()
        expected.append([reference(block) for block in blocks])
    what = "salience of the graph rmvpe"
    if source.kind != "rmvpe":
        what = "wav of the graph generator" if source.kind == "rvc" else "the audio"
        level = min(float(np.sqrt(np.mean(np.square(np.concatenate(row), dtype=np.float64)))) for row in expected)
        parity.rms_db = 20.0 * float(np.log10(max(level, 1e-10)))
        if parity.rms_db < QUIETEST_DB:
            raise ParityError(
                f"{source.name} renders the test speech at {parity.rms_db:.0f} dBFS, too quietly to compare anything "
                f"({QUIETEST_DB:.0f} dBFS is needed): its file may be damaged"
            )
    longest = max(len(block) for block in expected[0])  # a pitch network's first blocks are shorter
    ours, theirs = (
        np.stack([[np.pad(b, [(0, longest - len(b))] + [(0, 0)] * (b.ndim - 1)) for b in row] for row in side], axis=1)
        for side in (expected, found)
    )
    parity.errors["stream"] = _largest_error(
        ours.astype(np.float64),
        theirs.astype(np.float64),
        STREAM_TOLERANCES[source.kind],
        f"all graphs in a row: {what}",
    )
    kept = max(_MOST_KEPT_MS // (source.config.block_ms * len(rows)), 1)
    parity.fixtures["stream"] = {
        "audio": np.stack([blocks[:kept].reshape(-1) for blocks in rows]),
        "output": np.stack([np.concatenate(row[:kept]) for row in found]),
    }


def _largest_error(expected: NDArray[np.float64], found: NDArray[np.float64], tolerance: float, what: str) -> float:
    """Largest relative RMS difference of any block of any row `[blocks, rows, ...]`.

    Raises:
        ParityError: one is beyond the tolerance or not finite, or there is nothing but zeros to compare with.
    """
    over = tuple(range(2, expected.ndim))
    level = np.sqrt(np.mean(expected**2, axis=(0, *over)))
    if not (level > 0.0).all():
        raise ParityError(
            f"{what} is zero or not finite in the network itself, so nothing was compared: its file may be damaged"
        )
    errors = np.sqrt(np.mean((found - expected) ** 2, axis=over)) / level
    bad = np.argwhere(~(errors <= tolerance))
    if len(bad):
        block, row = bad[0]
        raise ParityError(
            f"{what} differs from the network by {errors[block, row]:.1e} of its RMS in block {block}"
            f"{f' of row {row}' if errors.shape[1] > 1 else ''}, the first of {len(bad)} bad ones of {errors.size} (at "
            f"most {tolerance:.0e} is rounding): nothing was exported; please report it with the versions of torch, "
            "onnx and onnxruntime"
        )
    return float(errors.max())


def flat(parity: Parity) -> Mapping[str, float]:
    """The figures as a manifest has them."""
    figures = {f"{name}.relative_rms": error for name, error in parity.errors.items()}
    if parity.rms_db is not None:
        figures["stream.rms_dbfs"] = parity.rms_db
    if parity.f0_cents is not None:
        figures |= {
            "f0.cents": parity.f0_cents,
            "f0.voicing_frames": parity.voicing_frames,
            "f0.voiced_frames": parity.voiced_frames,
            "f0.frames": parity.frames,
        }
    return figures
