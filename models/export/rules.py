"""What every exported graph keeps to, so that any runtime can run it and a stranger's file can do no harm.

Plain operators of ONNX's own set, without control flow, random numbers or custom code; static shapes of bounded size;
all weights inside the file; no state but what is an input and an output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ...kernels.errors import CheckpointError
from ...kernels.printable import printable

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

Interface = Mapping[str, tuple[tuple[int, ...], str]]  # shape and type of each tensor by name

_OPERATORS = (
    "Abs Add And AveragePool BatchNormalization Cast Clip Concat Constant Conv ConvTranspose Cos Div Equal Erf Exp "
    "Expand Flatten Floor Gather GatherElements Gelu Gemm Greater GreaterOrEqual GroupNormalization GRU Identity "
    "InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log MatMul Max Min Mod Mul Neg Not Or Pad "
    "Pow Reciprocal ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Sigmoid Sin Slice Softmax Split Sqrt "
    "Squeeze Sub Sum Tanh Tile TopK Transpose Unsqueeze Where"
)
OPERATORS = frozenset(_OPERATORS.split())
OPSETS = range(17, 21)
MAX_ELEMENTS = 1 << 28  # of one tensor: 1 GiB in float32
MAX_NODES = 100_000
_TYPES = {1: "float32", 6: "int32", 7: "int64", 9: "bool"}  # by ONNX's numbers
_HEAVY = 64  # elements from which an initializer decides no shape


def check_graph(model: ModelProto, name: str) -> tuple[Interface, Interface]:
    """Refuse a graph that breaks a rule.

    Args:
        model: The graph, its weights loaded or not.
        name: The graph's name in messages.

    Returns:
        Its inputs and outputs.

    Raises:
        CheckpointError: it breaks a rule; the message says which.
    """
    for problem in _problems(model):
        raise CheckpointError(f"the graph {name} {problem}")
    inputs, outputs = _interface(model.graph.input), _interface(model.graph.output)
    return inputs, outputs


def _problems(model: ModelProto) -> Iterator[str]:
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        yield "holds functions, training or sparse weights, which altervox does not write"
    if len(graph.node) > MAX_NODES:
        yield f"has {len(graph.node):,} nodes; at most {MAX_NODES:,} are run"
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if set(opsets) != {""} or opsets[""] not in OPSETS:
        shown = printable(", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in opsets.items()))
        yield f"uses the operator sets {shown}; ai.onnx {OPSETS[0]} to {OPSETS[-1]} alone is run"
    for node in graph.node:
        if node.domain or node.op_type not in OPERATORS:
            yield f"uses the operator {printable(f'{node.domain} {node.op_type}', 60)}, which altervox does not run"
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            yield f"has a graph inside {printable(node.op_type, 60)}"
        if node.op_type == "GRU":
            yield from _gru_problems(node, graph)
    for tensor in _tensors(graph):
        if tensor.external_data or tensor.data_location == tensor.EXTERNAL:
            yield f"keeps {printable(tensor.name, 60)} in another file, which is never opened"
        if tensor.data_type not in _TYPES:
            yield f"holds {printable(tensor.name, 60)} in a type that is not run (number {tensor.data_type} of ONNX)"
    yield from _shape_problems(model)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _gru_problems(node: NodeProto, graph: GraphProto) -> Iterator[str]:
    """The gate's order of operations must be PyTorch's, and the state must come from an input."""
    numbers = {attribute.name: attribute.i for attribute in node.attribute}
    if numbers.get("linear_before_reset") != 1:
        yield "has a GRU without linear_before_reset=1, which would compute something else"
    makers = {output: maker for maker in graph.node for output in maker.output}
    given, seen = {tensor.name for tensor in graph.input}, set[str]()
    waiting = [node.input[5]] if len(node.input) > 5 else []
    while waiting:
        name = waiting.pop()
        if name in given:
            return
        if name in makers and name not in seen:
            seen.add(name)
            waiting += makers[name].input
    yield "has a GRU whose state is not an input"


def inferred(model: ModelProto) -> GraphProto:
    """The graph with the shape and type of every tensor. Its weights are inputs: they decide no shape and are large.

    Raises:
        ValueError: the shapes do not fit one another.
    """
    import onnx
    from onnx import helper, shape_inference

    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = light.graph
    graph.name = "shapes"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) > _HEAVY:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        else:
            graph.initializer.append(tensor)
    try:
        return shape_inference.infer_shapes(light, check_type=True, strict_mode=True, data_prop=True).graph
    except Exception as error:  # its errors have no base class of their own
        raise ValueError(printable(str(error).splitlines()[0], 200)) from error


def _shape_problems(model: ModelProto) -> Iterator[str]:
    """Every shape must be known and of bounded size."""
    try:
        graph = inferred(model)
    except ValueError as error:
        yield f"is not consistent ({error})"
        return
    known = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
    for name in (output for node in graph.node for output in node.output if output):
        value = known.get(name)
        tensor_type = value.type.tensor_type if value is not None else None
        if tensor_type is None or not tensor_type.HasField("shape"):
            yield f"does not say the shape of {printable(name, 60)}"
            continue
        sizes = [dimension.dim_value for dimension in tensor_type.shape.dim]
        if not all(dimension.HasField("dim_value") for dimension in tensor_type.shape.dim) or 0 in sizes:
            yield f"leaves the shape of {printable(name, 60)} open"
        if math.prod(sizes) > MAX_ELEMENTS:
            yield f"makes {printable(name, 60)} of the shape {sizes}, larger than anything that is run"


def _interface(values: object) -> Interface:
    from onnx import ValueInfoProto

    found = {}
    for value in values:  # type: ignore[attr-defined]
        assert isinstance(value, ValueInfoProto)
        tensor = value.type.tensor_type
        shape = tuple(dimension.dim_value for dimension in tensor.shape.dim)
        found[value.name] = (shape, _TYPES.get(tensor.elem_type, "unknown"))
    return found
