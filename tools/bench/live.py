"""`altervox bench live`: sessions between a virtual microphone and a virtual cable, heard from outside.

The latency is measured with sweeps while the voice is bypassed, which has the same latency as the voice. Losses are
counted while synthetic speech goes through the voice.
"""

from __future__ import annotations

import json
import signal
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from ...kernels.types import FloatArray
from ...models.library import lengths_of
from ...realtime.audio.control import LiveControl
from ...realtime.audio.probe import EVERY_S, TRIES, agreed_ms, find_probe, probe, sweeps
from ...realtime.config import StreamConfig
from ...realtime.session.commands import Set
from ...realtime.session.settings import SessionSettings
from ...realtime.session.state import SessionState
from ...realtime.synthetic import speech_like
from ..devices.choose import choose_input, choose_output, list_devices
from ..devices.programs import started
from ..live.options import LiveOptions, live_settings
from ..machine import cpu_s, machine
from .sinks import RATE, BenchSinks, bench_sinks
from .stalls import Stalls, stall_watch
from .stream import bench_voice, configs

BLOCKS_MS = (20, 40, 100)
_COLUMNS = (
    ("block", "block_ms"),
    ("measured", "measured_ms"),
    ("reported", "reported_ms"),
    ("underruns", "underruns"),
    ("in stalls", "underruns_in_stalls"),
    ("underrun ms", "underrun_ms"),
    ("overruns", "overruns"),
    ("faded frames", "faded_frames"),
    ("a minute", "faded_frames_per_minute"),
    ("in stalls", "faded_frames_in_stalls"),
    ("lost by rig", "rig_lost_frames"),
    ("stalls", "stalls"),
    ("longest", "longest_stall_ms"),
    ("p50", "p50_ms"),
    ("p99", "p99_ms"),
    ("max", "max_ms"),
    ("ppm", "drift_ppm"),
    ("CPU %", "cpu_percent"),
)
_SETTLE_S = 4.0  # clocks and start-up
_AFTERWARDS_S = 0.7  # longest delay
_POLL_S = 0.05
_FRAME = RATE // 100
_SILENT_RUN = RATE // 1000  # samples of digital silence in a row that no voice makes, only an underrun
_LOUD = 0.03  # RMS
_SPEECH_S = 20.0  # then it is said again


def bench_live(
    seconds: float,
    voice: str,
    blocks_ms: list[int],
    given: Mapping[str, Any],
    buffer_ms: float | None,
    load: int,
    as_json: bool,
) -> int:
    """Run the benchmark. Returns the exit code.

    Args:
        seconds: Speech of each row.
        voice: Voice by name or path, or one of `RVC_KINDS` for random weights.
        blocks_ms: Block sizes in ms; empty for the usual ones.
        given: Other values of `StreamConfig`.
        buffer_ms: Device buffer in ms; None for the default.
        load: Number of busy processes beside it.
        as_json: Whether to print JSON.

    Raises:
        AltervoxError: no sound server can be started, the voice is missing, or a session fails.
    """
    planned = configs(lengths_of(voice), blocks_ms, BLOCKS_MS, given)
    signal.signal(signal.SIGTERM, _interrupt)
    rows: list[dict[str, Any]] = []
    with bench_voice(voice) as played, bench_sinks() as sinks, _busy(load), stall_watch() as stalls:
        rig_ms = _pass_through_ms(sinks)
        for config in planned:
            if not as_json:
                click.echo(f"block {config.block_ms} ms ...", err=True)
            rows.append(_row(sinks, stalls, seconds, played, config, buffer_ms))
    head = {"machine": machine("auto"), "voice": voice, "seconds": seconds, "load": load, "rig_pass_through_ms": rig_ms}
    if as_json:
        click.echo(json.dumps({**head, "rows": rows}, indent=1))
    else:
        _print_table(head, rows)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Let what was made for the bench be removed."""
    raise KeyboardInterrupt


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Run that many processes that keep a core busy."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(started([sys.executable, "-c", "while True: pass"]))
        yield


def _pass_through_ms(sinks: BenchSinks) -> float | None:
    """Latency of the sound server's own tools from the virtual speaker to the cable."""
    with sinks.pass_through():
        time.sleep(1.0)
        with sinks.record() as recording:
            _say(sinks, sweeps(RATE))
        delays_ms = sweep_delays_ms(*recording.samples)
    delay_ms = agreed_ms(delays_ms, TRIES)
    return None if delay_ms is None else round(delay_ms, 1)


def _say(
    sinks: BenchSinks, samples: FloatArray, control: LiveControl | None = None, seconds: float | None = None
) -> tuple[list[float], list[float]]:
    """Play speech into the virtual microphone, once or repeatedly, until it has come out of the cable.

    Returns:
        The latencies that the session reported meanwhile, in ms, and when it counted underruns, on `time.monotonic`.
    """
    totals: list[float] = []
    underruns_s: list[float] = []
    underruns = control.status().underruns if control is not None else 0
    process = sinks.say(samples, seconds)
    ended_s = 0.0
    try:
        while not ended_s or time.monotonic() < ended_s + _AFTERWARDS_S:
            if process.poll() is not None:
                ended_s = ended_s or time.monotonic()
            if control is not None:
                control.check()
                status = control.status()
                totals.append(status.latency.total)
                underruns_s += [time.monotonic()] * (status.underruns - underruns)
                underruns = status.underruns
            time.sleep(_POLL_S)
    finally:
        process.kill()
        process.wait()
    return totals, underruns_s


def sweep_delays_ms(said: FloatArray, heard: FloatArray) -> list[float]:
    """Delay of each sweep that is found both in what was said and in what came out."""
    wanted, step = probe(RATE), round(EVERY_S * RATE)
    sounding = np.flatnonzero(said)
    delays_ms: list[float] = []
    if not len(sounding):
        return delays_ms
    for i in range(TRIES):
        start = max(int(sounding[0]) + i * step - _FRAME, 0)
        first = find_probe(said[start : start + step], wanted)
        if first is not None:
            second = find_probe(heard[start + int(first.position) :][:step], wanted)
            if second is not None:
                delays_ms.append(1000.0 * (int(first.position) + second.position - first.position) / RATE)
    return delays_ms


def faded_frames(said: FloatArray, heard: FloatArray, delay_ms: float) -> NDArray[np.int64]:
    """Indices of the frames of 10 ms with loud speech at the input and digital silence at the output."""
    shift = round(delay_ms * RATE / 1000.0)
    frames = min(len(said), len(heard) - shift) // _FRAME
    if frames < 1:
        return np.zeros(0, dtype=np.int64)
    loud = np.sqrt(np.mean(said[: frames * _FRAME].reshape(frames, _FRAME) ** 2, axis=1)) > _LOUD
    return np.flatnonzero(loud & _has_silent_run(heard[shift : shift + frames * _FRAME].reshape(frames, _FRAME)))


def _has_silent_run(frames: FloatArray) -> NDArray[np.bool_]:
    """Whether each frame holds a millisecond of zeros [frames]."""
    silent = np.cumsum(np.pad(frames == 0.0, ((0, 0), (1, 0))), axis=1)
    return np.asarray(np.any(silent[:, _SILENT_RUN:] - silent[:, :-_SILENT_RUN] == _SILENT_RUN, axis=1))


def lost_by_rig(said: FloatArray) -> int:
    """Frames of 10 ms that are missing in the input itself: losses of the sound server, not of altervox."""
    sounding = said != 0.0
    if not sounding.any():
        return 0
    inside = said[int(sounding.argmax()) : len(said) - 1 - int(sounding[::-1].argmax())]
    frames = len(inside) // _FRAME
    return int(np.sum(_has_silent_run(inside[: frames * _FRAME].reshape(frames, _FRAME))))


def _row(
    sinks: BenchSinks,
    stalls: Stalls,
    seconds: float,
    voice: str,
    config: StreamConfig,
    buffer_ms: float | None,
) -> dict[str, Any]:
    """Run one session; returns its row."""
    devices = list_devices(again=True)
    session = SessionSettings(state=SessionState(voice=voice), config=config)
    options = LiveOptions(session=session, block_ms=config.block_ms, device_buffer_ms=buffer_ms)
    source, output = choose_input(devices, sinks.microphone), choose_output(devices, sinks.cable)
    # Before the session, and no more than it takes: to make half an hour of it takes a processor and the memory of the
    # whole machine for so long that blocks are late.
    speech = speech_like(min(seconds, _SPEECH_S), RATE)
    with LiveControl() as control:
        control.begin(live_settings(options, source, output))
        control.wait_until_running()
        time.sleep(_SETTLE_S)
        control.send(Set({"bypass": True}))
        time.sleep(0.2)
        with sinks.record() as recording:
            totals, _ = _say(sinks, sweeps(RATE), control)
        delays_ms = sweep_delays_ms(*recording.samples)
        control.send(Set({"bypass": False}))
        time.sleep(0.2)
        before, cpu_before, began = control.status(), cpu_s(control.process_id), time.monotonic()
        with sinks.record() as recording:
            _, underruns_s = _say(sinks, speech, control, seconds)
        status, cpu, elapsed = control.status(), cpu_s(control.process_id), time.monotonic() - began
    said, heard = recording.samples
    measured, reported = agreed_ms(delays_ms, TRIES), statistics.median(totals)
    latency_ms = reported if measured is None else measured
    faded = faded_frames(said, heard, latency_ms)
    faded_s = recording.began_s + (faded * _FRAME) / RATE + latency_ms / 1000.0
    stalled_s = stalls.between(began, began + elapsed)
    statistics_json = status.as_json()
    return {
        "block_ms": config.block_ms,
        "seconds": round(elapsed, 1),
        "measured_ms": None if measured is None else round(measured, 1),
        "measured_spread_ms": round(float(np.ptp(delays_ms)), 2) if delays_ms else None,
        "reported_ms": round(reported, 1),
        "latency_ms": statistics_json["latency_ms"],
        "underruns": status.underruns - before.underruns,
        "underruns_at_s": [round(at - began, 1) for at in underruns_s],
        "underruns_in_stalls": stalls.near(underruns_s) if stalls.is_known else None,
        "underrun_ms": round(status.underrun_ms - before.underrun_ms, 1),
        "overruns": status.overruns - before.overruns,
        "overrun_ms": round(status.overrun_ms - before.overrun_ms, 1),
        "late_blocks": status.late_blocks - before.late_blocks,
        "faded_frames": len(faded),
        "faded_frames_per_minute": round(60.0 * len(faded) / elapsed, 2),
        "faded_frames_in_stalls": stalls.near(list(faded_s)) if stalls.is_known else None,
        "rig_lost_frames": lost_by_rig(said),
        "stalls": len(stalled_s) if stalls.is_known else None,
        "longest_stall_ms": round(1000.0 * max(stalled_s, default=0.0), 1) if stalls.is_known else None,
        **{
            name: statistics_json[name] for name in ("deadline_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms", "drift_ppm")
        },
        "cpu_percent": round(100.0 * (cpu - cpu_before) / elapsed, 1),
    }


def _print_table(head: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    beside = f", {head['load']} busy processes beside it" if head["load"] else ""
    table = Table(
        title=f"{head['machine']}; voice {head['voice']}, {head['seconds']:g} s of speech a row{beside}",
        caption="Latency from the virtual speaker to the cable in ms; processing times of blocks in ms. In stalls: "
        "those next to a pause of the machine itself. Faded frames are 10 ms each. Without altervox, through the sound "
        f"server's own tools, sound takes {_or_none(head['rig_pass_through_ms'])} ms.",
    )
    for heading, _ in _COLUMNS:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(_or_none(row[name]) for _, name in _COLUMNS))
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _or_none(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.1f}"
