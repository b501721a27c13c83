"""What a block of an RVC voice needs: nothing allocated by our own code, nothing in float64 on the device."""

from __future__ import annotations

import tracemalloc
from typing import Any

import made_up_voice
import numpy as np
import pytest
import torch
from altervox.models.voice import VoiceParams
from altervox.realtime.config import StreamConfig
from altervox.realtime.stages.rvc import RvcStage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CONFIG = StreamConfig(block_ms=240, context_ms=200)
# Python's own objects around torch's calls: a few bytes each, and no array of the block, the smallest of which has 96
# frames' F0 in float32, while the wave has 38 KiB.
OBJECTS_KIB = 24


@pytest.fixture(scope="module")
def stage() -> RvcStage:
    return RvcStage(made_up_voice.voice(), made_up_voice.content(), None, CONFIG)


class Blocks:
    """Noise, block by block, into buffers that are there."""

    def __init__(self, stage: RvcStage) -> None:
        self._stage, self._size = stage, CONFIG.block_ms * 16
        self._audio = 0.1 * np.random.default_rng(0).standard_normal(8 * self._size).astype(np.float32)
        self._out = np.zeros(stage.output_rate * CONFIG.block_ms // 1000, dtype=np.float32)

    def process(self, count: int, params: VoiceParams) -> None:
        for i in range(count):
            self._stage.process(self._audio[i * self._size : (i + 1) * self._size], params, self._out)

    def advance(self, params: VoiceParams) -> None:
        self._stage.advance(self._audio[: self._size], params)


@pytest.mark.parametrize("formant", [0.0, 3.0])
def test_a_block_allocates_no_array(formant: float, stage: RvcStage) -> None:
    params, blocks = VoiceParams(formant_semitones=formant, rms_mix=0.5), Blocks(stage)
    stage.reset()
    blocks.process(4, params)
    tracemalloc.start()
    try:
        blocks.process(1, params)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        blocks.process(2, params)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (peak - before) / 1024 < OBJECTS_KIB
    assert (after - before) / 1024 < 4, "something is kept of every block"


class NoFloat64(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation that takes or gives float64."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: set[str] = set()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor) and leaf.dtype is torch.float64:
                self.found.add(str(func))
        return result


def test_nothing_on_the_device_is_float64(stage: RvcStage) -> None:
    """Apple's GPUs have none. The pitch network in ONNX Runtime is not seen, but one that runs on a GPU is torch's."""
    eager = RvcStage(made_up_voice.voice(), made_up_voice.content(), None, StreamConfig(block_ms=100, backend="eager"))
    audio, out = np.full(1600, 0.1, dtype=np.float32), np.zeros(4000, dtype=np.float32)
    with NoFloat64() as mode:
        for formant in (0.0, 5.0, 0.0):
            eager.process(audio, VoiceParams(formant_semitones=formant), out)
            eager.process(audio, VoiceParams(formant_semitones=formant), out)
        eager.advance(audio, VoiceParams())
        eager.reset()
    assert mode.calls > 1000
    assert not mode.found
