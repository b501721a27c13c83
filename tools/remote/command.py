"""What the commands of `altervox remote` do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ...kernels.errors import OutputError
from ...kernels.printable import printable
from ...realtime.serve.client import RemoteClient
from ...realtime.serve.commands import command_named, read_query
from ...realtime.serve.errors import RemoteError
from ...realtime.serve.private_file import write_private
from ..browser import opened
from .connection import Connection, as_failure, run
from .show import in_words, show_json, show_rows, show_values

Pairs = Sequence[tuple[str, str]]


def send(connection: Connection, command: str, pairs: Pairs, as_json: bool) -> int:
    """Send a command and print the result: one value a line, or as JSON.

    Args:
        connection: The server.
        command: Name of the command.
        pairs: Fields of the command as they were written; they are checked before anything is sent.
        as_json: Whether to print JSON.
    """
    result = ask(connection, command, pairs)
    if as_json:
        show_json(result)
    elif isinstance(result, dict):
        show_values(result)
    return 0


def ask(connection: Connection, command: str, pairs: Pairs = ()) -> Any:
    """Send a command; returns its result."""
    fields = read_fields(command, pairs)
    return run(connection, lambda remote: remote.do(command, fields))


def read_fields(command: str, pairs: Pairs) -> dict[str, Any]:
    """The fields of a command, in their own types.

    Raises:
        RemoteError: there is no such command or field, or a value is of another type or out of range.
    """
    try:
        params = read_query(command_named(command), pairs)
    except RemoteError as error:
        raise as_failure(error) from None
    return {**params.fields, **params.values}


def assignments(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values of `name=value`.

    Raises:
        UsageError: a text is of another form.
    """
    for text in texts:
        if "=" not in text:
            raise click.UsageError(f"{printable(text)!r} is not of the form name=value, such as pitch=3")
    return [(name, value) for name, _, value in (text.partition("=") for text in texts)]


def show_lists(connection: Connection, command: str, columns: Sequence[str], as_json: bool) -> int:
    """Ask for one or several lists and print them: a row for each entry, or as JSON."""
    result = ask(connection, command)
    if as_json:
        show_json(result)
    else:
        for name, rows in result.items():
            if len(result) > 1:
                click.echo(f"{printable(name)}:")
            show_rows(rows, columns)
    return 0


def panel(connection: Connection, should_open: bool) -> int:
    """Print an address that opens the panel once, and open it if wanted."""
    address = f"{connection.page_url()}#{ask(connection, 'panel_link')['token']}"
    click.echo(printable(address))
    if should_open and not opened(address):
        click.echo("no browser can be opened here: open the address yourself", err=True)
        return 1
    return 0


def pair(connection: Connection, name: str, role: str = "control") -> int:
    """Ask the user at the server for a token, and keep it in the token file.

    Raises:
        UsageError: the command line does not say where to keep the token.
        OutputError: the token cannot be written there.
    """
    import asyncio

    path = connection.token_file
    if path is None:
        raise click.UsageError("name a new file for the token, before the command: --token-file FILE")
    if path.exists():
        raise click.UsageError(f"{path} exists: name a new file, or remove it")
    try:
        asking = RemoteClient.pair(connection.url or None, name, role=role, ca=connection.ca, show_code=_show_code)
        token = asyncio.run(asking)
    except RemoteError as error:
        raise as_failure(error) from None
    try:
        write_private(path, f"{token}\n")
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): remove {printable(name)!r} from the clients, and pair again "
            "with another file"
        ) from None
    click.echo(f"allowed; the token is in {path}")
    return 0


def _show_code(code: str) -> None:
    click.echo(f"asking; allow it in the panel if that shows the code {printable(code)} ...", err=True)


def show_clients(connection: Connection, as_json: bool) -> int:
    """Print the programs that hold a token, and those that ask for one."""

    async def both(remote: RemoteClient) -> tuple[Any, Any]:
        return await remote.do("clients"), await remote.do("pairings")

    clients, pairings = run(connection, both)
    if as_json:
        show_json({**clients, **pairings})
        return 0
    show_rows(clients["clients"], ("id", "name", "role", "kind", "connections"))
    for asking in pairings["pairings"]:
        click.echo(
            f"asks for a token: {in_words(asking.get('client'))}, role {in_words(asking.get('role'))}, "
            f"code {in_words(asking.get('code'))}: "
            f"altervox remote clients allow {printable(asking['id'])}, or refuse"
        )
    return 0


def add_button(connection: Connection, label: str, command: str, values: Sequence[str]) -> int:
    """Prepare a command and print the address that carries it out."""
    fields = read_fields(command, assignments(values))
    prepared = {"label": label, "cmd": command, "params": fields}
    result = run(connection, lambda remote: remote.do("button_add", prepared))
    click.echo(f"{connection.page_url()}{printable(result['path']).removeprefix('/')}")
    return 0
