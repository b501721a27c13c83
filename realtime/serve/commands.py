"""The one table of commands: who may use them, their fields and their help.

Dispatch, HTTP addresses, the JSON Schema and the table in docs/remote.md are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...models.parameters import Parameter, Value
from ..config import LIVE_BLOCK_MS
from .access import PAIRED_ROLES, ROLES, Right
from .arguments import Argument, parameter_from_text, parameter_named, parameter_value
from .audio.frames import FORMATS
from .audio.spec import GREATEST_RATE, LEAST_RATE, PACES
from .errors import RemoteError
from .topics import TOPICS

MOST_IN_BATCH = 32
LONGEST_HOLD_S = 3600
NAME_LENGTH = 60  # most characters of a client's name or a button's label
ICON_LENGTH = 32_768  # most characters of an icon in base64
_LONGEST_TOKEN = 128
_LONGEST_NAME = 200  # of a voice or a device, which the system gives


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command.

    Attributes:
        name: Name of the command.
        role: Least role that may use it; None for a connection that is not authenticated yet.
        help: What it does, without a full stop.
        arguments: Its fields.
        takes_parameters: Whether it also takes values of parameters by key.
        needs_value: Whether one of them, or a voice, must be given.
        in_batch: Whether it may be part of a batch: it is carried out at once.
        by_http: Whether it works without a connection.
    """

    name: str
    role: Right | None
    help: str
    arguments: tuple[Argument, ...] = ()
    takes_parameters: bool = False
    needs_value: bool = True
    in_batch: bool = True
    by_http: bool = True


@dataclass(frozen=True, slots=True)
class Params:
    """Checked fields of a command.

    Attributes:
        fields: Values of the arguments that were given, by name.
        values: Values of parameters, by their long names.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an argument, or the default."""
        return self.fields.get(name, default)

    def __getitem__(self, name: str) -> Any:
        """The value of an argument that the command needs."""
        return self.fields[name]


def _table(specs: Iterable[CommandSpec]) -> dict[str, CommandSpec]:
    return {spec.name: spec for spec in specs}


_LEAST_BLOCK, _GREATEST_BLOCK, _BLOCK_GRID = LIVE_BLOCK_MS
_BLOCK_HELP = f"Block size, a multiple of {_BLOCK_GRID}"
_NAME = Argument("name", "text", "Key of the parameter, such as pitch", True, high=64, alias="what")
_ID = Argument("id", "text", "ID from the list", True, high=64)

COMMANDS = _table(
    [
        CommandSpec(
            "auth",
            None,
            "Authenticate with a token",
            (
                Argument("token", "text", "The token", True, high=_LONGEST_TOKEN, is_shown=False),
                Argument("client", "text", "Name of the program, for lists and the log", high=NAME_LENGTH),
            ),
            in_batch=False,
            by_http=False,
        ),
        CommandSpec(
            "pair",
            None,
            "Ask the user, in the panel, for a token; answered when decided, or after 60 s",
            (
                Argument("client", "text", "Name of the program", True, high=NAME_LENGTH),
                Argument("icon", "text", "PNG in base64 that the panel shows, at most 24 KiB", high=ICON_LENGTH),
                Argument("role", "text", "Role that it asks for; default control", choices=PAIRED_ROLES),
            ),
            in_batch=False,
            by_http=False,
        ),
        CommandSpec(
            "get",
            "view",
            "The state, as the topic `state` sends it",
            (Argument("names", "list", "Which of its fields; default all", high=100),),
        ),
        CommandSpec("ping", "view", "Nothing: shows that the connection works"),
        CommandSpec("voices", "view", "The voices that there are", in_batch=False),
        CommandSpec("devices", "view", "The devices that there are", in_batch=False),
        CommandSpec(
            "subscribe",
            "view",
            "Have events sent; a topic that is subscribed to again is sent in full again",
            (Argument("topics", "object", "Topics by name, each with its options: {} or {hz}", True),),
            in_batch=False,
            by_http=False,
        ),
        CommandSpec(
            "unsubscribe",
            "view",
            "Have events no longer sent",
            (Argument("topics", "list", "Names of the topics", True, high=len(TOPICS)),),
            in_batch=False,
            by_http=False,
        ),
        CommandSpec("set", "control", "Give parameters new values, all of them or none", (), True),
        CommandSpec(
            "step",
            "control",
            "Change a number by an amount; it stops at the ends of its range",
            (_NAME, Argument("by", "number", "Amount, in the parameter's unit", True, -1e6, 1e6)),
        ),
        CommandSpec("toggle", "control", "Turn true into false or back", (_NAME,)),
        CommandSpec(
            "voice",
            "control",
            "Change to another voice: one of name, step and random",
            (
                Argument("name", "text", "Name of the voice", high=_LONGEST_NAME),
                Argument("step", "integer", "Places in the list of voices, 1 for the next", low=-1000, high=1000),
                Argument("random", "bool", "True for any other voice that changes the sound"),
            ),
        ),
        CommandSpec(
            "record",
            "control",
            "Begin or end a recording of input and output",
            (Argument("on", "bool", "True to begin", True),),
        ),
        CommandSpec(
            "hold",
            "control",
            "Set values for some time; afterwards each returns to what it was",
            (
                Argument("seconds", "number", "How long", True, 1, LONGEST_HOLD_S),
                Argument("voice", "text", "Name of a voice", high=_LONGEST_NAME),
                Argument("random", "bool", "True for any other voice that changes the sound"),
            ),
            takes_parameters=True,
        ),
        CommandSpec(
            "release",
            "control",
            "End a hold before its time",
            (Argument("hold", "text", "Its ID; default all holds", high=64),),
        ),
        CommandSpec(
            "block",
            "control",
            "Change the block size, which interrupts the sound: one of ms and longer",
            (
                Argument("ms", "integer", _BLOCK_HELP, low=_LEAST_BLOCK, high=_GREATEST_BLOCK, grid=_BLOCK_GRID),
                Argument("longer", "bool", "True for the size that is offered because blocks are late"),
            ),
        ),
        CommandSpec(
            "audio.open",
            "audio",
            "Begin an audio session on this connection; answered once its voice is ready",
            (
                Argument("rate", "integer", "Samples a second", True, LEAST_RATE, GREATEST_RATE),
                Argument("format", "text", "Format of the samples, mono; default s16", choices=FORMATS),
                Argument("voice", "text", "Name of the voice; default that of the server", high=_LONGEST_NAME),
                Argument(
                    "block_ms",
                    "integer",
                    f"{_BLOCK_HELP}; default 20",
                    low=_LEAST_BLOCK,
                    high=_GREATEST_BLOCK,
                    grid=_BLOCK_GRID,
                ),
                Argument("pace", "text", "live (default): late blocks are skipped; fast: none is", choices=PACES),
            ),
            takes_parameters=True,
            needs_value=False,
            in_batch=False,
            by_http=False,
        ),
        CommandSpec(
            "audio.resume",
            "audio",
            "Go on with the audio session of a connection that was lost less than 60 s ago",
            (
                Argument("token", "text", "Token that the session was given", True, high=128, is_shown=False),
                Argument("position", "integer", "With pace fast: first output that is lacking", high=2**53),
            ),
            in_batch=False,
            by_http=False,
        ),
        CommandSpec(
            "audio.set",
            "audio",
            "Change voice and parameters of the audio session, all of them or none",
            (Argument("voice", "text", "Name of the voice", high=_LONGEST_NAME),),
            takes_parameters=True,
            in_batch=False,
            by_http=False,
        ),
        CommandSpec("audio.get", "audio", "State of the audio session", in_batch=False, by_http=False),
        CommandSpec(
            "audio.close", "audio", "End the audio session; the connection stays", in_batch=False, by_http=False
        ),
        CommandSpec(
            "batch",
            "control",
            "Several commands in one message, in their order",
            (
                Argument(
                    "commands", "list", "Objects with cmd and params", True, 1, high=MOST_IN_BATCH, items="object"
                ),
                Argument("stop_on_error", "bool", "Whether an error ends the batch; default true"),
            ),
            in_batch=False,
            by_http=False,
        ),
        CommandSpec(
            "start",
            "admin",
            "Start the session; answered once it runs. With fields, a running session is started again with them",
            (
                Argument("input", "text", "Name of the microphone", high=_LONGEST_NAME),
                Argument("output", "text", "Name of the output", high=_LONGEST_NAME),
                Argument("monitor", "text", "Name of the monitor; empty for none", high=_LONGEST_NAME),
                Argument("block_ms", "integer", _BLOCK_HELP, low=_LEAST_BLOCK, high=_GREATEST_BLOCK, grid=_BLOCK_GRID),
            ),
            in_batch=False,
        ),
        CommandSpec("stop", "admin", "Stop the session", in_batch=False),
        CommandSpec(
            "measure", "admin", "Measure the latency of the devices; the session must be stopped", in_batch=False
        ),
        CommandSpec("pairings", "admin", "Programs that ask to be paired"),
        CommandSpec(
            "pair_answer",
            "admin",
            "Answer a program that asks to be paired",
            (
                _ID,
                Argument("allow", "bool", "Whether it gets a token", True),
                Argument("role", "text", "Its role; default what it asks for", choices=ROLES),
            ),
        ),
        CommandSpec("clients", "admin", "Clients that hold a token"),
        CommandSpec("client_remove", "admin", "Revoke a client's token and close its connections", (_ID,)),
        CommandSpec("audio.sessions", "admin", "Audio sessions that are open"),
        CommandSpec(
            "audio.end",
            "admin",
            "End an audio session",
            (Argument("session", "integer", "Number of the session", True, 1, 65535),),
        ),
        CommandSpec("panel_link", "admin", "A token that opens the panel once, and the panel's address with it"),
        CommandSpec("buttons", "admin", "Prepared commands that have an address of their own"),
        CommandSpec(
            "button_add",
            "admin",
            "Prepare a command that opening an address carries out, without any other token",
            (
                Argument("label", "text", "Its name: letters, digits, - and _", True, 1, high=NAME_LENGTH),
                Argument("cmd", "text", "A command of the role control, other than batch", True, high=64),
                Argument("params", "object", "Its fields"),
            ),
            by_http=False,
        ),
        CommandSpec("button_remove", "admin", "Revoke the address of a prepared command", (_ID,)),
    ]
)


def command_named(name: str) -> CommandSpec:
    """A command.

    Raises:
        RemoteError: there is none of that name.
    """
    if name not in COMMANDS:
        raise RemoteError("unknown_command", f"there is no command {name[:64]!r}; choose one of {', '.join(COMMANDS)}")
    return COMMANDS[name]


def read_params(spec: CommandSpec, params: Mapping[str, Any]) -> Params:
    """Check the fields of a command.

    Raises:
        RemoteError: one is unknown, missing, of another type or out of range.
    """
    return _read(spec, params.items(), Argument.checked, parameter_value)


def read_query(spec: CommandSpec, query: Iterable[tuple[str, str]]) -> Params:
    """Check the fields of a command that an address holds.

    Args:
        spec: The command.
        query: Names and values, decoded, in the order of the address.

    Raises:
        RemoteError: a field is unknown, missing, given twice, of another type or out of range.
    """
    return _read(spec, query, Argument.from_text, parameter_from_text)


def _read(
    spec: CommandSpec,
    given: Iterable[tuple[str, Any]],
    field_of: Callable[[Argument, Any], Any],
    value_of: Callable[[Parameter, Any], Value],
) -> Params:
    known = _by_name(spec)
    fields: dict[str, Any] = {}
    values: dict[str, Value] = {}
    for name, value in given:
        if name in known:
            _put(fields, known[name].name, field_of(known[name], value))
        else:
            parameter = _parameter_of(spec, name)
            _put(values, parameter.name, value_of(parameter, value), parameter.key)
    return _complete(spec, fields, values)


def _by_name(spec: CommandSpec) -> dict[str, Argument]:
    names = {argument.name: argument for argument in spec.arguments}
    return names | {argument.alias: argument for argument in spec.arguments if argument.alias}


def _parameter_of(spec: CommandSpec, name: str) -> Parameter:
    if spec.takes_parameters:
        return parameter_named(name)
    takes = ", ".join(argument.name for argument in spec.arguments) or "no fields"
    raise RemoteError("unknown_field", f"{spec.name} has no field {name[:64]!r}; it takes {takes}", name)


def _put(into: dict[str, Any], name: str, value: Any, key: str = "") -> None:
    if name in into:
        raise RemoteError("bad_request", f"{key or name} is given twice", key or name)
    into[name] = value


def _complete(spec: CommandSpec, fields: dict[str, Any], values: dict[str, Value]) -> Params:
    for argument in spec.arguments:
        if argument.is_required and argument.name not in fields:
            raise RemoteError("missing_field", f"{spec.name} needs {argument.name}", argument.name)
    if spec.takes_parameters and spec.needs_value and not values and not fields.keys() & {"voice", "random"}:
        raise RemoteError("missing_field", f"{spec.name} needs at least one value to set, such as pitch")
    return Params(fields, values)
