"""One convolution at a time by Toom-Cook, in buffers that several share: what `fast_decoder` is made of."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.toom_cook import (
    POINTS,
    outputs_added,
    outputs_of_points,
    outputs_per_tile,
    values_at_points,
    weights_at_points,
)
from ...kernels.types import FloatArray

SLOPE = 0.1  # of the leaky ReLU behind all but the last convolution of a decoder
_TILE_BYTES = 700 << 10  # of values and products at a time: they stay in a core's own cache
_MOST_TAPS = 7  # of a kernel that is one tile; a longer one is cut into two


class Kernel:
    """Weights of a convolution at the points: one tile, or two halves that a whole number of tiles lies between.

    Attributes:
        half: The weights as they are, in bfloat16; None for the points.
    """

    def __init__(self, layer: nn.Conv1d, is_half: bool) -> None:
        assert layer.bias is not None
        self.taps, self.dilation, self.channels = layer.kernel_size[0], layer.dilation[0], layer.in_channels
        self.reach = self.dilation * (self.taps // 2)
        parts = 1 if self.taps <= _MOST_TAPS else 2
        per_part = -(-self.taps // parts)
        self.m = outputs_per_tile(per_part)
        assert parts == 1 or per_part == self.m
        self.weights: list[Tensor] = []
        self.bias = layer.bias.detach().numpy()
        self.half: Tensor | None = None
        if is_half:
            weight = layer.weight.detach()[:, :, None].bfloat16()
            self.half = weight.contiguous(memory_format=torch.channels_last)
            return
        taps = np.zeros((parts * per_part, layer.in_channels, layer.out_channels))
        taps[: self.taps] = layer.weight.detach().double().permute(2, 1, 0).numpy()
        self.weights = [torch.from_numpy(weights_at_points(part)) for part in np.split(taps, parts)]


class Place:
    """Where the context of a layer lies in all that is carried.

    Args:
        start: First value.
        context: Samples.
        channels: Values of each.
        rate: Samples per frame.
    """

    def __init__(self, start: int, context: int, channels: int, rate: int) -> None:
        self._start, self.end, self.context = start, start + context * channels, context
        self._channels, self._rate = channels, rate

    def load(self, mem: FloatArray, padded: FloatArray) -> None:
        """Put the context in front of the block."""
        padded[: self.context] = mem[self._start : self.end].reshape(self.context, self._channels)

    def keep(self, padded: FloatArray, step: int, mem: FloatArray) -> None:
        """Keep the context of a block that starts `step` frames later."""
        first = step * self._rate
        mem[self._start : self.end].reshape(self.context, self._channels)[:] = padded[first : first + self.context]


class Buffers:
    """Buffers by name, each as long as the longest that was asked for, shared by all who asked."""

    def __init__(self) -> None:
        self._lengths: dict[str, int] = {}
        self._buffers: dict[str, Tensor] = {}

    def fit(self, name: str, *shape: int) -> None:
        """Provide for an array."""
        self._lengths[name] = max(self._lengths.get(name, 0), math.prod(shape))

    def allocate(self) -> None:
        """Allocate what was provided for; pages that nobody touches take no memory."""
        for name, length in self._lengths.items():
            self._buffers[name] = torch.from_numpy(np.zeros(length, dtype=np.float32))

    def take(self, name: str, *shape: int) -> Tensor:
        """The beginning of a buffer as an array, whatever it holds."""
        return self._buffers[name][: math.prod(shape)].view(shape)


class Conv:
    """A convolution of a residual block, with what it sees: its context, a block and zeros.

    Args:
        kernel: Weights of the convolution.
        place: Place of its context in what is carried.
        given: Samples of the block that there are.
        length: Samples to compute.
        lane: Which thread computes it.
        side: Which of the lane's two buffers holds what it sees: a convolution writes what the next one sees.
        buffers: To provide for what it needs.
    """

    def __init__(
        self, kernel: Kernel, place: Place, given: int, length: int, lane: int, side: int, buffers: Buffers
    ) -> None:
        self._kernel, self._place, self._given, self.length = kernel, place, given, length
        self._padded_name, self._scratch_name = f"padded {lane} {side}", f"scratch {lane}"
        dilation, channels, self._parts = kernel.dilation, kernel.channels, max(len(kernel.weights), 1)
        tiles = math.ceil(math.ceil(length / dilation) / kernel.m)
        self._rows = tiles * dilation
        seen = (tiles + self._parts - 1) * kernel.m * dilation + POINTS * dilation
        self._seen = max(seen, 2 * kernel.reach + given)
        self._piece = min(self._rows, max(_TILE_BYTES // (2 * POINTS * 4 * channels), 16))
        buffers.fit(self._padded_name, self._seen, channels)
        buffers.fit(self._scratch_name, sum(self._sizes(self._piece)))
        self._pieces: list[tuple[int, FloatArray, FloatArray, Tensor, list[Tensor]]] = []

    def _sizes(self, rows: int) -> tuple[int, int]:
        """Values at the points, and products."""
        extra, channels = (self._parts - 1) * self._kernel.dilation, self._kernel.channels
        return POINTS * (rows + extra) * channels, POINTS * rows * channels

    def bind(self, buffers: Buffers) -> None:
        """Take what was provided."""
        channels, dilation = self._kernel.channels, self._kernel.dilation
        scratch = buffers.take(self._scratch_name, sum(self._sizes(self._piece)))
        self._padded_tensor = buffers.take(self._padded_name, self._seen, channels)
        self._padded = self._padded_tensor.numpy()
        self.block = self._padded[self._kernel.reach : self._kernel.reach + self._given]
        views: dict[int, tuple[FloatArray, FloatArray, Tensor, list[Tensor]]] = {}  # of a whole piece, and of the last
        for first in range(0, self._rows, self._piece):
            rows = min(self._piece, self._rows - first)
            if rows not in views:
                seen, made = self._sizes(rows)
                values = scratch[:seen].view(POINTS, -1, channels)
                products = scratch[seen : seen + made].view(POINTS, rows, channels)
                parts = [values[:, part * dilation :][:, :rows] for part in range(self._parts)]
                views[rows] = values.numpy(), products.numpy(), products, parts
            self._pieces.append((first, *views[rows]))

    def run(self, mem: FloatArray, step: int, mem_out: FloatArray, x: FloatArray, activated: FloatArray) -> None:
        """Convolve what `block` holds: see `outputs_of_points`."""
        kernel = self._kernel
        self._place.load(mem, self._padded)
        self._padded[kernel.reach + self._given :] = 0.0
        self._place.keep(self._padded, step, mem_out)
        if kernel.half is not None:
            # One frame after another with the channels innermost is what a 2-D convolution is fastest with.
            seen = self._padded_tensor[: 2 * kernel.reach + self.length].T[None, :, None].bfloat16()
            y = F.conv2d(seen, kernel.half, dilation=(1, kernel.dilation))[0, :, 0].T.float()
            outputs_added(y.numpy(), kernel.bias, SLOPE, x, activated)
            return
        for first, values, product_array, products, views in self._pieces:
            values_at_points(self._padded, kernel.m, kernel.dilation, first, values)
            torch.bmm(views[0], kernel.weights[0], out=products)
            for view, weight in zip(views[1:], kernel.weights[1:], strict=True):
                torch.baddbmm(products, view, weight, out=products)
            outputs_of_points(product_array, kernel.bias, kernel.m, kernel.dilation, first, SLOPE, x, activated)
