"""The RVC generator as a whole, with the published checkpoints' key names: v1 and v2, with and without F0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.errors import CheckpointError
from .decoder import Decoder, DecoderShape
from .prior import FLOW_REACH, SPEAKER_WIDTH, Flow, PriorEncoder
from .weight_norm import fold_weight_norm

LATENT_NOISE = 0.66666  # five sixes, as the voices were tuned with


@dataclass(frozen=True, slots=True)
class Slice:
    """Which frames of a window are rendered, and how far the formants are stretched.

    Attributes:
        skip_head: Frames at the start that serve as context only.
        frames: Frames to render.
        stretched_frames: Frames that these are interpolated to; more of them raise the formants when the result is
            played in the same time. Equal to `frames` when formants stay.
    """

    skip_head: int
    frames: int
    stretched_frames: int


@dataclass(frozen=True, slots=True)
class Rendering:
    """What `Synthesizer.infer` returns.

    Attributes:
        wav: `[B, 1, frames * samples_per_frame]`.
        m: Prior mean `[B, 192, frames with lead-in]`.
        logs: Prior log deviation, the same shape.
        z: Latent of the rendered frames, before any stretching.
        source: Harmonic source before any stretching, None for a voice without F0.
        phase: Phase in cycles after the last rendered frame `[B]`, float64.
    """

    wav: Tensor
    m: Tensor
    logs: Tensor
    z: Tensor
    source: Tensor | None
    phase: Tensor


class Synthesizer(nn.Module):
    """Content features, pitch and speaker to waveform."""

    def __init__(self, shape: DecoderShape, feature_width: int, speakers: int, has_f0: bool) -> None:
        super().__init__()
        self.shape = shape
        self.feature_width = feature_width
        self.has_f0 = has_f0
        self.enc_p = PriorEncoder(feature_width, has_f0)
        self.flow = Flow()
        self.dec = Decoder(shape, has_f0)
        self.emb_g = nn.Embedding(speakers, SPEAKER_WIDTH)
        self.eval()

    @property
    def speakers(self) -> int:
        """Number of speakers."""
        return self.emb_g.num_embeddings

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], config: Sequence[object], has_f0: bool) -> Synthesizer:
        """The generator of a checkpoint's `weight` and `config`, computing in float32.

        The posterior encoder (`enc_q`), which only training uses, is ignored where present.

        Raises:
            CheckpointError: config, names or shapes are not an RVC generator's.
        """
        try:
            rates, channels, kernels = config[12], config[13], config[14]
            shape = DecoderShape(
                sample_rate=sample_rate_of(config[-1]),
                upsample_rates=tuple(rates),  # type: ignore[arg-type]
                upsample_kernel_sizes=tuple(kernels),  # type: ignore[arg-type]
                initial_channels=int(channels),  # type: ignore[call-overload]
                resblock_kernel_sizes=tuple(config[10]),  # type: ignore[arg-type]
                resblock_dilation_sizes=tuple(tuple(d) for d in config[11]),  # type: ignore[attr-defined]
            )
            if shape.samples_per_frame * 100 != shape.sample_rate:
                raise CheckpointError(
                    f"the upsample rates {list(shape.upsample_rates)} make {shape.samples_per_frame} samples per 10 ms "
                    f"frame, which does not fit {shape.sample_rate} Hz"
                )
            speakers = state["emb_g.weight"].shape[0]  # config[-3] is often wrong
            model = cls(shape, state["enc_p.emb_phone.weight"].shape[1], speakers, has_f0)
            needed = {k: v.float() for k, v in state.items() if not k.startswith("enc_q.")}
            model.load_state_dict(fold_weight_norm(needed))
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise CheckpointError(f"the weights do not fit an RVC generator: {lines[-1][:200]}") from error
        return model

    @torch.inference_mode()
    def infer(
        self,
        phone: Tensor,
        pitch: Tensor | None,
        f0: Tensor | None,
        speaker: Tensor,
        latent_noise: Tensor,
        source_noise: Tensor | None,
        part: Slice | None = None,
        phase_in: Tensor | None = None,
    ) -> Rendering:
        """Render a window of T frames, or a part of it.

        With a part, the prior encoder sees all frames, the flow those from 24 before the part on, the decoder only the
        part.

        Args:
            phone: Content features `[B, T, 256 | 768]`.
            pitch: Coarse pitch `[B, T]`, None without F0.
            f0: Hz, 0 where unvoiced `[B, T]`, None without F0.
            speaker: `[B]`.
            latent_noise: Standard normal `[B, 192, T - max(skip_head - 24, 0)]`.
            source_noise: Standard normal `[B, frames * samples_per_frame, 1]`, None without F0.
            part: None renders everything.
            phase_in: Source phase in cycles before the first rendered frame, float64 `[B]`; None is zero.
        """
        part = part or Slice(0, phone.shape[1], phone.shape[1])
        g = self.emb_g(speaker)[..., None]
        lead_in = min(part.skip_head, FLOW_REACH)
        m, logs = self.enc_p(phone, pitch, part.skip_head - lead_in)
        z_p = m + torch.exp(logs) * latent_noise * LATENT_NOISE
        z = self.flow(z_p, g)[..., lead_in : lead_in + part.frames]
        source, phase = None, torch.zeros(len(phone), dtype=torch.float64, device=phone.device)
        if self.dec.m_source is not None:
            assert f0 is not None
            assert source_noise is not None
            rendered_f0 = f0[:, part.skip_head : part.skip_head + part.frames]
            source, phase = self.dec.m_source(rendered_f0, source_noise, phase if phase_in is None else phase_in)
        decoder_z, decoder_source = z, source
        if part.stretched_frames != part.frames:
            decoder_z = F.interpolate(z, size=part.stretched_frames, mode="linear")
            if source is not None:
                samples = part.stretched_frames * self.shape.samples_per_frame
                decoder_source = F.interpolate(source, size=samples, mode="linear")
        return Rendering(self.dec(decoder_z, g, decoder_source), m, logs, z, source, phase)


def sample_rate_of(value: object) -> int:
    """A checkpoint's sampling rate in Hz, written as 40000, "40000" or "40k".

    Raises:
        CheckpointError: it is none of the rates that such voices have.
    """
    text = str(value).strip().lower()
    rate = int(text[:-1]) * 1000 if text.endswith("k") and text[:-1].isdigit() else int(text) if text.isdigit() else 0
    if rate not in (32000, 40000, 48000):
        raise CheckpointError(f"the sampling rate is {value!r}; RVC voices have 32000, 40000 or 48000 Hz")
    return rate


def latent_frames(window_frames: int, skip_head: int) -> int:
    """Frames of latent noise that `Synthesizer.infer` takes for a window."""
    return window_frames - max(skip_head - FLOW_REACH, 0)
