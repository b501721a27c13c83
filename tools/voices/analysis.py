"""What training learns from: a recording's audio, its F0, its running level and its frames in bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from ...kernels.f0_world import refine_f0_into
from ...kernels.salience import halfway_f0
from ...kernels.types import FloatArray
from ...kernels.world import HOP, SAMPLE_RATE, analyse, samples_to_analyse
from ...models.neural.bands import NOISE_BAND_HZ, bands_of
from ...models.neural.features import HOP as FEATURE_HOP
from ...models.neural.features import N_MELS, Features, FeatureState
from ...models.neural.features import SAMPLE_RATE as FEATURE_RATE
from ...models.neural.network import BANDS, ENVELOPE_BANDS
from ...realtime.stages.pitch import streaming_pitch

_PITCH_BLOCK_FRAMES = 20  # F0 as a stream finds it, in steps of 200 ms
_PITCH_RIGHT_FRAMES = 1
_TAIL_S = 0.5


@dataclass(frozen=True, slots=True)
class Example:
    """A recording as training uses it, in frames of 10 ms.

    Attributes:
        audio: At 16 kHz, 16 bit [160 T].
        f0_hz: By the small pitch network, 0 where unvoiced [T].
        level: Running level in nepers [T].
        bands: What the decoder is to say, two frames each [2 T, 87], the envelope without the level.
    """

    audio: NDArray[np.int16]
    f0_hz: NDArray[np.float16]
    level: NDArray[np.float16]
    bands: NDArray[np.float16]


def analyse_recording(audio: FloatArray, rate: int) -> Example:
    """Analyse one recording.

    Args:
        audio: Mono [N].
        rate: Its sample rate in Hz.
    """
    at_24k = audio if rate == SAMPLE_RATE else soxr.resample(audio, rate, SAMPLE_RATE)
    at_16k = np.asarray(soxr.resample(audio, rate, FEATURE_RATE), dtype=np.float32)
    frames = len(at_16k) // FEATURE_HOP // 2 * 2
    at_16k = at_16k[: frames * FEATURE_HOP]
    f0 = track_f0(at_16k)
    level = features_of(at_16k)[1]
    f0_5ms = np.zeros(2 * frames, dtype=np.float64)
    f0_5ms[::2] = f0
    f0_5ms[1::2] = halfway_f0(f0, np.append(f0[1:], f0[-1:]))
    rough, times_s = f0_5ms.copy(), np.asarray(np.arange(2 * frames) * (HOP / SAMPLE_RATE), dtype=np.float64)
    padding = max(samples_to_analyse(0, 2 * frames) - len(at_24k), 0)
    padded = np.pad(np.asarray(at_24k, dtype=np.float64), (0, padding))
    refine_f0_into(padded, SAMPLE_RATE, rough, times_s, f0_5ms)
    bands = bands_of(analyse(padded, f0_5ms, 0, NOISE_BAND_HZ))
    bands[:, :ENVELOPE_BANDS] -= np.repeat(level, 2)[:, None]
    return Example(
        np.rint(np.clip(at_16k, -1.0, 1.0) * 32767.0).astype(np.int16),
        f0.astype(np.float16),
        level.astype(np.float16),
        bands.astype(np.float16),
    )


def track_f0(audio: FloatArray) -> FloatArray:
    """F0 in Hz of each frame of 10 ms, as a stream finds it, 0 where unvoiced [N // 160].

    Args:
        audio: At 16 kHz [N].
    """
    tracker = streaming_pitch(None, _PITCH_BLOCK_FRAMES, _PITCH_RIGHT_FRAMES, torch.device("cpu"))
    tail = np.zeros(int(_TAIL_S * FEATURE_RATE), dtype=np.float32)
    return tracker.push(np.concatenate((audio, tail)))[: len(audio) // FEATURE_HOP]


def features_of(audio: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Features [N // 160, 80] and running level [N // 160] of audio at 16 kHz [N].

    The first frame is centred on the first sample.
    """
    frames = len(audio) // FEATURE_HOP
    whole = np.ascontiguousarray(audio[: frames * FEATURE_HOP], dtype=np.float32)
    out, level = np.zeros((frames, N_MELS), dtype=np.float32), np.zeros(frames, dtype=np.float32)
    Features(frames).push_into(whole, FeatureState.allocate(), out, level)
    return out, level


def joined(examples: Sequence[Example]) -> Example:
    """One example after another."""
    return Example(
        np.concatenate([e.audio for e in examples]),
        np.concatenate([e.f0_hz for e in examples]),
        np.concatenate([e.level for e in examples]),
        np.concatenate([e.bands.reshape(-1, BANDS) for e in examples]),
    )
