"""The waveform side of an RVC generator: harmonic source and NSF-HiFi-GAN decoder.

Source-filter excitation after Wang et al. 2019 (arXiv:1904.12088), decoder after HiFi-GAN (arXiv:2010.05646).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .phase import UNITS_PER_CYCLE, frame_phases
from .prior import HIDDEN, SPEAKER_WIDTH

SINE_AMPLITUDE = 0.1
VOICED_NOISE = 0.003
UNVOICED_NOISE = SINE_AMPLITUDE / 3
DECODER_REACH = 13  # frames that the decoder sees on each side


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Hyper-parameters of a decoder, from a checkpoint's config.

    Attributes:
        sample_rate: Hz.
        upsample_rates: Strides of the transposed convolutions; their product is the samples in a 10 ms frame.
        upsample_kernel_sizes: Their kernels.
        initial_channels: Channels before the first, halved by each.
        resblock_kernel_sizes: Kernels of the parallel residual blocks.
        resblock_dilation_sizes: Dilations of each.
    """

    sample_rate: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    initial_channels: int = 512
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))

    @property
    def samples_per_frame(self) -> int:
        """Samples in a 10 ms frame."""
        return math.prod(self.upsample_rates)


class ResBlock(nn.Module):
    """Dilated convolutions, each followed by an undilated one, with residual connections."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=d * (kernel // 2), dilation=d) for d in dilations
        )
        self.convs2 = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding=kernel // 2) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        for conv1, conv2 in zip(self.convs1, self.convs2, strict=True):
            x = x + conv2(F.leaky_relu(conv1(F.leaky_relu(x, 0.1)), 0.1))
        return x


class HarmonicSource(nn.Module):
    """Sine at F0 plus noise, mixed by one learned weight."""

    def __init__(self, sample_rate: int, samples_per_frame: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.samples_per_frame = samples_per_frame
        self.l_linear = nn.Linear(1, 1)

    def forward(self, f0: Tensor, noise: Tensor, phase_in: Tensor) -> tuple[Tensor, Tensor]:
        """Render frames of constant F0.

        Args:
            f0: Hz, 0 where unvoiced `[B, T]`.
            noise: Standard normal `[B, T * samples_per_frame, 1]`.
            phase_in: Before the first frame, in the units of `frame_phases`, int32 `[B, 1]`.

        Returns:
            Source `[B, 1, T * samples_per_frame]` and the phase after the last frame `[B, 1]`.
        """
        phase = frame_phases(phase_in, f0)
        before = phase[:, :-1, None].to(f0.dtype) / UNITS_PER_CYCLE
        within = torch.arange(1, self.samples_per_frame + 1, dtype=f0.dtype, device=f0.device)
        cycles = before + (f0 / self.sample_rate)[..., None] * within
        sine = torch.sin(2.0 * math.pi * cycles.remainder(1.0)).flatten(1)
        voiced = (f0 > 0).to(noise.dtype).repeat_interleave(self.samples_per_frame, dim=1)
        noise_amplitude = voiced * VOICED_NOISE + (1.0 - voiced) * UNVOICED_NOISE
        mixed = SINE_AMPLITUDE * sine * voiced + noise_amplitude * noise[..., 0]
        source = torch.tanh(self.l_linear(mixed[..., None]))
        return source.transpose(1, 2), phase[:, -1:]


class Decoder(nn.Module):
    """Latent frames to waveform: `[B, 192, T] -> [B, 1, T * samples_per_frame]`."""

    def __init__(self, shape: DecoderShape, has_f0: bool) -> None:
        super().__init__()
        rates, channels = shape.upsample_rates, shape.initial_channels
        widths = [channels >> (i + 1) for i in range(len(rates))]
        self.conv_pre = nn.Conv1d(HIDDEN, channels, 7, padding=3)
        self.cond = nn.Conv1d(SPEAKER_WIDTH, channels, 1)
        self.ups = nn.ModuleList(
            nn.ConvTranspose1d(2 * width, width, kernel, rate, padding=(kernel - rate) // 2)
            for width, kernel, rate in zip(widths, shape.upsample_kernel_sizes, rates, strict=True)
        )
        self.resblocks = nn.ModuleList(
            ResBlock(width, kernel, dilations)
            for width in widths
            for kernel, dilations in zip(shape.resblock_kernel_sizes, shape.resblock_dilation_sizes, strict=True)
        )
        self.conv_post = nn.Conv1d(widths[-1], 1, 7, padding=3, bias=False)
        self.m_source: HarmonicSource | None = None
        self.noise_convs: nn.ModuleList | None = None
        if has_f0:
            self.m_source = HarmonicSource(shape.sample_rate, shape.samples_per_frame)
            self.noise_convs = nn.ModuleList()
            for i, width in enumerate(widths):
                stride = math.prod(rates[i + 1 :])
                kernel = 2 * stride if stride > 1 else 1
                self.noise_convs.append(nn.Conv1d(1, width, kernel, stride, padding=stride // 2))
        self.parallel = len(shape.resblock_kernel_sizes)

    def forward(self, z: Tensor, g: Tensor, source: Tensor | None) -> Tensor:
        """Render `z` for the speaker `g` `[B, 256, 1]` over the source `[B, 1, T * samples_per_frame]`."""
        x = self.conv_pre(z) + self.cond(g)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, 0.1))
            if self.noise_convs is not None:
                x = x + self.noise_convs[i](source)
            blocks = self.resblocks[i * self.parallel : (i + 1) * self.parallel]
            total = blocks[0](x)
            for block in blocks[1:]:
                total = total + block(x)
            x = total / self.parallel
        # The last slope is 0.01, PyTorch's default, unlike the others.
        return torch.tanh(self.conv_post(F.leaky_relu(x, 0.01)))
