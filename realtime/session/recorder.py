"""Recording of input and output: ring buffers that the session fills, files that another thread writes."""

from __future__ import annotations

import errno
import itertools
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...kernels.errors import OutputError
from ...kernels.ring import RingBuffer
from ...kernels.types import FloatArray
from .wav_file import WavFile

log = logging.getLogger(__name__)


_RING_S = 20.0
_EVERY_S = 0.2
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_NAMES = ("input", "output")


class Recorder:
    """Two WAV files, `input-<time>.wav` and `output-<time>.wav`, aligned with each other except for the latency.

    Attributes:
        lost: Samples missing in each file because the disk was too slow.
        paths: The two files.

    Args:
        folder: Folder of the files; created if missing.
        sample_rate: Hz.
        prepare_thread: Called on the thread that writes, for instance to set its priority.

    Raises:
        OutputError: the files cannot be created.
    """

    def __init__(self, folder: Path, sample_rate: int, prepare_thread: Callable[[], object] = lambda: None) -> None:
        self.lost = 0
        self._prepare_thread = prepare_thread
        self._folder = folder
        self._sample_rate = sample_rate
        self._stopped_because = ""
        self._rings = [RingBuffer.allocate(int(_RING_S * sample_rate)) for _ in _NAMES]
        self._scratch = np.zeros(sample_rate, dtype=np.float32)
        self._files: list[WavFile] = []
        self.paths = _new_paths(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in self.paths:
                self._files.append(WavFile(path, sample_rate))
        except OSError as error:
            for file in self._files:
                file.close()
            raise OutputError(f"cannot record to {folder} ({error.strerror}): choose another folder") from error
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it still records."""
        return not self._stopped_because

    @property
    def error(self) -> str:
        """Why recording has stopped, or how much of it is missing; empty for no problem."""
        if self._stopped_because or not self.lost:
            return self._stopped_because
        lost_s = self.lost / self._sample_rate
        return f"the recording has gaps, {lost_s:.1f} s in all: the disk was too slow, choose another with --record"

    def take(self, heard: FloatArray, sent: FloatArray) -> None:
        """Record a block of input and of output [n]; never blocks.

        If the ring buffers have space for a part only, the rest is dropped from both files, so that they stay aligned.
        """
        if self._stopped_because:
            return
        room = min(len(heard), *(ring.free for ring in self._rings))
        self.lost += len(heard) - room
        for ring, block in zip(self._rings, (heard, sent), strict=True):
            ring.write(block[:room])

    def close(self) -> None:
        """Write the remaining samples and close the files."""
        self._ending.set()
        self._thread.join()
        for file in self._files:
            file.close()
        if self.lost and not self._stopped_because:  # a stop was logged when it came
            log.warning("%s", self.error)

    def _write(self) -> None:
        """Write the ring buffers to the files until the end, or until a file cannot be written."""
        try:
            self._prepare_thread()
            while not self._ending.wait(_EVERY_S):
                self._drain()
            self._drain()
        except Exception as error:  # whatever it is, the session continues and reports it
            self._stopped_because = f"recording stopped: {self._reason(error)}"
            log.warning("%s", self._stopped_because)
            log.debug("traceback", exc_info=error)

    def _drain(self) -> None:
        """Write the samples that both ring buffers hold, equally many to each file."""
        while count := min(len(self._scratch), *(ring.available for ring in self._rings)):
            for ring, file in zip(self._rings, self._files, strict=True):
                ring.read_into(self._scratch[:count])
                file.write(self._scratch[:count])

    def _reason(self, error: Exception) -> str:
        if isinstance(error, OSError) and error.errno in _FULL:
            return f"no space left on {self._folder}"
        why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        return f"{self._folder} cannot be written ({why})"


def _new_paths(folder: Path) -> list[Path]:
    """Names by the time of day that no earlier recording has."""
    stamp = time.strftime("%Y-%m-%d-%H%M%S")
    for number in itertools.count(1):
        suffix = f"-{number}" if number > 1 else ""
        paths = [folder / f"{name}-{stamp}{suffix}.wav" for name in _NAMES]
        if not any(path.exists() for path in paths):
            break
    return paths
