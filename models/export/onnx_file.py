"""A step written as an ONNX file: traced, then given what names it. Needs the package `onnx`."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...kernels.errors import MissingDependencyError
from ...kernels.extras import how_to_install
from ..graph import GraphSpec, Step

if TYPE_CHECKING:
    from onnx import GraphProto

PRODUCER = "altervox"


def check_exporter() -> None:
    """Raises MissingDependencyError unless the packages that exporting needs are installed."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"exporting needs the package onnx: {how_to_install('export')}") from error


def example_of(spec: GraphSpec) -> list[Tensor]:
    """Inputs to trace a step with: zeros, but one after the other for what counts rows."""
    inputs = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in spec.inputs.items()}
    if "rows" in inputs:
        inputs["rows"] += torch.arange(inputs["rows"].shape[1])
    return list(inputs.values())


def trace(step: Step, path: Path, opset: int, example: Sequence[Tensor] | None = None) -> None:
    """Write what a step computes, with the shapes that its interface states.

    What follows from the shapes alone is still computed in the file.

    Args:
        step: On the CPU, in float32.
        path: The `.onnx` file.
        opset: Version of ONNX's operators.
        example: Inputs; None for zeros.
    """
    with warnings.catch_warnings():
        # This exporter says that it is the old one, that a GRU's batch is fixed, and that lengths compared in Python
        # stay as they are. All of that is meant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            step,
            tuple(example_of(step.spec) if example is None else example),
            str(path),
            input_names=list(step.spec.inputs),
            output_names=list(step.spec.outputs),
            opset_version=opset,
            dynamo=False,
        )


def finish(path: Path, metadata: Mapping[str, str]) -> str:
    """Make a file say what it is.

    Operator sets that it does not use are struck from its list, and paths of this machine from its nodes.

    Args:
        path: The `.onnx` file; rewritten.
        metadata: Read by runtimes as the model's own.

    Returns:
        SHA-256 of the graph without its metadata, which is part of the metadata too.
    """
    import onnx

    model = onnx.load(path)
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    _rename(model.graph)
    del model.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = PRODUCER, "", ""
    digest = hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()
    onnx.helper.set_model_props(model, {**metadata, "altervox.graph_sha256": digest})
    onnx.save(model, path)
    return digest


def _rename(graph: GraphProto) -> None:
    """Number what is inside: a runtime derives names from these, which must not meet those of an earlier one."""
    names = {tensor.name: tensor.name for tensor in (*graph.input, *graph.output)}
    for i, tensor in enumerate(graph.initializer):
        names[tensor.name] = f"w{i}.{tensor.name.rpartition('/')[2]}"
        tensor.name = names[tensor.name]
    for i, node in enumerate(graph.node):
        node.name, node.doc_string = f"n{i}.{node.op_type}", ""
        for j, output in enumerate(node.output):
            if output:
                node.output[j] = names.setdefault(output, f"t{i}.{j}")
        for j, source in enumerate(node.input):
            if source:
                node.input[j] = names[source]
    del graph.value_info[:]
