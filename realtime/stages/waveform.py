"""Prior and F0 to samples, block by block: flow and decoder with cached context, source with carried phase.

A voice whose formants are moved is rendered on a grid of frames that is denser by a factor, and played that much
faster. The grid runs through the stream: where it stands between two frames is carried, so that a factor that changes
leaves no step. The decoder takes as many frames of the grid as the next of a few fixed factors needs, so that it can be
captured and exported: what is beyond the newest frame repeats it.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.fractional import sample_evenly_into
from ...kernels.linear import linear_places_into
from ...kernels.noise import StreamNoise
from ...models.graph import Step
from ...models.parameters import VOICE_PARAMETERS
from ...models.rvc.fast_decoder import FastDecoder
from ...models.rvc.phase import frame_phases
from ...models.rvc.prior import HIDDEN
from ...models.rvc.steps import DecoderStep, FlowStep, SourceStep
from ...models.rvc.streaming import CachedDecoder, CachedFlow
from ...models.rvc.synthesizer import LATENT_NOISE, Synthesizer
from ..runners import Runner, make_runner
from ..runners.precision import has_amx, pays_in_bfloat16
from .staging import Download, Upload

LATENT_STREAM, SOURCE_STREAM = 0, 1  # of the noise
_LEAD_FRAMES = 2  # a grid of half the density reads its first value up to a frame and a half before the block
_FILTER_SAMPLES = 40  # on each side of what is played at another rate: 33 for an octave up, and rounding
_TRIAL_FRAMES = 10
_GRID_RETURN = 0.01  # a sixth of a semitone
_GRID_SEMITONES = 3  # from one fixed factor to the next: at most 19 % more is rendered than a factor needs


@dataclass(slots=True)
class GeneratorState:
    """What is carried.

    Attributes:
        flow_mem: Context of the flow's layers `[1, N]`: the very buffer that the network reads and that each block
            updates.
        decoder_mem: Context of the decoder's layers, likewise.
        phase: Phase of the source before the frames of `f0_mem`, in the units of `frame_phases` `[1, 1]`, likewise.
        z_mem: Latent of the last frames before the block `[1, 192, 2]`.
        f0_mem: F0 in Hz of the source over these [2].
        wav_mem: Last samples of the dense grid before the block.
        grid_offset: Position of the next frame on the dense grid, in its frames from the first not yet rendered.
        started: Whether any block was rendered.
    """

    flow_mem: Tensor
    decoder_mem: Tensor
    phase: Tensor
    z_mem: Tensor
    f0_mem: NDArray[np.float32]
    wav_mem: NDArray[np.float32]
    grid_offset: float
    started: bool

    def forget_sound(self) -> None:
        """Drop the context of all layers, as before the start of a file. Where phase and grid stand is kept."""
        for tensor in (self.flow_mem, self.decoder_mem, self.z_mem):
            tensor.zero_()
        self.wav_mem[:] = 0.0

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.forget_sound()
        self.phase.zero_()
        self.f0_mem[:] = 0.0
        self.grid_offset = 0.0
        self.started = False


class _Source:
    """The harmonic source of a voice with F0, with what it is fed."""

    def __init__(self, net: Synthesizer, frames: int, block_frames: int, backend: str) -> None:
        assert net.dec.m_source is not None
        step = SourceStep(net.dec.m_source, frames, block_frames)
        self.runner = make_runner(step.spec, step, backend)
        self.f0, self.noise = Upload(self.runner.inputs["f0"]), Upload(self.runner.inputs["noise"])
        # Not the input of the network: the last copy to that may still be under way.
        self.skipped = Upload(torch.zeros(1, block_frames, device=self.runner.inputs["f0"].device))
        self.drawn = StreamNoise(SOURCE_STREAM, net.shape.samples_per_frame, frames)
        self.noise_rows = self.noise.array.reshape(frames, -1)


class _Decoder:
    """The decoder of a voice, in the form that is fast where it runs."""

    def __init__(self, net: Synthesizer, beside: Executor | None, may_be_half: bool) -> None:
        self.cached = CachedDecoder(net.dec)
        self._fast: FastDecoder | None = None
        if net.dec.conv_pre.weight.device.type == "cpu":
            is_half = may_be_half and has_amx() and _pays_in_half(self.cached)
            self._fast = FastDecoder(self.cached, beside, is_half)

    def step(self, frames: int, samples: int, step: int | None) -> Step:
        """See `DecoderStep`. What all steps carry has the same order."""
        plain = DecoderStep(self.cached, frames, samples, step)
        return plain if self._fast is None else self._fast.step(plain)

    def allocate(self) -> None:
        """Allocate what the steps share, once all are known."""
        if self._fast is not None:
            self._fast.allocate()


def _pays_in_half(cached: CachedDecoder) -> bool:
    """Whether a decoder is better off in bfloat16 on this processor, tried on a tenth of a second."""
    plain = DecoderStep(cached, _TRIAL_FRAMES, _TRIAL_FRAMES * cached.per_frame, _TRIAL_FRAMES)
    generator = torch.Generator().manual_seed(0)
    levels = {"z": 1.0, "g": 0.1, "source": 0.1}
    inputs = [
        levels.get(name, 0.0) * torch.randn(spec.shape, generator=generator) for name, spec in plain.spec.inputs.items()
    ]
    steps = []
    for is_half in (False, True):
        fast = FastDecoder(cached, None, is_half)
        steps.append(fast.step(plain))
        fast.allocate()
    full, half = steps
    return pays_in_bfloat16(full, half, inputs)


class _Grid:
    """The decoder for factors up to one of the fixed ones, and what takes a block to its grid."""

    def __init__(
        self, decoder: _Decoder, frames: int, samples: int, density: float, backend: str, like: Runner
    ) -> None:
        count, per_frame = math.ceil(1 + frames * density), decoder.cached.per_frame
        needed = min(math.ceil(per_frame + samples * density) + _FILTER_SAMPLES, count * per_frame)
        step = decoder.step(count, needed, None)
        self.density = density
        self.runner = make_runner(step.spec, step, backend, {name: like.inputs[name] for name in ("mem_in", "g")})
        self.wav = Download(self.runner.outputs["wav"])
        self.step = Upload(self.runner.inputs["step"])
        names = [name for name in ("z", "source") if name in self.runner.inputs]
        self._places = {name: _Places(self.runner.inputs[name]) for name in names}

    def take(self, name: str, x: Tensor, x_start: float, start: float, density: float) -> None:
        """Put `x` `[1, C, N]`, whose first value stands at `x_start`, on the grid that begins at `start`."""
        self._places[name].sample(x, x_start, start, density)


class _Places:
    """Linear interpolation of a signal into an input of a network."""

    def __init__(self, target: Tensor) -> None:
        self._target, count = target, target.shape[2]
        # Places are found on the host, in float64, which not every GPU has.
        self._below = Upload(torch.zeros(count, dtype=torch.int64, device=target.device))
        self._weight = Upload(torch.zeros(count, device=target.device))

    def sample(self, x: Tensor, x_start: float, start: float, density: float) -> None:
        linear_places_into(x.shape[2], x_start, start, density, self._below.array, self._weight.array)
        self._below.send()
        self._weight.send()
        below, weight = self._below.target, self._weight.target
        before, after = x.index_select(2, below), x.index_select(2, below + 1)
        torch.add(before.mul_(1.0 - weight), after.mul_(weight), out=self._target)


class StreamingGenerator:
    """The waveform side of an RVC voice.

    Attributes:
        samples: That each step renders: the block and the tail.

    Args:
        net: The generator.
        block_frames: Frames of 10 ms per step.
        right_frames: Frames after the block that each step is given.
        tail_frames: Number of these that are rendered too.
        backend: See `make_runner`.
        beside: See `FastDecoder`.
        may_be_half: Whether the decoder may compute in bfloat16, where that is faster on a CPU.
    """

    def __init__(
        self,
        net: Synthesizer,
        block_frames: int,
        right_frames: int,
        tail_frames: int,
        backend: str = "auto",
        beside: Executor | None = None,
        may_be_half: bool = False,
    ) -> None:
        self.net = net
        self.block_frames = block_frames
        self.tail_frames = min(tail_frames, right_frames)
        per_frame, device = net.shape.samples_per_frame, net.emb_g.weight.device
        frames = block_frames + right_frames
        self.samples = (block_frames + self.tail_frames) * per_frame
        flow = FlowStep(CachedFlow(net.flow, block_frames), frames)
        self.flow = make_runner(flow.spec, flow, backend)
        decoder = _Decoder(net, beside, may_be_half)
        whole = decoder.step(frames, self.samples, block_frames)
        self.decoder = make_runner(whole.spec, whole, backend)
        self._wav = Download(self.decoder.outputs["wav"])
        most = int(VOICE_PARAMETERS["formant_semitones"].high)
        self._grids = [
            _Grid(decoder, frames, self.samples, 2.0 ** (semitones / 12.0), backend, self.decoder)
            for semitones in range(_GRID_SEMITONES - most, most + 1, _GRID_SEMITONES)
        ]
        decoder.allocate()
        self._source = _Source(net, _LEAD_FRAMES + frames, block_frames, backend) if net.has_f0 else None
        self._drawn = StreamNoise(LATENT_STREAM, HIDDEN, frames)
        self._noise = Upload(torch.zeros(1, HIDDEN, frames, device=device))
        self._z = torch.zeros(1, HIDDEN, _LEAD_FRAMES + frames, device=device)
        self._dense_wav = np.zeros(_FILTER_SAMPLES + self._grids[-1].wav.array.size, dtype=np.float32)
        phase = self._source.runner.inputs["phase_in"] if self._source else torch.zeros(1, 1, dtype=torch.int32)
        self.state = GeneratorState(
            flow_mem=self.flow.inputs["mem_in"],
            decoder_mem=self.decoder.inputs["mem_in"],
            phase=phase,
            z_mem=torch.zeros(1, HIDDEN, _LEAD_FRAMES, device=device),
            f0_mem=np.zeros(_LEAD_FRAMES, dtype=np.float32),
            wav_mem=np.zeros(_FILTER_SAMPLES, dtype=np.float32),
            grid_offset=0.0,
            started=False,
        )

    @torch.inference_mode()
    def step(
        self,
        m: Tensor,
        logs: Tensor,
        f0: NDArray[np.float32],
        speaker: int,
        start: int,
        formant_semitones: float,
        seed: int,
        out: NDArray[np.float32],
    ) -> None:
        """Render the next block.

        Args:
            m: Prior mean of the block and the lookahead `[1, 192, block and right frames]`.
            logs: Prior log deviation, likewise.
            f0: Hz of the source, 0 where unvoiced, likewise.
            speaker: Number of the speaker.
            start: Absolute index of the block's first frame.
            formant_semitones: Formant shift in semitones.
            seed: Seed of the noise.
            out: Filled with the block and the `tail_frames` after it [samples].
        """
        state, block = self.state, self.block_frames
        self._draw_latent(m, logs, start, seed)
        g = self.net.emb_g.weight[speaker][None, :, None]
        self.flow.inputs["g"].copy_(g)
        self.flow.run()
        self._z[..., :_LEAD_FRAMES].copy_(state.z_mem)
        self._z[..., _LEAD_FRAMES:].copy_(self.flow.outputs["z"])
        state.z_mem.copy_(self._z[..., block : block + _LEAD_FRAMES])
        if self._source is not None:
            self._render_source(self._source, f0, start, seed)
        self.decoder.inputs["g"].copy_(g)
        self._decode(2.0 ** (formant_semitones / 12.0), start, out)
        state.started = True

    @torch.inference_mode()
    def advance(self, f0: NDArray[np.float32]) -> None:
        """Pass over a block without rendering it; the next one starts with an empty context.

        Args:
            f0: Hz of the source over the block [block_frames].
        """
        state, block, lead = self.state, self.block_frames, _LEAD_FRAMES
        state.forget_sound()
        if self._source is not None:
            skipped = self._source.skipped
            skipped.array[0, :lead] = state.f0_mem
            skipped.array[0, lead:] = f0[: block - lead]
            skipped.send()
            state.phase.copy_(frame_phases(state.phase, skipped.target)[:, -1:])
            state.f0_mem[:] = f0[block - lead : block]

    def _draw_latent(self, m: Tensor, logs: Tensor, start: int, seed: int) -> None:
        """Draw what the flow takes from the prior."""
        self._drawn.into(seed, start, self._noise.array[0].T)
        self._noise.send()
        z_p = self.flow.inputs["z_p"]
        torch.exp(logs, out=z_p).mul_(self._noise.target).mul_(LATENT_NOISE).add_(m)

    def _render_source(self, source: _Source, f0: NDArray[np.float32], start: int, seed: int) -> None:
        """Render the source from two frames before the block on, with its noise and the phase that is carried."""
        state, block, given = self.state, self.block_frames, source.f0.array[0]
        given[:_LEAD_FRAMES] = state.f0_mem
        given[_LEAD_FRAMES:] = f0
        state.f0_mem[:] = given[block : block + _LEAD_FRAMES]
        source.f0.send()
        source.drawn.into(seed, start - _LEAD_FRAMES, source.noise_rows)
        source.noise.send()
        source.runner.run()

    def _decode(self, density: float, start: int, out: NDArray[np.float32]) -> None:
        """Samples of the block, from the latent and the source that begin two frames before it."""
        state, per_frame, block = self.state, self.net.shape.samples_per_frame, self.block_frames
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
        source = self._source.runner.outputs["source"] if self._source else None
        if density == 1.0 and offset == 0.0:
            self.decoder.inputs["z"].copy_(self._z[..., _LEAD_FRAMES:])
            if source is not None:
                self.decoder.inputs["source"].copy_(source[..., _LEAD_FRAMES * per_frame :])
            self.decoder.run()
            out[:] = self._wav.receive()[0, 0]
            state.wav_mem[:] = out[block * per_frame - _FILTER_SAMPLES : block * per_frame]
            return
        # The grid's frame q stands at q - offset dense frames from the block's first.
        grid = next(grid for grid in self._grids if grid.density >= density - 1e-9)
        grid.take("z", self._z, -_LEAD_FRAMES, -offset, density)
        if source is not None:
            grid.take("source", source, -_LEAD_FRAMES * per_frame, -offset * per_frame, density)
        grid.step.array[0, 0] = step
        grid.step.send()
        grid.runner.run()
        wav = self._dense_wav[: _FILTER_SAMPLES + grid.wav.array.size]
        wav[:_FILTER_SAMPLES] = state.wav_mem
        wav[_FILTER_SAMPLES:] = grid.wav.receive()[0, 0]
        state.wav_mem[:] = wav[step * per_frame :][:_FILTER_SAMPLES]
        sample_evenly_into(wav, _FILTER_SAMPLES + offset * per_frame + 0.5 * density - 0.5, density, out)
