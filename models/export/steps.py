"""Steps as they are exported: whatever a runtime outside altervox would otherwise have to know is inside the graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..graph import GraphSpec, Step, TensorSpec
from ..pitch.gru import BoundedGRU
from ..pitch.rmvpe import RMVPE, RmvpeStep, rows_of
from ..retrieval import FeatureIndex
from ..rvc.prior import HIDDEN
from ..rvc.steps import DecoderStep, FlowStep, SourceStep
from ..rvc.streaming import CachedDecoder, CachedFlow
from ..rvc.synthesizer import LATENT_NOISE, Synthesizer
from .rmvpe import CroppedRmvpe

_HOLD = 1e4  # of an update gate: its sigmoid is 1 in every precision, so that the state stays what it was


class PitchStep(Step):
    """`RmvpeStep` with a number of rows that count: the rows of a stream's first steps are fewer than the others'.

    Rows after them leave the GRU's state as it is, so the backward direction starts at the last row that counts.

    Args:
        model: The network.
        row_count: See `RmvpeStep`.
        window_frames: See `RmvpeStep`.
        batch: Streams.
        unrolled: Whether the GRU becomes plain products, for what has no GRU of its own.
    """

    def __init__(
        self, model: RMVPE, row_count: int, window_frames: int, batch: int = 1, unrolled: bool = False
    ) -> None:
        spec = RmvpeStep(model, row_count, window_frames, batch).spec
        valid = {"valid_rows": TensorSpec((batch, 1), torch.int64)}
        super().__init__(GraphSpec(spec.name, {**spec.inputs, **valid}, spec.outputs, spec.carries, batch))
        self.cropped = CroppedRmvpe(model)
        self.gru = (UnrolledGRU if unrolled else HoldingGRU)(model.gru)
        self.to_salience = model.fc[1]

    def forward(
        self, mel: Tensor, rows: Tensor, last_row: Tensor, h_in: Tensor, valid_rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `RmvpeStep.forward`; salience after the first `valid_rows` `[B, 1]` rows means nothing."""
        x = self.cropped.features(mel, rows)
        held = (torch.arange(x.shape[1], device=x.device) >= valid_rows).to(x.dtype)
        y, forward_states = self.gru(x, held[..., None], h_in)
        return torch.sigmoid(self.to_salience(y)), rows_of(forward_states, last_row)[:, 0]


class HoldingGRU(nn.Module):
    """A bidirectional GRU that passes over some steps: a further feature opens its update gates for good."""

    def __init__(self, bounded: BoundedGRU) -> None:
        super().__init__()
        gru = bounded.gru
        self.gru = nn.GRU(gru.input_size + 1, gru.hidden_size, batch_first=True, bidirectional=True)
        holding = torch.zeros(3 * gru.hidden_size, 1)
        holding[gru.hidden_size : 2 * gru.hidden_size] = _HOLD
        state = {name: tensor.detach().cpu() for name, tensor in gru.state_dict().items()}
        for name in ("weight_ih_l0", "weight_ih_l0_reverse"):
            state[name] = torch.cat((state[name], holding), dim=1)
        self.gru.load_state_dict(state)

    def forward(self, x: Tensor, held: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor]:
        """As `BoundedGRU`, the state standing still where `held` `[B, T, 1]` is 1.

        Args:
            x: `[B, T, input]`.
            held: 0 or 1 `[B, T, 1]`.
            h_in: `[B, hidden]`.
        """
        h = torch.stack((h_in, torch.zeros_like(h_in)))
        y: Tensor = self.gru(torch.cat((x, held), dim=2), h)[0]
        return y, y[..., : h_in.shape[1]]


class UnrolledGRU(nn.Module):
    """The same without a recurrent operator: one product for all steps, then one for each."""

    def __init__(self, bounded: BoundedGRU) -> None:
        super().__init__()
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        for end in ("_l0", "_l0_reverse"):
            for name in names:
                self.register_buffer(name + end, getattr(bounded.gru, name + end).detach().cpu().clone())

    def forward(self, x: Tensor, held: Tensor, h_in: Tensor) -> tuple[Tensor, Tensor]:
        """See `HoldingGRU.forward`."""
        forward_half = self._direction(x, held, h_in, "_l0", range(x.shape[1]))
        backward_half = self._direction(x, held, torch.zeros_like(h_in), "_l0_reverse", range(x.shape[1] - 1, -1, -1))
        return torch.cat((forward_half, backward_half), dim=2), forward_half

    def _direction(self, x: Tensor, held: Tensor, h: Tensor, end: str, order: range) -> Tensor:
        weight_ih, weight_hh = getattr(self, "weight_ih" + end), getattr(self, "weight_hh" + end)
        bias_ih, bias_hh = getattr(self, "bias_ih" + end), getattr(self, "bias_hh" + end)
        from_input = x @ weight_ih.T + bias_ih
        states: dict[int, Tensor] = {}
        for t in order:
            reset_x, update_x, new_x = from_input[:, t].chunk(3, dim=1)
            reset_h, update_h, new_h = (h @ weight_hh.T + bias_hh).chunk(3, dim=1)
            update = torch.sigmoid(update_x + update_h + _HOLD * held[:, t])
            new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
            h = states[t] = (1.0 - update) * new + update * h
        return torch.stack([states[t] for t in range(x.shape[1])], dim=1)


class GeneratorStep(Step):
    """The waveform side of a voice: draws from the prior, runs flow, source and decoder.

    Args:
        net: The generator.
        block: Frames of a block.
        frames: Frames of the block and of what follows it.
        samples: To render, from the block's first frame on.
        batch: Streams.
    """

    def __init__(self, net: Synthesizer, block: int, frames: int, samples: int, batch: int = 1) -> None:
        flow = FlowStep(CachedFlow(net.flow, block), frames, batch)
        decoder = DecoderStep(CachedDecoder(net.dec), frames, samples, block, batch)
        latent = TensorSpec((batch, HIDDEN, frames))
        inputs = {"m": latent, "logs": latent, "latent_noise": latent, "speaker": TensorSpec((batch, 1), torch.int64)}
        outputs = {"wav": TensorSpec((batch, samples))}
        source = None
        if net.dec.m_source is not None:
            source = SourceStep(net.dec.m_source, frames, block, batch)
            inputs |= {"f0": source.spec.inputs["f0"], "source_noise": source.spec.inputs["noise"]}
            inputs["phase_in"] = outputs["phase_out"] = source.spec.inputs["phase_in"]
        inputs["flow_mem_in"] = outputs["flow_mem_out"] = flow.spec.inputs["mem_in"]
        inputs["decoder_mem_in"] = outputs["decoder_mem_out"] = decoder.spec.inputs["mem_in"]
        carries = {name: name.removesuffix("_in") + "_out" for name in inputs if name.endswith("_in")}
        super().__init__(GraphSpec("generator", inputs, outputs, carries, batch))
        self.speakers, self.flow, self.source, self.decoder = net.emb_g, flow, source, decoder

    def forward(
        self, m: Tensor, logs: Tensor, latent_noise: Tensor, speaker: Tensor, *others: Tensor
    ) -> tuple[Tensor, ...]:
        """Samples of the block and of what is rendered after it, and what the next block starts from.

        Args:
            m: Prior mean `[B, 192, frames]`.
            logs: Prior log deviation `[B, 192, frames]`.
            latent_noise: Standard normal `[B, 192, frames]`.
            speaker: Number of the speaker `[B, 1]`.
            others: For a voice with F0 `f0` in Hz `[B, frames]`, `source_noise` `[B, frames * samples_per_frame]` and
                `phase_in` `[B, 1]`; then `flow_mem_in` and `decoder_mem_in`.

        Returns:
            `wav` `[B, samples]`, `phase_out` of a voice with F0, `flow_mem_out`, `decoder_mem_out`.
        """
        flow_mem, decoder_mem = others[-2:]
        g = self.speakers(speaker[:, 0])[..., None]
        z, flow_mem = self.flow(m + torch.exp(logs) * latent_noise * LATENT_NOISE, g, flow_mem)
        if self.source is None:
            wav, decoder_mem = self.decoder(z, g, decoder_mem)
            return wav[:, 0], flow_mem, decoder_mem
        source, phase = self.source(*others[:3])
        wav, decoder_mem = self.decoder(z, g, decoder_mem, source)
        return wav[:, 0], phase, flow_mem, decoder_mem


class RetrievalStep(Step):
    """Feature retrieval: what features are blended with.

    Args:
        index: On the CPU.
        slots: Features at a time.
        batch: Streams.
    """

    def __init__(self, index: FeatureIndex, slots: int, batch: int = 1) -> None:
        features = TensorSpec((batch, slots, index.vectors.shape[1]))
        super().__init__(GraphSpec("retrieval", {"features": features}, {"neighbours": features}, batch=batch))
        self.index = index

    def forward(self, features: Tensor) -> Tensor:
        """`FeatureIndex.neighbours` of `[B, slots, C]`."""
        return self.index.neighbours(features.flatten(0, 1)).view(features.shape)
