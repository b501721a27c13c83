"""The content encoder on two threads: each computes one half of the frames, and waits for the other where it must.

Threads of a library that divide each product would wait for one another some two hundred times per window, and where a
processor is busy every time costs a turn of the scheduler. These meet once for each layer.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field
from threading import Barrier, BrokenBarrierError

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .content import HEADS, WIDTH, Hubert, TransformerLayer
from .steps import ContentStep
from .streaming import padding_of


class HalvedContentStep(ContentStep):
    """`ContentStep` for one stream on two threads.

    Args:
        step: What it is to compute.
        beside: The second thread, which does nothing else meanwhile.
    """

    def __init__(self, step: ContentStep, beside: Executor) -> None:
        super().__init__(step.hubert, step.version, step.spec.inputs["audio"].shape[1])
        self._beside = beside
        frames, like = self.spec.outputs["features"].shape[1], step.hubert.layer_norm.weight
        shape = len(step.hubert.encoder.layers), 1, HEADS, frames, WIDTH // HEADS
        self._embedded = like.new_zeros(1, frames, WIDTH)
        self._keys, self._values = like.new_zeros(shape), like.new_zeros(shape)

    def forward(self, audio: Tensor) -> Tensor:
        """See `ContentStep.forward`."""
        hubert, (_, frames, _) = self.hubert, self.spec.outputs["features"].shape
        audio = audio.to(hubert.layer_norm.weight.dtype)
        x = hubert.feature_extractor.conv_layers[0](audio[:, None])  # it normalises by the whole window
        shared = _Shared(x, self._embedded, self._keys, self._values)
        bounds = (0, frames // 2, frames)
        pending = self._beside.submit(_half, hubert, self.version, shared, bounds[1], bounds[2])
        try:
            first = _half(hubert, self.version, shared, bounds[0], bounds[1])
        except BrokenBarrierError:
            pending.result()  # raises what the other one failed by
            raise
        return torch.cat((first, pending.result()), dim=1).float()


@dataclass(slots=True)
class _Shared:
    """What both threads read: filled by each for its own frames, read by both behind a meeting.

    Attributes:
        convolved: What the first convolution makes of the whole window `[1, 512, samples]`.
        embedded: Input of the transformer `[1, frames, 768]`.
        keys: Attention keys of every layer `[layers, 1, heads, frames, 64]`.
        values: Attention values of every layer, in the shape of `keys`.
        meeting: Where the two halves wait for each other; new for each block, for one that fails leaves it broken.
    """

    convolved: Tensor
    embedded: Tensor
    keys: Tensor
    values: Tensor
    meeting: Barrier = field(default_factory=lambda: Barrier(2))


@torch.inference_mode()  # on whichever thread
def _half(hubert: Hubert, version: str, shared: _Shared, start: int, stop: int) -> Tensor:
    """Features of the frames from `start` to `stop`."""
    try:
        encoder = hubert.encoder
        conv = _convolved(hubert, shared.convolved, start, stop).transpose(1, 2)
        shared.embedded[:, start:stop] = hubert.post_extract_proj(hubert.layer_norm(conv))
        shared.meeting.wait()
        # Each half sees 64 frames around it.
        reach = padding_of(encoder.pos_conv[0])
        first = max(start - reach, 0)
        seen = shared.embedded[:, first : min(stop + reach, shared.embedded.shape[1])]
        x = shared.embedded[:, start:stop] + F.gelu(encoder.convolved(seen))[:, start - first :][:, : stop - start]
        x = encoder.layer_norm(x)
        for i, layer in enumerate(encoder.layers[:9] if version == "v1" else encoder.layers):
            assert isinstance(layer, TransformerLayer)
            x = _layer(layer, x, shared, i, start, stop)
        return hubert.final_proj(x) if version == "v1" else x
    except BaseException:
        shared.meeting.abort()  # the other one need not wait
        raise


def _convolved(hubert: Hubert, x: Tensor, start: int, stop: int) -> Tensor:
    """Output frames `start` to `stop` of all convolutions but the first."""
    layers = [layer for layer in hubert.feature_extractor.conv_layers[1:] if isinstance(layer, nn.Sequential)]
    for layer in reversed(layers):
        conv = layer[0]
        assert isinstance(conv, nn.Conv1d)
        start, stop = start * conv.stride[0], (stop - 1) * conv.stride[0] + conv.kernel_size[0]
    x = x[..., start:stop]
    for layer in layers:
        x = layer(x)
    return x


def _layer(layer: TransformerLayer, x: Tensor, shared: _Shared, index: int, start: int, stop: int) -> Tensor:
    """`TransformerLayer` for some of the frames, which see all of them."""
    attention = layer.self_attn
    q, k, v = (
        proj(x).view(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)
        for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    keys, values = shared.keys[index], shared.values[index]
    keys[:, :, start:stop], values[:, :, start:stop] = k, v
    shared.meeting.wait()
    mixed = F.scaled_dot_product_attention(q, keys, values)
    x = layer.self_attn_layer_norm(x + attention.out_proj(mixed.transpose(1, 2).flatten(2)))
    y: Tensor = layer.final_layer_norm(x + layer.fc2(F.gelu(layer.fc1(x))))
    return y
