"""`altervox export`: write the graphs of a voice, compare them with its networks, and only then put them in place."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ...kernels.errors import AltervoxError, MissingDependencyError, OutputError, ParameterError, VoiceError
from ...kernels.extras import how_to_install
from ...kernels.printable import printable
from ...models.export.manifest import FILE_NAME, LENGTHS, MAX_GRAPH_BYTES, Graph, Manifest, StoredFile
from ...models.voice import Voice
from ...realtime.config import StreamConfig
from .parity import BLOCKS, Parity, compared, flat
from .sources import Source, neural_source, pitch_source, voice_source

log = logging.getLogger(__name__)

PITCH_NETWORK = "rmvpe-small"
MOST_UNROLLED_ROWS = 150  # frames of a block and its right context, each of which becomes two dozen nodes
_UNFINISHED = ".exporting-"


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export.

    Attributes:
        config: Lengths of the stream.
        gru: "onnx" for ONNX's own GRU, "unrolled" for plain products.
        batch: Streams that each run computes.
        opset: Version of ONNX's operators.
        f0_method: Which pitch network goes along: one of `F0_METHODS`.
    """

    config: StreamConfig
    gru: str = "onnx"
    batch: int = 1
    opset: int = 17
    f0_method: str = "auto"


def export(name: str, folder: Path, options: ExportOptions) -> int:
    """Run the command; returns the exit code."""
    from ...models.export.tensorrt import problems, trtexec_lines
    from .tensorrt_parser import parser_verdict

    _check_target(folder)
    source = source_of(name, options)
    manifest, parity = write_export(source, folder, options)
    size = sum(path.stat().st_size for path in folder.iterdir())
    lengths = ", ".join(f"{key.removesuffix('_ms')} {value} ms" for key, value in manifest.lengths.items())
    click.echo(f"exported {printable(source.name)} to {printable(folder)}: {size / 1e6:.0f} MB, {lengths}")
    for graph, error in parity.errors.items():
        what = "all graphs in a row" if graph == "stream" else f"{graph}.onnx"
        click.echo(f"  {what:<20} differs from the network by {error:.1e} of its RMS at most, in {BLOCKS} blocks")
    if parity.rms_db is not None:
        click.echo(f"  compared over speech that the networks render at {parity.rms_db:.1f} dBFS")
    if parity.f0_cents is not None:
        click.echo(
            f"  F0 differs by {parity.f0_cents:.2f} cents at most, voicing in {parity.voicing_frames} of "
            f"{parity.frames} frames, {parity.voiced_frames} of them voiced"
        )
    found = [(graph, problem) for graph in manifest.graphs for problem in problems(folder, manifest, graph)]
    if found:
        click.echo("not for TensorRT as it is (other runtimes run it):")
        for graph, problem in found:
            click.echo(f"  {graph}.onnx {problem}")
    else:
        click.echo("for TensorRT alone:")
        for line in trtexec_lines(folder, manifest):
            click.echo(f"  {line}")
    verdict = parser_verdict([folder / graph.stored.file for graph in manifest.graphs.values()])
    if verdict is not None:
        click.echo(verdict)
    if source.kind != "rmvpe" and options.batch == 1:
        from ..cli.voices import command_line

        words = ["convert", "in.wav", "-o", "out.wav", "--voice", str(folder)]
        click.echo(f"try it: {command_line(words)}")
    return 0


def source_of(name: str, options: ExportOptions) -> Source:
    """What a name stands for, loaded on the CPU.

    Raises:
        VoiceError: there is nothing to export in it.
        ParameterError: the GRU cannot be unrolled over so long a block.
    """
    import torch

    from ...models import base_models
    from ...models.library import load_voice
    from ...models.neural.voice import NeuralVoice
    from ...models.rvc.voice import RvcVoice
    from ...realtime.stages.features import RvcLengths

    cpu, unrolled = torch.device("cpu"), options.gru == "unrolled"
    lengths = RvcLengths.of(options.config)
    if unrolled and lengths.block + lengths.pitch_right > MOST_UNROLLED_ROWS:
        most_ms = (MOST_UNROLLED_ROWS - lengths.pitch_right) * 10 // 20 * 20
        raise ParameterError(
            f"--gru unrolled makes two dozen nodes of every frame, too many for --block-ms {options.config.block_ms}: "
            f"choose {most_ms} or less, or --gru onnx"
        )
    if name == PITCH_NETWORK:
        return pitch_source(name, base_models.small_pitch_network(cpu), options.config, unrolled)
    voice: Voice = load_voice(name, "cpu")
    if voice.kind == "dsp":
        raise VoiceError(
            f"{voice.name} is a DSP voice, computed by kernels and not by a network, so it has no graph: export a "
            f"neural or RVC voice, or {PITCH_NETWORK}, the pitch network that DSP voices use"
        )
    if not isinstance(voice, NeuralVoice | RvcVoice):
        raise VoiceError(f"{voice.name} is exported already: export the voice that it was made from")
    full = options.f0_method == "rmvpe" and (isinstance(voice, NeuralVoice) or voice.synthesizer.has_f0)
    rmvpe = base_models.full_pitch_network(cpu) if full else base_models.small_pitch_network(cpu)
    if isinstance(voice, NeuralVoice):
        return neural_source(voice, rmvpe, options.config, unrolled)
    return voice_source(voice, voice.content_encoder(), rmvpe, options.config, unrolled)


def write_export(source: Source, folder: Path, options: ExportOptions) -> tuple[Manifest, Parity]:
    """Write a folder, whole or not at all.

    Args:
        source: What to export.
        folder: Does not exist yet.
        options: How.

    Raises:
        OutputError: it cannot be written.
        ParityError: a graph does not compute what its network computes.
        CheckpointError: a graph breaks the rules of exported graphs.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    from ...models.export.onnx_file import check_exporter
    from ...realtime.runners.onnx import onnx_version

    check_exporter()
    try:
        runtime = onnx_version()
    except ImportError as error:
        raise MissingDependencyError(
            f"exporting needs ONNX Runtime, which does not load ({error}): {how_to_install('cpu')}"
        ) from error
    _check_target(folder)
    with _unfinished(folder) as scratch:
        manifest = Manifest(
            kind=source.kind,
            name=printable(source.name, 100),
            description=source.description,
            sample_rate=source.sample_rate,
            speakers=source.speakers,
            lengths={name: getattr(source.config, name) for name in LENGTHS},
            batch=options.batch,
            opset=options.opset,
            gru=options.gru,
            graphs={},
            fixtures={},
            f0_log2=source.f0_log2,
            versions={
                "altervox": version("altervox"),
                "torch": version("torch"),
                "onnx": version("onnx"),
                "onnxruntime": runtime,
            },
            parity={},
            credits=source.credits,
        )
        graphs = {name: _write_graph(name, source, scratch, options) for name in source.steps(options.batch)}
        manifest = replace(manifest, graphs=graphs)
        (scratch / FILE_NAME).write_text(manifest.to_json(), "utf-8")
        parity = compared(source, scratch, options.batch)
        fixtures = {name: _write_fixture(scratch, name, arrays) for name, arrays in parity.fixtures.items()}
        manifest = replace(manifest, fixtures=fixtures, parity=flat(parity))
        (scratch / FILE_NAME).write_text(manifest.to_json(), "utf-8")
    return manifest, parity


def _check_target(folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        raise OutputError(f"{folder} exists already: give a folder that does not exist, or remove it first")
    if not folder.parent.is_dir():
        raise OutputError(f"{folder} cannot be made, for there is no folder {folder.parent}")


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A folder beside the target, which becomes the target in the end, and goes if it does not get there."""
    try:
        scratch = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder.parent))
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        yield scratch
        scratch.chmod(0o777 & ~_umask())
        scratch.rename(folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _umask() -> int:
    """Permissions that new files of this process lack."""
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask


def _write_graph(name: str, source: Source, folder: Path, options: ExportOptions) -> Graph:
    """Write one graph and check that it keeps to the rules."""
    import json

    import onnx

    from ...models.export.folder import tensor_of
    from ...models.export.onnx_file import finish, trace
    from ...models.export.rules import check_graph
    from ...models.export.steps import RetrievalStep
    from ...realtime.runners.onnx import fold_constants

    step, path, raw = source.steps(options.batch)[name], folder / f"{name}.onnx", folder / f"{name}_raw.onnx"
    weights = sum(tensor.numel() * tensor.element_size() for tensor in step.state_dict().values())
    if isinstance(step, RetrievalStep):
        weights = step.index.vectors.numel() * step.index.vectors.element_size()
    if weights > MAX_GRAPH_BYTES - (64 << 20):
        raise OutputError(
            f"the graph {name} would hold {weights / 1e9:.1f} GB, and an .onnx file holds 2 GB: export the voice "
            "without its index, or with a smaller one"
        )
    log.info("writing %s.onnx", name)
    try:
        trace(step, raw, options.opset)
        fold_constants(raw, path)
        raw.unlink()
        digest = finish(
            path,
            {
                "altervox.name": name,
                "altervox.voice": printable(source.name, 100),
                "altervox.lengths": json.dumps({key: getattr(source.config, key) for key in LENGTHS}),
                "altervox.sample_rate": str(source.sample_rate),
                "altervox.carries": json.dumps(dict(step.spec.carries)),
            },
        )
    except (AltervoxError, MemoryError, OSError):
        raise
    except Exception as error:  # of torch's exporter and ONNX Runtime, which have no classes for a full disk
        reason = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise OutputError(f"the graph {name} cannot be written to {folder.parent}: {reason}") from error
    check_graph(onnx.load(path), name)
    inputs, outputs = (
        {key: tensor_of(spec) for key, spec in tensors.items()} for tensors in (step.spec.inputs, step.spec.outputs)
    )
    return Graph(StoredFile.of(path), digest, inputs, outputs, dict(step.spec.carries))


def _write_fixture(folder: Path, name: str, arrays: dict[str, NDArray[Any]]) -> StoredFile:
    path = folder / f"{name}_blocks.npz"
    np.savez_compressed(path, allow_pickle=False, **arrays)
    return StoredFile.of(path)
