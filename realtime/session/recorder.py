"""Recording of what comes in and goes out while live: rings that the engine fills, files that another thread writes."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

from ...kernels.errors import OutputError
from ...kernels.ring import RingBuffer
from ...kernels.types import FloatArray

log = logging.getLogger(__name__)


_RING_S = 20.0
_EVERY_S = 0.2
_NAMES = ("input", "output")


class Recorder:
    """Two WAV files, `input-<time>.wav` and `output-<time>.wav`, in step with one another but for the delay.

    Attributes:
        lost: Samples that found no room, because the disk was too slow.
        paths: The files.

    Args:
        folder: Where they go; made if it is missing.
        sample_rate: Hz.

    Raises:
        OutputError: the files cannot be made.
    """

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self.lost = 0
        self._sample_rate = sample_rate
        self._ended_because = ""
        self._rings = [RingBuffer.allocate(int(_RING_S * sample_rate)) for _ in _NAMES]
        self._scratch = np.zeros(sample_rate, dtype=np.float32)
        stamp = time.strftime("%Y-%m-%d-%H%M%S")
        self.paths = [folder / f"{name}-{stamp}.wav" for name in _NAMES]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files = [soundfile.SoundFile(path, "x", sample_rate, 1, "FLOAT") for path in self.paths]
        except (OSError, soundfile.LibsndfileError) as error:
            raise OutputError(f"{folder} cannot be recorded to ({error}): choose another folder") from error
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    @property
    def error(self) -> str:
        """Why writing has ended, or what is missing; empty while all is well."""
        if self._ended_because or not self.lost:
            return self._ended_because
        lost_s = self.lost / self._sample_rate / len(_NAMES)
        return f"the recording has gaps, {lost_s:.1f} s in all: the disk was too slow, choose another with --record"

    def take(self, heard: FloatArray, sent: FloatArray) -> None:
        """Note a block of the input and of the output [n]; never waits."""
        for ring, block in zip(self._rings, (heard, sent), strict=True):
            self.lost += len(block) - ring.write(block)

    def close(self) -> None:
        """Write what is left and close the files."""
        self._ending.set()
        self._thread.join()
        for file in self._files:
            file.close()
        if self.lost and not self._ended_because:  # an end was told when it came
            log.warning("%s", self.error)

    def _write(self) -> None:
        while True:
            ending = self._ending.wait(_EVERY_S)
            for ring, file in zip(self._rings, self._files, strict=True):
                while count := ring.read_into(self._scratch):
                    try:
                        file.write(self._scratch[:count])
                    except soundfile.LibsndfileError as error:
                        self._ended_because = f"recording has ended, for {file.name} cannot be written: {error}"
                        log.warning("%s", self._ended_because)
                        return
            if ending:
                return
