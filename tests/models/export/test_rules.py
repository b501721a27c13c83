"""What exported graphs keep to: every rule, broken once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from altervox.kernels.errors import CheckpointError
from altervox.models.export.rules import check_graph
from onnx import ModelProto, TensorProto, helper, numpy_helper


def graph(operator: str = "Relu", domain: str = "") -> ModelProto:
    """One node, with an input and an output of four numbers."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    made = helper.make_graph([node], "g", [x], [y])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_weight(model: ModelProto, tensor: TensorProto) -> ModelProto:
    model.graph.initializer.append(tensor)
    return model


def external(path: str) -> ModelProto:
    tensor = numpy_helper.from_array(np.zeros(4, dtype=np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=path)
    return with_weight(graph(), tensor)


def control_flow() -> ModelProto:
    model = graph()
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node[0].attribute.append(helper.make_attribute("body", inner))
    return model


def open_shape() -> ModelProto:
    model = graph()
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[1].dim_param = "frames"
    return model


def huge() -> ModelProto:
    """A kilobyte that makes 4 GB."""
    model = graph()
    shape = numpy_helper.from_array(np.array([1 << 14, 1 << 14, 4], dtype=np.int64), "shape")
    model.graph.node[0].CopyFrom(helper.make_node("Expand", ["x", "shape"], ["y"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1 << 14, 1 << 14, 4]))
    return with_weight(model, shape)


def gru(before_reset: int = 1, state: str = "h") -> ModelProto:
    inputs = {"x": [3, 1, 4], "w": [1, 6, 4], "r": [1, 6, 2], "b": [1, 12], "h": [1, 1, 2]}
    node = helper.make_node(
        "GRU", ["x", "w", "r", "b", "", state], ["y"], hidden_size=2, linear_before_reset=before_reset
    )
    made = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 1, 1, 2])],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model if state else with_weight(model, numpy_helper.from_array(np.zeros((1, 1, 2), np.float32), "z"))


def unknown_opset() -> ModelProto:
    model = graph()
    model.opset_import[0].version = 99
    return model


def custom() -> ModelProto:
    model = graph("Relu", "com.stranger")
    model.opset_import.append(helper.make_opsetid("com.stranger", 1))
    return model


def double() -> ModelProto:
    return with_weight(graph(), numpy_helper.from_array(np.zeros(3), "w"))


def mismatched() -> ModelProto:
    model = graph()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    return model


def function() -> ModelProto:
    model = graph()
    body = [helper.make_node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("com.x", "F", ["a"], ["b"], body, [helper.make_opsetid("", 17)]))
    return model


@pytest.mark.parametrize("sound", [graph, gru], ids=["graph", "gru"])
def test_a_sound_graph_passes(sound: Callable[[], ModelProto]) -> None:
    onnx.checker.check_model(sound())
    inputs, outputs = check_graph(sound(), "g")
    assert set(inputs) >= {"x"}
    assert set(outputs) == {"y"}
    assert inputs["x"][1] == "float32"


BROKEN: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "operator": (lambda: graph("RandomNormalLike"), "RandomNormalLike"),
    "transform": (lambda: graph("STFT"), "STFT"),
    "control flow": (control_flow, "a graph inside"),
    "custom operator": (custom, "com.stranger"),
    "function": (function, "functions"),
    "other opset": (unknown_opset, "99"),
    "open shape": (open_shape, "open"),
    "size": (huge, "larger than anything"),
    "inconsistent": (mismatched, "not consistent"),
    "type": (double, "type that is not run"),
    "outside": (lambda: external("../../../etc/passwd"), "another file"),
    "beside": (lambda: external("weights.bin"), "another file"),
    "gru of another order": (lambda: gru(before_reset=0), "linear_before_reset"),
    "gru without state": (lambda: gru(state=""), "whose state is not an input"),
}


@pytest.mark.parametrize(("broken", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_one_sentence(broken: Callable[[], ModelProto], reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason) as error:
        check_graph(broken(), "prior")
    assert str(error.value).startswith("the graph prior ")
    assert "\n" not in str(error.value)


def test_the_shipped_pitch_network_leaves_shapes_open() -> None:
    """One file for all lengths is not what is exported: the walk above sees the difference."""
    from altervox.models.base_models import small_pitch_network_onnx_path

    with pytest.raises(CheckpointError):
        check_graph(onnx.load(Path(small_pitch_network_onnx_path())), "rmvpe")
