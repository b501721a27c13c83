"""What streaming costs a network of RMVPE's shape: accuracy against one pass over the whole, and time per block."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....kernels.errors import AltervoxError
from ....kernels.salience import N_BINS, VOICING_THRESHOLD, decode_salience
from ....kernels.types import FloatArray
from .corpus import Clip
from .evaluation import CLEAN, NOISY_10_DB, TOLERANCE_CENTS, Condition, Counts, count, disturbed
from .references import HOP, SmallRmvpe

if TYPE_CHECKING:
    from ....models.pitch.rmvpe import RMVPE
    from ....realtime.stages.pitch import StreamingRMVPE


RIGHT_FRAMES = (0, 2, 4, 8)
BLOCKS_MS = (20, 40, 100)
WINDOWS_FRAMES = (64, 96, 128, 256)
CONDITIONS = (CLEAN, NOISY_10_DB)
# The last frames of a clip see its end in one pass and what follows it in a stream.
_END_FRAMES = 12
_WARM_UP_BLOCKS = 50
_TIMED_BLOCKS = 500


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a stream is run.

    Attributes:
        right_frames: Frames of 10 ms that are waited for beyond the mel frame.
        block_ms: Block length.
        is_carried: Whether the forward GRU state goes from block to block; else it is zeroed before each.
        window_frames: Window of the U-Net; None for the shortest.
    """

    right_frames: int
    block_ms: int
    is_carried: bool = True
    window_frames: int | None = None


@dataclass(frozen=True, slots=True)
class StreamRow:
    """What a stream did.

    Attributes:
        settings: Settings of the stream; None for one pass over the whole.
        condition: Noise or filter that was applied to the clips.
        lookahead_ms: Time from the middle of a frame to the end of the audio that it waits for, whole hops.
        window_frames: Window of the U-Net.
        counts: Against the label.
        voicing_differs: Proportion of all frames whose voicing is not that of one pass.
        cents_p50: Median deviation from one pass in frames that are voiced for both and for the label.
        cents_p95: 95th percentile of that deviation.
        off: Proportion of those frames that deviate by more than 50 cents.
    """

    settings: StreamSettings | None
    condition: str
    lookahead_ms: int
    window_frames: int
    counts: Counts
    voicing_differs: float
    cents_p50: float
    cents_p95: float
    off: float


def settings_to_compare() -> list[StreamSettings]:
    """Every lookahead with every block, carried; the same zeroed; and longer windows at the engine's default."""
    grid = [StreamSettings(r, ms, c) for c in (True, False) for ms in BLOCKS_MS for r in RIGHT_FRAMES]
    return grid + [StreamSettings(2, 20, window_frames=w) for w in WINDOWS_FRAMES[1:]]


def stream_salience(stream: StreamingRMVPE, audio: FloatArray, is_carried: bool) -> FloatArray:
    """Salience [N // 160 + 1, 360] of audio [N] that comes block by block, followed by silence.

    Args:
        stream: At its start.
        audio: At 16 kHz.
        is_carried: Whether the forward GRU state is left in place between blocks.
    """
    frames, block = len(audio) // HOP + 1, stream.block_frames * HOP
    steps = -(-(frames + stream.latency_frames) * HOP // block) + 1
    padded = np.pad(audio, (0, steps * block - len(audio)))
    parts = [np.zeros((0, N_BINS), dtype=np.float32)]
    for start in range(0, len(padded), block):
        if not is_carried:
            stream.state.h_mem.zero_()
        parts.append(stream.push_salience(padded[start : start + block]))
    return np.concatenate(parts)[:frames]


def compare_streams(
    model: RMVPE,
    clips: Sequence[Clip],
    settings: Sequence[StreamSettings],
    graph: Path | None,
    advance: Callable[[], None],
) -> Iterator[StreamRow]:
    """Rows for one pass and for each way to stream, clean and in noise.

    Args:
        model: The network.
        clips: Clips to stream.
        settings: How.
        graph: The network's step as a file for ONNX Runtime; None for torch.
        advance: Called after each clip of each row.
    """
    from ....realtime.stages.pitch import MEL_WAIT_FRAMES, StreamingRMVPE

    whole = SmallRmvpe(model)
    for condition in CONDITIONS:
        heard = [disturbed(clip, condition, clips) for clip in clips]
        once = [whole.track(audio) for audio in heard]
        yield _row(None, condition, 0, 0, clips, once, once)
        for setting in settings:
            if condition != CLEAN and setting.window_frames is not None:
                continue
            lengths = (setting.block_ms // 10, setting.right_frames, setting.window_frames)
            stream = StreamingRMVPE(model, *lengths, "eager" if graph is None else "onnx", graph)
            found = []
            for audio in heard:
                stream.reset()
                salience = stream_salience(stream, audio, setting.is_carried)
                found.append((decode_salience(salience, threshold=-1.0), salience.max(axis=1)))
                advance()
            lookahead_ms = 10 * (MEL_WAIT_FRAMES + setting.right_frames)
            yield _row(setting, condition, lookahead_ms, stream.window_frames, clips, found, once)


def _row(
    settings: StreamSettings | None,
    condition: Condition,
    lookahead_ms: int,
    window_frames: int,
    clips: Sequence[Clip],
    found: Sequence[tuple[FloatArray, FloatArray]],
    once: Sequence[tuple[FloatArray, FloatArray]],
) -> StreamRow:
    counts, differs, cents = Counts(), [np.zeros(0, dtype=bool)], [np.zeros(0)]
    for clip, (f0_hz, confidence), (once_hz, once_confidence) in zip(clips, found, once, strict=True):
        kept = slice(0, max(len(f0_hz) - _END_FRAMES, 0))
        is_voiced, was_voiced = confidence > VOICING_THRESHOLD, once_confidence > VOICING_THRESHOLD
        counts += count(f0_hz[kept], is_voiced[kept], clip.f0_hz[kept], clip.known[kept])
        differs.append((is_voiced != was_voiced)[kept])
        # Where there is no voice F0 is chance, and says nothing about a stream.
        both = (is_voiced & was_voiced & clip.known & (clip.f0_hz > 0))[kept]
        cents.append(np.abs(1200.0 * np.log2(f0_hz[kept][both].astype(np.float64) / once_hz[kept][both])))
    deviation = np.concatenate(cents)
    p50, p95 = np.percentile(deviation, (50, 95)) if len(deviation) else (float("nan"), float("nan"))
    off = float(np.mean(deviation > TOLERANCE_CENTS)) if len(deviation) else float("nan")
    voicing = float(np.mean(np.concatenate(differs)))
    return StreamRow(
        settings, condition.name, lookahead_ms, window_frames, counts, voicing, float(p50), float(p95), off
    )


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """Time for a block of 20 ms, on one thread.

    Attributes:
        backend: That ran it.
        window_frames: Window of the U-Net.
        milliseconds: Percentiles 50, 95, 99 and the most; None where the backend is unavailable, and `reason` why.
        reason: See above.
        mean_cpu_ms: Mean processor time, which other processes on the machine do not affect.
    """

    backend: str
    window_frames: int
    milliseconds: tuple[float, float, float, float] | None
    reason: str = ""
    mean_cpu_ms: float = float("nan")


def time_blocks(
    model: RMVPE, backend: str, graph: Path | None, window_frames: int, blocks: int = _TIMED_BLOCKS
) -> SpeedRow:
    """Time a stream's blocks of 20 ms with 20 ms of right context.

    Args:
        model: The network.
        backend: One of `altervox.realtime.config.BACKENDS`.
        graph: The network's step as a file for ONNX Runtime.
        window_frames: Window of the U-Net.
        blocks: Number of timed blocks, after some for warm-up.
    """
    import torch

    from ....realtime.stages.pitch import StreamingRMVPE

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cpu_begun = 0.0
    try:
        stream = StreamingRMVPE(model, 2, 2, window_frames, backend, graph)
        rng = np.random.default_rng(0)
        taken_ms = []
        for i in range(_WARM_UP_BLOCKS + blocks):
            if i == _WARM_UP_BLOCKS:
                cpu_begun = time.process_time()
            audio = 0.1 * rng.standard_normal(2 * HOP, dtype=np.float32)
            begun = time.perf_counter()
            stream.push(audio)
            taken_ms.append(1000.0 * (time.perf_counter() - begun))
    except AltervoxError as error:
        return SpeedRow(backend, window_frames, None, str(error))
    finally:
        torch.set_num_threads(threads)
    mean_cpu_ms = 1000.0 * (time.process_time() - cpu_begun) / blocks
    p50, p95, p99, most = np.percentile(taken_ms[_WARM_UP_BLOCKS:], (50, 95, 99, 100))
    return SpeedRow(backend, window_frames, (float(p50), float(p95), float(p99), float(most)), mean_cpu_ms=mean_cpu_ms)


def processor_name() -> str:
    """What the operating system calls the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} logical cores" if names else platform.processor() or platform.machine()
