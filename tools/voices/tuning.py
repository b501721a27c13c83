"""Fine-tuning of the decoder that ships until it speaks as the recordings do. The encoder is frozen."""

from __future__ import annotations

import copy
import hashlib
import io
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...kernels.errors import OutputError
from ...kernels.types import FloatArray
from ...models.neural.bands import band_centres_hz
from ...models.neural.features import F_MAX_HZ
from ...models.neural.network import CODE, DECODER_DILATIONS, ENVELOPE_BANDS, Decoder, memory
from ...models.neural.step import Speaking
from .losses import bands_loss
from .material import Material

_CODE_NOISE = 0.2  # standard deviation of the noise added to the code, whose own is 1
_TIMED_STEPS = 6  # after which it is known how many fit into the time
_FORMAT = 1
_STATE_BYTES = 32 << 20  # a little more than a state takes


@dataclass(frozen=True, slots=True)
class TuningConfig:
    """How to tune.

    Attributes:
        steps: Steps, if there is time for them; the learning rate falls to a hundredth over them.
        size: Stretches of a step.
        frames: Length of a stretch in frames of 20 ms.
        learning_rate: At its peak, reached after `warm_up` steps.
        warm_up: Steps.
        average: Decay of the running mean of the weights, which is what becomes the voice.
        keep_every_s: How often the state is kept.
        seed: Seed of the batches.
    """

    steps: int = 500
    size: int = 16
    frames: int = 100
    learning_rate: float = 6e-4
    warm_up: int = 20
    average: float = 0.99
    keep_every_s: float = 20.0
    seed: int = 1


class Tuning:
    """A run that can be stopped after any step, and taken up again after it was killed.

    Args:
        base: The decoder to begin with, as a mean voice.
        material: What to learn from.
        is_wide: Whether the recordings hold what lies above 8 kHz.
        config: How.
        state: File of the state; what is in it is taken up if it belongs to this material, base and config.

    Attributes:
        step: Steps that are done.
        steps: Steps that there is time for.
        is_of_others: Whether the state was of other material, base or config, and is not taken up.
        is_kept: Whether the state could be written.
    """

    def __init__(self, base: Speaking, material: Material, is_wide: bool, config: TuningConfig, state: Path) -> None:
        self.material, self.config, self._path = material, config, state
        self.decoder, self.voice = copy.deepcopy(base.decoder), nn.Parameter(base.voice.clone())
        self.averaged_decoder, self.averaged_voice = copy.deepcopy(base.decoder), base.voice.clone()
        self._parameters = [*self.decoder.parameters(), self.voice]
        for parameter in self._parameters:
            parameter.requires_grad_()
        self._optimiser = torch.optim.AdamW(self._parameters, config.learning_rate, (0.9, 0.98), weight_decay=0.01)
        self._counted = torch.from_numpy(counted_bands(is_wide)).float()[None, None]
        self.step = 0
        self.steps = config.steps
        self.seconds = 0.0
        self.losses: list[float] = []
        self.is_kept = True
        self._fingerprint = _fingerprint(base, material, is_wide, config)
        self._restore()

    def run(self, deadline_s: float) -> Iterator[int]:
        """Train to the end, or to a time by `time.monotonic` that may be infinite; yields how many steps are done."""
        kept_s = began_s = time.monotonic()
        timed_from = self.step + 2  # the first steps take longer
        timed_s = began_s
        while self.step < self.steps:
            self.losses.append(self._learn())
            self.step += 1
            now_s = time.monotonic()
            self.seconds += now_s - began_s
            began_s = now_s
            if self.step == timed_from:
                timed_s = now_s
            elif self.step == timed_from + _TIMED_STEPS:
                fit = (deadline_s - now_s) / max((now_s - timed_s) / _TIMED_STEPS, 1e-6)
                self.steps = self.step + int(min(max(fit, 0.0), self.config.steps - self.step))
            if now_s - kept_s > self.config.keep_every_s:
                self.keep()
                kept_s = time.monotonic()
            yield self.step
            if now_s > deadline_s:
                break

    @property
    def is_finished(self) -> bool:
        """Whether all steps are done that there was time for."""
        return self.step >= self.steps

    def spoken(self) -> Speaking:
        """The voice as it is by now, without the natural variance."""
        decoder = copy.deepcopy(self.averaged_decoder)
        return Speaking(
            decoder, self.averaged_voice, torch.zeros(ENVELOPE_BANDS), torch.zeros(ENVELOPE_BANDS, ENVELOPE_BANDS)
        )

    def keep(self) -> None:
        """Write the state, whole or not at all. `is_kept` tells whether it could be written."""
        unfinished = self._path.with_suffix(".part")
        state = {
            "fingerprint": self._fingerprint,
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
            "decoder": self.decoder.state_dict(),
            "voice": self.voice.detach(),
            "averaged_decoder": self.averaged_decoder.state_dict(),
            "averaged_voice": self.averaged_voice,
            "optimiser": self._optimiser.state_dict(),
        }
        held = io.BytesIO()
        torch.save(state, held)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(held.getbuffer())
            unfinished.replace(self._path)
            self.is_kept = True
        except OSError:
            self.is_kept = False
        finally:
            _removed(unfinished)

    def forget(self) -> None:
        """Remove the state."""
        _removed(self._path)

    def _restore(self) -> None:
        state = _state_in(self._path)
        self.is_of_others = state is not None and state.get("fingerprint") != self._fingerprint
        if state is None or self.is_of_others:
            return
        self.decoder.load_state_dict(state["decoder"])
        self.averaged_decoder.load_state_dict(state["averaged_decoder"])
        self.averaged_voice = state["averaged_voice"]
        with torch.no_grad():
            self.voice.copy_(state["voice"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.losses = state["losses"]

    def _learn(self) -> float:
        config, step = self.config, self.step
        rise = min((step + 1) / config.warm_up, 1.0)
        fall = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(step / self.steps, 1.0)))
        for group in self._optimiser.param_groups:
            group["lr"] = config.learning_rate * rise * fall
        codes, pitch, bands = self._batch()
        said = say(self.decoder, codes, pitch, self.voice)
        loss = bands_loss(said, bands, self._counted)
        if not torch.isfinite(loss):
            return self.losses[-1] if self.losses else 0.0
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimiser.step()
        decay = min(config.average, (step + 1) / (step + 10))
        averaged = [*self.averaged_decoder.parameters(), self.averaged_voice]
        with torch.no_grad():
            for mean, value in zip(averaged, self._parameters, strict=True):
                mean.lerp_(value, 1.0 - decay)
        return float(loss.detach())

    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """The same for the same step, however often the run was interrupted."""
        config = self.config
        rng = np.random.default_rng((config.seed, self.step))
        frames = min(config.frames, len(self.material.codes))
        starts = rng.integers(0, len(self.material.codes) - frames + 1, config.size)
        rows = [self.material.stretch(int(start), frames) for start in starts]
        codes, pitch, bands = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
        noise = rng.standard_normal((config.size, frames, CODE), dtype=np.float32)
        return codes + _CODE_NOISE * torch.from_numpy(noise), pitch, bands


def say(decoder: Decoder, codes: Tensor, pitch: Tensor, voice: Tensor) -> Tensor:
    """What a decoder says from the start of a stream on [B, 4 T, 87]."""
    mem = codes.new_zeros(len(codes), memory(DECODER_DILATIONS))
    bands: Tensor = decoder(codes, pitch, voice[None].expand(len(codes), -1), mem)[0]
    return bands


def counted_bands(is_wide: bool) -> FloatArray:
    """1 for the bands that recordings hold, 0 for those above 8 kHz where they do not [80]."""
    return np.asarray((band_centres_hz() < F_MAX_HZ) | is_wide, dtype=np.float32)


def check_writable(state: Path) -> None:
    """Raises OutputError unless a state can be written."""
    probe = state.with_suffix(".part")
    try:
        state.parent.mkdir(parents=True, exist_ok=True)
        with probe.open("wb") as file:
            file.write(bytes(_STATE_BYTES))
            file.flush()
    except OSError as error:
        raise OutputError(f"{state.parent} cannot be written: {error.strerror}; training needs 40 MB there") from error
    finally:
        _removed(probe)


def _removed(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # on a disk that has gone
        return


def _state_in(path: Path) -> dict[str, Any] | None:
    """What a file of ours holds; None if there is none or it is damaged. Reading it runs no code."""
    try:
        state = torch.load(path, weights_only=True)
    except Exception:  # whatever a damaged file makes torch raise
        return None
    return state if isinstance(state, dict) else None


def _fingerprint(base: Speaking, material: Material, is_wide: bool, config: TuningConfig) -> str:
    total = hashlib.sha256(repr((_FORMAT, is_wide, config)).encode())
    total.update(material.said.audio.data)
    total.update(material.at_10ms.data)
    for tensor in (base.voice, *base.decoder.state_dict().values()):
        total.update(tensor.detach().numpy().tobytes())
    return total.hexdigest()
