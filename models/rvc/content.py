"""The content encoder: HuBERT base (Hsu et al. 2021, arXiv:2106.07447) and ContentVec (arXiv:2204.09224), one network.

Module names are fairseq's. The transformers spelling of the same weights is translated on loading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.errors import CheckpointError
from ..weights import load_weights, on_meta

SAMPLE_RATE = 16000
HOP = 320
FIELD = 400  # samples that one frame sees through the convolutions
UNFOLDED_FRAMES = 256  # of a window whose positional convolution may be unfolded: 200 MB in float32
CONV_LAYERS = [(10, 5), *[(3, 2)] * 4, *[(2, 2)] * 2]  # kernel, stride
WIDTH, HEADS, PROJECTED_WIDTH = 768, 12, 256
CHANNELS, LAYERS, FFN_WIDTH = 512, 12, 3072  # of HuBERT base; a network may be narrower

_NOT_NEEDED = {"mask_emb", "label_embs_concat", "masked_spec_embed"}
_TRANSFORMERS_NAMES = [
    (r"^(feature_extractor\.conv_layers\.\d+)\.conv\.", r"\1.0."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.layer_norm\.", r"\1.2."),
    (r"^feature_projection\.layer_norm\.", "layer_norm."),
    (r"^feature_projection\.projection\.", "post_extract_proj."),
    (r"^encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
    (r"^(encoder\.layers\.\d+)\.attention\.", r"\1.self_attn."),
    (r"^(encoder\.layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"^(encoder\.layers\.\d+)\.feed_forward\.intermediate_dense\.", r"\1.fc1."),
    (r"^(encoder\.layers\.\d+)\.feed_forward\.output_dense\.", r"\1.fc2."),
]


class FeatureExtractor(nn.Module):
    """Seven convolutions: `[B, N] -> [B, channels, frames]`. GroupNorm over the whole input after the first only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers, channels_in = [], 1
        for i, (kernel, stride) in enumerate(CONV_LAYERS):
            conv = nn.Conv1d(channels_in, channels, kernel, stride, bias=False)
            if i == 0:  # slot 1 is fairseq's dropout
                layer = nn.Sequential(conv, nn.Identity(), nn.GroupNorm(channels, channels), nn.GELU())
            else:
                layer = nn.Sequential(conv, nn.Identity(), nn.GELU())
            layers.append(layer)
            channels_in = channels
        self.conv_layers = nn.ModuleList(layers)

    def forward(self, audio: Tensor) -> Tensor:
        x = audio[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


class SelfAttention(nn.Module):
    """Multi-head attention over the whole window: `[B, T, 768] -> [B, T, 768]`."""

    def __init__(self) -> None:
        super().__init__()
        self.k_proj = nn.Linear(WIDTH, WIDTH)
        self.v_proj = nn.Linear(WIDTH, WIDTH)
        self.q_proj = nn.Linear(WIDTH, WIDTH)
        self.out_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            proj(x).view(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        y: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return y


class TransformerLayer(nn.Module):
    """One post-norm encoder layer."""

    def __init__(self, ffn_width: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention()
        self.self_attn_layer_norm = nn.LayerNorm(WIDTH)
        self.fc1 = nn.Linear(WIDTH, ffn_width)
        self.fc2 = nn.Linear(ffn_width, WIDTH)
        self.final_layer_norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.self_attn_layer_norm(x + self.self_attn(x))
        y: Tensor = self.final_layer_norm(x + self.fc2(F.gelu(self.fc1(x))))
        return y


class TransformerEncoder(nn.Module):
    """Positional convolution and transformer layers."""

    def __init__(self, layers: int, ffn_width: int) -> None:
        super().__init__()
        self.pos_conv = nn.Sequential(nn.Conv1d(WIDTH, WIDTH, 128, padding=64, groups=16))
        self.layer_norm = nn.LayerNorm(WIDTH)
        self.layers = nn.ModuleList(TransformerLayer(ffn_width) for _ in range(layers))

    def embed(self, x: Tensor) -> Tensor:
        """Add the positional convolution and normalise."""
        # cuDNN takes one group after another, with most of the GPU idle: half of the whole network's time.
        convolve = self.convolved_at_once if x.is_cuda and x.shape[1] <= UNFOLDED_FRAMES else self.convolved
        y: Tensor = self.layer_norm(x + F.gelu(convolve(x)))
        return y

    def convolved(self, x: Tensor) -> Tensor:
        """The positional convolution `[B, T, 768] -> [B, T, 768]`; its even kernel gives one frame too many."""
        y: Tensor = self.pos_conv(x.transpose(1, 2))[..., :-1]
        return y.transpose(1, 2)

    def convolved_at_once(self, x: Tensor) -> Tensor:
        """The same as one product of matrices for each group, all of them together."""
        conv = self.pos_conv[0]
        assert isinstance(conv, nn.Conv1d)
        assert conv.bias is not None
        (batch, frames, _), taps, reach = x.shape, conv.kernel_size[0], conv.kernel_size[0] // 2
        seen = F.pad(x.transpose(1, 2), (reach, reach - 1)).unfold(2, taps, 1)
        seen = seen.reshape(batch, conv.groups, -1, frames, taps).transpose(2, 3).flatten(3)
        y: Tensor = seen @ conv.weight.view(conv.groups, WIDTH // conv.groups, -1).transpose(1, 2)
        return y.transpose(1, 2).flatten(2) + conv.bias


class Hubert(nn.Module):
    """The content encoder. Expects 16 kHz mono audio, not normalised.

    Args:
        channels: Channels of the convolutions.
        layers: Number of transformer layers.
        ffn_width: Width inside the feed-forward part of a transformer layer.
    """

    def __init__(self, channels: int = CHANNELS, layers: int = LAYERS, ffn_width: int = FFN_WIDTH) -> None:
        super().__init__()
        self.feature_extractor = FeatureExtractor(channels)
        self.layer_norm = nn.LayerNorm(channels)
        self.post_extract_proj = nn.Linear(channels, WIDTH)
        self.encoder = TransformerEncoder(layers, ffn_width)
        self.final_proj = nn.Linear(WIDTH, PROJECTED_WIDTH)
        self.eval()

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Hubert:
        """The network of a state dict in fairseq's or transformers' layout, computing in float32.

        Narrower networks are known by the shapes of their weights, larger ones than HuBERT base are refused.

        Raises:
            CheckpointError: the names or shapes are not HuBERT base's.
        """
        renamed = {}
        for full_name, tensor in state.items():
            name = full_name.removeprefix("hubert.")
            if name in _NOT_NEEDED:
                continue
            for pattern, replacement in _TRANSFORMERS_NAMES:
                name = re.sub(pattern, replacement, name)
            renamed[name] = tensor
        size = _size(renamed)
        model = on_meta(lambda: cls(*size))
        if "final_proj.weight" not in renamed:  # a bare HubertModel: enough for v2 voices
            renamed |= {
                f"final_proj.{k}": torch.full(v.shape, torch.nan) for k, v in model.final_proj.state_dict().items()
            }
        try:
            load_weights(model, renamed)
        except CheckpointError as error:
            raise CheckpointError(f"these weights are not HuBERT base's: {error}") from error
        return model

    @property
    def has_projection(self) -> bool:
        """Whether the file held `final_proj`, which v1 voices need."""
        return bool(torch.isfinite(self.final_proj.bias).all())

    def stages(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Output of the convolutions `[B, frames, channels]` and what the first layer sees `[B, frames, 768]`."""
        conv = self.feature_extractor(audio).transpose(1, 2)
        return conv, self.encoder.embed(self.post_extract_proj(self.layer_norm(conv)))

    def forward(self, audio: Tensor, layer: int = LAYERS) -> Tensor:
        """Hidden states `[B, frames, 768]` after `layer` (1..12) of audio `[B, N]`, N >= 400."""
        x = self.stages(audio)[1]
        for block in self.encoder.layers[:layer]:
            x = block(x)
        return x

    @torch.inference_mode()
    def features(self, audio: Tensor, version: str) -> Tensor:
        """What an RVC voice takes: layer 9 projected to 256 for "v1", layer 12 (768) for "v2"."""
        if version == "v1":
            projected: Tensor = self.final_proj(self(audio, 9))
            return projected
        hidden: Tensor = self(audio, LAYERS)
        return hidden


def _size(state: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Channels, layers and FFN width by the shapes of the weights, at least 1 and none beyond HuBERT base's."""
    channels, ffn_width = (
        max(1, min(len(state[name]), full)) if name in state and state[name].dim() else full
        for name, full in (("layer_norm.weight", CHANNELS), ("encoder.layers.0.fc1.weight", FFN_WIDTH))
    )
    layers = {name.split(".")[2] for name in state if name.startswith("encoder.layers.")}
    return channels, max(1, min(len(layers), LAYERS)), ffn_width
