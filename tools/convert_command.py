"""`altervox convert`: plan, convert, tell."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from ..kernels.errors import AltervoxError
from .convert import Conversion, Job, Progress, convert_all, plan

if TYPE_CHECKING:
    from ..models.voice import VoiceParams

log = logging.getLogger(__name__)

SHOW_PROGRESS_AFTER_S = 2.0
_ONLY_RVC = ("index_rate", "protect", "rms_mix", "speaker", "device")


def convert(
    inputs: list[Path],
    output: Path | None,
    voice_name: str,
    device: str,
    params: VoiceParams,
    repair: bool,
    as_json: bool,
    given: set[str],
) -> int:
    """Run the command; `given` are the names of the options that the user typed. Returns the exit code."""
    from ..models.library import load_voice

    voice = load_voice(voice_name, device)
    jobs = plan(inputs, output, voice.name)
    unused = [name for name in _ONLY_RVC if name in given] if voice.kind == "dsp" else []
    if unused:
        options = ", ".join("--" + name.replace("_", "-") for name in unused)
        log.warning("%s has no effect on the embedded voice %s", options, voice.name)
    rows: list[dict[str, Any]] = []

    def report(job: Job, result: Conversion | AltervoxError) -> None:
        if isinstance(result, AltervoxError):
            rows.append({"input": str(job.source), "error": str(result)})
            click.echo(f"altervox: {result}", err=True)
            return
        rows.append(
            {
                "input": str(job.source),
                "output": str(job.target),
                "seconds": round(result.seconds, 6),
                "rtf": round(result.rtf, 4),
                "peak_mib": result.peak_mib,
            }
        )
        if not as_json:
            speed = 1.0 / result.rtf if result.rtf else 0.0
            click.echo(f"{job.target}  {result.seconds:.1f} s, {speed:.1f}x real time")

    with _terminable(), _progress_bar() as progress:
        failures = convert_all(jobs, voice, params, repair, report, progress)
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    elif failures and len(jobs) > 1:
        click.echo(f"altervox: {failures} of {len(jobs)} files failed", err=True)
    return 1 if failures else 0


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C, so that half-written files go."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress_bar() -> Iterator[Any]:
    """Makes, for each file, what is to be told how far it is; a bar appears on a terminal after two seconds."""
    if not sys.stderr.isatty():
        yield lambda job: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress as Bar, TextColumn, TimeRemainingColumn

    speed = TextColumn("{task.fields[speed]:.1f}x real time")
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        speed,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    started = time.monotonic()

    def follow(job: Job) -> Progress:
        task = bar.add_task(job.source.name, total=None, speed=0.0)
        file_started = time.monotonic()

        def advance(done_s: float, total_s: float | None) -> None:
            now = time.monotonic()
            if now - started > SHOW_PROGRESS_AFTER_S and not bar.live.is_started:
                bar.start()
            speed_now = done_s / max(now - file_started, 1e-6)
            bar.update(task, completed=done_s, total=total_s, speed=speed_now)

        return advance

    try:
        yield follow
    finally:
        bar.stop()
