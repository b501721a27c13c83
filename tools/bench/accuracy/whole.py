"""Plain networks over a whole recording at once: what the streaming stages are compared with."""

from __future__ import annotations

import math

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....kernels import world
from ....kernels.f0_world import refine_f0_into
from ....kernels.fractional import sample_evenly
from ....kernels.linear import linear_places_into
from ....kernels.noise import frame_noise
from ....kernels.salience import coarse_pitch, halfway_f0
from ....kernels.types import FloatArray
from ....models.pitch.mel import HOP, SAMPLE_RATE
from ....models.pitch.rmvpe import RMVPE
from ....models.rvc.content import Hubert
from ....models.rvc.decoder import DECODER_REACH
from ....models.rvc.phase import phase_of
from ....models.rvc.prior import HIDDEN
from ....models.rvc.synthesizer import LATENT_NOISE, Synthesizer
from ....realtime.stages.waveform import LATENT_STREAM, SOURCE_STREAM

DECODED_AT_ONCE_FRAMES = 400  # bounds the decoder's memory


@torch.inference_mode()
def rvc_voice(net: Synthesizer, content: Hubert, audio: FloatArray, f0_hz: FloatArray, version: str) -> FloatArray:
    """An RVC voice with given F0, its first speaker and seed 0, without index and loudness matching.

    Args:
        net: The generator.
        content: Content encoder.
        audio: Mono at 16 kHz [N].
        f0_hz: Every 10 ms [N // 160], 0 where unvoiced.
        version: "v1" or "v2".

    Returns:
        [N // 160 * samples per frame]
    """
    frames = len(audio) // HOP
    features = content.features(torch.from_numpy(audio)[None], version)[0]
    slots = (torch.arange(frames) // 2).clamp(max=len(features) - 1)
    g = net.emb_g(torch.tensor([0]))[..., None]
    m, logs = net.enc_p(features[slots][None], torch.from_numpy(coarse_pitch(f0_hz))[None], 0)
    return render(net, latent(net, m, logs, g, 0, 0), g, f0_hz, 0, 0.0, 0.0, 0)


def dsp_f0(model: RMVPE, audio: FloatArray) -> NDArray[np.float64]:
    """F0 in Hz of a whole recording at 24 kHz [N], every 5 ms, as DSP voices find it.

    The network has frames of 10 ms; those between start from the mean pitch, and WORLD's StoneMask makes all precise.
    """
    found = model.f0(soxr.resample(audio, world.SAMPLE_RATE, SAMPLE_RATE))
    rough = np.empty(2 * len(found), dtype=np.float64)
    rough[::2] = found
    rough[1::2] = halfway_f0(found, np.append(found[1:], found[-1:]))
    times_s = np.asarray(np.arange(len(rough)) * (world.HOP / world.SAMPLE_RATE), dtype=np.float64)
    f0 = np.empty_like(rough)
    refine_f0_into(np.ascontiguousarray(audio, dtype=np.float64), world.SAMPLE_RATE, rough, times_s, f0)
    return f0


def latent(net: Synthesizer, m: Tensor, logs: Tensor, g: Tensor, first_frame: int, seed: int) -> Tensor:
    """The flow's output for consecutive frames.

    Args:
        net: The generator.
        m: Prior mean `[1, 192, T]`.
        logs: Prior log deviation `[1, 192, T]`.
        g: Speaker embedding `[1, 256, 1]`.
        first_frame: Absolute index of the first of them.
        seed: Seed of the noise.

    Returns:
        `[1, 192, T]`; within 24 frames of the edges it would differ with more context.
    """
    z: Tensor = net.flow(drawn_prior(m, logs, first_frame, seed), g)
    return z


def drawn_prior(m: Tensor, logs: Tensor, first_frame: int, seed: int) -> Tensor:
    """What goes into the flow: the prior of consecutive frames with the noise of these frames `[1, 192, T]`."""
    noise = frame_noise(seed, LATENT_STREAM, first_frame, m.shape[2], HIDDEN)
    latent_noise = torch.from_numpy(noise.T.copy()).to(m.device)[None]
    return m + torch.exp(logs) * latent_noise * LATENT_NOISE


def harmonic_source(
    net: Synthesizer, f0_hz: NDArray[np.float32], first_frame: int, phase: float, seed: int
) -> Tensor | None:
    """The source of consecutive frames `[1, 1, T * samples per frame]`; None for a voice without F0.

    Args:
        net: The generator.
        f0_hz: [T], 0 where unvoiced.
        first_frame: Absolute index of the first of them.
        phase: In cycles before the first of them.
        seed: Seed of the noise.
    """
    if net.dec.m_source is None:
        return None
    device = net.emb_g.weight.device
    noise = source_noise(net, first_frame, len(f0_hz), seed).to(device)
    phase_in = torch.tensor([[phase_of(phase)]], dtype=torch.int32, device=device)
    source: Tensor = net.dec.m_source(torch.from_numpy(f0_hz).to(device)[None], noise, phase_in)[0]
    return source


def source_noise(net: Synthesizer, first_frame: int, frames: int, seed: int) -> Tensor:
    """The source's noise of consecutive frames, on the CPU `[1, T * samples per frame, 1]`."""
    drawn = frame_noise(seed, SOURCE_STREAM, first_frame, frames, net.shape.samples_per_frame)
    return torch.from_numpy(drawn).view(1, -1, 1)


def render(
    net: Synthesizer,
    z: Tensor,
    g: Tensor,
    f0_hz: NDArray[np.float32],
    first_frame: int,
    phase: float,
    formant_semitones: float,
    seed: int,
) -> NDArray[np.float32]:
    """Samples of consecutive frames.

    Args:
        net: The generator.
        z: Latent `[1, 192, T]`.
        g: Speaker embedding `[1, 256, 1]`.
        f0_hz: F0 of the source [T], 0 where unvoiced.
        first_frame: Absolute index of the first of them.
        phase: Phase of the source before the first frame in cycles.
        formant_semitones: Formant shift in semitones.
        seed: Seed of the noise.

    Returns:
        [T * samples per frame]; within 13 frames of the edges it would differ with more context.
    """
    frames, per_frame = z.shape[2], net.shape.samples_per_frame
    source = harmonic_source(net, f0_hz, first_frame, phase, seed)
    if formant_semitones == 0.0:
        return _decode(net, z, g, source)
    # Formants: rendered on a grid that is denser by a factor, and played that much faster. The grid is the stream's,
    # not the window's, so that windows agree where they overlap.
    density = 2.0 ** (formant_semitones / 12.0)
    start, end = math.ceil(first_frame * density), math.ceil((first_frame + frames) * density)
    z = sample_linearly(z, first_frame, start, end - start, density)
    if source is not None:
        samples = (end - start) * per_frame
        source = sample_linearly(source, first_frame * per_frame, start * per_frame, samples, density)
    wav = _decode(net, z, g, source)
    first = (first_frame * per_frame + 0.5) * density - 0.5 - start * per_frame
    return sample_evenly(wav, first, density, frames * per_frame)


def _decode(net: Synthesizer, z: Tensor, g: Tensor, source: Tensor | None) -> NDArray[np.float32]:
    """The decoder in pieces with their own context, exact up to the order of sums."""
    per_frame = net.shape.samples_per_frame
    frames, parts = z.shape[2], []
    for start in range(0, frames, DECODED_AT_ONCE_FRAMES):
        stop = min(start + DECODED_AT_ONCE_FRAMES, frames)
        left, right = max(start - DECODER_REACH, 0), min(stop + DECODER_REACH, frames)
        part = source[..., left * per_frame : right * per_frame] if source is not None else None
        wav = net.dec(z[..., left:right], g, part)[0, 0]
        parts.append(wav[(start - left) * per_frame : (stop - left) * per_frame].float().cpu().numpy())
    return np.concatenate(parts)


def sample_linearly(x: Tensor, x_start: float, start: float, count: int, density: float) -> Tensor:
    """Interpolate `[1, C, N]`, whose first value stands at `x_start`, on a grid `density` times as dense from `start`.

    Values stand at the centres of their cells, as in `torch.nn.functional.interpolate`; the ends are held.
    """
    places, weights = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.float32)
    linear_places_into(x.shape[2], x_start, start, density, places, weights)
    below, weight = torch.from_numpy(places).to(x.device), torch.from_numpy(weights).to(x.device)
    return x[..., below] * (1.0 - weight) + x[..., below + 1] * weight
