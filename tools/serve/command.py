"""`altervox serve`: a live session that waits for somebody to control it, until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import click

from ...kernels.errors import AltervoxError, ServerError
from ...kernels.printable import MESSAGE_LIMIT, printable
from ...realtime.audio.priority import settle_memory
from ...realtime.serve.port import RemoteSession, StartRequest
from ...realtime.serve.server import RemoteServer
from ...realtime.serve.settings import ServerSettings
from ...realtime.session.settings import SessionSettings
from ..browser import opened
from ..devices.choose import settings_folder
from ..live.actions import command_for
from ..live.announce import announce
from ..live.host import LiveHost
from ..live.hotkeys import global_hot_keys
from ..live.options import LiveOptions
from ..live.signals import stop_signals

_KEYS_EVERY_S = 0.02
_HOT_KEY = "hot key"


def serve(
    options: LiveOptions,
    settings: ServerSettings,
    hot_keys: Mapping[str, str] | None = None,
    starts: bool = False,
    opens: bool = False,
) -> int:
    """Serve the remote control of a session. Returns the exit code.

    Args:
        options: Options of the session.
        settings: Where to listen, and under which names.
        hot_keys: Bindings for `global_hot_keys`; none for no global hot keys.
        starts: Whether to start the session at once. If that fails, the reason is shown and the server goes on.
        opens: Whether to open the panel in the browser.

    Raises:
        AltervoxError: The server cannot listen, or hot keys do not work here.
    """
    stopping = stop_signals()
    with (
        global_hot_keys(hot_keys) if hot_keys else nullcontext(lambda: "") as next_hot_key,
        LiveHost(options, can_start=True, announce=announce) as host,
        served(host, settings, opens, audio=options.session) as server,
    ):
        click.echo("press Ctrl-C to stop", err=True)
        if starts:
            _start(host, stopping)
        while not stopping:
            if not server.is_running:
                raise ServerError("the remote control has ended by itself: start again with `altervox -v serve`")
            if action := next_hot_key():
                host.do(command_for(action), _HOT_KEY)
            else:
                time.sleep(_KEYS_EVERY_S if hot_keys else 5 * _KEYS_EVERY_S)
    if host.was_killed:
        click.echo("the audio process did not end within 5 s and was killed", err=True)
    return 0


@contextmanager
def served(
    session: RemoteSession,
    settings: ServerSettings,
    opens: bool = False,
    to_stderr: bool = False,
    audio: SessionSettings | None = None,
) -> Iterator[RemoteServer]:
    """Serve the remote control of a session within the context, and say where.

    Args:
        session: The session.
        settings: Where to listen, and under which names.
        opens: Whether to open the panel in the browser.
        to_stderr: Whether to print the panel's address there, too, rather than to stdout.
        audio: What audio sessions have in common; None for the defaults.

    Raises:
        ServerError: The server cannot listen.
    """
    with RemoteServer(session, settings, settings_folder() / "remote.json", audio) as server:
        link = server.panel_link()
        click.echo("remote control, at an address that opens it once:", err=True)
        click.echo(link, err=to_stderr)
        for line in server.faces.described:
            click.echo(line, err=True)
        if not settings.is_local:
            click.echo(f"other devices: {server.address_elsewhere}, then allow them in the panel", err=True)
            if settings.certificate is None:
                click.echo(
                    "altervox: anybody in this network can read what is sent, tokens included: give --cert and --key "
                    f"for TLS, or leave out --bind and use a tunnel: ssh -L {server.port}:127.0.0.1:{server.port} "
                    "USER@HOST",
                    err=True,
                )
        if opens and not opened(link):
            click.echo("no browser can be opened here: open the address yourself", err=True)
        settle_memory()  # a whole collection stops every thread for 40 ms, and answers with them
        yield server


def _start(host: LiveHost, stopping: list[int]) -> None:
    try:
        host.start(StartRequest(), lambda: bool(stopping))
    except AltervoxError as error:
        if not stopping:  # else Ctrl-C has also ended the programs that list devices
            click.echo(f"altervox: {printable(error, MESSAGE_LIMIT)}", err=True)
            click.echo("not started; the panel can start it", err=True)
