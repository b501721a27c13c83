"""The tables of docs/remote.md as the code has them; run it to print them for pasting."""

from __future__ import annotations

from altervox.realtime.serve.arguments import Argument
from altervox.realtime.serve.commands import COMMANDS
from altervox.realtime.serve.errors import CLOSE_CODES, ERRORS
from altervox.realtime.serve.topics import DEFAULT_HZ, TOPICS
from altervox.realtime.session.state import PARAMETERS


def _field(argument: Argument) -> str:
    name = f"`{argument.name}`"
    return name if argument.is_required else f"[{name}]"


def commands() -> list[str]:
    rows = []
    for spec in COMMANDS.values():
        fields = [_field(argument) for argument in spec.arguments] + ["`KEY`..."] * spec.takes_parameters
        marks = "HTTP" if spec.by_http else ""
        marks += ", batch" if spec.by_http and spec.in_batch else "batch" if spec.in_batch else ""
        rows.append(f"| `{spec.name}` | {spec.role or '-'} | {', '.join(fields)} | {marks} | {spec.help} |")
    return ["| command | least role | fields | also by | |", "| --- | --- | --- | --- | --- |", *rows]


def _values(argument: Argument) -> str:
    match argument.kind:
        case "number" | "integer":
            return f"{argument.low:g} to {argument.high:g}"
        case "text" if argument.choices:
            return ", ".join(argument.choices)
        case "text":
            return f"text, at most {argument.high:g}"
        case "bool":
            return "true, false"
    return argument.kind


def fields() -> list[str]:
    rows = [
        f"| `{spec.name}` | `{argument.name}` | {_values(argument)} | {argument.help} |"
        for spec in COMMANDS.values()
        for argument in spec.arguments
    ]
    return ["| command | field | values | |", "| --- | --- | --- | --- |", *rows]


def parameters() -> list[str]:
    rows = []
    for parameter in PARAMETERS.values():
        is_bool = isinstance(parameter.default, bool)
        limits = "true, false" if is_bool else f"{parameter.low:g} to {parameter.high:g} {parameter.unit}".strip()
        rows.append(f"| `{parameter.key}` | {limits} | {parameter.help} |")
    return ["| key | values | |", "| --- | --- | --- |", *rows]


def topics() -> list[str]:
    rows = [
        f"| `{name}` | {role} | {f'1 to {most_hz}; {DEFAULT_HZ[name]:g}' if most_hz else ''} | {said} |"
        for name, (said, role, most_hz) in TOPICS.items()
    ]
    return ["| topic | least role | `hz`; default | what it brings |", "| --- | --- | --- | --- |", *rows]


def errors() -> list[str]:
    rows = [f"| `{code}` | {status} | {said} |" for code, (status, said) in ERRORS.items()]
    return ["| code | HTTP | meaning |", "| --- | --- | --- |", *rows]


def close_codes() -> list[str]:
    rows = [f"| {code} | {said} |" for code, said in CLOSE_CODES.items()]
    return ["| code | meaning |", "| --- | --- |", *rows]


TABLES = {table.__name__: table for table in (commands, fields, parameters, topics, errors, close_codes)}

if __name__ == "__main__":
    for name, table in TABLES.items():
        print(f"<!-- {name} -->", *table(), "", sep="\n")
