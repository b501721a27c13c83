"""Tables in Markdown files: each stands between two marks of its own and is replaced by the command that made it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...kernels.errors import OutputError, ParameterError


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text.

    Attributes:
        note: A line above it.
        columns: Their headings.
        rows: Cells.
    """

    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table with its note, ending in a line break."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return f"{self.note}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def replaced(text: str, tables: Mapping[str, Table]) -> str:
    """The text with what stands between `<!-- table NAME -->` and `<!-- end NAME -->` replaced by the table NAME.

    Raises:
        ParameterError: a table has no such place, or several.
    """
    for name, table in tables.items():
        begin, end = f"<!-- table {name} -->", f"<!-- end {name} -->"
        parts = re.split(f"({re.escape(begin)}|{re.escape(end)})", text)
        if parts[1::2] != [begin, end]:
            raise ParameterError(f"the text needs the lines {begin} and {end}, once each and in this order")
        before, _, _, _, after = parts
        text = f"{before}{begin}\n\n{table.markdown()}\n{end}{after}"
    return text


def read_document(path: Path) -> str:
    """The text of a file.

    Raises:
        OutputError: it cannot be read, so nothing can be put into it.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OutputError(f"{path} is not UTF-8 text, so no table can be put into it") from error


def write_document(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
