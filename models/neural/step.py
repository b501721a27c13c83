"""What a neural voice computes in each block, as one network: what is said, and how one voice or two would say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from ..graph import GraphSpec, Step, TensorSpec
from .features import N_MELS
from .network import BANDS, DECODER_DILATIONS, ENCODER_DILATIONS, ENVELOPE_BANDS, PAIR, PITCH, Decoder, Encoder, memory

MOST_VOICES = 2


class Speaking(nn.Module):
    """A decoder as one voice.

    Args:
        decoder: The decoder.
        voice: What makes it this voice [VOICE].
        mean: Mean of the envelope that it says [80].
        sharpen: What the envelope's distance from `mean` is multiplied by, and the product added to the envelope
            [80, 80]: a network trained to come near the truth everywhere says too little of what differs.
    """

    voice: Tensor
    mean: Tensor
    sharpen: Tensor

    def __init__(self, decoder: Decoder, voice: Tensor, mean: Tensor, sharpen: Tensor) -> None:
        super().__init__()
        self.decoder = decoder
        for name, tensor in (("voice", voice), ("mean", mean), ("sharpen", sharpen)):
            self.register_buffer(name, tensor.float())
        self.eval()

    def forward(self, codes: Tensor, pitch: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.forward`."""
        bands, mem = self.decoder(codes, pitch, self.voice[None].expand(len(codes), -1), mem)
        envelope = bands[..., :ENVELOPE_BANDS]
        envelope = envelope + (envelope - self.mean) @ self.sharpen
        return torch.cat((envelope, bands[..., ENVELOPE_BANDS:]), dim=-1), mem


@dataclass(frozen=True, slots=True)
class NeuralNetworks:
    """The networks of a voice, or of a mix of two.

    Attributes:
        encoder: What says what is said.
        voices: One or two.
    """

    encoder: Encoder
    voices: Sequence[Speaking]


class NeuralStep(Step):
    """Encoder and decoders for the frames of one block.

    Args:
        networks: One voice, or the two of a mix.
        frames: Frames of 10 ms in a block, an even number.
        batch: Streams.
    """

    def __init__(self, networks: NeuralNetworks, frames: int, batch: int = 1) -> None:
        assert frames % PAIR == 0, frames
        assert 1 <= len(networks.voices) <= MOST_VOICES, len(networks.voices)
        is_mix = len(networks.voices) > 1
        inputs = {"features": TensorSpec((batch, frames, N_MELS)), "pitch": TensorSpec((batch, frames, PITCH))}
        inputs |= {"mix": TensorSpec((batch, 2 * frames))} if is_mix else {}
        outputs = {"bands": TensorSpec((batch, 2 * frames, BANDS))}
        encoder_mem, decoder_mem = (
            TensorSpec((batch, memory(dilations))) for dilations in (ENCODER_DILATIONS, DECODER_DILATIONS)
        )
        mems = {"encoder_mem": encoder_mem, "decoder_mem": decoder_mem}
        mems |= {"decoder_mem_2": decoder_mem} if is_mix else {}
        for name, spec in mems.items():
            inputs[f"{name}_in"] = outputs[f"{name}_out"] = spec
        carries = {f"{name}_in": f"{name}_out" for name in mems}
        super().__init__(GraphSpec("voice", inputs, outputs, carries, batch))
        self.encoder = networks.encoder
        self.voices = nn.ModuleList(networks.voices)

    def forward(self, features: Tensor, pitch: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Bands of the frames that are rendered with a block, and what the next block starts from.

        Args:
            features: Features of the block's frames of 10 ms `[B, frames, 80]`.
            pitch: F0 of the frames that are rendered, as the decoder takes it `[B, frames, 2]`.
            others: For a mix `mix`, the part of the second voice in each frame of 5 ms `[B, 2 frames]`; then
                `encoder_mem_in`, `decoder_mem_in` and for a mix `decoder_mem_2_in`.

        Returns:
            `bands` `[B, 2 frames, 87]`, `encoder_mem_out`, `decoder_mem_out` and for a mix `decoder_mem_2_out`.
        """
        encoder_mem, *decoder_mems = others[len(self.voices) - 1 :]
        codes, encoder_mem = self.encoder(features, encoder_mem)
        said, mems = zip(
            *(voice(codes, pitch, mem) for voice, mem in zip(self.voices, decoder_mems, strict=True)), strict=True
        )
        bands = said[0]
        if len(said) > 1:
            bands = bands + others[0][..., None] * (said[1] - bands)
        return (*chain((bands, encoder_mem), mems),)
