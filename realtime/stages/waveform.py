"""Prior and F0 to samples, block by block: flow and decoder with cached context, source with carried phase.

A voice whose formants are moved is rendered on a grid of frames that is denser by a factor, and played that much
faster. The grid runs through the stream: where it stands between two frames is carried, so that a factor that changes
leaves no step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.fractional import sample_evenly
from ...models.rvc.prior import HIDDEN
from ...models.rvc.render import cycles, drawn_prior, sample_linearly, source_noise
from ...models.rvc.streaming import CachedDecoder, CachedFlow, DecoderStep
from ...models.rvc.synthesizer import Synthesizer
from ..runners import Runner, make_runner

_LEAD_FRAMES = 2  # a grid of half the density reads its first value up to a frame and a half before the block
_FILTER_SAMPLES = 40  # on each side of what is played at another rate: 33 for an octave up, and rounding

_GRID_RETURN = 0.01  # a sixth of a semitone


@dataclass(slots=True)
class GeneratorState:
    """What is carried.

    Attributes:
        flow_mem: Context of the flow's layers [N]: the very buffer that the network reads and that each block updates.
        decoder_mem: Context of the decoder's layers, likewise.
        z_mem: Latent of the last frames before the block `[1, 192, 2]`.
        f0_mem: F0 in Hz of the source over these [2].
        wav_mem: Last samples of the dense grid before the block.
        phase: Of the source in cycles before the next frame.
        grid_offset: Where the next frame begins on the dense grid, in its frames from the first not yet rendered.
        started: Whether any block was rendered.
    """

    flow_mem: Tensor
    decoder_mem: Tensor
    z_mem: Tensor
    f0_mem: NDArray[np.float32]
    wav_mem: NDArray[np.float32]
    phase: float
    grid_offset: float
    started: bool

    def forget_sound(self) -> None:
        """Drop the context of all layers, as before the start of a file. Where phase and grid stand is kept."""
        for tensor in (self.flow_mem, self.decoder_mem, self.z_mem):
            tensor.zero_()
        self.f0_mem[:] = 0.0
        self.wav_mem[:] = 0.0

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.forget_sound()
        self.phase = self.grid_offset = 0.0
        self.started = False


class StreamingGenerator:
    """The waveform side of an RVC voice.

    Args:
        net: The generator.
        block_frames: Frames of 10 ms per step.
        right_frames: Frames after the block that each step is given.
        tail_frames: How many of these are rendered too.
        backend: See `make_runner`. The decoder of moved formants runs eagerly, for its lengths follow them.
    """

    def __init__(
        self, net: Synthesizer, block_frames: int, right_frames: int, tail_frames: int, backend: str = "auto"
    ) -> None:
        self.net = net
        self.block_frames = block_frames
        self.tail_frames = min(tail_frames, right_frames)
        frames, samples = block_frames + right_frames, (block_frames + self.tail_frames) * net.shape.samples_per_frame
        flow, self._any_decoder = CachedFlow(net.flow, block_frames), CachedDecoder(net.dec)
        decoder = DecoderStep(self._any_decoder, frames, samples, block_frames)
        self.flow = make_runner(flow.spec(frames), flow, backend)
        self.decoder = make_runner(decoder.spec, decoder, backend)
        self.source: Runner | None = None
        if net.dec.m_source is not None:
            self.source = make_runner(net.dec.m_source.spec(_LEAD_FRAMES + frames), net.dec.m_source, backend)
        self.state = GeneratorState(
            flow_mem=self.flow.inputs["mem_in"],
            decoder_mem=self.decoder.inputs["mem_in"],
            z_mem=torch.zeros(1, HIDDEN, _LEAD_FRAMES, device=net.emb_g.weight.device),
            f0_mem=np.zeros(_LEAD_FRAMES, dtype=np.float32),
            wav_mem=np.zeros(_FILTER_SAMPLES, dtype=np.float32),
            phase=0.0,
            grid_offset=0.0,
            started=False,
        )

    def step(
        self,
        m: Tensor,
        logs: Tensor,
        f0: NDArray[np.float32],
        g: Tensor,
        start: int,
        formant_semitones: float,
        seed: int,
    ) -> NDArray[np.float32]:
        """Render the next block.

        Args:
            m: Prior mean of the block and the look-ahead `[1, 192, block and right frames]`.
            logs: Prior log deviation, likewise.
            f0: Hz of the source, 0 where unvoiced, likewise.
            g: Speaker embedding `[1, 256, 1]`.
            start: Absolute index of the block's first frame.
            formant_semitones: Shift of the resonances.
            seed: Of the noise.

        Returns:
            The block and the `tail_frames` after it.
        """
        state, block = self.state, self.block_frames
        self.flow.inputs["z_p"].copy_(drawn_prior(m, logs, start, seed))
        self.flow.inputs["g"].copy_(g)
        self.flow.run()
        z = torch.cat((state.z_mem, self.flow.outputs["z"]), dim=2)
        f0 = np.concatenate((state.f0_mem, f0))
        source = self._source(f0, start - _LEAD_FRAMES, state.phase - cycles(state.f0_mem), seed)
        state.phase = (state.phase + cycles(f0[_LEAD_FRAMES : _LEAD_FRAMES + block])) % 1.0
        state.z_mem.copy_(z[..., block : block + _LEAD_FRAMES])
        state.f0_mem[:] = f0[block : block + _LEAD_FRAMES]
        wav = self._decoded(z, source, g, 2.0 ** (formant_semitones / 12.0), start)
        state.started = True
        return wav

    def skip(self, f0: NDArray[np.float32]) -> None:
        """Pass over a block without rendering it; the next one starts with an empty context.

        Args:
            f0: Hz of the source over the block [block_frames].
        """
        self.state.forget_sound()
        self.state.phase = (self.state.phase + cycles(f0)) % 1.0

    def _source(self, f0: NDArray[np.float32], first_frame: int, phase: float, seed: int) -> Tensor | None:
        """See `models.render.harmonic_source`."""
        if self.source is None:
            return None
        self.source.inputs["f0"].copy_(torch.from_numpy(f0)[None])
        self.source.inputs["noise"].copy_(source_noise(self.net, first_frame, len(f0), seed))
        self.source.inputs["phase_in"].fill_(phase)
        self.source.run()
        return self.source.outputs["source"]

    def _decoded(self, z: Tensor, source: Tensor | None, g: Tensor, density: float, start: int) -> NDArray[np.float32]:
        """Samples of the block, from latent and source that begin two frames before it."""
        state, per_frame, block = self.state, self.net.shape.samples_per_frame, self.block_frames
        frames, samples = z.shape[2] - _LEAD_FRAMES, (block + self.tail_frames) * per_frame
        if not state.started:
            state.grid_offset = start * density % 1.0  # the grid has a frame where the stream begins
        offset = state.grid_offset
        if density == 1.0 and offset != 0.0:  # back onto the stream's own frames, too slowly to be heard
            density += min(max((round(offset) - offset) / block, -_GRID_RETURN), _GRID_RETURN)
        after = offset + block * density
        if abs(after - round(after)) < 1e-9:
            after = float(round(after))
        step = math.floor(after)
        state.grid_offset = after - step
        as_it_is = density == 1.0 and offset == 0.0
        if as_it_is:
            self.decoder.inputs["z"].copy_(z[..., _LEAD_FRAMES:])
            self.decoder.inputs["g"].copy_(g)
            if source is not None:
                self.decoder.inputs["source"].copy_(source[..., _LEAD_FRAMES * per_frame :])
            self.decoder.run()
            decoded = self.decoder.outputs["wav"]
        else:
            # The grid's frame q stands at q - offset dense frames from the block's first.
            dense_frames = math.ceil(1 + frames * density)
            dense_z = sample_linearly(z, -_LEAD_FRAMES, -offset, dense_frames, density)
            dense_source = None
            if source is not None:
                lead, count = -_LEAD_FRAMES * per_frame, dense_frames * per_frame
                dense_source = sample_linearly(source, lead, -offset * per_frame, count, density)
            needed = math.ceil(per_frame + samples * density) + _FILTER_SAMPLES
            dense_samples = min(needed, dense_frames * per_frame)
            decoded, mem = self._any_decoder(dense_z, g, dense_source, dense_samples, step, state.decoder_mem)
            state.decoder_mem.copy_(mem)
        wav = np.concatenate((state.wav_mem, decoded[0, 0].float().cpu().numpy()))
        state.wav_mem[:] = wav[step * per_frame :][:_FILTER_SAMPLES]
        if as_it_is:
            return wav[_FILTER_SAMPLES:]
        first = _FILTER_SAMPLES + offset * per_frame + 0.5 * density - 0.5
        return sample_evenly(wav, first, density, samples)
