"""Whether a graph keeps to what TensorRT documents of its ONNX parser, and how its users build an engine of it.

Checked are operators, types, and what must be a constant, by https://github.com/onnx/onnx-tensorrt docs/operators.md.
A parser may still refuse what passes here: this module never ran one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .manifest import Manifest

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_MOST_NEIGHBOURS = 3840  # K of TopK
_CONSTANTS = {  # inputs that must be initializers, by operator
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "InstanceNormalization": (1, 2),
    "BatchNormalization": (1, 2, 3, 4),
    "TopK": (1,),
    "Slice": (3,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "Reshape": (1,),
    "Pad": (1,),
    "Expand": (1,),
    "Tile": (1,),
}
_LOOPS = ("GRU", "LSTM", "RNN")
_FLOATING_ONLY = ("Floor", "Sin", "Cos", "Exp", "Sqrt", "Sigmoid", "Tanh", "MatMul", "Gemm", "Softmax", "TopK")


def problems(folder: Path, manifest: Manifest, name: str) -> list[str]:
    """What TensorRT's rules do not allow in a graph of a folder, a sentence's end each; nothing if it keeps to them."""
    import onnx

    return list(dict.fromkeys(_problems(onnx.load(folder / manifest.graphs[name].stored.file))))


def trtexec_lines(folder: Path, manifest: Manifest) -> list[str]:
    """Commands that build an engine of each graph. TF32 is off, for the networks were compared in float32."""
    return [
        f"trtexec --onnx={folder / graph.stored.file} --saveEngine={folder / name}.engine --noTF32"
        for name, graph in manifest.graphs.items()
    ]


def _problems(model: ModelProto) -> Iterator[str]:
    from onnx import TensorProto

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    constants |= {
        node.output[0]: attribute.t
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    types = _types(model)
    for node in model.graph.node:
        if node.op_type in _LOOPS:
            yield f"has a {node.op_type}, which TensorRT runs as a slow loop: export with --gru unrolled"
        for place in _CONSTANTS.get(node.op_type, ()):
            given = node.input[place] if place < len(node.input) else ""
            if given and given not in constants:
                yield f"computes input {place} of {node.op_type}, which must be a constant"
        if node.op_type in _FLOATING_ONLY and types.get(node.input[0], TensorProto.FLOAT) != TensorProto.FLOAT:
            yield f"has a {node.op_type} of whole numbers"
        if node.op_type == "TopK":
            yield from _top_k_problems(node, constants)
    if TensorProto.DOUBLE in types.values():
        yield "computes in float64, which TensorRT would round to float32"


def _top_k_problems(node: NodeProto, constants: dict[str, object]) -> Iterator[str]:
    from onnx import TensorProto, numpy_helper

    k = constants.get(node.input[1])
    if isinstance(k, TensorProto) and int(numpy_helper.to_array(k).max()) > _MOST_NEIGHBOURS:
        yield f"has a TopK of more than {_MOST_NEIGHBOURS}"


def _types(model: ModelProto) -> dict[str, int]:
    """Type of every tensor, as a number of ONNX's."""
    from .rules import inferred

    graph = inferred(model)
    values = (*graph.value_info, *graph.input, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}
