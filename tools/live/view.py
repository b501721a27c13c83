"""The terminal view of a live session: levels, F0, gate, the delay and its parts, block times, what was lost."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ...kernels.errors import OutputError
from .keys import KEYS_LINE

_WIDTH = 104  # the parts of the delay fit into one line
_FLOOR_DB = -60.0
_SILENT_DB = -99.0
_GATE_OPEN_DB = -6.0
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


@contextmanager
def terminal_view() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Within it the function given shows a status on the terminal, in place of the one before."""
    # A stream of its own: while devices are listed on another thread, what is written to file descriptor 2 is lost.
    with (
        os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors) as stream,
        Live(console=Console(file=stream), auto_refresh=False) as display,
    ):
        yield lambda status: display.update(live_view(status), refresh=True)


def live_view(status: Mapping[str, Any]) -> RenderableType:
    """What is shown of a status (see `realtime.session.status`)."""
    state = status["state"]
    title = Text.assemble((state, _STATE_STYLES.get(state, "bold")), f"   {_clock(status['seconds'])}")
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", justify="right")
    rows.add_column()
    rows.add_row("microphone", Text(status["input_device"]))  # a plain str would be markup: "[USB]"
    rows.add_row("", _meter(status["input_peak_db"], status["input_gain_db"]))
    rows.add_row("F0", _speaker(status))
    rows.add_row("voice", _voice(status))
    rows.add_row("output", Text(status["output_device"]))
    rows.add_row("", _meter(status["output_peak_db"], 0.0 if status["bypass"] else status["gain_db"]))
    if status["monitor_device"]:
        rows.add_row("monitor", _monitor(status))
    rows.add_row("delay", _delay(status))
    rows.add_row("blocks", _blocks(status))
    rows.add_row("lost", _losses(status))
    notes: list[RenderableType] = []
    if status["cause"]:
        notes.append(Text(status["cause"], style="bold yellow"))
    if status["input_is_silent"]:
        notes.append(Text(f"microphone delivers digital silence: {silence_remedy()}", style="bold yellow"))
    return Panel(Group(rows, *notes, Text(KEYS_LINE, style="dim")), title=title, title_align="left", width=_WIDTH)


def save_view(status: Mapping[str, Any], path: Path) -> None:
    """Write the view as an SVG picture that needs nothing from elsewhere, fonts included.

    Raises:
        OutputError: it cannot be written there.
    """
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(live_view(status))
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="altervox live"), flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "monospace")
    try:
        path.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def silence_remedy() -> str:
    """Where this system lets programs use the microphone."""
    if sys.platform == "win32":
        return "Settings > Privacy & security > Microphone > let desktop apps access your microphone"
    if sys.platform == "darwin":
        return "System Settings > Privacy & Security > Microphone > allow the terminal"
    return "it may be muted: see the input in your sound settings, or `pactl list sources`"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _meter(peak_db: float, gain_db: float) -> Text:
    filled = round(_METER_CELLS * min(max(1.0 - peak_db / _FLOOR_DB, 0.0), 1.0))
    style = "red" if peak_db > _CLIPPING_DB else "yellow" if peak_db > _LOUD_DB else "green"
    value = "silence" if peak_db <= _SILENT_DB else f"{peak_db:.0f} dB"
    gain = f"   gain {gain_db:+.0f} dB" if gain_db else ""
    return Text.assemble(("█" * filled, style), ("░" * (_METER_CELLS - filled), "dim"), f" {value}{gain}")


def _speaker(status: Mapping[str, Any]) -> Text:
    f0_hz, gate_db = status["f0_hz"], status["gate_gain_db"]
    f0 = f"{f0_hz:.0f} Hz" if f0_hz > 0.0 else "-"
    state, style = ("open", "green") if gate_db > _GATE_OPEN_DB else ("closed", "yellow")
    gain = "silence" if gate_db <= _SILENT_DB else f"{gate_db:.0f} dB"
    return Text.assemble(f"{f0:<9}", ("gate ", "dim"), (state, style), f" ({gain})")


def _monitor(status: Mapping[str, Any]) -> Text:
    return Text.assemble(status["monitor_device"], "   ", ("on", "green") if status["monitor"] else ("off", "yellow"))


def _voice(status: Mapping[str, Any]) -> Text:
    pitch, formants = status["pitch_semitones"], status["formant_semitones"]
    text = Text.assemble((status["voice"], "bold"), f"   pitch {pitch:+.0f}, formants {formants:+.1f} semitones")
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
    own = f", {status['own_shortages']} by slow blocks" if status["shortages"] else ""
    return Text.assemble(
        (f"{status['shortages']} shortages ({starved_ms:.0f} ms{own}), {lost_ms:.0f} ms of input", style),
        f"; clocks differ by {status['drift_ppm']:+.0f} ppm",
    )
