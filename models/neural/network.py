"""The networks of a neural voice: an encoder that hears what is said, and a decoder that says it in one voice.

Both are causal stacks of ConvNeXt blocks (Liu et al. 2022, arXiv:2201.03545) over frames, so that what they remember of
a stream is the input of their depthwise convolutions: one tensor, an input and an output of `forward`. The encoder is
given `DELAY` frames more than it gives back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .features import N_MELS

CODE = 64
WIDTH = 256
KERNEL = 5
ENCODER_DILATIONS = (1, 2, 4, 8, 1, 2, 4)
DECODER_DILATIONS = (1, 2, 4, 8, 1)
PAIR = 2  # frames of 10 ms in one frame of the encoder; as many frames of 5 ms are rendered for each of 10 ms
DELAY = 2  # frames of 20 ms that the encoder hears before it says what the first one was
ENVELOPE_BANDS = 80
NOISE_BANDS = 7
BANDS = ENVELOPE_BANDS + NOISE_BANDS
PITCH = 2  # log2 of F0 over 200 Hz, and whether there is one
VOICE = len(DECODER_DILATIONS) * 2 * WIDTH  # values that make the decoder one voice


class Block(nn.Module):
    """One ConvNeXt block that sees `(KERNEL - 1) * dilation` frames of past.

    Shapes:
        input `[B, T, WIDTH]`, memory `[B, past, WIDTH]`, modulation `[B, 2, WIDTH]`; output as the input, and what
        to remember.
    """

    def __init__(self, dilation: int, expansion: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.past = (KERNEL - 1) * dilation
        self.taps = nn.Parameter(torch.empty(KERNEL, WIDTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.rise = nn.Linear(WIDTH, expansion * WIDTH)
        self.fall = nn.Linear(expansion * WIDTH, WIDTH)
        # By functions that `on_meta` leaves out: arithmetic on the meta device imports as much as drawing does.
        nn.init.normal_(self.taps, std=KERNEL**-0.5)
        nn.init.uniform_(self.fall.weight, -0.3 * self.fall.in_features**-0.5, 0.3 * self.fall.in_features**-0.5)
        nn.init.zeros_(self.fall.bias)

    def forward(self, x: Tensor, mem: Tensor, modulation: Tensor | None = None) -> tuple[Tensor, Tensor]:
        seen, frames = torch.cat((mem, x), dim=1), x.shape[1]
        y = seen[:, :frames] * self.taps[0]
        for i in range(1, KERNEL):
            y = y + seen[:, i * self.dilation : i * self.dilation + frames] * self.taps[i]
        y = self.norm(y)
        if modulation is not None:
            y = y * (1.0 + modulation[:, None, 0]) + modulation[:, None, 1]
        return x + self.fall(F.gelu(self.rise(y))), seen[:, frames:]


def memory(dilations: Sequence[int]) -> int:
    """Values that a stack of blocks remembers of a stream."""
    return sum((KERNEL - 1) * dilation for dilation in dilations) * WIDTH


class Encoder(nn.Module):
    """What is said, by whomever.

    Shapes:
        features `[B, 2 T, 80]`, memory `[B, encoder memory]`; codes `[B, T, 64]`, of which the first describes what lay
        `DELAY` frames before the first pair of features, and the memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(PAIR * N_MELS, WIDTH)
        self.blocks = nn.ModuleList(Block(dilation, 2) for dilation in ENCODER_DILATIONS)
        self.norm = nn.LayerNorm(WIDTH)
        self.leave = nn.Linear(WIDTH, CODE)

    def forward(self, features: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
        x = self.enter(features.reshape(len(features), -1, PAIR * N_MELS))
        x, mem = _run(self.blocks, x, mem, None)
        return F.layer_norm(self.leave(self.norm(x)), (CODE,)), mem


class Decoder(nn.Module):
    """Spectral envelope and aperiodicity of what is said, in one voice.

    Shapes:
        codes `[B, T, 64]`, pitch `[B, 2 T, 2]`, voice `[B, VOICE]`, memory `[B, decoder memory]`; bands `[B, 4 T, 87]`,
        one frame for each 5 ms: the logarithm of the envelope's amplitude in 80 bands, in nepers above the running
        level, and the noise's ratio of amplitude in 7 bands; and the memory.
    """

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(CODE, PAIR * WIDTH)
        self.pitch = nn.Linear(PITCH, WIDTH)
        self.blocks = nn.ModuleList(Block(dilation, 2) for dilation in DECODER_DILATIONS)
        self.norm = nn.LayerNorm(WIDTH)
        self.leave = nn.Linear(WIDTH, PAIR * BANDS)

    def forward(self, codes: Tensor, pitch: Tensor, voice: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
        x = self.enter(codes).reshape(len(codes), -1, WIDTH) + self.pitch(pitch)
        x, mem = _run(self.blocks, x, mem, voice.view(len(voice), len(self.blocks), 2, WIDTH))
        bands = self.leave(self.norm(x)).reshape(len(codes), -1, BANDS)
        envelope = 2.5 * bands[..., :ENVELOPE_BANDS] - 1.0
        return torch.cat((envelope, torch.sigmoid(bands[..., ENVELOPE_BANDS:])), dim=-1), mem


def _run(blocks: nn.ModuleList, x: Tensor, mem: Tensor, voice: Tensor | None) -> tuple[Tensor, Tensor]:
    kept, at = [], 0
    for i, block in enumerate(blocks):
        assert isinstance(block, Block)
        size = block.past * WIDTH
        past = mem[:, at : at + size].view(len(mem), block.past, WIDTH)
        x, past = block(x, past, None if voice is None else voice[:, i])
        kept.append(past.flatten(1))
        at += size
    return x, torch.cat(kept, dim=1)
