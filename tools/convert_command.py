"""`altervox convert`: plan, convert, tell."""

from __future__ import annotations

import json
import logging
import os
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
    from ..models.voice import Voice, VoiceParams

log = logging.getLogger(__name__)

SHOW_PROGRESS_AFTER_S = 2.0


def convert(
    inputs: list[Path],
    output: str | None,
    voice_name: str,
    device: str,
    params: VoiceParams,
    live_block_ms: int | None,
    repair: bool,
    as_json: bool,
    given: set[str],
) -> int:
    """Run the command.

    Args:
        inputs: Files and folders.
        output: As the user typed it: a closing slash says that it is a folder.
        voice_name: Name or path.
        device: "auto", "cpu", ...
        params: How to render.
        live_block_ms: Block of the streaming engine, None to convert in long windows.
        repair: Put silence in the place of samples that are no number.
        as_json: Print JSON instead of lines.
        given: Names of the options that the user typed.

    Returns:
        The exit code.
    """
    from ..models.library import load_voice

    voice = load_voice(voice_name, device)
    if live_block_ms is not None and voice.name != "off":
        from ..realtime.config import StreamConfig
        from ..realtime.offline import StreamedVoice

        voice = StreamedVoice(voice, StreamConfig(block_ms=live_block_ms))
    to_folder = output is not None and output.endswith(("/", os.sep))
    jobs = plan(inputs, Path(output) if output is not None else None, voice.name, to_folder)
    unused = [name for name in _without_effect(voice) if name in given]
    if unused:
        options = ", ".join("--" + name.replace("_", "-") for name in unused)
        log.warning("%s %s no effect on the voice %s", options, "has" if len(unused) == 1 else "have", voice.name)
    rows: list[dict[str, Any]] = []

    def report(job: Job, result: Conversion | AltervoxError) -> None:
        if isinstance(result, AltervoxError):
            log.debug("traceback", exc_info=result)
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
            click.echo(f"{job.target}  {result.seconds:.1f} s, {1.0 / result.rtf:.1f}x real time")

    with _terminable():
        failures = convert_all(jobs, voice, params, repair, report, _progress_bar)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif failures and len(jobs) > 1:
        click.echo(f"altervox: {failures} of {len(jobs)} files failed", err=True)
    return 1 if failures else 0


def _without_effect(voice: Voice) -> list[str]:
    """Options that a voice has no use for."""
    if voice.kind == "dsp":
        of_dsp = ["pitch", "formant", "f0_method", "seed"] if voice.name == "off" else []
        return ["index_rate", "protect", "rms_mix", "speaker", "device", *of_dsp]
    from ..models.rvc_voice import RvcVoice

    without: list[str] = []
    if isinstance(voice, RvcVoice) and voice.index is None:
        without += ["index_rate", "protect"]
    if isinstance(voice, RvcVoice) and not voice.synthesizer.has_f0:
        without += ["pitch", "f0_method"]
    return without


@contextmanager
def _terminable() -> Iterator[None]:
    """Being asked to end, by SIGTERM or a closed terminal, unwinds like Ctrl-C, so that half-written files go."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signals = [signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if name in signal.Signals.__members__]
    before = {number: signal.getsignal(number) for number in signals}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:  # one that is ignored, by nohup, stays so
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress_bar(job: Job) -> Iterator[Progress | None]:
    """What is to be told how far a file is; a bar appears on a terminal after two seconds."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[speed]:.1f}x real time"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(escape(job.source.name), total=None, speed=0.0)
    started = time.monotonic()

    def advance(done_s: float, total_s: float | None) -> None:
        running_s = time.monotonic() - started
        if running_s > SHOW_PROGRESS_AFTER_S and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done_s, total=total_s, speed=done_s / max(running_s, 1e-6))

    try:
        yield advance
    finally:
        bar.stop()
