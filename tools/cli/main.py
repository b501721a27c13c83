"""The command line. Every command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import logging
import os
import sys
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from ...kernels.errors import AltervoxError
from ...kernels.printable import MESSAGE_LIMIT, printable
from ...models.voice import F0_METHODS
from .live import live
from .options import voice_options, voice_params

log = logging.getLogger("altervox")

INTERRUPTED = 130  # what a shell reports for Ctrl-C
_F0_HELP = "How pitch is found. " + " ".join(f"{name}: {what}." for name, what in F0_METHODS.items())


class _StderrHandler(logging.Handler):
    """Writes to what stderr is at the time: a progress bar puts itself in between, to stay below what is said."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is None:  # names and texts from outside are in it
            record.msg, record.args = printable(record.getMessage(), MESSAGE_LIMIT), ()
        print(self.format(record), file=sys.stderr, flush=True)  # click.echo would go past the bar


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("altervox"), prog_name="altervox", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Say more, and show tracebacks.")
def cli(verbose: bool) -> None:
    """Change a voice: woman, man, child, giant, robot, whisper, or an RVC voice of your own.

    \b
      altervox live --voice robot
      altervox convert talk.wav -o out.wav --voice robot
      altervox voices
      altervox doctor
    """
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING, format="altervox: %(message)s", handlers=[_StderrHandler()]
    )
    for noisy in ("numba", "urllib3", "filelock", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


cli.add_command(live)


@cli.command(no_args_is_help=True)
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IN...")
@click.option(
    "-o", "--output", type=str, help="File, or folder (for several, or ending in /); else IN.VOICE.wav beside IN."
)
@voice_options
@click.option(
    "--f0-method",
    type=click.Choice(list(F0_METHODS)),
    default="auto",
    show_default=True,
    help=_F0_HELP,
)
@click.option("--seed", type=click.IntRange(min=0, max=2**63 - 1), default=0, help="Of the noise in the voice.")
@click.option(
    "--quality",
    type=click.Choice(["live", "offline"]),
    default="live",
    show_default=True,
    help="Lengths that the options below do not set. live: 500 ms blocks, heard as in a live stream; offline: blocks "
    "of 4 s with more context and look-ahead.",
)
@click.option(
    "--block-ms",
    type=int,
    help="Audio per step of the engine. Larger blocks cost far less on a CPU, and most of a block sees a little more "
    "context on both sides.",
)
@click.option("--lookahead-ms", type=int, help="Audio after each frame that an RVC voice sees.")
@click.option("--context-ms", type=int, help="Past audio that an RVC voice sees.")
@click.option(
    "--track",
    type=click.IntRange(min=1),
    help="Audio track to convert, from 1, of files with several; by default the one that the file prefers.",
)
@click.option("--repair", is_flag=True, help="Replace NaN and infinite samples with silence.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
@click.pass_context
def convert(
    context: click.Context, /, inputs: tuple[Path, ...], output: str | None, as_json: bool, **options: Any
) -> int:
    """Convert files, or folders of files, to another voice.

    Reads WAV, FLAC, OGG, MP3, M4A, WebM and the sound of video files; writes WAV, FLAC, OGG, Opus, MP3 and AIFF by the
    ending of the output. The result is mono, lasts exactly as long as the input and is in step with it.

    \b
      altervox convert talk.mp3                         talk.woman.wav, beside it
      altervox convert talk.wav -o out.flac --pitch -3
      altervox convert recordings/ -o converted/ --voice robot
    """
    from ..convert.command import Rendering
    from ..convert.command import convert as run_convert

    given = {name for name in options if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    params = voice_params(options, f0_method=options.pop("f0_method"), seed=options.pop("seed"))
    lengths = (options["block_ms"], options["lookahead_ms"], options["context_ms"])
    rendering = Rendering(options["quality"], *lengths)
    return run_convert(
        list(inputs),
        output,
        options["voice"],
        options["device"],
        params,
        options["gate_db"],
        rendering,
        options["repair"],
        as_json,
        given,
        options["track"],
    )


@cli.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
@click.pass_context
def voices(context: click.Context, as_json: bool) -> int:
    """List voices; add, show and remove your own.

    \b
      altervox voices add alice.zip
      altervox voices show alice
    """
    context.obj = as_json
    if context.invoked_subcommand is not None:
        return 0
    from .voices import show_list

    return show_list(as_json)


@voices.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
@click.pass_obj
def voices_list(json_before: bool, /, as_json: bool) -> int:
    """List voices."""
    from .voices import show_list

    return show_list(as_json or json_before)


@voices.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def voices_show(name: str, as_json: bool) -> int:
    """Show one voice, by name or path."""
    from .voices import show_one

    return show_one(name, as_json)


@voices.command("add")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--name", help="What to call it; else the name of the file.")
def voices_add(source: Path, name: str | None) -> int:
    """Add an RVC voice: a .pth, a folder with one, or a .zip. Use only voices that you may use."""
    from .voices import add

    return add(source, name)


@voices.command("remove")
@click.argument("name")
def voices_remove(name: str) -> int:
    """Remove a voice of your own."""
    from .voices import remove

    return remove(name)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
def doctor(file: Path | None, as_json: bool) -> int:
    """Check this machine, and an audio FILE if you name one, and say how to mend what is wrong."""
    from ..doctor.command import doctor as run

    return run(file, as_json)


@cli.command()
@click.option("--all", "everything", is_flag=True, help="Of every host API, and monitors of outputs too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
def devices(everything: bool, as_json: bool) -> int:
    """List microphones, outputs and virtual cables."""
    from ..devices.command import show

    return show(as_json, everything)


@cli.group()
def cable() -> None:
    """Make a virtual cable, through which Discord or OBS hear the voice (Linux); elsewhere say how to get one."""


@cable.command("create")
def cable_create() -> int:
    """Make it, or what is missing of it."""
    from ..devices.cable import create

    return create()


@cable.command("remove")
def cable_remove() -> int:
    """Remove what `create` has made."""
    from ..devices.cable import remove

    return remove()


@cable.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
def cable_status(as_json: bool) -> int:
    """Say whether it is there. Exit code 1 if not."""
    from ..devices.cable import status

    return status(as_json)


@cli.group()
def bench() -> None:
    """Measure speed and memory on this machine."""


@bench.command("stream")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=10.0, show_default=True, help="Audio per row.")
@click.option("--voice", "names", multiple=True, help="Embedded names, or rvc-v2-40k ...; else woman and robot.")
@click.option("--block-ms", "blocks_ms", type=click.IntRange(20, 2000), multiple=True, help="Else 20, 40, 100 and 240.")
@click.option("--context-ms", type=int, default=1000, show_default=True, help="Past that an RVC voice looks at.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def bench_stream(
    seconds: float, names: tuple[str, ...], blocks_ms: tuple[int, ...], context_ms: int, device: str, as_json: bool
) -> int:
    """Time each block of a stream against its deadline; in a clone, RVC voices beside RVC's own real-time step."""
    from ..bench.stream import BLOCKS_MS
    from ..bench.stream import bench_stream as run

    voices = list(names) or ["woman", "robot"]
    return run(seconds, voices, list(blocks_ms) or list(BLOCKS_MS), context_ms, device, as_json)


@bench.command("live")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=20.0, show_default=True, help="Speech per row.")
@click.option("--voice", default="woman", show_default=True, help="Name in `altervox voices`, or path of a .pth.")
@click.option("--block-ms", "blocks_ms", type=click.IntRange(20, 500), multiple=True, help="Else 20, 40 and 100.")
@click.option(
    "--device-buffer-ms", "buffer_ms", type=click.FloatRange(2, 200), help="As of altervox live; 15 unless told."
)
@click.option("--load", type=click.IntRange(0, 256), default=0, help="Busy processes beside it, as a game would be.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def bench_live(
    seconds: float, voice: str, blocks_ms: tuple[int, ...], buffer_ms: float | None, load: int, as_json: bool
) -> int:
    """Speak into a virtual microphone, listen at a virtual cable: delay, losses, block times (Linux)."""
    from ..bench.live import BLOCKS_MS
    from ..bench.live import bench_live as run

    return run(seconds, voice, list(blocks_ms) or list(BLOCKS_MS), buffer_ms, load, as_json)


def main() -> NoReturn:
    """Run `altervox`."""
    run(cli, "altervox")


def run(command: click.Command, program: str) -> NoReturn:
    """Run a command and end the process with one line on every failure.

    The exit code is 0 if it is done, 1 if it failed, 2 for wrong usage and 130 if it was interrupted.

    Args:
        command: Takes the arguments of this process.
        program: What the user typed to start it, for messages.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # the name of a file may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        code = command.main(prog_name=program, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("altervox: interrupted, nothing half-written is left", err=True)
        code = INTERRUPTED
    except AltervoxError as error:
        log.debug("traceback", exc_info=error)
        click.echo(f"altervox: {printable(error, MESSAGE_LIMIT)}", err=True)
        code = error.exit_code
    except BrokenPipeError:  # the reader of a pipe has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except OSError as error:  # such as a full disk behind stdout
        log.debug("traceback", exc_info=error)
        click.echo(f"altervox: {printable(error, MESSAGE_LIMIT)}", err=True)
        code = 1
    except Exception as error:
        log.debug("traceback", exc_info=error)
        click.echo(
            f"altervox: internal error, please report it: {type(error).__name__}: {printable(error)} "
            "(altervox -v shows where)",
            err=True,
        )
        code = 1
    sys.exit(code)
