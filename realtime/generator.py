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

from ..kernels.fractional import sample_evenly
from ..models.cached_generator import CachedDecoder, CachedFlow, LayerContext
from ..models.prior import HIDDEN
from ..models.render import cycles, drawn_prior, harmonic_source, sample_linearly
from ..models.synthesizer import Synthesizer

_LEAD_FRAMES = 2  # a grid of half the density reads its first value up to a frame and a half before the block
_FILTER_SAMPLES = 40  # on each side of what is played at another rate: 33 for an octave up, and rounding

_GRID_RETURN = 0.01  # a sixth of a semitone


@dataclass(slots=True)
class GeneratorState:
    """What is carried.

    Attributes:
        flow: Context of the flow's layers.
        decoder: Context of the decoder's layers.
        z_mem: Latent of the last frames before the block `[1, 192, 2]`.
        f0_mem: F0 in Hz of the source over these [2].
        wav_mem: Last samples of the dense grid before the block.
        phase: Of the source in cycles before the next frame.
        grid_offset: Where the next frame begins on the dense grid, in its frames from the first not yet rendered.
        started: Whether any block was rendered.
    """

    flow: LayerContext
    decoder: LayerContext
    z_mem: Tensor
    f0_mem: NDArray[np.float32]
    wav_mem: NDArray[np.float32]
    phase: float
    grid_offset: float
    started: bool

    def forget_sound(self) -> None:
        """Drop the context of all layers, as before the start of a file. Where phase and grid stand is kept."""
        self.flow.reset()
        self.decoder.reset()
        self.z_mem.zero_()
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
        tail_frames: Frames after the block that are rendered too, as far as the look-ahead reaches.
    """

    def __init__(self, net: Synthesizer, block_frames: int, tail_frames: int) -> None:
        self.net = net
        self.block_frames = block_frames
        self.tail_frames = tail_frames
        self._flow, self._decoder = CachedFlow(net.flow), CachedDecoder(net.dec)
        self.state = GeneratorState(
            flow=self._flow.allocate(),
            decoder=self._decoder.allocate(),
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
            m: Prior mean of the block and the look-ahead `[1, 192, T]`.
            logs: Prior log deviation `[1, 192, T]`.
            f0: Hz of the source, 0 where unvoiced [T].
            g: Speaker embedding `[1, 256, 1]`.
            start: Absolute index of the block's first frame.
            formant_semitones: Shift of the resonances.
            seed: Of the noise.

        Returns:
            The block, and what follows it as far as it was asked for and the look-ahead reaches.
        """
        state, block = self.state, self.block_frames
        z, context = self._flow(drawn_prior(m, logs, start, seed), g, block, state.flow.read())
        state.flow.write(context)
        z = torch.cat((state.z_mem, z), dim=2)
        f0 = np.concatenate((state.f0_mem, f0))
        source = harmonic_source(self.net, f0, start - _LEAD_FRAMES, state.phase - cycles(state.f0_mem), seed)
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

    def _decoded(self, z: Tensor, source: Tensor | None, g: Tensor, density: float, start: int) -> NDArray[np.float32]:
        """Samples of the block, from latent and source that begin two frames before it."""
        state, per_frame, block = self.state, self.net.shape.samples_per_frame, self.block_frames
        frames = z.shape[2] - _LEAD_FRAMES
        samples = min(block + self.tail_frames, frames) * per_frame
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
            dense_z = z[..., _LEAD_FRAMES:]
            dense_source = source[..., _LEAD_FRAMES * per_frame :] if source is not None else None
            dense_samples = samples
        else:
            # The grid's frame q stands at q - offset dense frames from the block's first.
            dense_frames = max(math.ceil(offset + frames * density), step)
            dense_z = sample_linearly(z, -_LEAD_FRAMES, -offset, dense_frames, density)
            dense_source = None
            if source is not None:
                lead, count = -_LEAD_FRAMES * per_frame, dense_frames * per_frame
                dense_source = sample_linearly(source, lead, -offset * per_frame, count, density)
            needed = math.ceil(offset * per_frame + samples * density) + _FILTER_SAMPLES
            dense_samples = min(max(needed, step * per_frame), dense_frames * per_frame)
        decoded, context = self._decoder(dense_z, g, dense_source, dense_samples, step, state.decoder.read())
        state.decoder.write(context)
        wav = np.concatenate((state.wav_mem, decoded[0, 0].float().cpu().numpy()))
        state.wav_mem[:] = wav[step * per_frame :][:_FILTER_SAMPLES]
        if as_it_is:
            return wav[_FILTER_SAMPLES:]
        first = _FILTER_SAMPLES + offset * per_frame + 0.5 * density - 0.5
        return sample_evenly(wav, first, density, samples)
