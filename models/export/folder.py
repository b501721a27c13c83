"""Open a folder of exported graphs, which may come from a stranger: nothing in it is used before it was checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from ...kernels.errors import CheckpointError, MissingDependencyError
from ...kernels.extras import how_to_install
from ..graph import GraphSpec, TensorSpec
from .manifest import Graph, Manifest, StoredFile, Tensor
from .rules import check_graph


def read_graph(folder: Path, manifest: Manifest, name: str) -> tuple[GraphSpec, bytes]:
    """A graph that is what the manifest says and keeps to the rules.

    Args:
        folder: The folder of the export.
        manifest: Of that folder.
        name: Name of the graph.

    Returns:
        Its interface, and what its file holds, for a runner.

    Raises:
        CheckpointError: the file is missing, changed, larger than stated, or breaks a rule.
        MissingDependencyError: the package that reads graphs is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            f"an exported voice needs the package onnx to check its graphs: {how_to_install('export')}"
        ) from error
    graph = manifest.graphs[name]
    held = _read(folder, graph.stored)
    try:
        model = onnx.load_model_from_string(held)
    except Exception as error:  # of a package that onnx brings along
        raise CheckpointError(f"{folder / graph.stored.file} is not an ONNX file: export the voice again") from error
    found = check_graph(model, name)
    for declared, actual in zip((graph.inputs, graph.outputs), found, strict=True):
        if {key: (tensor.shape, tensor.dtype) for key, tensor in declared.items()} != dict(actual):
            raise CheckpointError(
                f"{folder / graph.stored.file} was not made for the geometry that its manifest states: "
                "export the voice again"
            )
    return spec_of(name, graph, manifest.batch), held


def spec_of(name: str, graph: Graph, batch: int) -> GraphSpec:
    """The interface of a graph."""
    inputs, outputs = (
        {key: _spec(tensor) for key, tensor in tensors.items()} for tensors in (graph.inputs, graph.outputs)
    )
    return GraphSpec(name, inputs, outputs, dict(graph.carries), batch)


def tensor_of(spec: TensorSpec) -> Tensor:
    """A tensor as a manifest states it."""
    return Tensor(tuple(spec.shape), str(spec.dtype).removeprefix("torch."))


def _spec(tensor: Tensor) -> TensorSpec:
    return TensorSpec(tensor.shape, getattr(torch, tensor.dtype))


def _read(folder: Path, stored: StoredFile) -> bytes:
    path = folder / stored.file
    try:
        if path.is_symlink() or not path.is_file():
            raise CheckpointError(f"{folder} lacks {stored.file}: export the voice again, or copy the whole folder")
        size = path.stat().st_size
        held = path.read_bytes() if size == stored.size_bytes else b""
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if len(held) != stored.size_bytes or hashlib.sha256(held).hexdigest() != stored.sha256:
        raise CheckpointError(
            f"{path} is not the file that was exported (its size or SHA-256 is another): export the voice again, or "
            "copy the whole folder"
        )
    return held
