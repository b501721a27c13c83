"""`altervox convert`: plan, convert, report."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from ...kernels.errors import AltervoxError
from ...kernels.printable import MESSAGE_LIMIT, encodable, printable
from ...models.parameters import VOICE_PARAMETERS
from .batch import Conversion, Progress, convert_all
from .plan import Job, plan

if TYPE_CHECKING:
    from ...kernels.types import AnyFloatArray, Float64Array
    from ...models.voice import VoiceParams
    from ...realtime.config import StreamConfig

log = logging.getLogger(__name__)

SHOW_PROGRESS_AFTER_S = 2.0


_OPTIONS_OF_VOICES = (
    *("index_rate", "protect", "rms_mix", "mix", "speaker", "device", "lookahead_ms", "context_ms"),
    *("pitch_semitones", "formant_semitones", "f0_method", "seed", "block_ms"),
)


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a voice is to be rendered; a length of None is the quality's own.

    Attributes:
        quality: "live" or "offline"; see `realtime.files`.
        block_ms: Block size of the engine.
        lookahead_ms: Lookahead of the engine.
        context_ms: Context of the engine.
        backend: Backend of the networks; None for the quality's own.
    """

    quality: str
    block_ms: int | None
    lookahead_ms: int | None
    context_ms: int | None
    backend: str | None = None

    def config(self, bound: Mapping[str, int]) -> StreamConfig:
        """Lengths of the engine; `bound` are those that the voice is bound to.

        Raises:
            ParameterError: a length is out of range.
        """
        from ...realtime.files import LIVE, OFFLINE

        values = {name: getattr(self, name) for name in ("block_ms", "lookahead_ms", "context_ms", "backend")}
        given = {name: value for name, value in values.items() if value is not None}
        return replace(LIVE if self.quality == "live" or bound else OFFLINE, **{**bound, **given})


def convert(
    inputs: list[Path],
    output: str | None,
    voice_name: str,
    device: str,
    params: VoiceParams,
    gate_db: float,
    rendering: Rendering,
    repair: bool,
    as_json: bool,
    given: set[str],
    track: int | None = None,
) -> int:
    """Run the command.

    Args:
        inputs: Files and folders.
        output: Output as the user typed it; a trailing slash marks a folder.
        voice_name: Name or path.
        device: "auto", "cpu", ...
        params: Parameters of the voice.
        gate_db: Gate threshold.
        rendering: Quality and lengths.
        repair: Replace NaN and infinite samples with silence.
        as_json: Print JSON instead of lines.
        given: Names of the options that the user typed.
        track: Which audio track of each file, from 1; None for the one that the file prefers.

    Returns:
        The exit code.
    """
    from ...models.library import load_voice
    from ...realtime.files import convert_stream

    voice = load_voice(voice_name, device)
    config = rendering.config(voice.lengths)
    to_folder = output is not None and output.endswith(("/", os.sep))
    jobs = plan(inputs, Path(output) if output is not None else None, voice.name, to_folder)
    unused = [name for name in _OPTIONS_OF_VOICES if name in given and name not in voice.uses]
    unused += ["gate_db"] if "gate_db" in given and not voice.uses else []
    if unused:
        verb = "has" if len(unused) == 1 else "have"
        log.warning("%s %s no effect on the voice %s", _options(unused), verb, voice.name)

    def stream(blocks: Iterator[Float64Array], sample_rate: int) -> Iterator[AnyFloatArray]:
        return convert_stream(voice, blocks, sample_rate, params, config, gate_db)

    rows: list[dict[str, Any]] = []

    def report(job: Job, result: Conversion | AltervoxError) -> None:
        if isinstance(result, AltervoxError):
            log.debug("traceback", exc_info=result)
            message = printable(result, MESSAGE_LIMIT)
            rows.append({"input": encodable(job.source), "error": message})
            click.echo(f"altervox: {message}", err=True)
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
            speed = f", {result.speed:.1f}x real time" if result.speed else ""
            click.echo(f"{printable(job.target, MESSAGE_LIMIT)}  {result.seconds:.1f} s{speed}")

    with terminable() as check_stopped:

        @contextmanager
        def watched(job: Job) -> Iterator[Progress]:
            with _progress_bar(job) as bar:

                def advance(done_s: float, total_s: float | None) -> None:
                    check_stopped()
                    if bar:
                        bar(done_s, total_s)

                yield advance

        failures = convert_all(jobs, voice, stream, repair, report, watched, track)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif failures and len(jobs) > 1:
        click.echo(f"altervox: {failures} of {len(jobs)} files failed", err=True)
    return 1 if failures else 0


def _options(names: list[str]) -> str:
    return ", ".join(
        VOICE_PARAMETERS[name].option if name in VOICE_PARAMETERS else "--" + name.replace("_", "-") for name in names
    )


@contextmanager
def terminable() -> Iterator[Callable[[], None]]:
    """Being asked to end, by Ctrl-C, SIGTERM or a closed terminal, unwinds, so that half-written files go.

    Yields what raises KeyboardInterrupt again if it was: one that strikes while a library calls back into Python is
    lost there, with a report of its own that is no use to anybody. Nor is that of an object which it left half-made,
    at whatever time that is deleted.
    """
    is_stopped = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal is_stopped
        is_stopped = True
        raise KeyboardInterrupt

    def check() -> None:
        if is_stopped:
            raise KeyboardInterrupt

    report = sys.unraisablehook

    def report_unless_stopped(unraisable: Any) -> None:
        if is_stopped:
            log.debug("while stopping: %r in %r", unraisable.exc_value, unraisable.object)
        else:
            report(unraisable)

    sys.unraisablehook = report_unless_stopped
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    signals = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    before = {number: signal.getsignal(number) for number in signals}
    for number, handler in before.items():
        if handler in (signal.SIG_DFL, signal.default_int_handler):  # one that is ignored, by nohup, stays so
            signal.signal(number, stop)
    try:
        yield check
    finally:
        if not is_stopped:
            sys.unraisablehook = report
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress_bar(job: Job) -> Iterator[Progress | None]:
    """Takes the progress of a file; a bar appears on a terminal after two seconds."""
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
    task = bar.add_task(escape(printable(job.source.name)), total=None, speed=0.0)
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
