"""`altervox remote watch`: what happens in a session, as it happens, until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from ...kernels.printable import printable
from ...realtime.serve.errors import RemoteError
from ...realtime.serve.events import Event
from .connection import Connection, as_failure
from .show import in_words, show_json

_QUIETEST_DB = -60.0
_BAR = 30  # characters


def watch(connection: Connection, meters_hz: float, as_json: bool) -> int:
    """Print each change of the state, who made it, and the meters; returns when it is interrupted.

    Args:
        connection: The server; it is connected to again whenever it comes back.
        meters_hz: How many meters a second; 0 for none.
        as_json: Whether to print each event as one line of JSON.
    """
    lines = _Lines()
    rates = {"meters": meters_hz} if meters_hz else {}
    try:
        asyncio.run(_watch(connection, rates, _show_json if as_json else lines.show))
    except KeyboardInterrupt:
        return 0
    except RemoteError as error:
        raise as_failure(error) from None
    finally:
        lines.end()
    return 0


async def _watch(connection: Connection, rates: Mapping[str, float], show: Callable[[Event], None]) -> None:
    async with connection.client(reconnect=True) as remote:
        async for event in remote.subscribe("state", **rates):
            show(event)
            sys.stdout.flush()


def _show_json(event: Event) -> None:
    show_json(
        {
            "event": event.topic,
            **({} if event.rev is None else {"rev": event.rev}),
            "seq": event.seq,
            **({"full": True} if event.is_full else {}),
            **({"by": event.by} if event.by else {}),
            "data": event.data,
        },
        indent=None,
    )


class _Lines:
    """Prints events as lines; on a terminal, meters stay in the last one."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._has_meters = False

    def end(self) -> None:
        """Leave the cursor on a line of its own."""
        if self._has_meters:
            click.echo()

    def show(self, event: Event) -> None:
        """Print an event."""
        if event.topic == "meters":
            self._show_meters(event.data)
            return
        if self._has_meters:
            click.echo("\r\x1b[K", nl=False)
            self._has_meters = False
        clock = time.strftime("%H:%M:%S")
        if event.topic == "connection":
            said = "connected again" if event.data["is_open"] else f"{event.data['message']}; connecting again ..."
            click.echo(f"{clock}  {printable(said)}")
            return
        by = f"  ({printable(event.by)})" if event.by else ""
        values = ", ".join(f"{printable(name)} {in_words(value)}" for name, value in event.data.items())
        click.echo(f"{clock}  {values}{by}")

    def _show_meters(self, data: Mapping[str, Any]) -> None:
        levels = "  ".join(
            f"{what} {_bar(data.get(f'{name}_peak_db'))}" for what, name in (("in", "input"), ("out", "output"))
        )
        f0 = data.get("f0_hz")
        text = f"{levels}  {f0:4.0f} Hz" if isinstance(f0, int | float) and f0 > 0 else levels
        if self._is_terminal:
            click.echo(f"\r{text}\x1b[K", nl=False)
            self._has_meters = True
        else:
            click.echo(text)


def _bar(level_db: object) -> str:
    """A level as a bar and a number."""
    if not isinstance(level_db, int | float):
        return "-"
    filled = round(_BAR * min(max(1.0 - level_db / _QUIETEST_DB, 0.0), 1.0))
    return f"{'#' * filled:<{_BAR}} {max(level_db, -99.9):5.1f} dB"
