"""`altervox live --measure`: the latency of two devices, measured with sweeps that one plays and the other records."""

from __future__ import annotations

import json
import math
from typing import Any

import click

from ...kernels.errors import AudioDeviceError
from ...realtime.audio.loop_delay import LoopDelay, measure_loop
from ...realtime.audio.probe import LONGEST_S, TRIES
from ...realtime.audio.settings import StreamSpec
from ..devices.watch import kept_awake
from .measured import conditions, remember

_RUNS = 3  # of all sweeps, for the system may pause in one
_STEADY_MS = 2.0
_SILENCE = 1e-5


def measured(source: StreamSpec, output: StreamSpec) -> dict[str, Any]:
    """The latency of two devices with the conditions that it holds for, by their JSON names; stores it.

    Raises:
        AudioDeviceError: a device does not open, or the input does not hear the output.
        OutputError: the settings folder cannot be written.
    """
    with kept_awake(output.device):
        result = _steadiest(source, output)
    if result.delay_ms is None:
        raise AudioDeviceError(_why_not(source, output, result))
    remember(source, output, result.delay_ms)
    return {
        **conditions(source, output),
        "delay_ms": result.delay_ms,
        "found": result.found,
        "tries": TRIES,
        "spread_ms": result.spread_ms,
        "gain_db": result.gain_db,
        "estimated_in_ms": result.estimated_in_ms,
        "estimated_out_ms": result.estimated_out_ms,
    }


def measure_devices(source: StreamSpec, output: StreamSpec, as_json: bool) -> int:
    """Measure the latency, print it and store it. Returns the exit code; raises as `measured` does."""
    if not as_json:
        click.echo(f"route: played to {output.device.name}, heard at {source.device.name}", err=True)
    result = measured(source, output)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
        return 0
    click.echo(
        "sweep heard in {found} of {tries} sweeps, at {gain_db:+.0f} dB of what was played\n"
        "measured:  {delay_ms:.1f} ms for both devices together (sweeps differ by {spread_ms:.1f})\n"
        "estimated: {estimated_ms:.1f} ms from what PortAudio reports: in {estimated_in_ms:.1f}, "
        "out {estimated_out_ms:.1f}\n"
        "remembered: sessions with these two devices show the measured delay from now on".format(
            **result, estimated_ms=result["estimated_in_ms"] + result["estimated_out_ms"]
        )
    )
    return 0


def _steadiest(source: StreamSpec, output: StreamSpec) -> LoopDelay:
    """The run whose sweeps agree best; stops at the first run in which they agree well."""
    runs: list[LoopDelay] = []
    for _ in range(_RUNS):
        runs.append(measure_loop(source, output))
        if runs[-1].found == 0 or (runs[-1].delay_ms is not None and runs[-1].spread_ms < _STEADY_MS):
            return runs[-1]
    return min(runs, key=lambda run: (run.delay_ms is None, run.spread_ms))


def _why_not(source: StreamSpec, output: StreamSpec, measured: LoopDelay) -> str:
    """One sentence about a measurement without a result."""
    played_to, heard_at = output.device.name, source.device.name
    if measured.found:
        return (
            f"the test signal played to {played_to!r} was heard at {heard_at!r} in {measured.found} of {TRIES} tries, "
            f"at delays {measured.spread_ms:.0f} ms apart: make it quieter around, turn the output up, or use a wire"
        )
    if measured.peak < _SILENCE:
        heard = "only digital silence came in"
    else:
        heard = f"what came in ({20.0 * math.log10(measured.peak):.0f} dB at most) holds nothing of it"
    return (
        f"the input {heard_at!r} does not hear the output {played_to!r}: {heard} within {1000 * LONGEST_S:.0f} ms of "
        "each sweep; connect the two by a wire, a loudspeaker beside the microphone, or choose the cable's other end "
        "with --input"
    )
