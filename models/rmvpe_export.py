"""Write one step of RMVPE as a graph for ONNX Runtime. Needs the package `onnx`, which who runs the graph does not."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from .rmvpe import FRAME_MULTIPLE, RMVPE, RmvpeStep

OPSET = 17
_EXAMPLE_ROWS = 5  # any number: the dimension is free


def export_step(model: RMVPE, path: Path) -> None:
    """Write `RmvpeStep` of a network, in float32, with any length of window, block and right context.

    The batch norms become part of the convolutions before them.

    Args:
        model: On the CPU.
        path: The `.onnx` file; replaced only once the new one is whole.
    """
    step = RmvpeStep(model)
    spec = step.spec(_EXAMPLE_ROWS, 2 * FRAME_MULTIPLE)
    mel, _, last_row, h_in = (torch.zeros(tensor.shape, dtype=tensor.dtype) for tensor in spec.inputs.values())
    unfinished = path.with_name(path.name + ".unfinished")
    with warnings.catch_warnings():
        # This exporter is the one that folds batch norms; it says that it is the old one, that a GRU's batch is fixed,
        # and that lengths compared in Python stay as they are. All of that is meant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            step,
            (mel, torch.arange(_EXAMPLE_ROWS), last_row, h_in),
            str(unfinished),
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes={"mel": {2: "window_frames"}, "rows": {0: "rows"}, "salience": {1: "rows"}},
            opset_version=OPSET,
            dynamo=False,
        )
    unfinished.replace(path)
