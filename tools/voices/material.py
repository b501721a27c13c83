"""What a decoder is tuned on: codes of the utterances as a frozen encoder hears them, and what is to be said.

The encoder hears every utterance as it is and in several disturbed views: faster or slower, with other formants,
through other microphones, in noise. What is to be said stays undisturbed, so that the decoder learns to say in its own
voice what others say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.types import Float64Array, FloatArray
from ...models.neural.features import (
    FLOOR,
    HOP,
    N_FFT,
    N_MELS,
    SAMPLE_RATE,
    WINDOW,
    filterbank,
    normalise_into,
    window,
)
from ...models.neural.network import BANDS, CODE, DELAY, ENCODER_DILATIONS, PAIR, Encoder, memory
from .analysis import Example, joined
from .recordings import as_float

_MOST_HEARD_S = 4800.0  # of all views together
_MOST_VIEWS, _FEWEST_VIEWS = 8, 3
_SPEED, _WARP = 1.25, 1.28  # at most, both ways
_NOISE_SHARE = 0.4
_SNR_DB = 5.0, 30.0
BINS_HZ = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
_WINDOW = window().astype(np.float32)


@dataclass(frozen=True, slots=True)
class Material:
    """Frames of 20 ms of all views, one after another, and where what they say lies in `said`.

    Attributes:
        codes: What the encoder hears [T, 64].
        at_10ms: Frames of F0 [2 T].
        at_5ms: Frames of bands [4 T].
        said: All utterances.
        clean_frames: How many frames at the start are of the undisturbed view.
    """

    codes: NDArray[np.float16]
    at_10ms: NDArray[np.int32]
    at_5ms: NDArray[np.int32]
    said: Example
    clean_frames: int

    def stretch(self, start: int, frames: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Codes [T, 64], pitch [2 T, 2] and bands [4 T, 87] of some frames of 20 ms."""
        codes = self.codes[start : start + frames].astype(np.float32)
        f0 = self.said.f0_hz[self.at_10ms[PAIR * start : PAIR * (start + frames)]].astype(np.float32)
        bands = self.said.bands[self.at_5ms[2 * PAIR * start : 2 * PAIR * (start + frames)]]
        return codes, pitch_of(f0), bands.astype(np.float32).reshape(-1, BANDS)


def make_material(examples: Sequence[Example], encoder: Encoder, seed: int, advance: Callable[[], None]) -> Material:
    """Let the encoder hear all utterances, undisturbed and disturbed.

    Args:
        examples: The utterances.
        encoder: Frozen.
        seed: Seed of the disturbances.
        advance: Called after each of `views_of(examples)` views of each utterance.
    """
    codes: list[NDArray[np.float16]] = []
    at_10ms: list[NDArray[np.int32]] = []
    at_5ms: list[NDArray[np.int32]] = []
    clean_frames = 0
    for view in range(views_of(examples)):
        first = 0
        for number, example in enumerate(examples):
            rng = np.random.default_rng((seed, view, number)) if view else None
            speed = 1.0 if rng is None else float(np.exp(rng.uniform(-np.log(_SPEED), np.log(_SPEED))))
            heard = hear(example, encoder, rng, speed)
            length = len(example.level)
            codes.append(heard)
            at_10ms.append(first + _places(PAIR * len(heard), speed, length))
            at_5ms.append(2 * first + _places(2 * PAIR * len(heard), speed, 2 * length))
            first += length
            clean_frames += 0 if view else len(heard)
            advance()
    return Material(
        np.concatenate(codes), np.concatenate(at_10ms), np.concatenate(at_5ms), joined(examples), clean_frames
    )


def views_of(examples: Sequence[Example]) -> int:
    """How many views of each utterance there are: fewer of long recordings, so that time and memory are bounded."""
    seconds = sum(len(example.audio) for example in examples) / SAMPLE_RATE
    return min(max(int(_MOST_HEARD_S / max(seconds, 1.0)), _FEWEST_VIEWS), _MOST_VIEWS)


def _places(frames: int, speed: float, length: int) -> NDArray[np.int32]:
    """Which frame of an utterance each frame of its faster view is."""
    return np.asarray(np.minimum(np.rint(np.arange(frames) * speed), length - 1), dtype=np.int32)


@torch.inference_mode()
def hear(
    example: Example, encoder: Encoder, rng: np.random.Generator | None = None, speed: float = 1.0
) -> NDArray[np.float16]:
    """Codes of an utterance, one for each 20 ms [T, 64].

    Args:
        example: The utterance.
        encoder: What hears it.
        rng: Draws what disturbs it; None for nothing.
        speed: Factor by which it is faster.
    """
    audio = as_float(example.audio)
    if speed != 1.0:
        audio = np.asarray(soxr.resample(audio, SAMPLE_RATE * speed, SAMPLE_RATE, quality="MQ"), dtype=np.float32)
    frames = max(len(audio) // HOP // PAIR, 1)
    count = PAIR * (frames + DELAY)  # of 10 ms, from the one centred on sample 160 on
    audio = np.pad(audio, (0, max(count * HOP + HOP - len(audio), 0)))[: count * HOP + HOP]
    gain = 1.0 if rng is None else float(np.exp(rng.uniform(-1.6, 0.7)))
    audio = audio * np.float32(gain)
    if rng is not None and rng.random() < _NOISE_SHARE:
        audio = audio + _noise(audio, rng)
    response_db = np.zeros(len(BINS_HZ)) if rng is None else microphone_db(rng)
    warp = 1.0 if rng is None else float(np.exp(rng.uniform(-np.log(_WARP), np.log(_WARP))))
    level = float(example.level[0]) + float(np.log(gain))
    features = features_through(audio, level, filterbank(warp), response_db)
    codes: Tensor = encoder(torch.from_numpy(features)[None], torch.zeros(1, memory(ENCODER_DILATIONS)))[0][0, DELAY:]
    assert codes.shape == (frames, CODE)
    return codes.numpy().astype(np.float16)


def features_through(audio: FloatArray, level: float, bank: FloatArray, response_db: Float64Array) -> FloatArray:
    """Features as a microphone with a frequency response would have them [N // 160 - 1, 80].

    Args:
        audio: At 16 kHz [N]; the first frame is centred on sample 160.
        level: Running level before it, in nepers.
        bank: See `filterbank`.
        response_db: The frequency response in dB [257].
    """
    rows = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP]
    magnitude = np.abs(np.fft.rfft(rows * _WINDOW, N_FFT)).astype(np.float32)
    magnitude *= np.asarray(10.0 ** (response_db / 20.0), dtype=np.float32)
    mel = np.log(np.maximum(magnitude @ bank.T, FLOOR))
    features, levels = np.zeros((len(rows), N_MELS), dtype=np.float32), np.zeros(len(rows), dtype=np.float32)
    normalise_into(np.ascontiguousarray(mel.T), level, features, levels)
    return features


def pitch_of(f0_hz: FloatArray) -> FloatArray:
    """What the decoder hears of F0 [frames]: log2 over 200 Hz, 0 where unvoiced, and whether voiced [frames, 2]."""
    is_voiced = f0_hz > 0.0
    log_f0 = np.where(is_voiced, np.log2(np.maximum(f0_hz, 1.0) / 200.0), 0.0)
    return np.stack((log_f0, is_voiced), axis=1).astype(np.float32)


def _noise(audio: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Noise that falls by 0 to 6 dB per octave, at some distance below the audio."""
    spectrum = np.fft.rfft(rng.standard_normal(len(audio)))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-rng.uniform(0.0, 6.0) / 6.02)
    noise = np.fft.irfft(spectrum, len(audio))
    power = float(np.square(audio).mean()) + 1e-10
    ratio = power / float(np.square(noise).mean()) * 10.0 ** (-rng.uniform(*_SNR_DB) / 10.0)
    return np.asarray(np.sqrt(ratio) * noise, dtype=np.float32)


def microphone_db(rng: np.random.Generator) -> Float64Array:
    """Frequency response of another microphone in dB [257]."""
    knots_hz = np.array([0.0, 150.0, 400.0, 1000.0, 2500.0, 5000.0, 8000.0])
    gains_db = rng.uniform(-1.0, 1.0, len(knots_hz)) * np.array([8.0, 5.0, 4.0, 3.0, 4.0, 6.0, 8.0])
    return np.asarray(np.interp(BINS_HZ, knots_hz, gains_db), dtype=np.float64)
