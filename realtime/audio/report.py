"""Makes the status of a live session and sends it, on a thread that may wait for whoever reads it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import numpy as np

from ...kernels.gain import decibels
from ..session.processor import Processor
from ..session.status import Latency, Status
from .loop import LiveLoop
from .priority import HELPING, raise_thread_priority

log = logging.getLogger(__name__)

_EVERY_S = 0.05
_SHOWN_OVER = 100  # readings whose median is shown: callback jitter moves single readings by some milliseconds


class Reporter:
    """Sends a status twenty times a second; a reader that does not keep up gets fewer and always the newest.

    Args:
        statuses: Connection that the records are sent to.
        make: Builds a record.
    """

    def __init__(self, statuses: Connection, make: Callable[[], Status]) -> None:
        self._statuses = statuses
        self._make = make
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sending; waits for the last record unless its reader hangs."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(4.0 * _EVERY_S)

    def _run(self) -> None:
        raise_thread_priority(HELPING)
        while not self._stopping.is_set():
            try:
                self._statuses.send(self._make())
            except (BrokenPipeError, ConnectionError):
                return  # the owner is gone; the session ends by itself
            except Exception as error:  # nothing that is wrong with a status may end all that follow
                log.warning("the status could not be sent: %s", error, exc_info=True)
            self._stopping.wait(_EVERY_S)


@dataclass(slots=True)
class Losses:
    """Losses of a session before its current loop.

    Attributes:
        underruns: Number of underruns.
        underrun_ms: Duration of the samples missing in underruns.
        overruns: Number of overruns.
        overrun_ms: Duration of the input dropped in overruns.
        late_blocks: Blocks that were skipped because they were late.
        failed_blocks: Blocks that were silenced because of an exception.
        nonfinite_blocks: Blocks that were silenced because they held NaN or infinite samples.
        blocks: Number of blocks.
    """

    underruns: int = 0
    underrun_ms: float = 0.0
    overruns: int = 0
    overrun_ms: float = 0.0
    late_blocks: int = 0
    failed_blocks: int = 0
    nonfinite_blocks: int = 0
    blocks: int = 0

    def add(self, loop: LiveLoop) -> None:
        """Add the losses of a loop that ends."""
        source, cable = loop.source, loop.outputs[0]
        self.underruns += cable.underruns
        self.underrun_ms += cable.underrun_ms
        self.overruns += source.overruns
        self.overrun_ms += source.overrun_ms


@dataclass(slots=True)
class Readings:
    """Smooths the buffer fill that is shown.

    Attributes:
        fills_ms: Last readings of the buffer fill.
    """

    fills_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_SHOWN_OVER))

    def fill_ms(self, loop: LiveLoop) -> float:
        """Median of the last readings, the newest included; 0 before the output has started."""
        cable = loop.outputs[0]
        if cable.is_started:
            self.fills_ms.append(1000.0 * cable.fill(loop.source, time.perf_counter()) / cable.rate)
        return float(np.median(self.fills_ms)) if self.fills_ms else 0.0


def latency_of(
    loop: LiveLoop, processor: Processor, fill_ms: float, devices_ms: tuple[float, float], measured_ms: float | None
) -> Latency:
    """The latency by parts.

    Args:
        loop: The running loop.
        processor: The loop's processor.
        fill_ms: Buffer fill.
        devices_ms: Latencies of microphone and cable as PortAudio reports them.
        measured_ms: Measured latency of both devices together; None if not measured.
    """
    block_ms = 1000.0 * processor.block_size / processor.sample_rate
    voice_ms = 1000.0 * processor.latency_samples / processor.sample_rate
    resamplers_ms = loop.source.latency_ms + loop.outputs[0].latency_ms
    both_ms = sum(devices_ms) if measured_ms is None else measured_ms
    return Latency(
        device_in=devices_ms[0],
        block=block_ms,
        voice=voice_ms,
        resamplers=resamplers_ms,
        prefill=max(fill_ms - block_ms, 0.0),
        device_out=devices_ms[1],
        devices=both_ms,
        total=both_ms + fill_ms + voice_ms + resamplers_ms,
        is_measured=measured_ms is not None,
    )


def peaks_db(processor: Processor) -> tuple[float, float]:
    """Peaks of input and output since this was called last."""
    input_peak, output_peak = processor.take_peaks()
    return decibels(input_peak), decibels(output_peak)
