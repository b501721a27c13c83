"""Training of encoder and decoder together: say undisturbed, in the speaker's own voice, what was heard disturbed.

Speakers differ only in what their number adds to the decoder; speed, formants, room and microphone of what the encoder
hears are changed at random, so that its code has little use for them.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ....models.neural.bands import band_centres_hz
from ....models.neural.network import (
    DECODER_DILATIONS,
    DELAY,
    ENCODER_DILATIONS,
    ENVELOPE_BANDS,
    VOICE,
    Decoder,
    Encoder,
    memory,
)
from ...voices.losses import bands_loss
from ..pitch.speech import seeded
from .batches import Batch, BatchSource

log = logging.getLogger(__name__)

_EMBEDDING = 64


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: Steps; the learning rate falls to a hundredth over them.
        learning_rate: At its peak, reached after `warm_up` steps.
        warm_up: Steps.
        average: Decay of the running mean of the weights, which is what ships.
        code_noise: Standard deviation of the noise added to the code, whose own is 1.
        seed: Seed of the initial weights and of the batches.
    """

    steps: int = 3600
    learning_rate: float = 1.5e-3
    warm_up: int = 150
    average: float = 0.998
    code_noise: float = 0.3
    seed: int = 1


class Voices(nn.Module):
    """Encoder, decoder, and what makes the decoder each of the speakers."""

    def __init__(self, speakers: int) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.embedding = nn.Embedding(speakers, _EMBEDDING)
        self.modulation = nn.Linear(_EMBEDDING, VOICE)
        with torch.no_grad():
            self.modulation.weight *= 0.1
            self.modulation.bias.zero_()

    def forward(self, features: Tensor, pitch: Tensor, speaker: Tensor, code_noise: float) -> Tensor:
        """Bands [B, 4 T, 87] of a batch, from codes with so much noise added."""
        codes, _ = self.encoder(features, features.new_zeros(len(features), memory(ENCODER_DILATIONS)))
        codes = codes[:, DELAY:]
        if code_noise:
            codes = codes + code_noise * torch.randn_like(codes)
        return self.say(codes, pitch, self.voice(speaker))

    def voice(self, speaker: Tensor) -> Tensor:
        """What makes the decoder so many speakers [B, VOICE]."""
        return self.modulation(self.embedding(speaker))  # type: ignore[no-any-return]

    def say(self, codes: Tensor, pitch: Tensor, voice: Tensor) -> Tensor:
        """Bands [B, 4 T, 87]."""
        bands, _ = self.decoder(codes, pitch, voice, codes.new_zeros(len(codes), memory(DECODER_DILATIONS)))
        return bands  # type: ignore[no-any-return]


class Training:
    """A run of training that can be stopped and taken up again.

    Args:
        folder: Folder of state and log.
        config: Training configuration.
        source: Draws what to learn from.
        valid: Draws what to report on.
    """

    def __init__(self, folder: Path, config: TrainingConfig, source: BatchSource, valid: BatchSource) -> None:
        self.folder, self.config, self.source = folder, config, source
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.names = [speaker.name for speaker in source.speakers]
        self.voices = Voices(len(self.names))
        self.average = copy.deepcopy(self.voices).eval()
        self.optimiser = torch.optim.AdamW(
            self.voices.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=0.01
        )
        self.step = 0
        self.seconds = 0.0
        self._valid = [valid.draw(seeded("valid", i)) for i in range(4)]
        if (folder / "state.pt").exists():
            state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
            self.voices.load_state_dict(state["voices"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]
        self._log = (folder / "log.jsonl").open("a", encoding="utf-8")

    def run(self, every: int = 250) -> Iterator[int]:
        """Train to the end; yields the number of steps done after each."""
        config = self.config
        if self.step == 0:
            self._note(config=asdict(config), disturbances=asdict(self.source.disturbances), speakers=len(self.names))
        started_s, losses = time.process_time(), list[float]()
        with ThreadPoolExecutor(1) as ahead:
            drawn = ahead.submit(self._draw, self.step)
            while self.step < config.steps:
                batch = drawn.result()
                drawn = ahead.submit(self._draw, self.step + 1)
                losses.append(self._learn(batch))
                self.step += 1
                yield self.step
                if self.step % every == 0 or self.step == config.steps:
                    self.seconds += time.process_time() - started_s
                    started_s = time.process_time()
                    self._note(
                        step=self.step, loss=sum(losses) / len(losses), valid=self.judge(), cpu_s=round(self.seconds)
                    )
                    losses.clear()
                    self.save()

    def judge(self) -> float:
        """Loss of the averaged weights on stretches that are not trained on."""
        with torch.inference_mode():
            losses = [
                bands_loss(self.average(b.features, b.pitch, b.speaker, 0.0), b.bands, _counted(b)) for b in self._valid
            ]
        return float(torch.stack(losses).mean())

    def save(self) -> None:
        """Keep the state, whole or not at all."""
        unfinished = self.folder / "state.part"
        torch.save(
            {
                "voices": self.voices.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "seconds": self.seconds,
                "names": self.names,
            },
            unfinished,
        )
        unfinished.replace(self.folder / "state.pt")

    def _draw(self, step: int) -> Batch:
        return self.source.draw(seeded("voices", self.config.seed, step))

    def _learn(self, batch: Batch) -> float:
        config, step = self.config, self.step
        rise = min((step + 1) / config.warm_up, 1.0)
        fall = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * step / config.steps))
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * rise * fall
        torch.manual_seed(config.seed * 1_000_003 + step)  # the noise of a step is the same after a stop
        said = self.voices(batch.features, batch.pitch, batch.speaker, config.code_noise)
        loss = bands_loss(said, batch.bands, _counted(batch))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.voices.parameters(), 1.0)
        self.optimiser.step()
        decay = min(config.average, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.voices.parameters(), strict=True):
                mean.lerp_(value, 1.0 - decay)
        return float(loss.detach())

    def _note(self, **what: Any) -> None:
        log.info("%s", what)
        self._log.write(json.dumps(what) + "\n")
        self._log.flush()


def _counted(batch: Batch) -> Tensor:
    """Which bands of the envelope count [B, 1, 80]: those above 8 kHz only where the recording holds them."""
    is_low = torch.from_numpy(band_centres_hz() < 7600.0)
    assert len(is_low) == ENVELOPE_BANDS
    return (is_low | batch.is_wide[:, None])[:, None].float()
