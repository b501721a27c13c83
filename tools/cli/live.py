"""The command line of `altervox live`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ...realtime.serve.runtime import DEFAULT_PORT
from .face_options import face_options, read_face_options
from .live_options import live_options, read_live_options

# What is used with --measure, which implies --allow-loop.
_MEASURE_OPTIONS = ("measure", "source", "output", "device_buffer_ms", "channel", "exclusive", "allow_loop", "as_json")


@click.command()
@live_options
@click.option("--measure", is_flag=True, help="Measure the latency of the devices instead of running; see above.")
@click.option(
    "--remote",
    type=click.IntRange(0, 65535),
    is_flag=False,
    flag_value=DEFAULT_PORT,
    metavar="[PORT]",
    help=f"Let the panel and programs control the session, as `altervox serve` does, on this port ({DEFAULT_PORT} if "
    "not given).",
)
@face_options
@click.option(
    "--screenshot", type=click.Path(path_type=Path, dir_okay=False), help="Save the last terminal view as SVG."
)
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Stop after this many seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print statistics as JSON at the end, for programs.")
@click.pass_context
def live(
    context: click.Context,
    /,
    measure: bool,
    remote: int | None,
    screenshot: Path | None,
    seconds: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Change your voice while you speak: from the microphone into a virtual cable, until Ctrl-C.

    \b
      altervox live                                      # default microphone, the only virtual cable
      altervox live --voice robot --monitor headphones   # hear yourself too
      altervox live --measure --output speakers          # measure the latency of the devices

    With --measure altervox plays sweeps on the output and looks for them in the input, which has to hear the output:
    through a wire, a loudspeaker beside the microphone, or the other end of a cable. The result is stored and used as
    the devices' part of the latency whenever these two devices are opened with the same rate and --device-buffer-ms.
    """
    from ...realtime.serve.settings import ServerSettings
    from ..live.command import live as run
    from ..live.command import measure as run_measure

    faces = read_face_options(options)
    session, bindings = read_live_options(options)
    if measure:
        _refuse_beside_measure(context)
        return run_measure(session, as_json)
    if remote is None and any(faces.values()):
        raise click.UsageError("programs can control this session with --remote only: add it", context)
    settings = ServerSettings(port=remote, **faces) if remote is not None else None
    return run(session, seconds, as_json, screenshot, bindings, settings)


def _refuse_beside_measure(context: click.Context) -> None:
    unused = [
        option.opts[0]
        for option in context.command.params
        if option.name not in _MEASURE_OPTIONS
        and context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    ]
    if unused:
        raise click.UsageError(f"--measure cannot be combined with {', '.join(unused)}", context)
