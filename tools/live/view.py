"""The terminal view of a live session: levels, F0, gate, latency and its parts, processing times, losses."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ...kernels.errors import OutputError
from ...kernels.printable import printable
from ...realtime.session.status import Latency, Status
from .keys import KEYS_HELP

_WIDTH = 104  # the parts of the latency fit into one line
_FLOOR_DB = -60.0
_SILENT_DB = -99.0
_GATE_OPEN_DB = -6.0
_METER_CELLS = 40
_LOUD_DB, _CLIPPING_DB = -12.0, -1.0
_CAUSE_LENGTH = 400
_STATE_STYLES = {"running": "bold green", "reconnecting": "bold yellow", "failed": "bold red"}


@contextmanager
def terminal_view() -> Iterator[Callable[[Status], None]]:
    """Within it the function given shows a status on the terminal, in place of the one before."""
    # A stream of its own: while devices are listed on another thread, what is written to file descriptor 2 is lost.
    with os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors) as stream:
        console = Console(file=stream)
        with Live(console=console, auto_refresh=False) as display:
            size = console.size

            def show(status: Status) -> None:
                nonlocal size
                if console.size != size:  # the lines of the old frame have moved
                    size = console.size
                    console.clear()
                display.update(live_view(status), refresh=True)

            yield show


def live_view(status: Status) -> RenderableType:
    """The terminal view of a status."""
    title = Text.assemble((status.state, _STATE_STYLES.get(status.state, "bold")), f"   {_clock(status.seconds)}")
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", justify="right")
    rows.add_column()
    rows.add_row("microphone", _name(status.input_device))
    rows.add_row("", _meter(status.input_peak_db, status.session.input_gain_db))
    rows.add_row("F0", _speaker(status))
    rows.add_row("voice", _voice(status))
    rows.add_row("output", _name(status.output_device))
    rows.add_row("", _meter(status.output_peak_db, status.session.gain_db))
    if status.monitor_device:
        rows.add_row("monitor", _monitor(status))
    rows.add_row("latency", _latency(status))
    rows.add_row("blocks", _blocks(status))
    rows.add_row("lost", _losses(status))
    notes = [Text(printable(cause, _CAUSE_LENGTH), style="bold yellow") for cause in status.causes]
    if status.longer_block_ms:
        notes.append(Text(f"blocks are late: press l for blocks of {status.longer_block_ms} ms", style="bold yellow"))
    if status.input_is_silent:
        notes.append(Text(f"microphone delivers digital silence: {silence_remedy()}", style="bold yellow"))
    keys = Columns([Text(help, style="dim") for help in KEYS_HELP], padding=(0, 2))  # a key stays beside its meaning
    return Panel(Group(rows, *notes, keys), title=title, title_align="left", width=_WIDTH)


def save_view(status: Status, path: Path) -> None:
    """Write the view as an SVG picture that needs nothing from elsewhere, fonts included.

    Raises:
        OutputError: it cannot be written there.
    """
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(live_view(status))
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="altervox live"), flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "monospace")
    svg = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)  # else some renderers collapse spaces
    try:
        path.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def silence_remedy() -> str:
    """Where this system allows programs to use the microphone."""
    if sys.platform == "win32":
        return "Settings > Privacy & security > Microphone > let desktop apps access your microphone"
    if sys.platform == "darwin":
        return "System Settings > Privacy & Security > Microphone > allow the terminal"
    return "it may be muted: see the input in your sound settings, or `pactl list sources`"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _name(name: str) -> Text:
    return Text(printable(name))  # a plain str would be markup: "[USB]"


def _meter(peak_db: float, gain_db: float) -> Text:
    filled = round(_METER_CELLS * min(max(1.0 - peak_db / _FLOOR_DB, 0.0), 1.0))
    style = "red" if peak_db > _CLIPPING_DB else "yellow" if peak_db > _LOUD_DB else "green"
    value = "silence" if peak_db <= _SILENT_DB else f"{peak_db:.0f} dB"
    gain = f"   gain {gain_db:+.0f} dB" if gain_db else ""
    return Text.assemble(("█" * filled, style), ("░" * (_METER_CELLS - filled), "dim"), f" {value}{gain}")


def _speaker(status: Status) -> Text:
    f0 = f"{status.f0_hz:.0f} Hz" if status.f0_hz > 0.0 else "-"
    state, style = ("open", "green") if status.gate_gain_db > _GATE_OPEN_DB else ("closed", "yellow")
    gain = "silence" if status.gate_gain_db <= _SILENT_DB else f"{status.gate_gain_db:.0f} dB"
    return Text.assemble(f"{f0:<9}", ("gate ", "dim"), (state, style), f" ({gain})")


def _monitor(status: Status) -> Text:
    is_on = status.session.monitor and status.monitor_is_open
    return Text.assemble(_name(status.monitor_device), "   ", ("on", "green") if is_on else ("off", "yellow"))


def _voice(status: Status) -> Text:
    params = status.session.params
    text = Text.assemble(
        (printable(status.voice), "bold"),
        f"   pitch {params.pitch_semitones:+.0f}, formants {params.formant_semitones:+.1f} semitones",
    )
    flags = {
        f"loading {printable(status.session.voice)}": status.is_loading,
        "bypass": status.session.bypass,
        "muted": status.session.muted,
        "recording": bool(status.recording),
    }
    for flag, is_set in flags.items():
        if is_set:
            text.append(f"   {flag}", style="bold yellow")
    return text


def _latency(status: Status) -> Text:
    latency = status.latency
    parts = " + ".join(f"{name} {ms:.0f}" for name, ms in _latency_parts(latency))
    grown_ms = status.prefill_grown_ms
    more = f" (prefill raised by {grown_ms:.0f} after underruns)" if grown_ms >= 1.0 else ""
    return Text.assemble((f"{latency.total:.0f} ms", "bold"), f" = {parts}{more}")


def _latency_parts(latency: Latency) -> list[tuple[str, float]]:
    own = [
        ("block", latency.block),
        ("voice", latency.voice),
        ("resamplers", latency.resamplers),
        ("prefill", latency.prefill),
    ]
    if latency.is_measured:
        return [("devices, measured", latency.devices), *own]
    return [("device in", latency.device_in), *own, ("device out", latency.device_out)]


def _blocks(status: Status) -> Text:
    proportion = status.p99_ms / max(status.block_ms, 1.0)
    style = "green" if proportion < 0.5 else "yellow" if proportion < 0.8 else "red"
    failed = f", {status.failed_blocks} failed" if status.failed_blocks else ""
    return Text.assemble(
        f"p50 {status.p50_ms:.1f}, p99 ",
        (f"{status.p99_ms:.1f}", style),
        f" of {status.block_ms:.0f} ms; {status.late_blocks} late{failed} of {status.blocks}",
    )


def _losses(status: Status) -> Text:
    style = "green" if not status.underruns and not status.overruns else "yellow"
    return Text.assemble(
        (
            f"{status.underruns} underruns ({status.underrun_ms:.0f} ms), "
            f"{status.overruns} overruns ({status.overrun_ms:.0f} ms)",
            style,
        ),
        f"; clock drift {status.drift_ppm:+.0f} ppm",
    )
