"""What a session writes into its status: what it was asked for, and what sound goes through it."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from ...kernels.gain import decibels
from ..session.chain import Chain
from ..session.status import LiveStatus
from .loop import LiveLoop
from .settings import LiveSettings

if TYPE_CHECKING:
    from ..swap import SwappableEngine

_SHOWN_OVER = 50  # levels whose median is shown: jitter of callbacks moves single ones by some milliseconds
_SILENCE_DB = -100.0


class Report:
    """Keeps a status true.

    Args:
        status: Written to.
        settings: Of the session as it began.
        engine: Of the session.
        chain: Of the session.
    """

    def __init__(self, status: LiveStatus, settings: LiveSettings, engine: SwappableEngine, chain: Chain) -> None:
        self._status = status
        self._engine = engine
        self._chain = chain
        self._block_ms = float(settings.config.block_ms)
        self._started_s = time.perf_counter()
        self._levels_ms: deque[float] = deque(maxlen=_SHOWN_OVER)
        # Of lanes that are no more:
        self._shortages = self._own_shortages = self._starved_samples = self._lost_samples = 0

    def state(self, state: str, cause: str = "") -> None:
        """Tell that the state is another one, out of `STATES`, and why."""
        self._status.put(cause=cause, state=state)

    def end(self, loop: LiveLoop) -> None:
        """The lanes of a loop end: what they have lost stays counted, and nothing is heard."""
        lane = loop.outputs[0]
        counters = lane.playout.counters
        self._shortages += counters.underruns
        self._own_shortages += lane.own_shortages
        self._starved_samples += counters.underrun_samples
        self._lost_samples += loop.source.capture.overrun_samples
        self._levels_ms.clear()
        self._status.put(
            input_peak_db=_SILENCE_DB, output_peak_db=_SILENCE_DB, f0_hz=0.0, input_is_silent=False, drift_ppm=0.0
        )

    def wishes(self, settings: LiveSettings, voice: str, muted: bool, monitor: bool) -> None:
        """Tell what the session was asked for; true whether or not devices are open.

        Args:
            settings: As changed by commands.
            voice: Name of the one that is heard.
            muted: Whether silence is sent.
            monitor: Whether the monitor is heard.
        """
        engine, monitors = self._engine, settings.outputs[1:]
        self._status.put(
            voice=voice,
            pitch_semitones=engine.params.pitch_semitones,
            formant_semitones=engine.params.formant_semitones,
            gain_db=engine.params.gain_db,
            input_gain_db=settings.input_gain_db,
            input_device=settings.source.device.name,
            output_device=settings.outputs[0].device.name,
            monitor_device=monitors[0].device.name if monitors else "",
            sample_rate=engine.sample_rate,
            seconds=time.perf_counter() - self._started_s,
            bypass=engine.bypass,
            muted=muted,
            monitor=monitor,
        )

    def sound(
        self, loop: LiveLoop, now_s: float, device_in_ms: float, device_out_ms: float, measured_ms: float | None
    ) -> None:
        """Tell levels, counts and the delay while devices are open.

        Args:
            loop: The one that runs.
            now_s: The time on the clock that the callbacks tick with.
            device_in_ms: Of the microphone, see `OpenStream.delay_ms`.
            device_out_ms: The same of the cable.
            measured_ms: Of both devices, if it was measured.
        """
        engine, source, lane = self._engine, loop.source, loop.outputs[0]
        counters = lane.playout.counters
        device_ms = device_in_ms + device_out_ms if measured_ms is None else measured_ms
        engine_ms = 1000.0 * (engine.latency_samples + self._chain.latency_samples) / engine.sample_rate
        resampler_ms = lane.delay_ms + 1000.0 * source.resampler.delay_samples_out / engine.sample_rate
        if lane.is_started:
            self._levels_ms.append(1000.0 * loop.fill(lane, now_s) / lane.rate)
        rings_ms = float(np.median(self._levels_ms)) if self._levels_ms else 0.0
        block_p50_ms, block_p99_ms, block_max_ms = loop.times.quantiles_ms(0.5, 0.99, 1.0)
        self._status.put(
            input_peak_db=decibels(loop.input_peak),
            output_peak_db=decibels(loop.output_peak),
            gate_gain_db=min(engine.gate_gain_db, self._chain.gate_gain_db),
            f0_hz=engine.f0_hz,
            input_is_silent=loop.input_is_silent,
            blocks=loop.blocks,
            late_blocks=loop.late_blocks,
            muted_blocks=engine.engine.muted_blocks,
            failed_blocks=loop.failed_blocks,
            shortages=self._shortages + counters.underruns,
            own_shortages=self._own_shortages + lane.own_shortages,
            starved_samples=self._starved_samples + counters.underrun_samples,
            lost_samples=self._lost_samples + source.capture.overrun_samples,
            block_p50_ms=block_p50_ms,
            block_p99_ms=block_p99_ms,
            block_max_ms=block_max_ms,
            deadline_ms=self._block_ms,
            drift_ppm=lane.lock.drift_ppm,
            device_in_ms=device_in_ms,
            block_ms=self._block_ms,
            engine_ms=engine_ms,
            resampler_ms=resampler_ms,
            prefill_ms=max(rings_ms - self._block_ms, 0.0),
            prefill_grown_ms=lane.prefill.ms - lane.prefill.first_ms,
            device_out_ms=device_out_ms,
            device_ms=device_ms,
            device_delay_is_measured=measured_ms is not None,
            total_ms=device_ms + rings_ms + engine_ms + resampler_ms,
        )

    def cause(self, *causes: str) -> None:
        """Tell the first of some causes that is one."""
        self._status.put(cause=next((cause for cause in causes if cause), ""))
