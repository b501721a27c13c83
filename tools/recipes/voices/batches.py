"""Batches: stretches of speech, disturbed for the encoder, undisturbed for the decoder to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.signal
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....kernels.types import Float64Array, FloatArray
from ....models.neural.features import (
    HOP,
    LOWEST_LEVEL,
    SAMPLE_RATE,
    filterbank,
)
from ....models.neural.network import BANDS, DELAY, ENVELOPE_BANDS, PAIR
from ...voices.material import BINS_HZ, features_through, microphone_db, pitch_of
from ..pitch.noises import coloured_noise, mains_hum
from .corpus import TARGETS, Speaker
from .phones import KINDS

_WARPS = 33
# Frames of 20 ms by which phones are asked for early: the recogniser is one late, and the code hears more than one
# beyond its own.
_LATE = 2
_NOTHING = -9.0  # envelope of silence, in nepers above the running level


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        features: What the encoder hears [B, 2 (T + DELAY), 80].
        pitch: Log F0 and voicing [B, 2 T, 2].
        bands: What the decoder is to say [B, 4 T, 87].
        speaker: Who says it [B].
        plain: What the encoder would hear undisturbed [B, 2 (T + DELAY), 80].
        phones: Which phones are said [B, T, KINDS]; zeros where that is not known.
        is_wide: Whether bands above 8 kHz count [B].
    """

    features: Tensor
    pitch: Tensor
    bands: Tensor
    speaker: Tensor
    plain: Tensor
    phones: Tensor
    is_wide: Tensor


@dataclass(frozen=True, slots=True)
class Disturbances:
    """How often what is done to the audio.

    Attributes:
        noise: Proportion of stretches with noise.
        snr_db: Least and greatest ratio of speech to noise in dB.
        room: Proportion with a room's reverberation.
        telephone: Proportion held to a telephone's band.
        alone: Proportion of stretches of noise without speech, of which nothing is to be said.
        others: Proportion of stretches by speakers that are no targets.
        evenness: How alike often these are drawn: from 0, by how long they speak, to 1.
        speed: Greatest factor by which a stretch is faster or slower.
        warp: Greatest factor by which formants are shifted up or down.
        gain: Least and greatest gain in nepers.
        microphone: Scale of the microphones' frequency responses; 0 for flat ones.
    """

    noise: float = 0.6
    snr_db: tuple[float, float] = (2.0, 30.0)
    room: float = 0.2
    telephone: float = 0.08
    alone: float = 0.04
    others: float = 0.3
    evenness: float = 0.0
    speed: float = 1.25
    warp: float = 1.28
    gain: tuple[float, float] = (-1.6, 0.7)
    microphone: float = 1.0


class BatchSource:
    """Draws batches.

    Args:
        speakers: Speakers, numbered in this order.
        noises: Recorded noise at 16 kHz.
        rooms: Impulse responses at 16 kHz.
        frames: Frames of 20 ms of a stretch.
        size: Stretches of a batch.
        disturbances: What is done to them.
    """

    def __init__(
        self,
        speakers: Sequence[Speaker],
        noises: Sequence[FloatArray],
        rooms: Sequence[FloatArray],
        frames: int,
        size: int,
        disturbances: Disturbances,
    ) -> None:
        self.speakers, self.noises, self.rooms = speakers, noises, rooms
        self.frames, self.size, self.disturbances = frames, size, disturbances
        warps = disturbances.warp ** np.linspace(-1.0, 1.0, _WARPS)
        self._plain = filterbank()
        self._banks = [filterbank(float(warp)) for warp in warps]
        self._samples = (PAIR * (frames + DELAY) + 1) * HOP + HOP  # the last frame reads a hop beyond its centre
        lengths = np.array([len(s.example.level) for s in speakers], dtype=np.float64)
        is_target = np.array([s.name in TARGETS for s in speakers])
        chances = np.where(is_target, np.sqrt(lengths), 0.0)
        if is_target.any() and not is_target.all():
            chances *= (1.0 - disturbances.others) / chances.sum()
            rest = np.where(is_target, 0.0, lengths ** (1.0 - disturbances.evenness))
            chances += disturbances.others * rest / rest.sum()
        elif not is_target.any():
            chances = lengths
        self._chances = chances / chances.sum()

    def disturbed(self, disturbances: Disturbances) -> BatchSource:
        """The same, disturbed otherwise."""
        return BatchSource(self.speakers, self.noises, self.rooms, self.frames, self.size, disturbances)

    def draw(self, rng: np.random.Generator) -> Batch:
        """The next batch."""
        rows = [self._row(rng) for _ in range(self.size)]
        features, pitch, bands, speaker, plain, phones, is_wide = zip(*rows, strict=True)
        return Batch(
            torch.from_numpy(np.stack(features)),
            torch.from_numpy(np.stack(pitch)),
            torch.from_numpy(np.stack(bands)),
            torch.tensor(speaker),
            torch.from_numpy(np.stack(plain)),
            torch.from_numpy(np.stack(phones)),
            torch.tensor(is_wide),
        )

    def _row(
        self, rng: np.random.Generator
    ) -> tuple[FloatArray, FloatArray, FloatArray, int, FloatArray, FloatArray, bool]:
        number = int(rng.choice(len(self.speakers), p=self._chances))
        speaker = self.speakers[number]
        example = speaker.example
        speed = float(self.disturbances.speed ** rng.uniform(-1.0, 1.0))
        frames = PAIR * self.frames
        reach = int(np.ceil((self._samples / HOP + 3) * speed))
        start = int(rng.integers(max(len(example.level) - reach, 1)))
        audio = np.asarray(example.audio[start * HOP : (start + reach) * HOP], dtype=np.float32) / 32768.0
        audio = np.asarray(soxr.resample(audio, SAMPLE_RATE * speed, SAMPLE_RATE, quality="MQ"), dtype=np.float32)
        audio = np.pad(audio[: self._samples], (0, max(self._samples - len(audio), 0)))
        at_10ms = np.minimum(start + np.rint(np.arange(frames) * speed).astype(np.int64), len(example.level) - 1)
        at_5ms = np.minimum(2 * start + np.rint(np.arange(2 * frames) * speed).astype(np.int64), len(example.bands) - 1)
        f0 = np.asarray(example.f0_hz[at_10ms], dtype=np.float32)
        bands = np.asarray(example.bands[at_5ms], dtype=np.float32).reshape(-1, BANDS)
        level = float(example.level[start])
        phones = np.zeros((self.frames, KINDS), dtype=np.float32)
        if speaker.phones is not None:
            phones[:] = speaker.phones[np.minimum(at_10ms[::PAIR] // PAIR + _LATE, len(speaker.phones) - 1)]
        if rng.random() < self.disturbances.alone:
            audio = np.zeros_like(audio)
            f0[:] = 0.0
            bands[:, :ENVELOPE_BANDS], bands[:, ENVELOPE_BANDS:] = _NOTHING, 1.0
            phones[:] = 0.0
            level = LOWEST_LEVEL
        features = self._features(audio, level, rng)
        plain = features_through(audio, level, self._plain, np.zeros(len(BINS_HZ)))[: len(features)]
        return features, pitch_of(f0), bands, number, plain, phones, speaker.is_wide

    def _features(self, audio: FloatArray, level: float, rng: np.random.Generator) -> FloatArray:
        """Features of the stretch as a disturbed microphone hears it."""
        how = self.disturbances
        gain = float(np.exp(rng.uniform(*how.gain)))
        x = audio * gain
        if self.rooms and rng.random() < how.room:
            x = self._in_a_room(x, rng)
        if rng.random() < how.noise or (how.alone and not audio.any()):
            x = self._noisy(x, rng)
        response_db, bank = self._response_db(rng), self._banks[int(rng.integers(len(self._banks)))]
        features = features_through(x, level + float(np.log(gain)), bank, response_db)
        return features[: PAIR * (self.frames + DELAY)]

    def _in_a_room(self, x: FloatArray, rng: np.random.Generator) -> FloatArray:
        response = self.rooms[int(rng.integers(len(self.rooms)))]
        response = response[int(np.abs(response).argmax()) :][: SAMPLE_RATE // 2].copy()
        response[80:] *= float(rng.uniform(0.1, 1.0))  # farther from or nearer to the microphone
        response /= np.sqrt(np.square(response).sum()) + 1e-9
        return np.asarray(scipy.signal.fftconvolve(x, response)[: len(x)], dtype=np.float32)

    def _noisy(self, x: FloatArray, rng: np.random.Generator) -> FloatArray:
        kind = rng.random()
        if kind < 0.5 and self.noises:
            noise = _stretch(self.noises[int(rng.integers(len(self.noises)))], len(x), rng)
        elif kind < 0.75:
            noise = coloured_noise(len(x), rng, float(rng.uniform(0.0, 6.0)))
        elif kind < 0.82:
            noise = mains_hum(len(x), rng)
        else:
            noise = np.zeros(len(x), dtype=np.float32)
            for _ in range(int(rng.integers(3, 8))):
                other = self.speakers[int(rng.integers(len(self.speakers)))].example.audio
                noise += _stretch(other, len(x), rng)
        power = float(np.square(x).mean()) or float(np.exp(rng.uniform(-14.0, -6.0)))
        snr = float(rng.uniform(*self.disturbances.snr_db))
        scale = np.sqrt(power / (float(np.square(noise).mean()) + 1e-10) * 10.0 ** (-snr / 10.0))
        return np.asarray(x + scale * noise, dtype=np.float32)

    def _response_db(self, rng: np.random.Generator) -> Float64Array:
        """Random frequency response of a microphone [257]."""
        response_db = self.disturbances.microphone * microphone_db(rng)
        if rng.random() < self.disturbances.telephone:
            outside = np.maximum(300.0 - BINS_HZ, 0.0) / 5.0 + np.maximum(BINS_HZ - rng.uniform(3200, 3800), 0.0) / 15.0
            response_db -= np.minimum(outside, 50.0)
        return response_db


def _stretch(source: NDArray[np.generic], samples: int, rng: np.random.Generator) -> FloatArray:
    start = int(rng.integers(max(len(source) - samples, 0) + 1))
    piece = np.resize(np.asarray(source[start : start + samples], dtype=np.float32), samples)
    return np.asarray(piece / (np.sqrt(np.square(piece).mean()) + 1e-6), dtype=np.float32)
