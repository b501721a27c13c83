"""A WAV file of one channel that may grow without end: whole at any moment, and RF64 once it is beyond 4 GiB."""

from __future__ import annotations

import struct
from pathlib import Path

from ...kernels.types import FloatArray

_IEEE_FLOAT = 3
_HEADER = struct.Struct("<4sI4s 4sIQQQI 4sIHHIIHH 4sI")
_LARGEST = 0xFFFFFFFF


class WavFile:
    """Float32 samples; after each write the header states all of them, so that nothing is lost if the process dies.

    Beyond 4 GiB the room kept in a JUNK chunk becomes the `ds64` chunk of RF64 (EBU Tech 3306), with 64-bit sizes.

    Args:
        path: Must not exist yet.
        sample_rate: Hz.

    Raises:
        OSError: it cannot be made, here as in every other method.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        self.path = path
        self._sample_rate = sample_rate
        self._bytes = 0  # of samples
        self._file = path.open("xb", buffering=0)
        self._file.write(self._header())

    def write(self, samples: FloatArray) -> None:
        """Append samples [n], contiguous float32."""
        self._file.seek(0, 2)
        left = samples.data.cast("B")
        try:
            while left:
                written = self._file.write(left)
                self._bytes += written
                left = left[written:]
        finally:
            self._file.seek(0)
            self._file.write(self._header())

    def close(self) -> None:
        """Close the file; it is complete already."""
        self._file.close()

    def _header(self) -> bytes:
        size = self._bytes // 4 * 4
        riff = size + _HEADER.size - 8
        is_long = riff > _LARGEST
        sizes = (riff, size, size // 4) if is_long else (0, 0, 0)
        return _HEADER.pack(
            *(b"RF64" if is_long else b"RIFF", min(riff, _LARGEST), b"WAVE"),
            *(b"ds64" if is_long else b"JUNK", 28, *sizes, 0),
            *(b"fmt ", 16, _IEEE_FLOAT, 1, self._sample_rate, 4 * self._sample_rate, 4, 32),
            *(b"data", min(size, _LARGEST)),
        )
