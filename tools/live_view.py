"""The terminal view of a live session: levels, the delay and what it is made of, block times, what was lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

KEYS = "up/down pitch   left/right formant   v voice   b bypass   m mute   q quit"
_FLOOR_DB = -60.0
_METER_CELLS = 40
_LOUD_DB, _CLIPPING_DB = -12.0, -1.0
_STATE_STYLES = {"running": "bold green", "reconnecting": "bold yellow", "failed": "bold red"}
_OWN_PARTS = (
    ("block", "block_ms"),
    ("voice", "engine_ms"),
    ("resamplers", "resampler_ms"),
    ("prefill", "prefill_ms"),
)
_REPORTED = (("device in", "device_in_ms"), *_OWN_PARTS, ("device out", "device_out_ms"))
_MEASURED = (("devices, measured", "device_ms"), *_OWN_PARTS)


def live_view(status: Mapping[str, Any], pitch_semitones: float, formant_semitones: float) -> RenderableType:
    """What is shown of a status (see `realtime.live.status`)."""
    state = status["state"]
    title = Text.assemble((state, _STATE_STYLES.get(state, "bold")), f"   {_clock(status['seconds'])}")
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", justify="right")
    rows.add_column()
    rows.add_row("microphone", status["input_device"])
    rows.add_row("", _meter(status["input_peak_db"]))
    rows.add_row("output", status["output_device"])
    rows.add_row("", _meter(status["output_peak_db"]))
    rows.add_row("voice", _voice(status, pitch_semitones, formant_semitones))
    rows.add_row("delay", _delay(status))
    rows.add_row("blocks", _blocks(status))
    rows.add_row("lost", _losses(status))
    notes: list[RenderableType] = []
    if status["cause"]:
        notes.append(Text(status["cause"], style="bold yellow"))
    if status["input_is_silent"]:
        notes.append(Text(f"microphone delivers digital silence: {silence_remedy()}", style="bold yellow"))
    return Panel(Group(rows, *notes, Text(KEYS, style="dim")), title=title, title_align="left", width=100)


def silence_remedy() -> str:
    """Where this system lets programs use the microphone."""
    import sys

    if sys.platform == "win32":
        return "Settings > Privacy & security > Microphone > let desktop apps access your microphone"
    if sys.platform == "darwin":
        return "System Settings > Privacy & Security > Microphone > allow the terminal"
    return "it may be muted: see the input in your sound settings, or `pactl list sources`"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _meter(peak_db: float) -> Text:
    filled = round(_METER_CELLS * min(max(1.0 - peak_db / _FLOOR_DB, 0.0), 1.0))
    style = "red" if peak_db > _CLIPPING_DB else "yellow" if peak_db > _LOUD_DB else "green"
    value = "silence" if peak_db <= -99.0 else f"{peak_db:.0f} dB"
    return Text.assemble(("█" * filled, style), ("░" * (_METER_CELLS - filled), "dim"), f" {value}")


def _voice(status: Mapping[str, Any], pitch_semitones: float, formant_semitones: float) -> Text:
    text = Text(status["voice"], style="bold")
    text.append(f"   pitch {pitch_semitones:+.0f}, formants {formant_semitones:+.1f} semitones", style="default")
    for flag in ("bypass", "muted"):
        if status[flag]:
            text.append(f"   {flag}", style="bold yellow")
    return text


def _delay(status: Mapping[str, Any]) -> Text:
    shown = _MEASURED if status["device_delay_is_measured"] else _REPORTED
    parts = " + ".join(f"{name} {status[key]:.0f}" for name, key in shown)
    grown = status["prefill_grown_ms"]
    more = f" (grown by {grown:.0f} after shortages)" if grown >= 1.0 else ""
    return Text.assemble((f"{status['total_ms']:.0f} ms", "bold"), f" = {parts}{more}")


def _blocks(status: Mapping[str, Any]) -> Text:
    share = status["block_p99_ms"] / max(status["deadline_ms"], 1.0)
    style = "green" if share < 0.5 else "yellow" if share < 0.8 else "red"
    return Text.assemble(
        f"half within {status['block_p50_ms']:.1f}, 99 % within ",
        (f"{status['block_p99_ms']:.1f}", style),
        f" of {status['deadline_ms']:.0f} ms; {status['late_blocks']} late of {status['blocks']}",
    )


def _losses(status: Mapping[str, Any]) -> Text:
    starved_ms = 1000.0 * status["starved_samples"] / max(status["sample_rate"], 1)
    lost_ms = 1000.0 * status["lost_samples"] / max(status["sample_rate"], 1)
    style = "green" if not status["shortages"] and not lost_ms else "yellow"
    return Text.assemble(
        (f"{status['shortages']} shortages ({starved_ms:.0f} ms), {lost_ms:.0f} ms of input", style),
        f"; clocks differ by {status['drift_ppm']:+.0f} ppm",
    )
