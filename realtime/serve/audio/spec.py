"""What a client chooses when it opens an audio session, and the lengths that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...config import StreamConfig
from .frames import Format, most_samples

LEAST_RATE, GREATEST_RATE = 8000, 48000
PACES = ("live", "fast")
GAP_S = 1.0  # of missing input that is filled with silence; after more, the voice starts anew
_OTHER_RATE = 48000  # of the engine, where blocks at the client's rate would be no whole number of samples
_QUEUED_BLOCKS, _QUEUED_MS = 3, 60  # in each direction
_BEHIND_S = 1.0  # of input and of output that a session without a deadline may hold


@dataclass(frozen=True, slots=True)
class AudioSpec:
    """What does not change during a session.

    Attributes:
        number: Number of the session in frames, 1..65535.
        rate: Rate of the client's samples in Hz.
        format: Format of the client's samples.
        block_ms: Block size of the engine.
        is_live: Whether blocks that come too late are skipped; else nothing is dropped, and the client waits.
    """

    number: int
    rate: int
    format: Format
    block_ms: int
    is_live: bool

    @property
    def engine_rate(self) -> int:
        """Rate of the engine in Hz: the client's where blocks then are whole samples."""
        return self.rate if self.rate % StreamConfig.LIMITS["sample_rate"][2] == 0 else _OTHER_RATE

    @property
    def block_samples(self) -> int:
        """Samples of a block at the client's rate, rounded up."""
        return -(-self.rate * self.block_ms // 1000)

    @property
    def frame_samples(self) -> int:
        """Samples that the client should send in a frame: a block, as far as that fits."""
        return min(self.block_samples, most_samples(self.format))

    @property
    def queue_samples(self) -> int:
        """Samples at the client's rate that may wait, in each direction."""
        if self.is_live:
            return max(_QUEUED_BLOCKS * self.block_samples, self.rate * _QUEUED_MS // 1000)
        return max(_QUEUED_BLOCKS * self.block_samples, int(self.rate * _BEHIND_S))


def opening(spec: AudioSpec, voice: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a worker is told to open: the spec, the voice as sessions call it, and parameters by their long names."""
    return {"spec": asdict(spec), "voice": voice, "values": dict(values)}
