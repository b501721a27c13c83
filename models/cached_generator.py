"""Flow and decoder block by block, each layer keeping the left context that its convolution needs.

Both are convolutional and look to both sides. Rendering a block anew with all the past that they see costs many times
the block itself, so every convolution keeps what it saw last before the next block. On the right there is nothing to
keep: what follows the block is computed again with the next one. Beyond the newest frame each layer sees zeros, as at
the end of a file. With as much look-ahead as the networks reach, the blocks joined equal one call over everything.

To the right, each layer computes no more than the samples asked for need: the upper layers, which cost most, see only a
fraction of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .generator import Decoder, ResBlock
from .prior import HIDDEN, SPEAKER_WIDTH, Flow

_PRE_REACH = _POST_REACH = 3


@dataclass(slots=True)
class LayerContext:
    """The left context of all layers of a network.

    Attributes:
        mem: All of them, one after another, contiguous [N].
        shapes: Channels and length of each.
    """

    mem: Tensor
    shapes: tuple[tuple[int, int], ...]

    @classmethod
    def allocate(cls, shapes: Sequence[tuple[int, int]], like: Tensor) -> LayerContext:
        """Zeros of the dtype and on the device of `like`: silence, as before the start of a file."""
        return cls(like.new_zeros(sum(c * n for c, n in shapes)), tuple(shapes))

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.mem.zero_()

    def read(self) -> list[Tensor]:
        """Each layer's context `[1, channels, length]`, views of `mem`."""
        ends = list(accumulate(c * n for c, n in self.shapes))
        return [self.mem[end - c * n : end].view(1, c, n) for end, (c, n) in zip(ends, self.shapes, strict=True)]

    def write(self, contexts: Sequence[Tensor]) -> None:
        """Take over what a call returned."""
        for mine, new in zip(self.read(), contexts, strict=True):
            mine.copy_(new)


class _Layers:
    """The contexts of one call, handed out in the order of the layers, and what they become."""

    def __init__(self, before: Sequence[Tensor] | None) -> None:
        self._before = iter(before) if before is not None else None
        self.after: list[Tensor] = []

    def extend(self, x: Tensor, length: int, step: int) -> Tensor:
        """`x` behind its context; the context of the next block, which starts `step` samples later, is kept."""
        before = next(self._before) if self._before is not None else x.new_zeros(1, x.shape[1], length)
        full = torch.cat((before, x), dim=2)
        self.after.append(full[..., step : step + length])
        return full

    def conv(self, layer: nn.Module, x: Tensor, length: int, step: int) -> Tensor:
        """The first `length` values of a convolution of the same padding on both sides."""
        assert isinstance(layer, nn.Conv1d)
        reach = layer.dilation[0] * (layer.kernel_size[0] // 2)
        full = _cut(self.extend(x, reach, step), length + 2 * reach)
        return F.conv1d(full, layer.weight, layer.bias, dilation=layer.dilation)


class CachedFlow(nn.Module):
    """The flow for a block and what follows it."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def allocate(self) -> LayerContext:
        """Context at the start of a stream."""
        like = next(self.flow.parameters())
        layers = _Layers(None)
        self._run(like.new_zeros(1, HIDDEN, 1), like.new_zeros(1, SPEAKER_WIDTH, 1), 0, layers)
        return LayerContext.allocate([(c.shape[1], c.shape[2]) for c in layers.after], like)

    def forward(self, z_p: Tensor, g: Tensor, step: int, context: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """As `Flow`, from the block's first frame on.

        Args:
            z_p: `[1, 192, T]`.
            g: Speaker embedding `[1, 256, 1]`.
            step: Frames after which the next block starts.
            context: Of the layers.

        Returns:
            `[1, 192, T]` and the context of the next block.
        """
        layers = _Layers(context)
        return self._run(z_p, g, step, layers), layers.after

    def _run(self, z_p: Tensor, g: Tensor, step: int, layers: _Layers) -> Tensor:
        z: Tensor = self.flow(z_p, g, lambda layer, x: layers.conv(layer, x, x.shape[2], step))
        return z


class CachedDecoder(nn.Module):
    """The decoder for the samples of a block and some that follow it."""

    def __init__(self, dec: Decoder) -> None:
        super().__init__()
        self.dec = dec
        self.per_frame = 1
        for up in dec.ups:
            assert isinstance(up, nn.ConvTranspose1d)
            self.per_frame *= up.stride[0]

    def allocate(self) -> LayerContext:
        """Context at the start of a stream."""
        like = self.dec.conv_pre.weight
        z, g = like.new_zeros(1, HIDDEN, 1), like.new_zeros(1, SPEAKER_WIDTH, 1)
        source = like.new_zeros(1, 1, self.per_frame) if self.dec.noise_convs is not None else None
        layers = _Layers(None)
        self._run(z, g, source, 1, 0, layers)
        return LayerContext.allocate([(c.shape[1], c.shape[2]) for c in layers.after], like)

    def forward(
        self, z: Tensor, g: Tensor, source: Tensor | None, samples: int, step: int, context: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """As `Decoder`, from the block's first frame on.

        Args:
            z: `[1, 192, T]`, also what follows the samples asked for.
            g: Speaker embedding `[1, 256, 1]`.
            source: `[1, 1, T * samples_per_frame]`, None for a voice without F0.
            samples: How many to render, at most T frames' worth.
            step: Frames after which the next block starts.
            context: Of the layers.

        Returns:
            `[1, 1, samples]` and the context of the next block.
        """
        layers = _Layers(context)
        return self._run(z, g, source, samples, step, layers), layers.after

    def _run(self, z: Tensor, g: Tensor, source: Tensor | None, samples: int, step: int, layers: _Layers) -> Tensor:
        dec, rate, edge = self.dec, 1, z.shape[2]
        needed, upsampled = self._lengths(samples)
        x = layers.conv(dec.conv_pre, z, min(needed[0], edge), step) + dec.cond(g)
        if source is not None:
            # Every noise convolution sees the source at its own stride; one context serves all.
            lead = max(_padding(conv) for conv in dec.noise_convs or ())
            source = layers.extend(source, lead, step * self.per_frame)
        for i, up in enumerate(dec.ups):
            assert isinstance(up, nn.ConvTranspose1d)
            x = _upsampled(up, F.leaky_relu(x, 0.1), upsampled[i], step * rate, layers)
            rate *= up.stride[0]
            if source is not None and dec.noise_convs is not None:
                x = x + _strided(dec.noise_convs[i], source, lead, x.shape[2])
            length = min(needed[i + 1], edge * rate)
            blocks = [b for b in dec.resblocks[i * dec.parallel : (i + 1) * dec.parallel] if isinstance(b, ResBlock)]
            total = _residual(blocks[0], x, length, step * rate, layers)
            for block in blocks[1:]:
                total = total + _residual(block, x, length, step * rate, layers)
            x = total / dec.parallel
        return torch.tanh(layers.conv(dec.conv_post, F.leaky_relu(x, 0.01), samples, step * rate))

    def _lengths(self, samples: int) -> tuple[list[int], list[int]]:
        """What `samples` need, if the input were endless.

        Returns:
            Frames after `conv_pre` and samples after each group of residual blocks; samples after each upsampling.
        """
        dec = self.dec
        needed = [samples + _POST_REACH]
        upsampled: list[int] = []
        for i in reversed(range(len(dec.ups))):
            up = dec.ups[i]
            assert isinstance(up, nn.ConvTranspose1d)
            blocks = [b for b in dec.resblocks[i * dec.parallel : (i + 1) * dec.parallel] if isinstance(b, ResBlock)]
            upsampled.insert(0, needed[0] + max(sum(_reaches(block)) for block in blocks))
            needed.insert(0, (upsampled[0] - 1 + _padding(up)) // up.stride[0] + 1)
        return needed, upsampled


def _cut(x: Tensor, length: int) -> Tensor:
    """The first `length` values; what is not there is zero."""
    return F.pad(x, (0, length - x.shape[2]))


def _padding(layer: nn.Module) -> int:
    assert isinstance(layer, nn.Conv1d | nn.ConvTranspose1d)
    padding = layer.padding[0]
    assert isinstance(padding, int)
    return padding


def _upsampled(up: nn.ConvTranspose1d, x: Tensor, length: int, step: int, layers: _Layers) -> Tensor:
    """The first `length` values of a transposed convolution, or as many as `x` gives."""
    stride, kernel, padding = up.stride[0], up.kernel_size[0], _padding(up)
    past = (kernel - 1 - padding) // stride
    length = min(length, x.shape[2] * stride)
    y = F.conv_transpose1d(layers.extend(x, past, step), up.weight, up.bias, stride)
    return y[..., past * stride + padding :][..., :length]


def _strided(conv: nn.Module, source: Tensor, lead: int, length: int) -> Tensor:
    """The first `length` values of a strided convolution of a source that `lead` samples precede."""
    assert isinstance(conv, nn.Conv1d)
    stride, kernel, padding = conv.stride[0], conv.kernel_size[0], _padding(conv)
    full = _cut(source[..., lead - padding :], (length - 1) * stride + kernel)
    return F.conv1d(full, conv.weight, conv.bias, stride)


def _reaches(block: ResBlock) -> list[int]:
    """Samples that each pair of a residual block sees to one side."""
    pairs = zip(block.convs1, block.convs2, strict=True)
    return [sum(c.dilation[0] * (c.kernel_size[0] // 2) for c in pair if isinstance(c, nn.Conv1d)) for pair in pairs]


def _residual(block: ResBlock, x: Tensor, length: int, step: int, layers: _Layers) -> Tensor:
    """The first `length` values of a residual block."""
    reaches = _reaches(block)
    for i, (conv1, conv2) in enumerate(zip(block.convs1, block.convs2, strict=True)):
        assert isinstance(conv2, nn.Conv1d)
        after = min(length + sum(reaches[i + 1 :]), x.shape[2])
        between = min(after + conv2.kernel_size[0] // 2, x.shape[2])
        y = layers.conv(conv1, F.leaky_relu(x, 0.1), between, step)
        x = x[..., :after] + layers.conv(conv2, F.leaky_relu(y, 0.1), after, step)
    return x
