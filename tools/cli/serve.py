"""The command line of `altervox serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ...realtime.serve.runtime import DEFAULT_PORT
from .face_options import face_options, read_face_options
from .live_options import live_options, read_live_options


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="TCP port of the panel, the protocol and commands over HTTP; 0 for any that is free.",
)
@click.option(
    "--bind",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 for all. Any other than the default lets other computers connect and needs "
    "--token-file.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with a token for programs on other computers; it is made if it is missing.",
)
@click.option(
    "--cert",
    "certificate",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Certificate for TLS (https and wss), as PEM.",
)
@click.option(
    "--key", type=click.Path(path_type=Path, dir_okay=False), help="Key of --cert, unless it is in that file."
)
@click.option("--start", "starts", is_flag=True, help="Start the session at once, as `altervox live` does.")
@click.option("--open", "opens", is_flag=True, help="Open the panel in the browser.")
@click.option(
    "--url-buttons",
    is_flag=True,
    help="Let opening an address carry out the one command that was prepared for it, for tools that can do no more.",
)
@click.option(
    "--host-name",
    "host_names",
    multiple=True,
    metavar="NAME",
    help="A further name under which browsers reach this server, such as studio.local.",
)
@face_options
@click.option(
    "--audio-workers",
    type=click.IntRange(0, 256),
    default=lambda: os.cpu_count() or 1,
    show_default="one for each processor",
    help="Processes that convert audio which programs and browsers send, started as they are needed; 0 for no such "
    "audio sessions.",
)
@click.option(
    "--max-sessions",
    type=click.IntRange(1, 256),
    default=32,
    show_default=True,
    help="Audio sessions at once.",
)
@live_options
def serve(
    *,
    port: int,
    bind: str,
    token_file: Path | None,
    certificate: Path | None,
    key: Path | None,
    starts: bool,
    opens: bool,
    url_buttons: bool,
    host_names: tuple[str, ...],
    audio_workers: int,
    max_sessions: int,
    **options: Any,
) -> int:
    """Control your voice from a browser, a Stream Deck, OBS, a chat bot or a script, until Ctrl-C.

    \b
      altervox serve --open                # the panel in the browser
      altervox serve --start --voice robot # begin at once
      altervox remote set pitch=3          # from another terminal

    Prints the panel's address, which opens it once; the browser stays signed in. Programs on this computer find the
    server by themselves. The session is started in the panel, by a command, or with --start; the options below say
    how.
    """
    from ...realtime.serve.settings import ServerSettings, read_token_file
    from ..serve.command import serve as run

    faces = read_face_options(options)
    session, bindings = read_live_options(options)
    settings = ServerSettings(
        bind=bind,
        port=port,
        token=read_token_file(token_file) if token_file is not None else "",
        certificate=certificate,
        key=key,
        host_names=host_names,
        url_buttons=url_buttons,
        audio_workers=audio_workers,
        most_audio_sessions=max_sessions,
        **faces,
    )
    return run(session, settings, bindings, starts, opens)
