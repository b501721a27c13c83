"""Flow and decoder block by block, each layer keeping the left context that its convolution needs.

Both are convolutional and look to both sides. Rendering a block anew with all the past that they see costs many times
the block itself, so every convolution keeps what it saw last before the next block. On the right there is nothing to
keep: what follows the block is computed again with the next one. Beyond the newest frame each layer sees zeros, as at
the end of a file. With as much lookahead as the networks reach, the blocks joined equal one call over everything.

To the right, each layer computes no more than the samples asked for need: the upper layers, which cost most, see only a
fraction of a frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .decoder import Decoder, ResBlock
from .prior import HIDDEN, SPEAKER_WIDTH, Flow

_POST_REACH = 3  # samples that the last convolution sees to one side


StepLength = int | Tensor  # until the next block, of every stream or of each of them `[B, 1]`


class _Layers:
    """The contexts of one call, handed out in the order of the layers, and what they become.

    Args:
        mem: All of them, one after another `[B, N]`; None for silence, to learn how long they are together.
    """

    def __init__(self, mem: Tensor | None) -> None:
        self._mem = mem
        self._kept: list[Tensor] = []
        self.length = 0

    def after(self) -> Tensor:
        """The contexts of the next block `[B, N]`."""
        return torch.cat(self._kept, dim=1)

    def extend(self, x: Tensor, length: int, step: StepLength, zeros: int = 0) -> Tensor:
        """`x` behind its context and before some zeros.

        The context of the next block, which starts `step` samples later, is kept.
        """
        shape = (x.shape[0], x.shape[1], length)
        start, self.length = self.length, self.length + x.shape[1] * length
        if self._mem is None:
            return torch.cat((x.new_zeros(shape), x, x.new_zeros(*shape[:2], zeros)), dim=2)
        before = self._mem[:, start : self.length].view(shape)
        full = torch.cat((before, x, x.new_zeros(*shape[:2], zeros)) if zeros else (before, x), dim=2)
        if isinstance(step, int):
            kept = full[..., step : step + length]
        else:
            places = step + torch.arange(length, device=x.device)
            kept = full.gather(2, places[:, None].expand(shape))
        self._kept.append(kept.flatten(1))
        return full

    def conv(self, layer: nn.Module, x: Tensor, length: int, step: StepLength) -> Tensor:
        """The first `length` values of a convolution of the same padding on both sides."""
        assert isinstance(layer, nn.Conv1d)
        reach = layer.dilation[0] * (layer.kernel_size[0] // 2)
        x = x[..., : length + reach]
        full = self.extend(x, reach, step, length + reach - x.shape[2])
        return F.conv1d(full, layer.weight, layer.bias, dilation=layer.dilation)


class CachedFlow(nn.Module):
    """The flow for a block and what follows it.

    Args:
        flow: The flow.
        step: Frames after which the next block starts.
    """

    def __init__(self, flow: Flow, step: int) -> None:
        super().__init__()
        self.flow = flow
        self.step = step
        layers, like = _Layers(None), next(flow.parameters())
        self._run(like.new_zeros(1, HIDDEN, 1), like.new_zeros(1, SPEAKER_WIDTH, 1), layers)
        self.context_length = layers.length

    def forward(self, z_p: Tensor, g: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
        """As `Flow`, from the block's first frame on.

        Args:
            z_p: `[B, 192, T]`.
            g: Speaker embedding `[B, 256, 1]`.
            mem: Context of all layers `[B, context_length]`; zeros at the start of a stream.

        Returns:
            `[B, 192, T]` and the context of the next block.
        """
        layers = _Layers(mem)
        z = self._run(z_p, g, layers)
        return z, layers.after()

    def _run(self, z_p: Tensor, g: Tensor, layers: _Layers) -> Tensor:
        z: Tensor = self.flow(z_p, g, lambda layer, x: layers.conv(layer, x, x.shape[2], self.step))
        return z


class CachedDecoder(nn.Module):
    """The decoder for the samples of a block and some that follow it."""

    def __init__(self, dec: Decoder) -> None:
        super().__init__()
        self.dec = dec
        self.strides = [up.stride[0] for up in dec.ups if isinstance(up, nn.ConvTranspose1d)]
        self.per_frame = math.prod(self.strides)
        layers, like = _Layers(None), dec.conv_pre.weight
        source = like.new_zeros(1, 1, self.per_frame) if dec.noise_convs is not None else None
        self._run(like.new_zeros(1, HIDDEN, 1), like.new_zeros(1, SPEAKER_WIDTH, 1), source, 1, 0, layers)
        self.context_length = layers.length

    def forward(
        self, z: Tensor, g: Tensor, source: Tensor | None, samples: int, step: StepLength, mem: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `Decoder`, from the block's first frame on.

        Args:
            z: `[B, 192, T]`, also what follows the samples asked for.
            g: Speaker embedding `[B, 256, 1]`.
            source: `[B, 1, T * samples_per_frame]`, None for a voice without F0.
            samples: Number of samples to render, at most those of T frames.
            step: Frames after which the next block starts, less than T; a tensor int64 `[B, 1]` where they change from
                block to block.
            mem: Context of all layers `[B, context_length]`; zeros at the start of a stream.

        Returns:
            `[B, 1, samples]` and the context of the next block.
        """
        layers = _Layers(mem)
        wav = self._run(z, g, source, samples, step, layers)
        return wav, layers.after()

    def _run(
        self, z: Tensor, g: Tensor, source: Tensor | None, samples: int, step: StepLength, layers: _Layers
    ) -> Tensor:
        dec, rate, edge = self.dec, 1, z.shape[2]
        needed, upsampled = self.lengths(samples)
        x = layers.conv(dec.conv_pre, z, min(needed[0], edge), step) + dec.cond(g)
        if source is not None:
            # Every noise convolution sees the source at its own stride; one context serves all.
            lead = max(padding_of(conv) for conv in dec.noise_convs or ())
            source = layers.extend(source, lead, step * self.per_frame)
        for i, up in enumerate(dec.ups):
            assert isinstance(up, nn.ConvTranspose1d)
            x = _upsampled(up, F.leaky_relu(x, 0.1), upsampled[i], step * rate, layers)
            rate *= up.stride[0]
            if source is not None and dec.noise_convs is not None:
                x = x + _strided(dec.noise_convs[i], source, lead, x.shape[2])
            length = min(needed[i + 1], edge * rate)
            blocks = [b for b in dec.resblocks[i * dec.parallel : (i + 1) * dec.parallel] if isinstance(b, ResBlock)]
            parts = _side_by_side([partial(_residual, b, x, length, step * rate, layers) for b in blocks], x)
            x = sum(parts[1:], parts[0]) / dec.parallel
        return torch.tanh(layers.conv(dec.conv_post, F.leaky_relu(x, 0.01), samples, step * rate))

    def lengths(self, samples: int) -> tuple[list[int], list[int]]:
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
            upsampled.insert(0, needed[0] + max(sum(reaches_of(block)) for block in blocks))
            needed.insert(0, (upsampled[0] - 1 + padding_of(up)) // up.stride[0] + 1)
        return needed, upsampled


def _side_by_side(calls: Sequence[Callable[[], Tensor]], x: Tensor) -> list[Tensor]:
    """What each call gives. In a CUDA graph they have no order: each of their kernels is too small to fill a GPU."""
    if not x.is_cuda or not torch.cuda.is_current_stream_capturing():
        return [call() for call in calls]
    here = torch.cuda.current_stream()
    start = here.record_event()
    results = [calls[0]()]
    for call in calls[1:]:
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_event(start)
        with torch.cuda.stream(beside):
            results.append(call())
        here.wait_stream(beside)
    return results


def _cut(x: Tensor, length: int) -> Tensor:
    """The first `length` values; what is not there is zero."""
    return F.pad(x, (0, length - x.shape[2]))


def padding_of(layer: nn.Module) -> int:
    """Padding of a convolution over time on each side."""
    assert isinstance(layer, nn.Conv1d | nn.ConvTranspose1d)
    padding = layer.padding[0]
    assert isinstance(padding, int)
    return padding


def _upsampled(up: nn.ConvTranspose1d, x: Tensor, length: int, step: StepLength, layers: _Layers) -> Tensor:
    """The first `length` values of a transposed convolution, or as many as `x` gives."""
    stride, kernel, padding = up.stride[0], up.kernel_size[0], padding_of(up)
    past = (kernel - 1 - padding) // stride
    length = min(length, x.shape[2] * stride)
    y = F.conv_transpose1d(layers.extend(x, past, step), up.weight, up.bias, stride)
    return y[..., past * stride + padding :][..., :length]


def _strided(conv: nn.Module, source: Tensor, lead: int, length: int) -> Tensor:
    """The first `length` values of a strided convolution of a source that `lead` samples precede."""
    assert isinstance(conv, nn.Conv1d)
    stride, kernel, padding = conv.stride[0], conv.kernel_size[0], padding_of(conv)
    full = _cut(source[..., lead - padding :], (length - 1) * stride + kernel)
    return F.conv1d(full, conv.weight, conv.bias, stride)


def reaches_of(block: ResBlock) -> list[int]:
    """Samples that each pair of a residual block sees to one side."""
    pairs = zip(block.convs1, block.convs2, strict=True)
    return [sum(c.dilation[0] * (c.kernel_size[0] // 2) for c in pair if isinstance(c, nn.Conv1d)) for pair in pairs]


def _residual(block: ResBlock, x: Tensor, length: int, step: StepLength, layers: _Layers) -> Tensor:
    """The first `length` values of a residual block."""
    reaches = reaches_of(block)
    for i, (conv1, conv2) in enumerate(zip(block.convs1, block.convs2, strict=True)):
        assert isinstance(conv2, nn.Conv1d)
        after = min(length + sum(reaches[i + 1 :]), x.shape[2])
        between = min(after + conv2.kernel_size[0] // 2, x.shape[2])
        y = layers.conv(conv1, F.leaky_relu(x, 0.1), between, step)
        x = x[..., :after] + layers.conv(conv2, F.leaky_relu(y, 0.1), after, step)
    return x
