"""The command line. Every command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from ...kernels.errors import AltervoxError
from ...kernels.printable import MESSAGE_LIMIT, printable
from ...models.voice import F0_METHODS
from .bench import bench
from .export import export
from .live import live
from .options import json_option, voice_options, voice_params
from .remote import remote
from .serve import serve

log = logging.getLogger("altervox")

INTERRUPTED = 130  # what a shell reports for Ctrl-C
_F0_HELP = "Pitch tracker. " + " ".join(f"{name}: {what}." for name, what in F0_METHODS.items())


class _StderrHandler(logging.Handler):
    """Writes to the current stderr, which a progress bar replaces so that messages appear above it."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is None:  # names and texts from outside are in it
            record.msg, record.args = printable(record.getMessage(), MESSAGE_LIMIT), ()
        print(self.format(record), file=sys.stderr, flush=True)  # click.echo would go past the bar


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="altervox", prog_name="altervox", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Verbose output with tracebacks.")
def cli(verbose: bool) -> None:
    """Change a voice, live or in files: into another of your own, another person's, one you trained, or an RVC voice.

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


cli.add_command(bench)
cli.add_command(live)
cli.add_command(export)
cli.add_command(remote)
cli.add_command(serve)


@cli.command(no_args_is_help=True)
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IN...")
@click.option(
    "-o", "--output", type=str, help="Output file, or folder if it ends in /; default: IN.VOICE.wav beside the input."
)
@voice_options
@click.option(
    "--f0-method",
    type=click.Choice(list(F0_METHODS)),
    default="auto",
    show_default=True,
    help=_F0_HELP,
)
@click.option(
    "--seed", type=click.IntRange(min=0, max=2**63 - 1), default=0, help="Random seed for the synthesis noise."
)
@click.option(
    "--quality",
    type=click.Choice(["live", "offline"]),
    default="live",
    show_default=True,
    help="Default lengths. live: blocks of 500 ms, which sound like a live stream; offline: blocks of 4 s with more "
    "context and lookahead.",
)
@click.option(
    "--block-ms",
    type=int,
    help="Block size in ms, a multiple of 20. Larger blocks cost less on a CPU.",
)
@click.option("--lookahead-ms", type=int, help="Lookahead of an RVC voice in ms: how much audio after a frame it uses.")
@click.option("--context-ms", type=int, help="Context of an RVC voice in ms: how much past audio it uses.")
@click.option(
    "--track",
    type=click.IntRange(min=1),
    help="Audio track of files with several, counted from 1; default: the file's preferred track.",
)
@click.option("--repair", is_flag=True, help="Replace NaN and infinite samples with silence.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
@click.pass_context
def convert(
    context: click.Context, /, inputs: tuple[Path, ...], output: str | None, as_json: bool, **options: Any
) -> int:
    """Convert files, or folders of files, to another voice.

    Reads WAV, FLAC, OGG, MP3, M4A, WebM and the audio of video files; writes WAV, FLAC, OGG, Opus, MP3 and AIFF,
    chosen by the extension of the output. The result is mono, exactly as long as the input and aligned with it.

    \b
      altervox convert talk.mp3                          # writes talk.woman.wav
      altervox convert talk.wav -o out.flac --pitch -3
      altervox convert recordings/ -o converted/ --voice robot
    """
    from ..convert.command import Rendering
    from ..convert.command import convert as run_convert

    given = {name for name in options if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    params = voice_params(options, f0_method=options.pop("f0_method"), seed=options.pop("seed"))
    lengths = (options["block_ms"], options["lookahead_ms"], options["context_ms"])
    rendering = Rendering(options["quality"], *lengths, options["backend"])
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
    """List voices; add, train, show and remove your own.

    \b
      altervox voices add alice.zip
      altervox voices train anna recordings/
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
@click.option(
    "--sample",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Sound file to write: a sentence converted with the voice.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Recording to convert for --sample; default: a sentence of a voice of your own, else one that ships.",
)
@json_option
def voices_show(name: str, sample: Path | None, source: Path | None, as_json: bool) -> int:
    """Show one voice, by name or path: what is known of it, and for a neural one how well it was measured to do."""
    from .voices import show_one

    return show_one(name, as_json, sample, source)


@voices.command("train", no_args_is_help=True)
@click.argument("name")
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RECORDINGS...")
@click.option("--consent", metavar="TEXT", help="Who agrees that a voice is made, and how; default: you are asked.")
@click.option(
    "--minutes",
    type=click.FloatRange(0.0, 1440.0, min_open=True),
    default=12.0,
    show_default=True,
    help="Time limit in minutes.",
)
@click.option("--force", is_flag=True, help="Train in spite of noise, clipping, or what sounds like two speakers.")
@click.option("--seed", type=click.IntRange(min=0, max=2**31 - 1), default=1, help="Random seed of the training.")
@json_option
def voices_train(
    name: str,
    recordings: tuple[Path, ...],
    consent: str | None,
    minutes: float,
    force: bool,
    seed: int,
    as_json: bool,
) -> int:
    """Make a voice of your own from two to thirty minutes of recordings, on this computer.

    RECORDINGS are files of any format that `altervox convert` reads, or folders, of one person who agrees. Ctrl-C in
    training ends early with a usable voice; the same command goes on from there, or after a power cut.

    \b
      altervox voices train anna recordings/
      altervox voices train anna a.m4a b.m4a --consent "Anna agreed by letter"
    """
    from ..voices.train import train

    return train(name, recordings, consent, force, minutes, seed, as_json)


@voices.command("add")
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--name", help="Name of the voice; default: the name of the file, or the one on the card of a voice.safetensors."
)
def voices_add(source: Path, name: str | None) -> int:
    """Add a voice: an RVC .pth, a folder or .zip with one, a .safetensors of `voices train`, or an exported voice.

    Use only voices that you may use.
    """
    from .voices import add

    return add(source, name)


@voices.command("picture")
@click.argument("name")
@click.argument("source", type=click.Path(path_type=Path), required=False)
def voices_picture(name: str, source: Path | None) -> int:
    """Give a voice a picture for the web panel: a PNG, JPEG, WebP or GIF file. Without one, remove the picture."""
    from .voices import picture

    return picture(name, source)


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
    """Check this machine, and optionally an audio FILE, and suggest remedies."""
    from ..doctor.command import doctor as run

    return run(file, as_json)


@cli.command()
@click.option("--all", "everything", is_flag=True, help="Show the devices of every host API, and monitors of outputs.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
def devices(everything: bool, as_json: bool) -> int:
    """List microphones, outputs and virtual cables."""
    from ..devices.command import show

    return show(as_json, everything)


@cli.group()
def cable() -> None:
    """Manage the virtual cable that Discord or OBS use as a microphone (Linux); elsewhere explain how to get one."""


@cable.command("create")
def cable_create() -> int:
    """Create the virtual cable; it lasts until the sound server ends."""
    from ..devices.cable import create

    return create()


@cable.command("remove")
def cable_remove() -> int:
    """Remove the virtual cable that `create` made."""
    from ..devices.cable import remove

    return remove()


@cable.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, for programs.")
def cable_status(as_json: bool) -> int:
    """Show whether there is a virtual cable; the exit code is 1 if not."""
    from ..devices.cable import status

    return status(as_json)


def main() -> NoReturn:
    """Run `altervox`."""
    run(cli, "altervox")


def run(command: click.Command, program: str) -> NoReturn:
    """Run a command and end the process with one line on every failure.

    The exit code is 0 for success, 1 for failure, 2 for wrong usage and 130 for an interrupt.

    Args:
        command: Command that parses the arguments of this process.
        program: Name of the program in messages.
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
        click.echo("altervox: interrupted", err=True)
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
