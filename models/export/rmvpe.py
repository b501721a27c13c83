"""Write one step of RMVPE as a graph for ONNX Runtime. Needs the package `onnx`, which running the graph does not need.

The graph computes what `RmvpeStep` computes and leaves out what nobody asks for: the upper levels of the decoder, where
most of the work is, see only the rows that the block's frames depend on.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ..pitch.rmvpe import FRAME_MULTIPLE, RMVPE, DecoderLevel, RmvpeStep, rows_of

OPSET = 17
_CROPPED_LEVELS = 2  # of the decoder; below, the rows needed are nearly all there are
_EXAMPLE_ROWS = 5  # any number: the dimension is free


def export_step(model: RMVPE, path: Path, batch: int = 1) -> None:
    """Write `RmvpeStep` of a network, in float32, with any length of window, block and right context.

    The batch norms become part of the convolutions before them. The rows asked for must follow one another.

    Args:
        model: On the CPU.
        path: The `.onnx` file; replaced only once the new one is whole.
        batch: Streams.
    """
    spec = RmvpeStep(model, _EXAMPLE_ROWS, 2 * FRAME_MULTIPLE, batch).spec
    mel, _, last_row, h_in = (torch.zeros(tensor.shape, dtype=tensor.dtype) for tensor in spec.inputs.values())
    unfinished = path.with_name(path.name + ".unfinished")
    with warnings.catch_warnings():
        # This exporter is the one that folds batch norms; it says that it is the old one, that a GRU's batch is fixed,
        # and that lengths compared in Python stay as they are. All of that is meant.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            CroppedRmvpe(model),
            (mel, torch.arange(_EXAMPLE_ROWS).repeat(batch, 1), last_row, h_in),
            str(unfinished),
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_axes={"mel": {2: "window_frames"}, "rows": {1: "rows"}, "salience": {1: "rows"}},
            opset_version=OPSET,
            dynamo=False,
        )
    unfinished.replace(path)


class CroppedRmvpe(nn.Module):
    """`RmvpeStep`, computing few more rows than it is asked for."""

    def __init__(self, model: RMVPE) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, mel: Tensor, rows: Tensor, last_row: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor]:
        """See `RmvpeStep.forward`."""
        return self.model.from_features(self.features(mel, rows), last_row, h_in)

    def features(self, mel: Tensor, rows: Tensor) -> Tensor:
        """What the GRU sees of the rows asked for `[B, n, 384]`."""
        model, levels = self.model, self.model.unet.decoder.layers
        x, skips = model.unet.encoder(mel.transpose(1, 2)[:, None])
        x = model.unet.intermediate(x)
        crops = _crops(model, rows, skips)
        start = torch.zeros(len(mel), 1, dtype=torch.int64)  # of what `x` holds, in frames of its level
        for i, level in enumerate(levels):
            skip = skips[-1 - i]
            below_top = len(levels) - 1 - i
            if below_top < len(crops):
                first, count = crops[below_top]
                x = _cropped(x, first - start, count)
                start = 2 * first
                skip = _cropped(skip, start, 2 * count)
            x = level(x, skip)
        features = model.cnn(x).transpose(1, 2).flatten(2)
        return rows_of(features, rows - start)


def _cropped(x: Tensor, first: Tensor, count: Tensor) -> Tensor:
    """`count` frames in a row of every stream, from `first` `[B, 1]` on: `[B, C, T, M] -> [B, C, count, M]`."""
    frames = first + torch.arange(cast(int, count))  # as an `int` the count would become a constant of the graph
    parts = [x[b : b + 1].index_select(2, frames[b]) for b in range(len(x))]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _crops(model: RMVPE, rows: Tensor, skips: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """First frames `[B, 1]` and number of what the decoder's upper levels must take in, from the top level down.

    A crop ends where the window does, or so far from the frames wanted that no convolution carries its edge to them.
    """
    crops = []
    first, count = rows[:, :1], torch.as_tensor(rows.shape[1])
    reach = 1  # of the convolution after the decoder
    for level, skip in zip(reversed(model.unet.decoder.layers), skips[:_CROPPED_LEVELS], strict=False):
        assert isinstance(level, DecoderLevel)
        reach += 2 * len(level.conv2)
        available = torch.as_tensor(skip.shape[2]) // 2
        # Twice as many come out; the last of them lacks what the transposed convolution takes from the frame after it,
        # and the first may be one earlier than needed.
        count = torch.minimum((count + 2 * reach + 3) // 2, available)
        # Not `clamp`: a lower bound of whole numbers without an upper one makes zeros in OpenVINO.
        first = torch.minimum(torch.maximum(first - reach, torch.zeros_like(first)) // 2, available - count)
        crops.append((first, count))
        reach = 0
    return crops
