"""Blocks of any size through an engine, as a live listener would hear them, with the delay taken out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..models.resample import resampled
from ..models.voice import FloatArray, Voice, VoiceKind, VoiceParams
from .config import StreamConfig
from .engine import Engine


def through_engine(engine: Engine, blocks: Iterable[FloatArray]) -> Iterator[NDArray[np.float32]]:
    """Convert a stream at the engine's rate: as many samples out as in, time-aligned.

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


class StreamedVoice:
    """A voice as a live listener hears it, for files: the streaming engine in the place of its own conversion."""

    def __init__(self, voice: Voice, config: StreamConfig) -> None:
        self._voice = voice
        self._config = config

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
        """None: an engine gives out the rate that it takes in."""
        return None

    @property
    def description(self) -> str:
        """The voice's."""
        return self._voice.description

    def output_rate(self, input_rate: int) -> int:
        """The input's rate where an engine can run at it, else 48 kHz."""
        least, greatest, grid = StreamConfig.LIMITS["sample_rate"]
        return input_rate if least <= input_rate <= greatest and input_rate % grid == 0 else 48000

    def convert(self, blocks: Iterable[FloatArray], sample_rate: int, params: VoiceParams) -> Iterator[FloatArray]:
        """See `Voice.convert`."""
        rate = self.output_rate(sample_rate)
        engine = Engine(self._voice, replace(self._config, sample_rate=rate), params)
        return through_engine(engine, resampled(blocks, sample_rate, rate))
