"""The decoder on a CPU by a third of the products: Toom-Cook convolutions in buffers that are allocated once.

It renders what `CachedDecoder` renders, to the rounding of float32. Sequences are `[time, channels]`, so that a product
of matrices takes them as they lie, and so does the context that is carried: each layer's in the order of
`CachedDecoder`, but time before channels.
"""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor, nn

from ...kernels.types import FloatArray
from ..graph import Step
from .decoder import Decoder, ResBlock
from .fast_conv import SLOPE, Buffers, Conv, Kernel, Place
from .steps import DecoderStep
from .streaming import CachedDecoder, padding_of, reaches_of

_LAST_SLOPE = 0.01
_NOTHING = np.zeros((0, 1), dtype=np.float32)


class FastDecoder:
    """The weights of a decoder, laid out for products of matrices, and the buffers that all steps of a voice share.

    Args:
        cached: The decoder, on the CPU in float32.
        beside: A thread that computes one half of the residual blocks; None for one after another.
        is_half: Whether the residual blocks convolve directly, in bfloat16: for a processor with AMX.
    """

    def __init__(self, cached: CachedDecoder, beside: Executor | None = None, is_half: bool = False) -> None:
        self.cached, self.beside, self.buffers = cached, beside, Buffers()
        self._weights = _weights(cached.dec, is_half)
        self._steps: list[FastDecoderStep] = []

    def step(self, plain: DecoderStep) -> FastDecoderStep:
        """What computes as a step of the same decoder, once all of them are known to `allocate`."""
        self._steps.append(FastDecoderStep(plain, self))
        return self._steps[-1]

    def allocate(self) -> None:
        """Allocate the buffers."""
        self.buffers.allocate()
        for step in self._steps:
            step.bind(self.buffers)

    def kernel(self, layer: nn.Module) -> Kernel:
        """Of a convolution of a residual block."""
        assert isinstance(layer, nn.Conv1d)
        return self._weights.kernels[layer]

    @property
    def ups(self) -> list[Tensor]:
        """Of each transposed convolution `[in, taps * out]`."""
        return self._weights.ups

    @property
    def pre(self) -> list[Tensor]:
        """Of the first convolution, for each tap `[in, out]`."""
        return self._weights.pre


class _Weights:
    """The weights of a decoder as `FastDecoder` needs them."""

    def __init__(self, dec: Decoder, is_half: bool) -> None:
        convs = [conv for block in dec.resblocks for conv in block.modules() if isinstance(conv, nn.Conv1d)]
        self.kernels = {conv: Kernel(conv, is_half) for conv in convs}
        ups = [up for up in dec.ups if isinstance(up, nn.ConvTranspose1d)]
        self.ups = [up.weight.detach().permute(0, 2, 1).flatten(1) for up in ups]
        self.pre = [tap.contiguous() for tap in dec.conv_pre.weight.detach().permute(2, 1, 0)]


# Laid out once for all engines of a voice, as long as somebody holds its decoder.
_laid_out: WeakKeyDictionary[Decoder, dict[bool, _Weights]] = WeakKeyDictionary()


def _weights(dec: Decoder, is_half: bool) -> _Weights:
    made = _laid_out.setdefault(dec, {})
    if is_half not in made:
        made[is_half] = _Weights(dec, is_half)
    return made[is_half]


class _Branch:
    """One of the residual blocks of a level.

    Args:
        weights: Weights of the decoder.
        block: The block.
        rate: Samples per frame.
        given: Samples of its input.
        length: Samples to compute.
        start: Where its contexts begin in what is carried.
        lane: Which thread computes it.
    """

    def __init__(
        self, weights: FastDecoder, block: ResBlock, rate: int, given: int, length: int, start: int, lane: int
    ) -> None:
        reaches = reaches_of(block)
        self.pairs: list[tuple[Conv, Conv]] = []
        self.end = start
        for i, layers in enumerate(zip(block.convs1, block.convs2, strict=True)):
            after = min(length + sum(reaches[i + 1 :]), given)
            kernels = [weights.kernel(layer) for layer in layers]
            between = min(after + kernels[1].reach, given)
            pair = []
            for side, (kernel, before, computed) in enumerate(
                zip(kernels, (given, between), (between, after), strict=True)
            ):
                place = Place(self.end, kernel.reach, kernel.channels, rate)
                pair.append(Conv(kernel, place, before, computed, lane, side, weights.buffers))
                self.end = place.end
            self.pairs.append((pair[0], pair[1]))
            given = after

    @torch.inference_mode()  # on whichever thread
    def run(self, mem: FloatArray, step: int, mem_out: FloatArray, x: FloatArray) -> None:
        """Render `x` in place `[given, channels]`; its first `length` values are then the result."""
        _activate(x, SLOPE, self.pairs[0][0].block)
        for i, (first, second) in enumerate(self.pairs):
            first.run(mem, step, mem_out, _NOTHING, second.block)
            following = self.pairs[min(i + 1, len(self.pairs) - 1)][0].block  # behind the last one nobody reads it
            second.run(mem, step, mem_out, x, following[: second.length])


class _Level:
    """One level of the decoder: upsampling, source, residual blocks.

    Args:
        weights: Weights of the decoder.
        index: Number of the level, from 0.
        rate: Samples per frame of its input.
        given: Samples of its input.
        upsampled: Samples to compute after the upsampling.
        length: Samples to compute in the end.
        start: Where its contexts begin in what is carried.
    """

    def __init__(
        self,
        weights: FastDecoder,
        index: int,
        rate: int,
        given: int,
        upsampled: int,
        length: int,
        start: int,
    ) -> None:
        dec, buffers = weights.cached.dec, weights.buffers
        up = dec.ups[index]
        assert isinstance(up, nn.ConvTranspose1d)
        assert up.bias is not None
        self._stride, taps, padding = up.stride[0], up.kernel_size[0], padding_of(up)
        past = (taps - 1 - padding) // self._stride
        self._skipped = past * self._stride + padding
        self._place = Place(start, past, up.in_channels, rate)
        self._weight, self._bias = weights.ups[index], up.bias.detach()
        upsampled, rate = min(upsampled, given * self._stride), rate * self._stride
        self._seen = past + given, up.in_channels
        self._made = past + given, taps, up.out_channels
        self._shape = len(dec.resblocks) // len(dec.ups), upsampled, up.out_channels
        for name, shape in (
            ("up", self._seen),
            ("products", self._made),
            ("x", self._shape[1:]),
            ("parts", self._shape),
        ):
            buffers.fit(name, *shape)
        self._noise: list[Tensor] = []
        if dec.noise_convs is not None:
            conv = dec.noise_convs[index]
            assert isinstance(conv, nn.Conv1d)
            assert conv.bias is not None
            self._bias = self._bias + conv.bias.detach()
            # A stride of the kernel at a time, for rows of a matrix must not overlap.
            self._noise = list(torch.split(conv.weight.detach()[:, 0].T, conv.stride[0]))
            self._noise_padding = padding_of(conv)
        blocks = dec.resblocks[index * dec.parallel : (index + 1) * dec.parallel]
        self.branches: list[_Branch] = []
        self.end = self._place.end
        for i, block in enumerate(blocks):
            assert isinstance(block, ResBlock)
            lane = int(i + 1 == len(blocks))  # the longest kernels cost as much as all others together
            self.branches.append(_Branch(weights, block, rate, upsampled, length, self.end, lane))
            self.end = self.branches[-1].end

    def bind(self, buffers: Buffers) -> None:
        """Take what was provided."""
        self._padded, products = buffers.take("up", *self._seen), buffers.take("products", *self._made)
        self._padded_array, self.block = self._padded.numpy(), self._padded.numpy()[self._place.context :]
        self._products, self._product_array = products.flatten(1), products.numpy()
        self._x, self._parts = buffers.take("x", *self._shape[1:]), buffers.take("parts", *self._shape).numpy()
        self._x_array = self._x.numpy()
        for branch in self.branches:
            for pair in branch.pairs:
                for conv in pair:
                    conv.bind(buffers)

    def run(
        self,
        mem: FloatArray,
        step: int,
        mem_out: FloatArray,
        source: Tensor | None,
        lead: int,
        beside: Executor | None,
        slope: float,
        out: FloatArray,
    ) -> None:
        """Render the level.

        Args:
            mem: All that is carried.
            step: Frames after which the next block starts.
            mem_out: What is carried then; filled.
            source: The harmonic source behind `lead` samples of the past, flat; None for a voice without F0.
            lead: See there.
            beside: Computes the last residual block meanwhile; None for one after another.
            slope: Negative slope of the leaky ReLU that follows.
            out: Filled `[length, channels]`.
        """
        x = self._x
        x.copy_(self._bias.expand_as(x))
        for i, part in enumerate(self._noise):
            assert source is not None
            start = lead - self._noise_padding + i * len(part)
            torch.addmm(x, source[start : start + len(x) * len(part)].view(len(x), -1), part, out=x)
        self._place.load(mem, self._padded_array)
        self._place.keep(self._padded_array, step, mem_out)
        torch.mm(self._padded, self._weight, out=self._products)
        _overlap_add(self._product_array, self._stride, self._skipped, self._x_array)
        self._parts[:] = self._x_array
        last = partial(self.branches[-1].run, mem, step, mem_out, self._parts[-1])
        pending = beside.submit(last) if beside else None
        for branch, array in zip(self.branches[:-1], self._parts, strict=False):
            branch.run(mem, step, mem_out, array)
        if pending is None:
            last()
        else:
            pending.result()
        _activated_mean(self._parts, slope, out)


class FastDecoderStep(Step):
    """`DecoderStep` for one stream on a CPU, in float32.

    Its buffers hold nothing from one call to the next; what it returns lies in them until the next call.

    Args:
        step: What it is to compute.
        weights: Weights of its decoder.
    """

    def __init__(self, step: DecoderStep, weights: FastDecoder) -> None:
        super().__init__(step.spec)
        cached, frames, samples = step.dec, step.spec.inputs["z"].shape[2], step.samples
        dec, self._step, self._beside = cached.dec, step.step, weights.beside
        self._read_pre(dec, frames)
        self._pre_weights = weights.pre
        needed, upsampled = cached.lengths(samples)
        given, end = min(needed[0], frames), self._pre_place.end
        self._x = torch.zeros(given, dec.conv_pre.out_channels)
        self._lead = 0
        if dec.noise_convs is not None:
            self._lead = max(padding_of(conv) for conv in dec.noise_convs)
            self._source_place = Place(end, self._lead, 1, cached.per_frame)
            end = self._source_place.end
        self._source = torch.zeros(self._lead + (frames + 2) * cached.per_frame, 1)
        self._levels: list[_Level] = []
        rate = 1
        for i, stride in enumerate(cached.strides):
            length = min(needed[i + 1], frames * rate * stride)
            self._levels.append(_Level(weights, i, rate, given, upsampled[i], length, end))
            rate, given, end = rate * stride, length, self._levels[-1].end
        post, reach = dec.conv_post, dec.conv_post.kernel_size[0] // 2
        self._post_place = Place(end, reach, post.in_channels, rate)
        self._seen, self._given = (reach + max(given, samples + reach), post.in_channels), given
        weights.buffers.fit("post", *self._seen)
        self._post_weight = np.ascontiguousarray(post.weight.detach()[0].T.numpy())
        self._wav, self._mem = torch.zeros(1, 1, samples), torch.zeros(1, cached.context_length)
        assert self._post_place.end == cached.context_length

    def _read_pre(self, dec: Decoder, frames: int) -> None:
        pre, reach = dec.conv_pre, dec.conv_pre.kernel_size[0] // 2
        assert pre.bias is not None
        assert dec.cond.bias is not None
        self._pre_place = Place(0, reach, pre.in_channels, 1)
        self._pre = torch.zeros(frames + 2 * reach, pre.in_channels)
        self._pre_block = self._pre[reach : reach + frames]
        self._cond, self._pre_bias = dec.cond.weight.detach()[..., 0].T, pre.bias.detach() + dec.cond.bias.detach()

    def bind(self, buffers: Buffers) -> None:
        """Take what was provided."""
        self._post = buffers.take("post", *self._seen).numpy()
        self._post_block = self._post[self._post_place.context :][: self._given]
        for level in self._levels:
            level.bind(buffers)

    def forward(self, z: Tensor, g: Tensor, mem_in: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        """See `DecoderStep.forward`; the context has another order, see above."""
        step = int(others[0]) if self._step is None else self._step
        mem, mem_out = mem_in[0].numpy(), self._mem[0].numpy()
        self._pre_block.copy_(z[0].T)
        self._pre_place.load(mem, self._pre.numpy())
        self._pre_place.keep(self._pre.numpy(), step, mem_out)
        self._x.copy_(torch.addmm(self._pre_bias, g[..., 0], self._cond).expand_as(self._x))
        for tap, weight in enumerate(self._pre_weights):
            torch.addmm(self._x, self._pre[tap : tap + len(self._x)], weight, out=self._x)
        _activate(self._x.numpy(), SLOPE, self._levels[0].block)
        source = None
        if self._lead:
            source = self._source[:, 0]
            source[self._lead :][: others[-1].shape[2]].copy_(others[-1][0, 0])
            self._source_place.load(mem, self._source.numpy())
            self._source_place.keep(self._source.numpy(), step, mem_out)
        for level, following in zip(self._levels, [*self._levels[1:], None], strict=True):
            block, slope = (self._post_block, _LAST_SLOPE) if following is None else (following.block, SLOPE)
            level.run(mem, step, mem_out, source, self._lead, self._beside, slope, block)
        self._post_place.load(mem, self._post)
        self._post[self._post_place.context + self._given :] = 0.0
        self._post_place.keep(self._post, step, mem_out)
        wav = self._wav[0, 0].numpy()
        _last_convolution(self._post, self._post_weight, wav)
        np.tanh(wav, out=wav)
        return self._wav, self._mem


@njit(nogil=True, cache=True, error_model="numpy")
def _activate(x: FloatArray, slope: float, out: FloatArray) -> None:
    """Leaky ReLU of the first values."""
    slope32 = np.float32(slope)
    for t in range(min(len(x), len(out))):
        for c in range(x.shape[1]):
            out[t, c] = max(x[t, c], slope32 * x[t, c])


@njit(nogil=True, cache=True, error_model="numpy")
def _activated_mean(parts: NDArray[np.float32], slope: float, out: FloatArray) -> None:
    """Leaky ReLU of the mean of the parts `[parts, time, channels]`."""
    slope32, share = np.float32(slope), np.float32(1.0 / len(parts))
    for t in range(len(out)):
        for c in range(out.shape[1]):
            out[t, c] = parts[0, t, c]
        for part in range(1, len(parts)):
            for c in range(out.shape[1]):
                out[t, c] += parts[part, t, c]
        for c in range(out.shape[1]):
            out[t, c] = max(share * out[t, c], slope32 * share * out[t, c])


@njit(nogil=True, cache=True, error_model="numpy")
def _overlap_add(products: NDArray[np.float32], stride: int, skipped: int, x: FloatArray) -> None:
    """Add what a transposed convolution gives from sample `skipped` on.

    Args:
        products: Of each input `[inputs, taps, channels]`.
        stride: Samples from one input to the next.
        skipped: Samples that are left out.
        x: Added to `[time, channels]`.
    """
    inputs, taps = products.shape[0], products.shape[1]
    for t in range(len(x)):
        place = t + skipped
        for i in range(max((place - taps) // stride + 1, 0), min(place // stride, inputs - 1) + 1):
            for c in range(x.shape[1]):
                x[t, c] += products[i, place - i * stride, c]


@njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")
def _last_convolution(padded: FloatArray, weight: FloatArray, out: FloatArray) -> None:
    """A convolution `[taps, channels]` to one channel [time]."""
    for t in range(len(out)):
        total = np.float32(0.0)
        for tap in range(len(weight)):
            for c in range(weight.shape[1]):
                total += padded[t + tap, c] * weight[tap, c]
        out[t] = total
