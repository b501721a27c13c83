"""The text side of an RVC generator: prior encoder and flow (VITS, Kim et al. 2021, arXiv:2106.06103)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 192
HEADS = 2
FFN_WIDTH = 768
LAYERS = 6
RELATIVE_WINDOW = 10
SPEAKER_WIDTH = 256
FLOW_REACH = 24  # frames that the flow sees on each side: 4 couplings x 3 layers x 2


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of `[B, C, T]`, with the checkpoint's names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.transpose(1, 2), self.gamma.shape, self.gamma, self.beta, 1e-5).transpose(1, 2)


class RelativeAttention(nn.Module):
    """Attention with learned relative positions within +-10 frames (Shaw et al. 2018, arXiv:1803.02155)."""

    def __init__(self) -> None:
        super().__init__()
        width = HIDDEN // HEADS
        self.emb_rel_k = nn.Parameter(torch.zeros(1, 2 * RELATIVE_WINDOW + 1, width))
        self.emb_rel_v = nn.Parameter(torch.zeros(1, 2 * RELATIVE_WINDOW + 1, width))
        self.conv_q = nn.Conv1d(HIDDEN, HIDDEN, 1)
        self.conv_k = nn.Conv1d(HIDDEN, HIDDEN, 1)
        self.conv_v = nn.Conv1d(HIDDEN, HIDDEN, 1)
        self.conv_o = nn.Conv1d(HIDDEN, HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, 192, T] -> [B, 192, T]`."""
        q, k, v = (
            conv(x).view(len(x), HEADS, HIDDEN // HEADS, -1).transpose(2, 3)
            for conv in (self.conv_q, self.conv_k, self.conv_v)
        )
        q = q / math.sqrt(HIDDEN // HEADS)
        scores = q @ k.transpose(2, 3) + self._spread(q @ self.emb_rel_k.transpose(1, 2))
        weights = scores.softmax(dim=-1)
        mixed = weights @ v + self._gather(weights) @ self.emb_rel_v
        y: Tensor = self.conv_o(mixed.transpose(2, 3).flatten(1, 2))
        return y

    # Both directions between scores by offset and scores by position are the same skew of a padded matrix:
    # row i of the wide matrix, read from column i, is aligned to absolute positions. Beyond the window is zero.
    @staticmethod
    def _spread(by_offset: Tensor) -> Tensor:
        """`[B, H, T, 21]` scores by offset -10..10 to `[B, H, T, T]` scores by position."""
        frames = by_offset.shape[2]
        side = max(frames - 1 - RELATIVE_WINDOW, 0)
        skip = max(RELATIVE_WINDOW + 1 - frames, 0)
        wide = F.pad(by_offset, (side, side))[..., skip : skip + 2 * frames - 1]
        # [T, 2T - 1]: column c is offset c - (T - 1). One more column shifts each row of the flattened matrix by one.
        flat = F.pad(wide, (0, 1)).flatten(2)
        skewed = F.pad(flat, (0, frames - 1)).view(*flat.shape[:2], frames + 1, 2 * frames - 1)
        return skewed[:, :, :frames, frames - 1 :]

    @staticmethod
    def _gather(weights: Tensor) -> Tensor:
        """`[B, H, T, T]` weights by position to `[B, H, T, 21]` weights by offset -10..10."""
        frames = weights.shape[2]
        flat = F.pad(weights, (0, frames - 1)).flatten(2)
        by_offset = F.pad(flat, (frames, 0)).view(*flat.shape[:2], frames, 2 * frames)[..., 1:]
        side = max(RELATIVE_WINDOW + 1 - frames, 0)
        first = max(frames - 1 - RELATIVE_WINDOW, 0)
        return F.pad(by_offset, (side, side))[..., first : first + 2 * RELATIVE_WINDOW + 1]


class FeedForward(nn.Module):
    """Two convolutions over three frames."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(HIDDEN, FFN_WIDTH, 3, padding=1)
        self.conv_2 = nn.Conv1d(FFN_WIDTH, HIDDEN, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv_2(F.relu(self.conv_1(x)))
        return y


class PriorTransformer(nn.Module):
    """Six post-norm layers."""

    def __init__(self) -> None:
        super().__init__()
        self.attn_layers = nn.ModuleList(RelativeAttention() for _ in range(LAYERS))
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(HIDDEN) for _ in range(LAYERS))
        self.ffn_layers = nn.ModuleList(FeedForward() for _ in range(LAYERS))
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(HIDDEN) for _ in range(LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        layers = zip(self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2, strict=True)
        for attention, norm_1, ffn, norm_2 in layers:
            x = norm_1(x + attention(x))
            x = norm_2(x + ffn(x))
        return x


class PriorEncoder(nn.Module):
    """Content features and pitch to the mean and log deviation of the latent."""

    def __init__(self, feature_width: int, has_f0: bool) -> None:
        super().__init__()
        self.emb_phone = nn.Linear(feature_width, HIDDEN)
        self.emb_pitch = nn.Embedding(256, HIDDEN) if has_f0 else None
        self.encoder = PriorTransformer()
        self.proj = nn.Conv1d(HIDDEN, 2 * HIDDEN, 1)

    def forward(self, phone: Tensor, pitch: Tensor | None, first_frame: int = 0) -> tuple[Tensor, Tensor]:
        """Encode all frames, return the latent's parameters from `first_frame` on.

        Args:
            phone: `[B, T, 256 | 768]`.
            pitch: Coarse pitch `[B, T]`, 1..255; None for a voice without F0.
            first_frame: Earlier frames serve as context only.

        Returns:
            m and logs, each `[B, 192, T - first_frame]`.
        """
        x = self.emb_phone(phone)
        if self.emb_pitch is not None:
            x = x + self.emb_pitch(pitch)
        x = F.leaky_relu(x * math.sqrt(HIDDEN), 0.1).transpose(1, 2)
        m, logs = self.proj(self.encoder(x)[..., first_frame:]).split(HIDDEN, dim=1)
        return m, logs


Convolve = Callable[[nn.Module, Tensor], Tensor]  # how a convolution over time is applied, for who streams


def _whole(layer: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = layer(x)
    return y


class WaveNet(nn.Module):
    """Three gated convolutions conditioned on the speaker."""

    layers = 3
    kernel = 5

    def __init__(self) -> None:
        super().__init__()
        self.in_layers = nn.ModuleList(
            nn.Conv1d(HIDDEN, 2 * HIDDEN, self.kernel, padding=self.kernel // 2) for _ in range(self.layers)
        )
        self.res_skip_layers = nn.ModuleList(
            nn.Conv1d(HIDDEN, (2 if i < self.layers - 1 else 1) * HIDDEN, 1) for i in range(self.layers)
        )
        self.cond_layer = nn.Conv1d(SPEAKER_WIDTH, 2 * HIDDEN * self.layers, 1)

    def forward(self, x: Tensor, g: Tensor, conv: Convolve = _whole) -> Tensor:
        output = torch.zeros_like(x)
        conditions = self.cond_layer(g).split(2 * HIDDEN, dim=1)
        for i in range(self.layers):
            a, b = (conv(self.in_layers[i], x) + conditions[i]).split(HIDDEN, dim=1)
            y = self.res_skip_layers[i](torch.tanh(a) * torch.sigmoid(b))
            if i < self.layers - 1:
                x = x + y[:, :HIDDEN]
                output = output + y[:, HIDDEN:]
            else:
                output = output + y
        return output


class Coupling(nn.Module):
    """Mean-only affine coupling, run backwards: what the first half predicts is taken from the second."""

    def __init__(self) -> None:
        super().__init__()
        self.pre = nn.Conv1d(HIDDEN // 2, HIDDEN, 1)
        self.enc = WaveNet()
        self.post = nn.Conv1d(HIDDEN, HIDDEN // 2, 1)

    def forward(self, x: Tensor, g: Tensor, conv: Convolve = _whole) -> Tensor:
        x0, x1 = x.chunk(2, dim=1)
        return torch.cat((x0, x1 - self.post(self.enc(self.pre(x0), g, conv))), dim=1)


class Flow(nn.Module):
    """Four couplings with the channel order flipped before each, run from the prior to the latent."""

    def __init__(self) -> None:
        super().__init__()
        # The odd slots are the flips, which have no parameters.
        self.flows = nn.ModuleList(Coupling() if i % 2 == 0 else nn.Identity() for i in range(8))

    def forward(self, z_p: Tensor, g: Tensor, conv: Convolve = _whole) -> Tensor:
        z = z_p
        for i in (6, 4, 2, 0):
            z = self.flows[i](z.flip(1), g, conv)
        return z
