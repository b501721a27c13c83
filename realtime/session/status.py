"""What a session tells of itself: one typed record, made anew each time, and its form for programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from .state import PARAMETERS, SessionState

State = Literal["starting", "running", "reconnecting", "failed", "stopped"]
SILENCE_DB = -100.0


@dataclass(frozen=True, slots=True)
class Latency:
    """What the latency from microphone to output is made of, in ms.

    Attributes:
        device_in: Input device, beyond the callback that carries a sample.
        block: Waiting for a block to be full.
        voice: The voice's look-ahead, its resamplers and the effects.
        resamplers: Resamplers between the devices' rates and the session's.
        prefill: Output held ready for slow blocks.
        device_out: Output device.
        devices: Both devices together, as measured where `is_measured`, else as reported.
        total: All of it.
        is_measured: Whether the devices' part was measured with `altervox live --measure`.
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
    """A session at one moment.

    Attributes:
        state: What the session does.
        causes: What is wrong now, one sentence each; after a failure, why it failed.
        session: What it was asked for.
        voice: Name or path of the voice that is heard; `session.voice` may still be loading.
        is_loading: Whether another voice is being loaded.
        recording: Files that are being written.
        recording_error: What went wrong with the recording, also after it has ended.
        input_device: Name of the microphone.
        output_device: Name of the cable.
        monitor_device: Name of the monitor; empty for none.
        monitor_is_open: Whether the monitor's device is open.
        sample_rate: Rate of the session in Hz.
        seconds: Since the session began to run.
        start_ms: From the start of the command until sound went through; 0 before.
        input_peak_db: Largest sample of the newest input.
        output_peak_db: Largest sample of the newest output.
        gate_gain_db: What the gates do to the newest input: 0 is open.
        f0_hz: The speaker's F0; 0 where unvoiced.
        input_is_silent: Whether nothing but zeros has come for 3 seconds.
        blocks: Blocks so far.
        late_blocks: Blocks that were not rendered because their time was over.
        failed_blocks: Blocks that are silent because something raised.
        nonfinite_blocks: Blocks that were silenced because the voice produced NaN or infinite samples.
        underruns: How often the output device found too little to play.
        underrun_ms: How much was missing, in all.
        overruns: How often input found no room.
        overrun_ms: How much input was lost so, in all.
        interrupted_ms: How long the session was without its devices, in all.
        block_ms: Length of a block, which is also its deadline.
        p50_ms: Processing time that half of the last blocks stay within.
        p95_ms: The same for 95 % of them.
        p99_ms: The same for 99 % of them.
        max_ms: Processing time of the slowest of the last blocks.
        longer_block_ms: Length of blocks that is offered because blocks are late; 0 for none.
        drift_ppm: How much faster the input's clock is than the output's.
        prefill_grown_ms: By how much underruns have lengthened the prefill.
        latency: What the latency is made of.
    """

    state: State = "starting"
    causes: tuple[str, ...] = ()
    session: SessionState = field(default_factory=SessionState)
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
    longer_block_ms: int = 0
    drift_ppm: float = 0.0
    prefill_grown_ms: float = 0.0
    latency: Latency = field(default_factory=Latency)

    def as_json(self) -> dict[str, Any]:
        """The record in the vocabulary that all commands share, times rounded to 0.01."""
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
