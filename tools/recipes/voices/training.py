"""Training of encoder and decoder together: say undisturbed, in the speaker's own voice, what was heard disturbed.

Speakers differ only in what their number adds to the decoder; speed, formants, room and microphone of what the encoder
hears are changed at random, so that its code has little use for them.

There are two stages. In the second, noise is more frequent and louder, and two more losses hold the code to what is
said: a linear layer is to read from it which phones a recogniser hears in the undisturbed recording, and it is to be
what the running mean of the encoder makes of the undisturbed recording.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ....models.neural.bands import band_centres_hz
from ....models.neural.network import (
    CODE,
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
from .batches import Batch, BatchSource, Disturbances
from .phones import KINDS

log = logging.getLogger(__name__)

_EMBEDDING = 64


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the run: the learning rate rises and falls to a hundredth over it.

    Attributes:
        steps: Steps.
        disturbances: What is done to what the encoder hears.
        phones: Weight of the loss that asks for phones.
        agreement: Weight of the loss that asks for the code of the undisturbed recording.
    """

    steps: int
    disturbances: Disturbances = field(default_factory=Disturbances)
    phones: float = 0.0
    agreement: float = 0.0


STAGES = (
    Stage(3600),
    Stage(5700, Disturbances(noise=0.75, snr_db=(0.0, 30.0), others=0.4, evenness=0.5), phones=0.2, agreement=0.4),
)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train.

    Attributes:
        stages: One after another; each begins with the averaged weights of the one before.
        learning_rate: At its peak, reached after `warm_up` steps of a stage.
        warm_up: Steps.
        average: Decay of the running mean of the weights, which is what ships.
        code_noise: Standard deviation of the noise added to the code, whose own is 1.
        seed: Seed of the initial weights and of the batches.
    """

    stages: tuple[Stage, ...] = STAGES
    learning_rate: float = 1.5e-3
    warm_up: int = 150
    average: float = 0.998
    code_noise: float = 0.3
    seed: int = 1

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def at(self, step: int) -> tuple[int, int]:
        """Number of the stage that a step belongs to, and how many of its steps are done before."""
        number = 0
        while step >= self.stages[number].steps and number + 1 < len(self.stages):
            step -= self.stages[number].steps
            number += 1
        return number, step


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
        self.phones = nn.Linear(CODE, KINDS)

    def hear(self, features: Tensor) -> Tensor:
        """Codes [B, T, 64] of what the encoder hears."""
        codes, _ = self.encoder(features, features.new_zeros(len(features), memory(ENCODER_DILATIONS)))
        return codes[:, DELAY:]  # type: ignore[no-any-return]

    def forward(self, features: Tensor, pitch: Tensor, speaker: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes [B, T, 64], and bands [B, 4 T, 87] and phones [B, T, KINDS] from codes with noise [B, T, 64] added."""
        codes = self.hear(features)
        noisy = codes + noise
        return codes, self.say(noisy, pitch, self.voice(speaker)), self.phones(noisy).log_softmax(dim=-1)

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
        source: Draws what to learn from, disturbed as each stage wants it.
        valid: Draws what to report on.
        is_compiled: Whether torch makes machine code of the networks first, which needs a C++ compiler and pays off
            after two minutes.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        source: BatchSource,
        valid: BatchSource,
        is_compiled: bool = False,
    ) -> None:
        self.folder, self.config = folder, config
        self.sources = [source.disturbed(stage.disturbances) for stage in config.stages]
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.names = [speaker.name for speaker in source.speakers]
        self.voices = Voices(len(self.names))
        self.average = copy.deepcopy(self.voices).eval()
        self.optimiser = self._optimiser()
        self.step = 0
        self.seconds = 0.0
        self._valid = [valid.draw(seeded("valid", i)) for i in range(4)]
        if (folder / "state.pt").exists():
            state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
            self.voices.load_state_dict(state["voices"])
            self.average.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.step, self.seconds = state["step"], state["seconds"]
        self._run: Callable[..., tuple[Tensor, Tensor, Tensor]] = self.voices
        self._hear, self._bands_loss = self.average.hear, bands_loss
        if is_compiled:
            self._run = torch.compile(self.voices, dynamic=False)
            self._hear = torch.compile(self.average.hear, dynamic=False)
            self._bands_loss = torch.compile(bands_loss, dynamic=False)
        self._log = (folder / "log.jsonl").open("a", encoding="utf-8")

    def run(self, every: int = 250) -> Iterator[int]:
        """Train to the end; yields the number of steps done after each."""
        config = self.config
        if self.step == 0:
            self._note(config=asdict(config), speakers=len(self.names))
        started_s, losses = time.process_time(), list[tuple[float, float, float]]()
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
                    loss, phones, agreement = (sum(column) / len(losses) for column in zip(*losses, strict=True))
                    self._note(
                        step=self.step,
                        loss=loss,
                        phones=phones,
                        agreement=agreement,
                        **self.judge(),
                        cpu_s=round(self.seconds),
                    )
                    losses.clear()
                    self.save()

    def judge(self) -> dict[str, float]:
        """Losses of the averaged weights on stretches that are not trained on."""
        valid, phones = 0.0, 0.0
        with torch.inference_mode():
            for batch in self._valid:
                _, said, heard = self.average(batch.features, batch.pitch, batch.speaker, torch.zeros(1))
                valid += float(bands_loss(said, batch.bands, _counted(batch))) / len(self._valid)
                phones += float(phones_loss(heard, batch.phones)) / len(self._valid)
        return {"valid": valid, "valid_phones": phones}

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
        return self.sources[self.config.at(step)[0]].draw(seeded("voices", self.config.seed, step))

    def _optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.voices.parameters(), self.config.learning_rate, (0.9, 0.98), weight_decay=0.01)

    def _learn(self, batch: Batch) -> tuple[float, float, float]:
        config = self.config
        number, step = config.at(self.step)
        stage = config.stages[number]
        if number and step == 0:
            self.voices.load_state_dict(self.average.state_dict())
            self.optimiser = self._optimiser()
        rise = min((step + 1) / config.warm_up, 1.0)
        fall = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * step / stage.steps))
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * rise * fall
        torch.manual_seed(config.seed * 1_000_003 + self.step)  # the noise of a step is the same after a stop
        noise = config.code_noise * torch.randn(*batch.phones.shape[:2], CODE)
        codes, said, heard = self._run(batch.features, batch.pitch, batch.speaker, noise)
        loss = self._bands_loss(said, batch.bands, _counted(batch))
        phones, agreement = torch.zeros(()), torch.zeros(())
        if stage.phones:
            phones = phones_loss(heard, batch.phones)
        if stage.agreement:
            with torch.no_grad():
                wanted = self._hear(batch.plain)
            agreement = (codes - wanted).square().mean()
        self.optimiser.zero_grad(set_to_none=True)
        (loss + stage.phones * phones + stage.agreement * agreement).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.voices.parameters(), 1.0)
        self.optimiser.step()
        decay = min(config.average, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.voices.parameters(), strict=True):
                mean.lerp_(value, 1.0 - decay)
        return float(loss.detach()), float(phones.detach()), float(agreement.detach())

    def _note(self, **what: Any) -> None:
        log.info("%s", what)
        self._log.write(json.dumps(what) + "\n")
        self._log.flush()


def phones_loss(heard: Tensor, phones: Tensor) -> Tensor:
    """Divergence of the phones' log-probabilities [B, T, KINDS] from those wanted, mean over frames that have any."""
    apart = (phones * (phones.clamp_min(1e-6).log() - heard)).sum()
    return apart / phones.sum().clamp_min(1.0)


def _counted(batch: Batch) -> Tensor:
    """Which bands of the envelope count [B, 1, 80]: those above 8 kHz only where the recording holds them."""
    is_low = torch.from_numpy(band_centres_hz() < 7600.0)
    assert len(is_low) == ENVELOPE_BANDS
    return (is_low | batch.is_wide[:, None])[:, None].float()
