"""Before sound begins: everything that compiles, allocates or loads does so, and the block size is chosen."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...kernels.errors import VoiceError
from ...models.library import load_voice
from ...models.voice import Voice
from ..config import StreamConfig, with_lengths
from ..synthetic import speech_like
from .processor import Processor
from .settings import SessionSettings

log = logging.getLogger(__name__)

AUTO_BLOCKS_MS = (20, 40, 60, 80, 100, 120, 160, 200, 240, 320, 400, 500, 640, 800, 1000)
ROOM = 0.6  # of a block's duration that it may cost, for it to be chosen
_BLOCKS = 40
_COLD_BLOCKS = 5  # the first ones compile and allocate
_HOPELESS_BLOCKS = 3  # after which a length is given up if their median is far beyond the limit
_HOPELESS = 1.5
_FEWEST_BLOCKS = 2  # after the first one, however long they take
_LONGEST_S = 3.0  # to time blocks of one length: when they change, the session is silent and deaf meanwhile
_SPEECH_S = 5.0  # said again and again


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Cost of blocks on this machine.

    Attributes:
        block_ms: Block size in ms.
        cost_ms: 90th percentile of the processor time per block (on a GPU: of the wall-clock time).
        slowest_ms: Longest wall-clock time of a block.
    """

    block_ms: int
    cost_ms: float
    slowest_ms: float

    @property
    def warning(self) -> str:
        """One sentence if blocks take longer than they last; otherwise empty."""
        if self.cost_ms <= self.block_ms:
            return ""
        longer = longer_block_ms(self.block_ms, self.cost_ms)
        way_out = f"choose --block-ms {longer} or another voice" if longer else "choose another voice"
        return (
            f"a block of {self.block_ms} ms takes {self.cost_ms:.0f} ms on this computer, so the sound will break up: "
            f"{way_out}"
        )


def longer_block_ms(block_ms: int, cost_ms: float) -> int:
    """The next longer block size that can afford this cost; 0 if there is none."""
    return next((ms for ms in AUTO_BLOCKS_MS if ms > block_ms and ms * ROOM >= cost_ms), 0)


def warmed_up(
    settings: SessionSettings, block_ms: int | None, prepare_thread: Callable[[], object] = lambda: None
) -> tuple[Processor, WarmUp]:
    """A processor that has everything compiled and loaded, and knows how long its blocks take.

    Args:
        settings: Settings that the session starts with.
        block_ms: Block size; None for the shortest of `AUTO_BLOCKS_MS` that costs `ROOM` of its duration at
            most, or the longest of them.
        prepare_thread: See `Processor`.

    Raises:
        AltervoxError: the voice cannot be loaded or fails, or the recording cannot be started.
    """
    voice = load_voice(settings.state.voice, settings.device)
    without_recording = replace(settings, record_folder=None)
    lengths = _bound(settings.config, voice)
    blocks_ms = [lengths.block_ms] if voice.lengths else list(AUTO_BLOCKS_MS)
    candidates = blocks_ms if block_ms is None else [block_ms]
    while True:
        config = replace(lengths, block_ms=candidates.pop(0))
        processor = Processor(replace(without_recording, config=config), voice, prepare_thread)
        limit_ms = ROOM * config.block_ms if candidates else float("inf")
        result = time_blocks(processor, limit_ms, _LONGEST_S)
        log.info("blocks of %d ms take %.1f ms, at most %.1f", config.block_ms, result.cost_ms, result.slowest_ms)
        # A longer block costs no less than a shorter one.
        while len(candidates) > 1 and candidates[0] * ROOM < result.cost_ms:
            candidates.pop(0)
        if not candidates or result.cost_ms <= ROOM * config.block_ms:
            break
    processor.reset()
    processor.settings = replace(settings, config=config)
    if settings.record_folder is not None:
        processor.start_recording(settings.record_folder)
    return processor, result


def _bound(config: StreamConfig, voice: Voice) -> StreamConfig:
    """The lengths that a voice is bound to, wherever the config leaves them at their defaults."""
    usual = StreamConfig()
    left = {k: v for k, v in voice.lengths.items() if getattr(config, k) == getattr(usual, k)}
    return with_lengths(config, left)


def time_blocks(processor: Processor, limit_ms: float, most_s: float) -> WarmUp:
    """Run synthetic speech through a processor, which then holds the state of that speech.

    Args:
        processor: The processor.
        limit_ms: Cost far beyond which it is not looked at any longer.
        most_s: Time after which it is not looked at any longer, from the end of the first block on.

    Raises:
        VoiceError: the voice failed.
    """
    on_gpu = str(getattr(processor.engine.engine.voice, "device", "cpu")).startswith("cuda")
    end_s = float("inf")
    size, blocks = processor.block_size, _BLOCKS + _COLD_BLOCKS
    samples = np.resize(speech_like(_SPEECH_S, processor.sample_rate), blocks * size)
    out = np.zeros(size, dtype=np.float32)
    costs_ms: list[float] = []
    times_ms: list[float] = []
    for number, block in enumerate(samples.reshape(blocks, size)):
        started_s, cpu_s = time.perf_counter(), time.thread_time()
        processor.process(block, out)
        if processor.failed_blocks:
            raise VoiceError(f"the voice {processor.sounding} failed: {'; '.join(processor.causes)}")
        times_ms.append(1000.0 * (time.perf_counter() - started_s))
        # On a busy machine, wall-clock time says little about the cost of a block.
        costs_ms.append(times_ms[-1] if on_gpu else 1000.0 * (time.thread_time() - cpu_s))
        if number == 0:
            end_s = time.perf_counter() + most_s
        elif time.perf_counter() > end_s and len(costs_ms) >= _FEWEST_BLOCKS:
            break
        if number in (0, _COLD_BLOCKS - 1):
            times_ms.clear()
            costs_ms.clear()
        elif number >= _COLD_BLOCKS + _HOPELESS_BLOCKS - 1 and np.median(costs_ms) > _HOPELESS * limit_ms:
            break
    return WarmUp(processor.settings.config.block_ms, float(np.quantile(costs_ms, 0.9)), max(times_ms))
