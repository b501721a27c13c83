"""Blocks of any size through an engine, as a live listener would hear them, with the delay taken out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..kernels.errors import VoiceError
from ..kernels.level import GATE_OFF_DB
from ..kernels.types import AnyFloatArray
from ..models.resample import resampled
from ..models.voice import Voice, VoiceKind, VoiceParams
from .config import StreamConfig
from .engine import Engine
from .session.gate import LevelGate

_COMMON_RATE = 48000  # of the engine where the output's rate does not fall on its grid


class BlockEngine(Protocol):
    """What takes and gives blocks of a fixed size at one rate; see `Engine`."""

    block_size: int

    @property
    def latency_samples(self) -> int:
        """How much later than the input the output is."""
        ...

    def process(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Convert the next block [block_size] into `out`."""
        ...


def through_engine(engine: BlockEngine, blocks: Iterable[AnyFloatArray]) -> Iterator[NDArray[np.float32]]:
    """Convert a stream at the engine's rate: as many samples out as in, time-aligned, in bounded memory.

    Args:
        engine: Fresh or reset.
        blocks: Mono [N], any sizes.
    """
    size, skip = engine.block_size, engine.latency_samples
    held = np.zeros(0, dtype=np.float32)
    total_in = total_out = 0

    def converted(block: NDArray[np.float32]) -> NDArray[np.float32]:
        nonlocal skip
        out = np.empty(size, dtype=np.float32)
        engine.process(block, out)
        dropped = min(skip, size)
        skip -= dropped
        return out[dropped:]

    for block in blocks:
        total_in += len(block)
        held = np.concatenate((held, np.asarray(block, dtype=np.float32)))
        while len(held) >= size:
            out, held = converted(held[:size]), held[size:]
            total_out += len(out)
            yield out
    # What is left, and silence until all that went in has come out.
    while total_out < total_in:
        rest, held = np.pad(held, (0, max(size - len(held), 0)))[:size], held[size:]
        out = converted(rest)[: total_in - total_out]
        total_out += len(out)
        yield out


class _Gated:
    """An engine with the level gate of a session around it."""

    def __init__(self, engine: BlockEngine, sample_rate: int, threshold_db: float) -> None:
        self.block_size = engine.block_size
        self._engine = engine
        self._threshold_db = threshold_db
        self._gate = LevelGate.allocate(sample_rate, engine.block_size, threshold_db)

    @property
    def latency_samples(self) -> int:
        """Latency of the engine: the gate adds none."""
        return self._engine.latency_samples

    def process(self, block: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Convert the next block [block_size] into `out`."""
        self._gate.listen(np.ascontiguousarray(block), self._threshold_db)
        self._engine.process(block, out)
        self._gate.apply(out, self.latency_samples)


class StreamedVoice:
    """A voice as a live listener hears it, for files: a block by block engine in the place of its own conversion.

    Args:
        voice: The voice.
        config: Lengths of the engine. The rate is that of each file's output.
        gate_db: Gate threshold of the live path.
    """

    def __init__(self, voice: Voice, config: StreamConfig, gate_db: float = GATE_OFF_DB) -> None:
        self._voice = voice
        self._config = config
        self._gate_db = gate_db

    @property
    def name(self) -> str:
        """The voice's."""
        return self._voice.name

    @property
    def kind(self) -> VoiceKind:
        """The voice's."""
        return self._voice.kind

    @property
    def sample_rate(self) -> int | None:
        """The voice's."""
        return self._voice.sample_rate

    @property
    def description(self) -> str:
        """The voice's."""
        return self._voice.description

    def output_rate(self, input_rate: int) -> int:
        """The voice's."""
        return self._voice.output_rate(input_rate)

    def convert(
        self, blocks: Iterable[AnyFloatArray], sample_rate: int, params: VoiceParams
    ) -> Iterator[AnyFloatArray]:
        """See `Voice.convert`.

        Raises:
            ParameterError: the voice has no such speaker.
            BaseModelError: an RVC voice's base models cannot be had.
        """
        out_rate = self.output_rate(sample_rate)
        least, greatest, grid = self._config.LIMITS["sample_rate"]
        rate = out_rate if least <= out_rate <= greatest and out_rate % grid == 0 else _COMMON_RATE
        engine = self._engine(rate, params)
        stream = through_engine(_Gated(engine, rate, self._gate_db), resampled(blocks, sample_rate, rate))
        return resampled(self._all_numbers(engine, stream), rate, out_rate)

    def _engine(self, rate: int, params: VoiceParams) -> Engine:
        if self._voice.kind == "rvc":
            from ..models.rvc.voice import RvcVoice

            assert isinstance(self._voice, RvcVoice)
            self._voice.check_speaker(params)
        return Engine(self._voice, replace(self._config, sample_rate=rate), params)

    def _all_numbers(self, engine: Engine, stream: Iterable[AnyFloatArray]) -> Iterator[AnyFloatArray]:
        """The stream; an engine goes on past a voice that fails, silent, which nobody would notice in a file."""
        for block in stream:
            if engine.nonfinite_blocks:
                raise VoiceError(f"the voice {self.name} rendered NaN or infinite samples; its file may be damaged")
            yield block
