"""The RVC generator as a whole, with the published checkpoints' key names: v1 and v2, with and without F0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.errors import CheckpointError
from ..torch_file import described
from ..weights import load_weights, on_meta
from .decoder import Decoder, DecoderShape
from .prior import FLOW_REACH, SPEAKER_WIDTH, Flow, PriorEncoder

MAX_CHANNELS = 2048  # at the start of a decoder; published ones have 512
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
        phase: Phase after the last rendered frame, in the units of `frame_phases`, int32 `[B, 1]`.
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
            shape = _decoder_shape(config)
            speakers, _ = state["emb_g.weight"].shape  # config[-3] is often wrong
            _, feature_width = state["enc_p.emb_phone.weight"].shape
            model = on_meta(lambda: cls(shape, feature_width, speakers, has_f0))
            load_weights(model, {k: v for k, v in state.items() if not k.startswith("enc_q.")})
        except (KeyError, ValueError, CheckpointError) as error:
            raise CheckpointError(f"the weights do not fit an RVC generator: {error}") from error
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
            phase_in: Phase of the source before the first rendered frame, in the units of `frame_phases`, int32
                `[B, 1]`; None is zero.
        """
        part = part or Slice(0, phone.shape[1], phone.shape[1])
        g = self.emb_g(speaker)[..., None]
        lead_in = min(part.skip_head, FLOW_REACH)
        m, logs = self.enc_p(phone, pitch, part.skip_head - lead_in)
        z_p = m + torch.exp(logs) * latent_noise * LATENT_NOISE
        z = self.flow(z_p, g)[..., lead_in : lead_in + part.frames]
        source, phase = None, torch.zeros(len(phone), 1, dtype=torch.int32, device=phone.device)
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


def _decoder_shape(config: Sequence[object]) -> DecoderShape:
    """The decoder that a checkpoint's config describes.

    Raises:
        CheckpointError: it is not one of RVC's. What no weight's shape shows (dilations, strides) is compared, for it
            decides how many frames a block needs around it and what a block costs.
    """
    if len(config) < 18:
        raise CheckpointError("the config has fewer than 18 values")
    kernels, dilations = (_whole_numbers(value) for value in (config[10], _flat(config[11])))
    if kernels != (3, 7, 11) or dilations != (1, 3, 5) * 3:
        raise CheckpointError(
            f"the residual blocks have kernels {described(config[10])} and dilations {described(_flat(config[11]))}; "
            "those of RVC voices have kernels 3, 7 and 11, each with dilations 1, 3 and 5"
        )
    rates, channels, upsample_kernels = (_whole_numbers(value) for value in (config[12], [config[13]], config[14]))
    fitting = len(rates) == len(upsample_kernels) and all(
        0 < rate <= kernel <= 64 and (kernel - rate) % 2 == 0
        for rate, kernel in zip(rates, upsample_kernels, strict=False)
    )
    if not rates or len(rates) > 8 or not fitting:
        raise CheckpointError(
            f"the upsample rates {described(config[12])} do not fit the kernel sizes {described(config[14])}"
        )
    if not channels or not 2 ** len(rates) <= channels[0] <= MAX_CHANNELS or channels[0] % 2 ** len(rates):
        raise CheckpointError(
            f"the decoder starts with {described(config[13])} channels; RVC voices have 512, "
            f"and at most {MAX_CHANNELS} are taken"
        )
    shape = DecoderShape(sample_rate_of(config[-1]), rates, upsample_kernels, channels[0])
    if shape.samples_per_frame * 100 != shape.sample_rate:
        raise CheckpointError(
            f"the upsample rates {described(config[12])} make {shape.samples_per_frame} samples per 10 ms frame, which "
            f"does not fit {shape.sample_rate} Hz"
        )
    return shape


def _flat(value: object) -> object:
    """The numbers of a short list of short lists."""
    if not isinstance(value, list | tuple) or not all(isinstance(v, list | tuple) for v in value[:4]):
        return value
    return [number for part in value[:4] for number in part[:4]]


def _whole_numbers(value: object) -> tuple[int, ...]:
    """A list of whole numbers; empty if it is none."""
    if not isinstance(value, list | tuple) or not all(type(v) is int for v in value):
        return ()
    return tuple(value)


def sample_rate_of(value: object) -> int:
    """A checkpoint's sampling rate in Hz, written as 40000, "40000" or "40k".

    Raises:
        CheckpointError: it is none of the rates that such voices have.
    """
    text = str(value).strip().lower() if isinstance(value, str | int | float) else ""
    rates = {form: rate for rate in (32000, 40000, 48000) for form in (f"{rate}", f"{rate}.0", f"{rate // 1000}k")}
    if text not in rates:
        raise CheckpointError(f"the sampling rate is {described(value)}; RVC voices have 32000, 40000 or 48000 Hz")
    return rates[text]


def latent_frames(window_frames: int, skip_head: int) -> int:
    """Frames of latent noise that `Synthesizer.infer` takes for a window."""
    return window_frames - max(skip_head - FLOW_REACH, 0)
