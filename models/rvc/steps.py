"""The networks of an RVC voice as steps of a stream: fixed shapes, state that goes in and out, batches of streams."""

from __future__ import annotations

import torch
from torch import Tensor

from ..graph import GraphSpec, Step, TensorSpec
from .content import FIELD, HOP, PROJECTED_WIDTH, WIDTH, Hubert
from .decoder import HarmonicSource
from .phase import frame_phases
from .prior import HIDDEN, SPEAKER_WIDTH, PriorEncoder
from .streaming import CachedDecoder, CachedFlow


class ContentStep(Step):
    """Features of a window of audio, in float32 whatever the encoder computes in.

    Args:
        hubert: The content encoder.
        version: See `Hubert.features`.
        samples: Length of the window at 16 kHz.
        batch: Streams.
    """

    def __init__(self, hubert: Hubert, version: str, samples: int, batch: int = 1) -> None:
        frames, width = (samples - FIELD) // HOP + 1, PROJECTED_WIDTH if version == "v1" else WIDTH
        features = TensorSpec((batch, frames, width))
        super().__init__(
            GraphSpec("content", {"audio": TensorSpec((batch, samples))}, {"features": features}, batch=batch)
        )
        self.hubert = hubert
        self.version = version

    def forward(self, audio: Tensor) -> Tensor:
        """`[B, samples] -> [B, frames, width]`."""
        return self.hubert.features(audio.to(self.hubert.layer_norm.weight.dtype), self.version).float()


class PriorStep(Step):
    """`PriorEncoder` for a window of frames.

    Args:
        encoder: The prior encoder.
        frames: Length of the window.
        first_frame: Earlier frames serve as context only.
        batch: Streams.
    """

    def __init__(self, encoder: PriorEncoder, frames: int, first_frame: int, batch: int = 1) -> None:
        inputs = {"phone": TensorSpec((batch, frames, encoder.emb_phone.in_features))}
        if encoder.emb_pitch is not None:
            inputs["pitch"] = TensorSpec((batch, frames), torch.int64)
        latent = TensorSpec((batch, HIDDEN, frames - first_frame))
        super().__init__(GraphSpec("prior", inputs, {"m": latent, "logs": latent}, batch=batch))
        self.encoder = encoder
        self._first_frame = first_frame

    def forward(self, phone: Tensor, pitch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `PriorEncoder.forward`."""
        return self.encoder.forward(phone, pitch, self._first_frame)


class FlowStep(Step):
    """`CachedFlow` for a block and what follows it.

    Args:
        flow: The flow.
        frames: Frames of the block and its lookahead.
        batch: Streams.
    """

    def __init__(self, flow: CachedFlow, frames: int, batch: int = 1) -> None:
        latent, mem = TensorSpec((batch, HIDDEN, frames)), TensorSpec((batch, flow.context_length))
        super().__init__(
            GraphSpec(
                name="flow",
                inputs={"z_p": latent, "g": TensorSpec((batch, SPEAKER_WIDTH, 1)), "mem_in": mem},
                outputs={"z": latent, "mem_out": mem},
                carries={"mem_in": "mem_out"},
                batch=batch,
            )
        )
        self.flow = flow

    def forward(self, z_p: Tensor, g: Tensor, mem_in: Tensor) -> tuple[Tensor, Tensor]:
        """See `CachedFlow.forward`."""
        z, mem_out = self.flow.forward(z_p, g, mem_in)
        return z, mem_out


class SourceStep(Step):
    """`HarmonicSource` for a block, some frames before it and some after it, which the next block has again.

    Args:
        source: The source.
        frames: Frames to render.
        step: Frames after which the next block's rendering starts.
        batch: Streams.
    """

    def __init__(self, source: HarmonicSource, frames: int, step: int, batch: int = 1) -> None:
        samples, phase = frames * source.samples_per_frame, TensorSpec((batch, 1), torch.int32)
        super().__init__(
            GraphSpec(
                name="source",
                inputs={
                    "f0": TensorSpec((batch, frames)),
                    "noise": TensorSpec((batch, samples)),
                    "phase_in": phase,
                },
                outputs={"source": TensorSpec((batch, 1, samples)), "phase_out": phase},
                carries={"phase_in": "phase_out"},
                batch=batch,
            )
        )
        self.source = source
        self._step = step

    def forward(self, f0: Tensor, noise: Tensor, phase_in: Tensor) -> tuple[Tensor, Tensor]:
        """Source `[B, 1, frames * samples_per_frame]` and the phase before the next block's first frame.

        Args:
            f0: Hz, 0 where unvoiced `[B, frames]`.
            noise: Standard normal `[B, frames * samples_per_frame]`.
            phase_in: Before the first frame, in the units of `frame_phases`, int32 `[B, 1]`.
        """
        source, _ = self.source.forward(f0, noise[..., None], phase_in)
        return source, frame_phases(phase_in, f0[:, : self._step])[:, -1:]


class DecoderStep(Step):
    """`CachedDecoder` for blocks that are all alike, or that start on a grid which is not theirs.

    Args:
        dec: The decoder.
        frames: Frames of each block and its lookahead.
        samples: To render.
        step: Frames after which the next block starts; None where this is an input, as it changes from block to block.
        batch: Streams.
    """

    def __init__(self, dec: CachedDecoder, frames: int, samples: int, step: int | None, batch: int = 1) -> None:
        mem = TensorSpec((batch, dec.context_length))
        inputs = {
            "z": TensorSpec((batch, HIDDEN, frames)),
            "g": TensorSpec((batch, SPEAKER_WIDTH, 1)),
            "mem_in": mem,
        }
        if step is None:
            inputs["step"] = TensorSpec((batch, 1), torch.int64)
        if dec.dec.noise_convs is not None:
            inputs["source"] = TensorSpec((batch, 1, frames * dec.per_frame))
        super().__init__(
            GraphSpec(
                name="decoder",
                inputs=inputs,
                outputs={"wav": TensorSpec((batch, 1, samples)), "mem_out": mem},
                carries={"mem_in": "mem_out"},
                batch=batch,
            )
        )
        self.dec = dec
        self.samples, self.step = samples, step

    def forward(self, z: Tensor, g: Tensor, mem_in: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        """See `CachedDecoder.forward`.

        Args:
            z: `[B, 192, frames]`.
            g: Speaker embedding `[B, 256, 1]`.
            mem_in: Context of all layers `[B, context_length]`.
            others: `step` int64 `[B, 1]` where it is an input; then `source` `[B, 1, frames * samples_per_frame]` of a
                voice with F0.
        """
        step = others[0] if self.step is None else self.step
        source = others[-1] if self.dec.dec.noise_convs is not None else None
        wav, mem_out = self.dec.forward(z, g, source, self.samples, step, mem_in)
        return wav, mem_out
