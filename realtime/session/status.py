"""The status that a session reports: one typed record, built each time, and its JSON form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .state import PARAMETERS, SessionState

State = Literal["starting", "running", "reconnecting", "failed", "stopped"]
SILENCE_DB = -100.0


@dataclass(frozen=True, slots=True)
class Latency:
    """The parts of the latency from microphone to output, in ms.

    Attributes:
        device_in: Latency of the input device, beyond the callback that carries a sample.
        block: Time until a block is complete.
        voice: Lookahead of the voice, resamplers of the engine, and effects.
        resamplers: Resamplers between the devices' rates and the session's.
        prefill: Output held ready so that slow blocks cause no underrun.
        device_out: Latency of the output device.
        devices: Latency of both devices, measured if `is_measured`, otherwise as PortAudio reports it.
        total: Sum of all parts.
        is_measured: Whether `devices` was measured with `altervox live --measure`.
    """

    device_in: float = 0.0
    block: float = 0.0
    voice: float = 0.0
    resamplers: float = 0.0
    prefill: float = 0.0
    device_out: float = 0.0
    devices: float = 0.0
    total: float = 0.0
    is_measured: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """Status of a session at one moment.

    Attributes:
        state: Phase of the session.
        causes: Current problems, one sentence each; after a failure, its cause.
        session: Requested state of the session.
        commands_done: Number of commands to the session's state that were handled, refused ones included.
        voice: Name or path of the voice that is heard; `session.voice` may still be loading.
        is_loading: Whether another voice is being loaded.
        recording: Files that are being written.
        recording_error: Problem of the recording, kept after it has ended; empty for none.
        input_device: Name of the microphone.
        output_device: Name of the cable.
        monitor_device: Name of the monitor; empty for none.
        monitor_is_open: Whether the monitor's device is open.
        sample_rate: Rate of the session in Hz.
        seconds: Time since the session started to run.
        start_ms: Time from the start of the command to the first sound; 0 before it.
        input_peak_db: Peak of the input since the last status in dB of full scale.
        output_peak_db: Peak of the output since the last status in dB of full scale.
        gate_gain_db: Gain of the gates for the newest input in dB: 0 is open.
        f0_hz: The speaker's F0; 0 where unvoiced.
        output_f0_hz: F0 of the output; 0 where unvoiced.
        input_is_silent: Whether the input has been digital silence for 3 seconds.
        blocks: Number of blocks processed.
        late_blocks: Blocks that were skipped because they were late.
        failed_blocks: Blocks that were silenced because of an exception.
        nonfinite_blocks: Blocks that were silenced because the voice produced NaN or infinite samples.
        underruns: Number of underruns of the output.
        underrun_ms: Duration of the samples missing in underruns.
        overruns: Number of overruns of the input.
        overrun_ms: Duration of the input dropped in overruns.
        interrupted_ms: Total time that the session was without its devices.
        block_ms: Block size in ms, which is also the deadline of a block.
        p50_ms: Median processing time of the last blocks.
        p95_ms: 95th percentile of their processing times.
        p99_ms: 99th percentile of their processing times.
        max_ms: Longest processing time of the last blocks.
        block_histogram: How many of the last blocks took which twentieth of the deadline, see `BlockTimes.histogram`.
        longer_block_ms: Longer block size that is offered because blocks are late; 0 for none.
        drift_ppm: Clock drift: by how much the input's clock is faster than the output's.
        prefill_grown_ms: Prefill added after underruns.
        latency: Reported latency by parts.
    """

    state: State = "starting"
    causes: tuple[str, ...] = ()
    session: SessionState = field(default_factory=SessionState)
    commands_done: int = 0
    voice: str = ""
    is_loading: bool = False
    recording: tuple[str, ...] = ()
    recording_error: str = ""
    input_device: str = ""
    output_device: str = ""
    monitor_device: str = ""
    monitor_is_open: bool = False
    sample_rate: int = 0
    seconds: float = 0.0
    start_ms: float = 0.0
    input_peak_db: float = SILENCE_DB
    output_peak_db: float = SILENCE_DB
    gate_gain_db: float = 0.0
    f0_hz: float = 0.0
    output_f0_hz: float = 0.0
    input_is_silent: bool = False
    blocks: int = 0
    late_blocks: int = 0
    failed_blocks: int = 0
    nonfinite_blocks: int = 0
    underruns: int = 0
    underrun_ms: float = 0.0
    overruns: int = 0
    overrun_ms: float = 0.0
    interrupted_ms: float = 0.0
    block_ms: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    block_histogram: tuple[int, ...] = ()
    longer_block_ms: int = 0
    drift_ppm: float = 0.0
    prefill_grown_ms: float = 0.0
    latency: Latency = field(default_factory=Latency)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON, with the keys that all commands share; times rounded to 0.01."""
        latency = self.latency
        return {
            "state": self.state,
            "causes": list(self.causes),
            "revision": self.session.revision,
            "voice": self.voice,
            "voice_requested": self.session.voice,
            **{name: self.session[name] for name in PARAMETERS},
            "recording": list(self.recording),
            "recording_error": self.recording_error,
            "input_device": self.input_device,
            "output_device": self.output_device,
            "monitor_device": self.monitor_device,
            "sample_rate": self.sample_rate,
            "seconds": round(self.seconds, 2),
            "start_ms": round(self.start_ms),
            "input_peak_db": round(self.input_peak_db, 1),
            "output_peak_db": round(self.output_peak_db, 1),
            "gate_gain_db": round(self.gate_gain_db, 1),
            "f0_hz": round(self.f0_hz, 1),
            "output_f0_hz": round(self.output_f0_hz, 1),
            "input_is_silent": self.input_is_silent,
            "blocks": self.blocks,
            "late_blocks": self.late_blocks,
            "failed_blocks": self.failed_blocks,
            "nonfinite_blocks": self.nonfinite_blocks,
            "underruns": self.underruns,
            "underrun_ms": round(self.underrun_ms, 2),
            "overruns": self.overruns,
            "overrun_ms": round(self.overrun_ms, 2),
            "interrupted_ms": round(self.interrupted_ms),
            "block_ms": self.block_ms,
            "deadline_ms": self.block_ms,
            "p50_ms": round(self.p50_ms, 2),
            "p95_ms": round(self.p95_ms, 2),
            "p99_ms": round(self.p99_ms, 2),
            "max_ms": round(self.max_ms, 2),
            "block_histogram": list(self.block_histogram),
            "drift_ppm": round(self.drift_ppm, 2),
            "prefill_grown_ms": round(self.prefill_grown_ms, 2),
            "latency_ms": {
                "device_in": round(latency.device_in, 2),
                "block": round(latency.block, 2),
                "voice": round(latency.voice, 2),
                "resamplers": round(latency.resamplers, 2),
                "prefill": round(latency.prefill, 2),
                "device_out": round(latency.device_out, 2),
                "devices": round(latency.devices, 2),
                "is_measured": latency.is_measured,
                "total": round(latency.total, 2),
            },
        }
