"""Training batches: crops of labelled clips, disturbed anew each time they are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ....kernels.types import FloatArray
from ....models.pitch.mel import N_FFT
from .corpus import HOP, Clip
from .disturbances import disturbed, some_noise
from .speech import seeded

# Shares of the examples with a voice. Sentences said again by WORLD are six in seven of the clips; here each kind has a
# weight of its own.
KIND_SHARES = {"world": 0.63, "raw": 0.24, "singer": 0.13}
NOISE_ALONE = 0.06
SILENCE = 0.02
_HALF = N_FFT // 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Training examples.

    Attributes:
        audio: With the 512 samples of context that mel frames need on both sides [B, frames * 160 + 864].
        f0_hz: [B, frames], 0 where unvoiced.
        known: Whether the label counts [B, frames].
        repeated: Number of frames at the right that repeat the one before them, as at the newest edge of a stream [B].
    """

    audio: Tensor
    f0_hz: Tensor
    known: Tensor
    repeated: Tensor


class BatchSource:
    """Draws batches; batch number k is always the same.

    Args:
        clips: Clips of the training split.
        noises: Recorded noise and music at 16 kHz.
        size: Examples in a batch.
        frames: Their length, a multiple of 32.
        noise_alone: Proportion of examples that are noise or music without a voice.
        repeated: Proportion of examples that end in repeated frames.
    """

    def __init__(
        self,
        clips: list[Clip],
        noises: list[FloatArray],
        size: int,
        frames: int,
        noise_alone: float = NOISE_ALONE,
        repeated: float = 0.5,
    ) -> None:
        self._by_kind = {kind: [clip for clip in clips if clip.kind == kind] for kind in KIND_SHARES}
        self._noises = noises
        self._voices = [clip.audio for clip in self._by_kind["raw"]]
        self._size = size
        self._frames = frames
        self._noise_alone = noise_alone
        self._repeated = repeated

    def batch(self, number: int) -> Batch:
        """The batch of that number."""
        rng = seeded("batch", number)
        examples = [self._example(rng) for _ in range(self._size)]
        audio, f0, known, repeated = zip(*examples, strict=True)
        return Batch(
            torch.from_numpy(np.stack(audio)),
            torch.from_numpy(np.stack(f0)),
            torch.from_numpy(np.stack(known)),
            torch.tensor(repeated),
        )

    def _example(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, np.ndarray, int]:
        samples = (self._frames - 1) * HOP + N_FFT
        repeated = int(rng.integers(1, 32)) if rng.random() < self._repeated else 0
        unvoiced = np.zeros(self._frames, dtype=np.float32), np.ones(self._frames, dtype=bool)
        draw = rng.random()
        if draw < self._noise_alone:
            # Babble is voiced, so it is no example of noise.
            noise = some_noise(samples, self._noises, (), rng)
            peak = max(float(np.abs(noise).max()), 1e-6)
            return (noise / peak * 10.0 ** (rng.uniform(-60.0, 0.0) / 20.0)).astype(np.float32), *unvoiced, repeated
        if draw < self._noise_alone + SILENCE:
            hiss = rng.standard_normal(samples) * 10.0 ** (rng.uniform(-110.0, -70.0) / 20.0) + rng.uniform(-0.1, 0.1)
            return hiss.astype(np.float32), *unvoiced, repeated
        kinds = [kind for kind in KIND_SHARES if self._by_kind[kind]]
        shares = np.array([KIND_SHARES[kind] for kind in kinds])
        clips = self._by_kind[kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]]
        audio, f0, known = self._crop(clips[int(rng.integers(len(clips)))], rng)
        return disturbed(audio, self._noises, self._voices, rng), f0, known, repeated

    def _crop(self, clip: Clip, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, np.ndarray]:
        start = int(rng.integers(max(len(clip.f0_hz) - self._frames, 0) + 1))
        stop = min(start + self._frames, len(clip.f0_hz))
        after = start + self._frames - stop
        f0, known = np.pad(clip.f0_hz[start:stop], (0, after)), np.pad(clip.known[start:stop], (0, after))
        first, last = start * HOP - _HALF, (start + self._frames - 1) * HOP + _HALF
        audio = clip.audio[max(first, 0) : last]
        before = max(-first, 0)
        audio = np.pad(audio, (before, last - first - before - len(audio)))
        return audio, f0, known
