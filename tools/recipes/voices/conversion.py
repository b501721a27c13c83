"""Clips through the engine that live sessions use, block by block, with its latency taken out; and WORLD's copy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ....kernels.errors import ParameterError, VoiceError
from ....kernels.synthesis import LATENCY_SAMPLES, SynthesisState, synthesize
from ....kernels.types import FloatArray
from ....kernels.world import HOP, SAMPLE_RATE, analyse
from ....models.voice import Voice
from ....realtime.config import StreamConfig, with_lengths
from ....realtime.engine import Engine
from ....realtime.files import through_engine
from ...bench.accuracy.world_f0 import world_f0
from .conditions import RATE

_BEHIND_MS = 500  # room for the latency behind a clip that is one block
_FRAME_MS = 1000.0 * HOP / SAMPLE_RATE


class Converter:
    """Renders clips by one voice in blocks of one length. Each clip is a stream of its own.

    Args:
        voice: From `load_voice`.
        block_ms: Block length, a multiple of 20; 0 renders each clip as one block.

    Raises:
        ParameterError: the voice is bound to blocks of another length.
        VoiceError: the voice cannot be streamed.
    """

    def __init__(self, voice: Voice, block_ms: int) -> None:
        bound = voice.lengths.get("block_ms", block_ms)
        if bound != block_ms:
            raise ParameterError(f"{voice.name} is bound to blocks of {bound} ms; it cannot be measured at {block_ms}")
        self._voice = voice
        self._config = with_lengths(StreamConfig(sample_rate=RATE, block_ms=block_ms or 20), voice.lengths)
        self._is_whole = block_ms == 0
        self._engine = None if self._is_whole else Engine(voice, self._config)

    def convert(self, audio: FloatArray) -> FloatArray:
        """A clip [N] at 24 kHz in the other voice: as long, and aligned with it.

        Raises:
            VoiceError: the voice rendered NaN or infinite samples.
        """
        engine = self._engine
        if engine is None:
            longest = StreamConfig.LIMITS["block_ms"][1]
            wanted_ms = math.ceil(1000 * len(audio) / RATE) + self._config.lookahead_ms + _BEHIND_MS
            engine = Engine(self._voice, replace(self._config, block_ms=min(-(-wanted_ms // 20) * 20, longest)))
        engine.reset()
        out = np.concatenate([np.zeros(0, dtype=np.float32), *through_engine(engine, [audio])])
        if engine.nonfinite_blocks:
            raise VoiceError(f"the voice {self._voice.name} rendered NaN or infinite samples; it may be damaged")
        return out


def world_copy(audio: FloatArray) -> FloatArray:
    """A clip [N] at 24 kHz, analysed and synthesised by WORLD without a change: as near as its vocoder comes."""
    f0_hz = world_f0(audio, RATE, "harvest", _FRAME_MS).astype(np.float64)
    # The last frames push out what the synthesis holds back.
    f0_hz = np.pad(f0_hz, (0, 1 + -(-LATENCY_SAMPLES // HOP)))
    rendered = synthesize(analyse(audio, f0_hz, 0), SynthesisState(), 0)
    return rendered[LATENCY_SAMPLES:][: len(audio)]
