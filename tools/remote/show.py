"""What `altervox remote` prints: results and events in words, or as JSON. All of it came over a network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from ...kernels.printable import MESSAGE_LIMIT, printable


def show_json(value: object, indent: int | None = 1) -> None:
    """Print JSON, which escapes whatever is not ASCII."""
    click.echo(json.dumps(value, indent=indent))


def show_values(values: Mapping[str, Any]) -> None:
    """Print one value a line."""
    width = max((len(printable(name)) for name in values), default=0)
    for name, value in values.items():
        click.echo(f"{printable(name):<{width}}  {in_words(value)}")


def show_rows(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print a table of these columns under their names, as wide as its texts; nothing if there are no rows."""
    from rich.cells import cell_len, set_cell_size

    texts = [[in_words(row.get(column)) for column in columns] for row in rows]
    if texts:
        texts.insert(0, [column.removeprefix("is_").replace("_", " ") for column in columns])
    widths = [max(map(cell_len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        click.echo("  ".join(set_cell_size(text, width) for text, width in zip(row, widths, strict=True)).rstrip())


def in_words(value: object) -> str:
    """A value for a person: `on` for true, `3` for 3.0, lists by commas."""
    if value is None or value in ("", [], {}):
        return "-"
    match value:
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:g}"
        case Mapping():
            return ", ".join(f"{printable(name)} {in_words(item)}" for name, item in value.items())
        case list() | tuple():
            return "; ".join(in_words(item) for item in value)
    return printable(value, MESSAGE_LIMIT)
