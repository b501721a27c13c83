"""What the audio process tells of itself, in shared memory: written by it, read by whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATES = ("starting", "running", "reconnecting", "failed", "stopped")

_TEXT = "S240"
STATUS = np.dtype(
    [
        ("state", "i8"),
        ("cause", _TEXT),
        ("voice", _TEXT),
        ("pitch_semitones", "f8"),
        ("formant_semitones", "f8"),
        ("input_device", _TEXT),
        ("output_device", _TEXT),
        ("monitor_device", _TEXT),
        ("sample_rate", "i8"),
        ("seconds", "f8"),
        ("input_peak_db", "f8"),
        ("output_peak_db", "f8"),
        ("input_gain_db", "f8"),
        ("gain_db", "f8"),
        ("gate_gain_db", "f8"),
        ("f0_hz", "f8"),
        ("input_is_silent", "i8"),
        ("bypass", "i8"),
        ("muted", "i8"),
        ("monitor", "i8"),
        ("blocks", "i8"),
        ("late_blocks", "i8"),
        ("muted_blocks", "i8"),
        ("failed_blocks", "i8"),
        ("shortages", "i8"),
        ("own_shortages", "i8"),
        ("starved_samples", "i8"),
        ("lost_samples", "i8"),
        ("block_p50_ms", "f8"),
        ("block_p99_ms", "f8"),
        ("block_max_ms", "f8"),
        ("deadline_ms", "f8"),
        ("drift_ppm", "f8"),
        ("device_in_ms", "f8"),
        ("block_ms", "f8"),
        ("engine_ms", "f8"),
        ("resampler_ms", "f8"),
        ("prefill_ms", "f8"),
        ("prefill_grown_ms", "f8"),
        ("device_out_ms", "f8"),
        ("device_ms", "f8"),
        ("device_delay_is_measured", "i8"),
        ("total_ms", "f8"),
    ],
    align=True,
)


@dataclass(slots=True)
class LiveStatus:
    """A record of `STATUS` in shared memory.

    Attributes:
        memory: Which holds it.
        record: The record [1].
    """

    memory: SharedMemory
    record: NDArray[Any]

    @classmethod
    def create(cls) -> LiveStatus:
        """A new record of zeros; who creates it calls `unlink`."""
        memory = SharedMemory(create=True, size=STATUS.itemsize)
        status = cls(memory, np.ndarray(1, dtype=STATUS, buffer=memory.buf))
        status.record[:] = np.zeros(1, dtype=STATUS)
        return status

    @classmethod
    def attach(cls, name: str) -> LiveStatus:
        """The record of another process."""
        memory = SharedMemory(name=name)
        return cls(memory, np.ndarray(1, dtype=STATUS, buffer=memory.buf))

    def put(self, **values: object) -> None:
        """Set fields; a text that is too long is cut. `state` is one of `STATES`."""
        for name, value in values.items():
            if name == "state":
                self.record[name] = STATES.index(str(value))
            else:
                self.record[name] = value.encode()[:239] if isinstance(value, str) else value

    def read(self) -> dict[str, Any]:
        """All fields as plain Python values."""
        row = self.record[0].copy()
        fields = {name: row[name].item() for name in STATUS.names or ()}
        values = {k: v.decode(errors="replace") if isinstance(v, bytes) else v for k, v in fields.items()}
        values["state"] = STATES[int(row["state"])]
        return values

    def close(self, unlink: bool = False) -> None:
        """Let go of the memory, and with `unlink` for everyone."""
        del self.record
        self.memory.close()
        if unlink:
            self.memory.unlink()
