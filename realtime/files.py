"""Blocks of any size through an engine, with its latency taken out: how files are converted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..kernels.errors import VoiceError
from ..kernels.limits import GATE_OFF_DB, LOUDEST
from ..kernels.types import AnyFloatArray
from ..models.resample import resampled
from ..models.voice import Voice, VoiceParams, check_speaker
from .config import StreamConfig, with_lengths
from .engine import Engine
from .session.gate import LevelGate

LIVE = StreamConfig(block_ms=500)  # nobody waits for a block of a file, and large ones cost less
# The content encoder computes context and lookahead again with every block, and memory grows with the block. No graph
# is captured for so few blocks.
OFFLINE = StreamConfig(block_ms=4000, context_ms=5000, lookahead_ms=1000, backend="eager")

_LOWEST_RATE, _HIGHEST_RATE = 8000, 48000  # of output that follows the input
_RESAMPLING_MS = 20  # what the engine's resamplers and a DSP voice delay beyond the lookahead, with room to spare
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


def output_rate(voice: Voice, input_rate: int) -> int:
    """The rate in Hz of what `convert_stream` yields for input at `input_rate` Hz.

    A voice with a rate of its own keeps it. Else it is the input's, within 8..48 kHz unless the voice changes nothing.
    """
    if voice.sample_rate is not None:
        return voice.sample_rate
    if not voice.uses or _LOWEST_RATE <= input_rate <= _HIGHEST_RATE:
        return input_rate
    return 16000 if input_rate < _LOWEST_RATE else 48000


def convert_stream(
    voice: Voice,
    blocks: Iterable[AnyFloatArray],
    sample_rate: int,
    params: VoiceParams | None = None,
    config: StreamConfig | None = None,
    gate_db: float = GATE_OFF_DB,
) -> Iterator[AnyFloatArray]:
    """Convert mono audio that arrives in blocks of any size, in bounded memory.

    Args:
        voice: The voice. The blocks of one that changes nothing come out as they went in.
        blocks: Mono arrays [N], nominally within -1..1, float32 or float64; NaN and infinite samples count as silence.
        sample_rate: Their rate in Hz.
        params: Parameters of the voice.
        config: Lengths of the engine, such as `OFFLINE`; its rate follows from the audio's. None for `LIVE`, or for the
            lengths that the voice is bound to.
        gate_db: The output is silent where the input stays below this level.

    Returns:
        Mono arrays at `output_rate(voice, sample_rate)` Hz. Together they last as long as the input, time-aligned with
        it: `rescaled_length(total, sample_rate, output_rate)` samples. They may exceed -1..1. Iterating raises
        VoiceError if the voice renders NaN or infinite samples.

    Raises:
        ParameterError: the voice has no such speaker.
        BaseModelError: a base model that the voice needs cannot be obtained.
    """
    if not voice.uses:
        return iter(blocks)
    params, config = params or VoiceParams(), config or with_lengths(LIVE, voice.lengths)
    check_speaker(voice, params)
    out_rate = output_rate(voice, sample_rate)
    least, greatest, grid = config.LIMITS["sample_rate"]
    rate = out_rate if least <= out_rate <= greatest and out_rate % grid == 0 else _COMMON_RATE
    cleaned = (np.nan_to_num(block, posinf=0.0, neginf=0.0).clip(-LOUDEST, LOUDEST) for block in blocks)
    stream, config = resampled(cleaned, sample_rate, rate), replace(config, sample_rate=rate)
    if not voice.lengths:
        stream, config = _fitted(stream, config)
    engine = Engine(voice, config, params)
    return resampled(_finite(engine, voice.name, through_engine(_Gated(engine, rate, gate_db), stream)), rate, out_rate)


def _fitted(stream: Iterator[AnyFloatArray], config: StreamConfig) -> tuple[Iterator[AnyFloatArray], StreamConfig]:
    """The stream, and a config in which a stream shorter than a block is one short block, with nothing before it."""
    head: list[AnyFloatArray] = []
    length = 0
    for block in stream:
        head.append(block)
        length += len(block)
        if length >= config.block_size:
            return chain(head, stream), config
    lookahead_ms = min(config.lookahead_ms, LIVE.lookahead_ms)
    wanted_ms = math.ceil(1000 * length / config.sample_rate) + lookahead_ms + _RESAMPLING_MS
    block_ms, context_ms = min(config.block_ms, -(-wanted_ms // 20) * 20), config.LIMITS["context_ms"][0]
    return iter(head), replace(config, block_ms=block_ms, context_ms=context_ms, lookahead_ms=lookahead_ms)


def _finite(engine: Engine, name: str, stream: Iterable[AnyFloatArray]) -> Iterator[AnyFloatArray]:
    """The stream; an engine goes on past a voice that fails, silent, which nobody would notice in a file."""
    for block in stream:
        if engine.nonfinite_blocks:
            raise VoiceError(f"the voice {name} rendered NaN or infinite samples; its file may be damaged")
        yield block
