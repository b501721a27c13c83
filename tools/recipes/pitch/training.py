"""Training of the small pitch network.

First it learns pitch and voicing from stretches of two seconds, then, at a low rate, from windows as short as those of
a stream, which end in repeated frames and are noise alone in one of four.

The network is RMVPE's, a quarter as wide and less deep. Softmax cross-entropy over the 360 bins of voiced frames finds
the pitch at once, where the binary cross-entropy of the paper stays on the prior for long; a binary term on the largest
bin puts the decision of voicing where decoding will look for it, at a sigmoid of 0.03; the paper's own binary
cross-entropy, over voiced frames, gives the salience the shape that decoding averages over.
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

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....kernels.salience import CENTS_PER_BIN, FIRST_BIN_CENTS, N_BINS, VOICING_THRESHOLD, decode_salience
from ....kernels.types import FloatArray
from ....models.pitch.rmvpe import RMVPE
from .batches import Batch, BatchSource
from .corpus import Clip
from .disturbances import add_noise
from .noises import coloured_noise
from .speech import seeded

log = logging.getLogger(__name__)

NETWORK = {"base_channels": 4, "blocks": 1, "intermediate_layers": 1, "gru_size": 96}
THRESHOLD_LOGIT = math.log(VOICING_THRESHOLD / (1.0 - VOICING_THRESHOLD))
_BLUR_CENTS = 25.0  # standard deviation of the target around the true pitch, as in CREPE (arXiv:1802.06182)


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: Steps of the first part; the learning rate falls to zero over them.
        batch_size: Examples in a step.
        frames: Length of an example in frames of 10 ms.
        learning_rate: At its peak, reached after `warm_up` steps.
        warm_up: Steps.
        average: Decay of the running mean of the weights, which is what ships.
        shape_from: Proportion of the steps after which the binary cross-entropy over all bins gains weight.
        seed: Seed of the initial weights.
        edge_steps: Steps that follow, on windows as a stream has them.
        edge_frames: Length of these.
        edge_rate: Their first learning rate; it falls to zero.
        edge_noise: Proportion of these that are noise alone.
    """

    steps: int = 3000
    batch_size: int = 16
    frames: int = 192
    learning_rate: float = 3e-3
    warm_up: int = 100
    average: float = 0.998
    shape_from: float = 0.7
    seed: int = 1
    edge_steps: int = 800
    edge_frames: int = 64
    edge_rate: float = 5e-4
    edge_noise: float = 0.25

    @property
    def all_steps(self) -> int:
        """Of both parts."""
        return self.steps + self.edge_steps

    @property
    def edge_batch_size(self) -> int:
        """As many frames as in the other batches."""
        return self.batch_size * self.frames // self.edge_frames


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracy on the tuning clips: raw pitch accuracy at 50 cents and voicing error, in percent."""

    rpa: float
    voicing_error: float


class Training:
    """A run of training that can be stopped and taken up again.

    Args:
        folder: Folder of state and log.
        config: Training configuration.
        clips: To learn from.
        noises: Recorded noise and music at 16 kHz.
        tune: Clips to report on.
        first: Weights to begin with; None for random ones.
    """

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        clips: list[Clip],
        noises: list[FloatArray],
        tune: list[Clip],
        first: RMVPE | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.folder = folder
        self.config = config
        self._stretches = BatchSource(clips, noises, config.batch_size, config.frames)
        self._edges = BatchSource(
            clips, noises, config.edge_batch_size, config.edge_frames, config.edge_noise, repeated=0.9
        )
        self.tune = tune
        self.step = 0
        self.model = RMVPE(**NETWORK) if first is None else first
        self.averaged = copy.deepcopy(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.learning_rate, weight_decay=1e-3)
        folder.mkdir(parents=True, exist_ok=True)
        if self._state_path.exists():
            self._restore()

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.pt"

    def run(self, report_every: int = 250) -> Iterator[int]:
        """Train to the end, keeping the state after each report; yields the number of steps done."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self._batch, self.step)
            losses: list[float] = []
            started = time.monotonic()
            while self.step < self.config.all_steps:
                batch = coming.result()
                coming = pool.submit(self._batch, self.step + 1)
                losses.append(self._train(batch))
                self.step += 1
                if self.step % report_every == 0 or self.step == self.config.all_steps:
                    self._keep()
                    self._report(float(np.mean(losses)), time.monotonic() - started)
                    losses.clear()
                yield self.step

    def _batch(self, step: int) -> Batch:
        return (self._stretches if step < self.config.steps else self._edges).batch(step)

    def _rate(self) -> float:
        """Learning rate of the next step."""
        config = self.config
        if self.step >= config.steps:
            done = (self.step - config.steps) / max(config.edge_steps, 1)
            return config.edge_rate * (0.5 + 0.5 * math.cos(math.pi * done)) + 1e-6
        falling = 0.5 + 0.5 * math.cos(math.pi * self.step / config.steps) + 1e-3
        return config.learning_rate * min((self.step + 1) / config.warm_up, falling)

    def _train(self, batch: Batch) -> float:
        progress, rate = self.step / self.config.steps, self._rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        mel, known = network_input(self.model, batch)
        loss = pitch_loss(logits(self.model, mel), batch.f0_hz, known, late=progress >= self.config.shape_from)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self._average()
        return float(loss.detach())

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.average, (self.step + 1) / (self.step + 10))
        for mean, value in zip(self.averaged.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(value, 1.0 - decay)
        for kept, newest in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
            kept.copy_(newest)

    def _keep(self) -> None:
        state: dict[str, Any] = {
            "config": asdict(self.config),
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        unfinished = self._state_path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(self._state_path)

    def _restore(self) -> None:
        state = torch.load(self._state_path, weights_only=True)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        log.info("taken up again after step %d", self.step)

    def _report(self, loss: float, seconds: float) -> None:
        scores = {"clean": score(self.averaged, self.tune), "10 dB": score(self.averaged, self.tune, 10.0)}
        entry: dict[str, object] = {"step": self.step, "loss": round(loss, 4), "seconds": round(seconds)}
        for name, result in scores.items():
            entry[name] = [round(result.rpa, 2), round(result.voicing_error, 2)]
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        log.info("%s", entry)


def network_input(model: RMVPE, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-mel [B, 128, frames] of a batch and where its labels count [B, frames].

    At the right edge of a stream the newest frame stands for what has not come yet; some examples end like that.
    """
    with torch.no_grad():
        mel = model.mel.frames(batch.audio)
    frames = torch.arange(mel.shape[2])
    newest = mel.shape[2] - 1 - batch.repeated
    held = torch.minimum(frames[None], newest[:, None])
    mel = mel.gather(2, held[:, None].expand_as(mel))
    return mel, batch.known & (frames[None] <= newest[:, None])


def logits(model: RMVPE, mel: Tensor) -> Tensor:
    """What becomes the salience by a sigmoid [B, frames, 360]."""
    y, _ = model.gru(model.features(mel), model.gru.initial_state(len(mel), mel))
    z: Tensor = model.fc[1](y)
    return z


def pitch_loss(z: Tensor, f0_hz: Tensor, known: Tensor, late: bool) -> Tensor:
    """The loss of a batch.

    Args:
        z: Logits [B, frames, 360].
        f0_hz: [B, frames], 0 where unvoiced.
        known: Whether labels count [B, frames].
        late: Whether the shape of the salience matters more by now than finding the pitch.
    """
    target = salience_target(f0_hz)
    voiced = (f0_hz > 0) & known
    pitch = -(F.log_softmax(z, dim=2) * target / target.sum(dim=2, keepdim=True).clamp(min=1e-6)).sum(dim=2)
    pitch = (pitch * voiced).sum() / voiced.sum().clamp(min=1)
    decision = F.binary_cross_entropy_with_logits(
        z.amax(dim=2) - THRESHOLD_LOGIT, (f0_hz > 0).to(z.dtype), reduction="none"
    )
    counted = known.sum().clamp(min=1)
    decision = (decision * known).sum() / counted
    # Of voiced frames only: where voicing is in doubt it would ask for a salience of the doubt's size, far above 0.03.
    shape = F.binary_cross_entropy_with_logits(z, target, reduction="none").sum(dim=2)
    shape = (shape * voiced).sum() / voiced.sum().clamp(min=1)
    return (0.5 * pitch + decision + 0.4 * shape) if late else (pitch + decision + 0.1 * shape)


def salience_target(f0_hz: Tensor) -> Tensor:
    """A bell of height 1 around the pitch [B, frames, 360], nothing where unvoiced."""
    cents = 1200.0 * torch.log2(f0_hz.clamp(min=1.0) / 10.0)
    bins = FIRST_BIN_CENTS + CENTS_PER_BIN * torch.arange(N_BINS)
    bell = torch.exp(-0.5 * ((bins - cents[..., None]) / _BLUR_CENTS) ** 2)
    return bell * (f0_hz > 0)[..., None]


def score(model: RMVPE, clips: list[Clip], snr_db: float | None = None) -> Score:
    """Accuracy of one-shot F0 on some clips, with pink noise if wanted."""
    hits = voiced = wrong = known = 0
    for clip in clips:
        audio = clip.audio
        if snr_db is not None:
            audio = add_noise(audio, coloured_noise(len(audio), seeded("tune", clip.name), 3.0), snr_db)
        f0 = decode_salience(model.salience(model.mel(torch.from_numpy(audio)[None]))[0].numpy())
        truth, sure = clip.f0_hz, clip.known
        both = (truth > 0) & sure
        ratio = np.maximum(f0[both], 1.0) / truth[both]
        hits += int((np.abs(1200.0 * np.log2(ratio)) < 50.0).sum())
        voiced += int(both.sum())
        wrong += int((((f0 > 0) != (truth > 0)) & sure).sum())
        known += int(sure.sum())
    return Score(100.0 * hits / max(voiced, 1), 100.0 * wrong / max(known, 1))
