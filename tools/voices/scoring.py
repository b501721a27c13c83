"""How good a voice is, by what altervox has itself: held-out sentences of its own speaker, converted to the voice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from ...kernels.types import FloatArray
from ...models.neural.features import HOP, SAMPLE_RATE
from ...models.neural.network import ENVELOPE_BANDS
from ...models.neural.step import Speaking
from .analysis import Example, track_f0
from .material import pitch_of
from .recordings import as_float
from .tuning import counted_bands, say
from .variance import STRENGTH, natural_variance

if TYPE_CHECKING:
    from ...models.voice import Voice

_DB = 20.0 / np.log(10.0)
_MOST_FRAMES = 12_000  # of 5 ms, from which the natural variance is taken
_LOUD_DB = 25.0  # below the loudest frames, where a frame still counts


def with_natural_variance(
    speaking: Speaking, heard: Sequence[tuple[NDArray[np.float16], Example]], is_wide: bool, strength: float = STRENGTH
) -> Speaking:
    """The same voice with the variance of natural speech.

    Args:
        speaking: A voice without.
        heard: Codes of undisturbed utterances of its speaker, and the utterances.
        is_wide: Whether the recordings hold what lies above 8 kHz.
        strength: See `natural_variance`.
    """
    natural: list[FloatArray] = []
    said: list[FloatArray] = []
    for codes, example in heard:
        if sum(map(len, said)) > _MOST_FRAMES:
            break
        said.append(_said(speaking, codes, example)[:, :ENVELOPE_BANDS])
        natural.append(example.bands[: len(said[-1]), :ENVELOPE_BANDS].astype(np.float32))
    bands = int(counted_bands(is_wide).sum())
    mean, sharpen = natural_variance(np.concatenate(natural), np.concatenate(said), strength, bands)
    return Speaking(speaking.decoder, speaking.voice, torch.from_numpy(mean), torch.from_numpy(sharpen))


def envelope_distance_db(
    speaking: Speaking, heard: Sequence[tuple[NDArray[np.float16], Example]], is_wide: bool
) -> float:
    """RMS distance over bands of what a voice says from what its speaker said, mean over loud frames, in dB."""
    counted = counted_bands(is_wide) > 0.0
    total, frames = 0.0, 0
    for codes, example in heard:
        bands = _said(speaking, codes, example)
        wanted = example.bands[: len(bands), :ENVELOPE_BANDS].astype(np.float32)
        loudness = wanted[:, :60].max(axis=1)
        is_loud = loudness > loudness.max() - _LOUD_DB / _DB
        error = (bands[:, :ENVELOPE_BANDS] - wanted)[is_loud][:, counted]
        total += float(np.sqrt(np.square(error).mean(axis=1)).sum())
        frames += int(is_loud.sum())
    return float(_DB * total / max(frames, 1))


@torch.inference_mode()
def _said(speaking: Speaking, codes: NDArray[np.float16], example: Example) -> FloatArray:
    """What a voice says, its natural variance included [4 T, 87]."""
    pitch = torch.from_numpy(pitch_of(example.f0_hz[: 2 * len(codes)].astype(np.float32)))[None]
    bands = say(speaking.decoder, torch.from_numpy(codes.astype(np.float32))[None], pitch, speaking.voice)[0]
    bands[:, :ENVELOPE_BANDS] += (bands[:, :ENVELOPE_BANDS] - speaking.mean) @ speaking.sharpen
    said: FloatArray = bands.numpy()
    return said


def conversion_metrics(voice: Voice, examples: Sequence[Example]) -> dict[str, float]:
    """What becomes of pitch, voicing and level when utterances of a voice's own speaker are converted to it.

    Args:
        voice: The voice.
        examples: The utterances.

    Returns:
        `f0_correlation` of frames that are voiced in both, `voicing_agreement` (proportion of frames) and `level_db`
        (mean of output over input in loud frames).
    """
    from ...realtime.files import convert_stream, output_rate

    pairs: list[tuple[FloatArray, FloatArray]] = []
    levels: list[FloatArray] = []
    rate = output_rate(voice, SAMPLE_RATE)
    for example in examples:
        audio = as_float(example.audio)
        out = np.concatenate(list(convert_stream(voice, [audio], SAMPLE_RATE)))
        heard = np.asarray(soxr.resample(out, rate, SAMPLE_RATE), dtype=np.float32)
        frames = min(len(audio), len(heard)) // HOP
        pairs.append((example.f0_hz[:frames].astype(np.float32), track_f0(heard)[:frames]))
        before, after = _level_db(audio, frames), _level_db(heard, frames)
        levels.append((after - before)[before > before.max() - _LOUD_DB])
    source, result = (np.concatenate(column) for column in zip(*pairs, strict=True))
    both = (source > 0.0) & (result > 0.0)
    is_enough = both.sum() > 10
    correlation = np.corrcoef(np.log2(source[both]), np.log2(result[both]))[0, 1] if is_enough else 0.0
    return {
        "f0_correlation": round(float(np.nan_to_num(correlation)), 3),
        "voicing_agreement": round(float(((source > 0.0) == (result > 0.0)).mean()), 3),
        "level_db": round(float(np.concatenate(levels).mean()), 2),
    }


def pitch_statistics(examples: Sequence[Example]) -> tuple[float, float]:
    """Mean and standard deviation of log2 of F0 in Hz over voiced frames, without the outer percents."""
    f0 = np.concatenate([example.f0_hz.astype(np.float32) for example in examples])
    pitch = np.log2(f0[f0 > 0.0])
    if not len(pitch):
        return 7.2, 0.25  # of a middle voice
    low, high = np.percentile(pitch, (1.0, 99.0))
    inside = pitch[(pitch >= low) & (pitch <= high)]
    return float(inside.mean()), float(max(inside.std(), 0.02))


def _level_db(audio: FloatArray, frames: int) -> FloatArray:
    power = np.square(audio[: frames * HOP].reshape(frames, HOP)).mean(axis=1)
    return np.asarray(10.0 * np.log10(np.maximum(power, 1e-10)), dtype=np.float32)
