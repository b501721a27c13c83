"""`altervox convert`: plan, convert, tell."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from ...kernels.errors import AltervoxError, BaseModelError, ParameterError
from ...kernels.printable import MESSAGE_LIMIT, encodable, printable
from ...models.parameters import VOICE_PARAMETERS
from ...models.voice import STREAMING_F0_METHODS
from .batch import Conversion, Progress, convert_all
from .plan import Job, plan

if TYPE_CHECKING:
    from ...models.voice import Voice, VoiceParams

log = logging.getLogger(__name__)

SHOW_PROGRESS_AFTER_S = 2.0


FILE_BLOCK_MS = 500  # of the streaming engine: nobody waits for a block of a file, and large ones cost less


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a voice is to be rendered; a length of None is the default.

    Attributes:
        quality: "live": block by block; "offline": in long windows.
        block_ms: Of the engine.
        lookahead_ms: Of the engine.
        context_ms: Of the engine.
    """

    quality: str
    block_ms: int | None
    lookahead_ms: int | None
    context_ms: int | None

    def lengths(self) -> dict[str, int]:
        """The lengths that are not the default's."""
        values = {name: getattr(self, name) for name in ("block_ms", "lookahead_ms", "context_ms")}
        return {name: value for name, value in values.items() if value is not None}


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
        output: As the user typed it: a closing slash says that it is a folder.
        voice_name: Name or path.
        device: "auto", "cpu", ...
        params: How to render.
        gate_db: Gate threshold of the live path.
        rendering: Block by block or in long windows, and the lengths.
        repair: Replace NaN and infinite samples with silence.
        as_json: Print JSON instead of lines.
        given: Names of the options that the user typed.
        track: Which audio track of each file, from 1; None for the one that the file prefers.

    Returns:
        The exit code.
    """
    from ...models.library import load_voice

    voice = load_voice(voice_name, device)
    unused = [name for name in _without_effect(voice, rendering) if name in given]
    rendered = _rendered(voice, rendering, params.f0_method, gate_db)
    to_folder = output is not None and output.endswith(("/", os.sep))
    jobs = plan(inputs, Path(output) if output is not None else None, voice.name, to_folder)
    if unused:
        verb = "has" if len(unused) == 1 else "have"
        log.warning("%s %s no effect on the voice %s", _options(unused), verb, voice.name)
    if rendering.quality == "live":
        _fetch_base_models(voice, params.f0_method)
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

    with _terminable() as check_stopped:

        @contextmanager
        def watched(job: Job) -> Iterator[Progress]:
            with _progress_bar(job) as bar:

                def advance(done_s: float, total_s: float | None) -> None:
                    check_stopped()
                    if bar:
                        bar(done_s, total_s)

                yield advance

        failures = convert_all(jobs, rendered, params, repair, report, watched, track)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif failures and len(jobs) > 1:
        click.echo(f"altervox: {failures} of {len(jobs)} files failed", err=True)
    return 1 if failures else 0


def _rendered(voice: Voice, rendering: Rendering, f0_method: str, gate_db: float) -> Voice:
    """The voice as it is to be rendered.

    Raises:
        ParameterError: options do not go together, or a length is out of range.
    """
    lengths = rendering.lengths()
    if rendering.quality == "offline":
        if lengths:
            raise ParameterError(f"{_options([*lengths])} cannot be used with --quality offline, which has no blocks")
        return voice
    from ...realtime.config import StreamConfig
    from ...realtime.files import StreamedVoice

    settings: dict[str, Any] = {"block_ms": FILE_BLOCK_MS, **lengths}
    streamed = StreamedVoice(voice, StreamConfig(**settings), gate_db)
    if "f0_method" not in _without_effect(voice, rendering):
        _refuse_other_f0(voice, f0_method)
    return voice if voice.name == "off" else streamed


def _refuse_other_f0(voice: Voice, method: str) -> None:
    """Raises ParameterError where a stream does not find pitch by the method that the user asked for."""
    if method not in STREAMING_F0_METHODS:
        by = " or ".join(STREAMING_F0_METHODS[1:])
        raise ParameterError(f"--f0-method {method} needs --quality offline: live, {voice.name} finds pitch by {by}")


def _fetch_base_models(voice: Voice, f0_method: str) -> None:
    """Have what a voice needs beside what ships, before any file.

    Raises:
        BaseModelError: it cannot be had.
    """
    from ...models.base_models import CONTENT_ENCODER, PITCH_NETWORK
    from ...models.rvc.voice import RvcVoice

    if voice.kind == "rvc":
        CONTENT_ENCODER.fetch()
    if voice.name == "off" or (isinstance(voice, RvcVoice) and not voice.synthesizer.has_f0):
        return
    if f0_method == "rmvpe":
        try:
            PITCH_NETWORK.fetch()
        except BaseModelError as error:
            raise BaseModelError(f"{error}; or leave --f0-method at auto, which needs nothing") from error


def _options(names: list[str]) -> str:
    return ", ".join(
        VOICE_PARAMETERS[name].option if name in VOICE_PARAMETERS else "--" + name.replace("_", "-") for name in names
    )


def _without_effect(voice: Voice, rendering: Rendering) -> list[str]:
    """Options that a voice has no use for."""
    gate = ["gate_db"] if rendering.quality == "offline" or voice.name == "off" else []
    if voice.kind == "dsp":
        of_dsp = (
            ["pitch_semitones", "formant_semitones", "f0_method", "seed", "block_ms"] if voice.name == "off" else []
        )
        of_rvc = ["index_rate", "protect", "rms_mix", "speaker", "device", "lookahead_ms", "context_ms"]
        return [*of_rvc, *of_dsp, *gate]
    from ...models.rvc.voice import RvcVoice

    without = gate
    if isinstance(voice, RvcVoice) and voice.index is None:
        without = [*gate, "index_rate", "protect"]
    if isinstance(voice, RvcVoice) and not voice.synthesizer.has_f0:
        without += ["pitch_semitones", "f0_method"]
    return without


@contextmanager
def _terminable() -> Iterator[Callable[[], None]]:
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
