"""`NeuralStep` as a graph for ONNX Runtime, twice as fast there on a CPU as call by call in torch.

The graphs that ship hold no weights, only their names: they run every voice, and blocks of any length. Writing them
needs the package `onnx`, running them does not: `python -m altervox.models.neural.graph_file` in a clone, after every
change of the networks.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from .card import SHIPPED
from .network import VOICE, Decoder, Encoder
from .step import MOST_VOICES, NeuralNetworks, NeuralStep, Speaking

OPSET = 17
_EXAMPLE_FRAMES = 4  # any even number: the dimension is free


def graph_path(voices: int) -> Path:
    """The graph of one voice, or of a mix of two."""
    return SHIPPED.with_name(f"neural_step_{voices}.onnx")


def write_graph(voices: int, path: Path) -> None:
    """Write the graph of so many voices."""
    import onnx

    speaking = [Speaking(Decoder(), torch.zeros(VOICE), torch.zeros(80), torch.zeros(80, 80)) for _ in range(voices)]
    step = NeuralStep(NeuralNetworks(Encoder(), speaking), _EXAMPLE_FRAMES)
    state = step.state_dict()
    for tensor in state.values():
        tensor.normal_()  # the exporter makes one of two that are equal
    spec, raw = step.spec, path.with_suffix(".unfinished")
    free = {"features": {1: "frames"}, "pitch": {1: "frames"}, "mix": {1: "rendered"}, "bands": {1: "rendered"}}
    with warnings.catch_warnings():
        # This exporter says that it is the old one, which is meant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            step,
            tuple(torch.zeros(tensor.shape) for tensor in spec.inputs.values()),
            str(raw),
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes={name: axes for name, axes in free.items() if name in (*spec.inputs, *spec.outputs)},
            opset_version=OPSET,
            do_constant_folding=False,  # else weights are stored transposed, under other names
            dynamo=False,
        )
    model = onnx.load(raw)
    raw.unlink()
    for tensor in model.graph.initializer:
        if tensor.name in state:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="weights")
    for node in model.graph.node:
        node.doc_string = ""
        node.ClearField("metadata_props")
    onnx.save(model, path)


if __name__ == "__main__":
    for number in range(1, MOST_VOICES + 1):
        write_graph(number, graph_path(number))
