"""RMVPE, the pitch estimator (Wei et al. 2023, arXiv:2306.15412), with the published checkpoint's key names.

A U-Net over 128 mel bands halves time five times, so its input is a multiple of 32 frames; a bidirectional GRU and a
linear layer give the salience of 360 bins of 20 cents. The GRU takes and returns its forward state, so that a stream
can carry it (see `altervox.realtime.StreamingRMVPE`).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.errors import CheckpointError
from ...kernels.salience import N_BINS, decode_salience
from ...kernels.types import FloatArray
from ..graph import GraphSpec, Step, TensorSpec
from ..weights import load_weights, on_meta
from .gru import BoundedGRU
from .mel import HOP, N_FFT, N_MELS, LogMel

FRAME_MULTIPLE = 32
_MOST_LEVELS, _MOST_IN_A_ROW = (
    5,
    16,
)  # levels that halve time to whole frames; blocks and layers of a network that loads


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with a residual connection: `[B, in, T, M] -> [B, out, T, M]`."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
        )
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x) + self.shortcut(x)
        return y


class BlockStack(nn.Module):
    """`blocks` ConvBlocks in a row, the first one changing the number of channels."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int) -> None:
        super().__init__()
        sizes = [channels_in] + [channels_out] * blocks
        self.conv = nn.ModuleList(ConvBlock(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.conv:
            x = block(x)
        return x


class Encoder(nn.Module):
    """Five levels, each ending in 2x2 pooling; also gives what each level had before pooling."""

    def __init__(self, base_channels: int, levels: int, blocks: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(1)
        sizes = [1] + [base_channels * 2**i for i in range(levels)]
        self.layers = nn.ModuleList(BlockStack(a, b, blocks) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.bn(x)
        skips = []
        for layer in self.layers:
            x = layer(x)
            skips.append(x)
            x = F.avg_pool2d(x, 2)
        return x, skips


class Intermediate(nn.Module):
    """The bottleneck: `layers` stacks at the lowest resolution."""

    def __init__(self, channels_in: int, channels_out: int, layers: int, blocks: int) -> None:
        super().__init__()
        sizes = [channels_in] + [channels_out] * layers
        self.layers = nn.ModuleList(BlockStack(a, b, blocks) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class DecoderLevel(nn.Module):
    """Doubles time and mel resolution and joins the encoder's skip connection."""

    def __init__(self, channels_in: int, channels_out: int, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.ConvTranspose2d(channels_in, channels_out, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
        )
        sizes = [2 * channels_out] + [channels_out] * blocks
        self.conv2 = nn.ModuleList(ConvBlock(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = torch.cat((self.conv1(x), skip), dim=1)
        for block in self.conv2:
            x = block(x)
        return x


class Decoder(nn.Module):
    """The encoder's mirror image."""

    def __init__(self, base_channels: int, levels: int, blocks: int) -> None:
        super().__init__()
        sizes = [base_channels * 2**i for i in range(levels, -1, -1)]
        self.layers = nn.ModuleList(DecoderLevel(a, b, blocks) for a, b in pairwise(sizes))

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        for layer, skip in zip(self.layers, reversed(skips), strict=True):
            x = layer(x, skip)
        return x


class UNet(nn.Module):
    """`[B, 1, T, 128] -> [B, base_channels, T, 128]`, T a multiple of 32."""

    def __init__(self, base_channels: int, levels: int, blocks: int, intermediate_layers: int) -> None:
        super().__init__()
        bottleneck = base_channels * 2**levels
        self.encoder = Encoder(base_channels, levels, blocks)
        self.intermediate = Intermediate(bottleneck // 2, bottleneck, intermediate_layers, blocks)
        self.decoder = Decoder(base_channels, levels, blocks)

    def forward(self, x: Tensor) -> Tensor:
        x, skips = self.encoder(x)
        y: Tensor = self.decoder(self.intermediate(x), skips)
        return y


class RMVPE(nn.Module):
    """The whole network; the published one has `base_channels` 16, 4 blocks, 4 intermediate layers and GRU 256.

    All sizes are read off a state dict by `from_state`, so any network of this family loads.
    """

    def __init__(
        self,
        base_channels: int = 16,
        blocks: int = 4,
        intermediate_layers: int = 4,
        gru_size: int = 256,
        levels: int = 5,
    ) -> None:
        super().__init__()
        self.mel = LogMel()
        self.unet = UNet(base_channels, levels, blocks, intermediate_layers)
        self.cnn = nn.Conv2d(base_channels, 3, 3, padding=1)
        self.fc = nn.Sequential(BoundedGRU(3 * N_MELS, gru_size), nn.Linear(2 * gru_size, N_BINS))
        # On a CPU a short window runs faster with the channels innermost; the results are the same.
        nn.utils.convert_conv2d_weight_memory_format(self, torch.channels_last)
        self.eval()

    @property
    def gru(self) -> BoundedGRU:
        """The recurrent layer."""
        layer = self.fc[0]
        assert isinstance(layer, BoundedGRU)
        return layer

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> RMVPE:
        """The network of a state dict in the published layout, computing in float32.

        Raises:
            CheckpointError: the names or shapes are not RMVPE's.
        """

        def count(prefix: str) -> int:
            return len({k[len(prefix) :].split(".")[0] for k in state if k.startswith(prefix)})

        blocks, layers = count("unet.encoder.layers.0.conv."), count("unet.intermediate.layers.")
        levels = count("unet.encoder.layers.")
        try:
            if levels > _MOST_LEVELS or max(blocks, layers) > _MOST_IN_A_ROW:
                raise CheckpointError(f"{levels} levels, {blocks} blocks and {layers} layers are more than it has")
            first, recurrent = state["unet.encoder.layers.0.conv.0.conv.0.weight"], state["fc.0.gru.weight_hh_l0"]
            channels, gru_size = max(1, first.shape[0]), max(1, recurrent.shape[-1])  # the shapes are compared below
            model = on_meta(lambda: cls(channels, blocks, layers, gru_size, levels))
            load_weights(model, state)
        except (KeyError, IndexError, CheckpointError) as error:
            raise CheckpointError(f"these weights are not RMVPE's: {error}") from error
        return model

    def features(self, mel: Tensor) -> Tensor:
        """What the GRU sees: `[B, 128, T] -> [B, T, 384]` for T a multiple of 32."""
        x: Tensor = self.cnn(self.unet(mel.transpose(1, 2)[:, None]))
        return x.transpose(1, 2).flatten(2)

    def forward(self, mel: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor]:
        """Salience of a stretch of frames.

        Args:
            mel: Log-mel `[B, 128, T]`, T a multiple of 32.
            h_in: Forward GRU state before the first frame `[1, B, gru_size]`.

        Returns:
            Salience `[B, T, 360]` and the forward GRU state after every frame `[B, T, gru_size]`.
        """
        x, forward_states = self.gru(self.features(mel), h_in)
        return torch.sigmoid(self.fc[1](x)), forward_states

    def from_features(self, x: Tensor, last_row: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor]:
        """GRU and last layer of one step.

        Args:
            x: Input of the GRU `[B, n, 384]`.
            last_row: The frame whose state is wanted `[B, 1]`.
            h_in: Forward GRU state before the first frame `[B, gru_size]`.

        Returns:
            Salience `[B, n, 360]` and the forward GRU output at `last_row` `[B, gru_size]`.
        """
        y, forward_states = self.gru(x, h_in[None])
        return torch.sigmoid(self.fc[1](y)), rows_of(forward_states, last_row)[:, 0]

    @torch.inference_mode()
    def salience(self, mel: Tensor) -> Tensor:
        """One-shot salience `[B, T, 360]` of a log-mel `[B, 128, T]` of any length, zero-padded to whole windows."""
        frames = mel.shape[-1]
        padded = F.pad(mel, (0, -frames % FRAME_MULTIPLE))
        y: Tensor = self(padded, self.gru.initial_state(len(mel), mel))[0]
        return y[:, :frames]

    @torch.inference_mode()
    def f0(self, audio: FloatArray) -> FloatArray:
        """F0 in Hz of a whole recording, 0 where unvoiced: [N // 160 + 1] of mono at 16 kHz [N].

        It is one sequence, so memory grows with the length; `StreamingRMVPE` is for audio of any length.
        """
        # The first frame is mirrored, which needs more than half a window of audio; shorter input is padded by silence.
        padded = np.pad(audio, (0, max(N_FFT // 2 + 1 - len(audio), 0)))
        salience = self.salience(self.mel(torch.from_numpy(padded).to(self.cnn.weight.device)[None]))[0]
        return decode_salience(salience.float().cpu().numpy()[: len(audio) // HOP + 1])


class RmvpeStep(Step):
    """One step of a stream.

    The frames to be computed move inside the window, for it lies on a grid of 32 frames. Which they are is therefore an
    input, as is the last one that counts, so that one graph serves all steps.

    Args:
        model: The network.
        row_count: Frames of the block and of the right context after it.
        window_frames: Frames of the window, a multiple of 32.
        batch: Streams.
    """

    def __init__(self, model: RMVPE, row_count: int, window_frames: int, batch: int = 1) -> None:
        state = TensorSpec((batch, model.gru.gru.hidden_size))
        super().__init__(
            GraphSpec(
                name="rmvpe",
                inputs={
                    "mel": TensorSpec((batch, N_MELS, window_frames)),
                    "rows": TensorSpec((batch, row_count), torch.int64),
                    "last_row": TensorSpec((batch, 1), torch.int64),
                    "h_in": state,
                },
                outputs={"salience": TensorSpec((batch, row_count, N_BINS)), "h_out": state},
                carries={"h_in": "h_out"},
                batch=batch,
            )
        )
        self.model = model

    def forward(self, mel: Tensor, rows: Tensor, last_row: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor]:
        """Salience of a block's frames and of the right context after it; `rows` may have any length here.

        Args:
            mel: Log-mel window `[B, 128, W]`, W a multiple of 32.
            rows: Frames of the window that are the block and its right context, in a row `[B, n]`.
            last_row: Which of these is the block's last frame `[B, 1]`.
            h_in: Forward GRU state before the block `[B, gru_size]`.

        Returns:
            Salience `[B, n, 360]` and the forward GRU output at `last_row` `[B, gru_size]`: the frames after it will be
            computed again.
        """
        return self.model.from_features(rows_of(self.model.features(mel), rows), last_row, h_in)


def rows_of(x: Tensor, rows: Tensor) -> Tensor:
    """`x[b, rows[b]]` of every stream: `[B, T, C]` and `[B, n]` to `[B, n, C]`."""
    if len(x) == 1:
        return x.index_select(1, rows[0])
    return x.gather(1, rows[..., None].expand(-1, -1, x.shape[2]))
