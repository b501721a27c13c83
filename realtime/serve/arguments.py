"""Fields of commands: read from JSON or from text, checked, and described for the schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Literal

from ...kernels.errors import ParameterError
from ...kernels.printable import printable
from ...models.parameters import Parameter, Value
from ..session.state import PARAMETERS
from .errors import RemoteError
from .messages import dump

KEYS: dict[str, str] = {name: parameter.key for name, parameter in PARAMETERS.items()}
_NAMES: dict[str, str] = {**{name: name for name in PARAMETERS}, **{key: name for name, key in KEYS.items()}}
_DIGITS = re.compile(r"[+-]?(\d{1,18})(\.\d{0,18})?(e[+-]?\d{1,3})?|[+-]?\.\d{1,18}", re.IGNORECASE | re.ASCII)
_TRUE, _FALSE = ("true", "1", "on", "yes"), ("false", "0", "off", "no")

Kind = Literal["text", "number", "integer", "bool", "list", "object"]
_SCHEMA_TYPES: dict[Kind, str] = {
    "text": "string",
    "number": "number",
    "integer": "integer",
    "bool": "boolean",
    "list": "array",
    "object": "object",
}
_KIND_NAMES: dict[Kind, str] = {
    "text": "text",
    "number": "a number",
    "integer": "a whole number",
    "bool": "true or false",
    "list": "a list",
    "object": "an object",
}


@dataclass(frozen=True, slots=True)
class Argument:
    """One field of a command.

    Attributes:
        name: Name of the field.
        kind: Type of its values.
        help: One sentence without a full stop.
        is_required: Whether the command needs it.
        low: Smallest number; fewest items of a list.
        high: Largest number; most characters of a text, or items of a list.
        alias: Another name of the field, for HTTP addresses that read better with it.
        choices: The texts that are accepted; empty for any.
        items: Kind of the items of a list.
        is_shown: Whether the value may appear in an error; false for tokens.
        grid: What a whole number must be a multiple of.
    """

    name: str
    kind: Kind
    help: str
    is_required: bool = False
    low: float = 0
    high: float = 200
    alias: str = ""
    choices: tuple[str, ...] = ()
    items: Kind = "text"
    is_shown: bool = True
    grid: int = 1

    def checked(self, value: object) -> Any:
        """The value in the argument's own type.

        Raises:
            RemoteError: it is of another type or out of range.
        """
        match self.kind:
            case "bool":
                right = isinstance(value, bool)
            case "number" | "integer":
                right = isinstance(value, Real) and not isinstance(value, bool)
            case "text":
                right = isinstance(value, str)
            case "list":
                right = isinstance(value, list)
            case "object":
                right = isinstance(value, dict)
        if not right:
            raise RemoteError(
                "bad_type", f"{self.name} is {self._shown(value)}; it must be {_KIND_NAMES[self.kind]}", self.name
            )
        match value:
            case bool() | dict():
                return value
            case int() | float():
                return self._number(value)
            case str():
                return self._text(value)
            case list():
                return self._list(value)

    def _number(self, value: float) -> float:
        if not self.low <= value <= self.high:
            self._refuse(f"is {printable(value, 30)}; it must lie between {self.low:g} and {self.high:g}")
        if self.kind == "number":
            return float(value)
        if value != int(value):
            raise RemoteError("bad_type", f"{self.name} is {value:g}; it must be a whole number", self.name)
        if value % self.grid:
            self._refuse(f"is {value:g}; it must be a multiple of {self.grid}")
        return int(value)

    def _text(self, value: str) -> str:
        if len(value) > self.high:
            self._refuse(f"has {len(value)} characters; {self.high:g} is the most")
        if self.choices and value not in self.choices:
            self._refuse(f"is {self._shown(value)}; it must be one of {', '.join(self.choices)}")
        return value

    def _list(self, value: list[Any]) -> list[Any]:
        if not self.low <= len(value) <= self.high:
            self._refuse(f"has {len(value)} items; it must have {self.low:g} to {self.high:g}")
        item = Argument(self.name, self.items, "", is_shown=self.is_shown)
        return [item.checked(each) for each in value]

    def _refuse(self, said: str) -> None:
        raise RemoteError("out_of_range", f"{self.name} {said}", self.name)

    def _shown(self, value: object) -> str:
        return _shown(value) if self.is_shown else "not acceptable"

    def from_text(self, text: str) -> Any:
        """The value that a text of an address stands for, checked: numbers, `true` and `false`, lists by commas.

        Raises:
            RemoteError: it is of another type or out of range.
        """
        match self.kind:
            case "text":
                return self.checked(text)
            case "bool":
                return self.checked(_bool(text))
            case "list" if self.items == "text":
                return self.checked([part for part in text.split(",") if part])
            case "number" | "integer":
                return self.checked(_number(text))
        raise RemoteError("bad_request", f"{self.name} cannot be given in an address", self.name)

    def schema(self) -> dict[str, object]:
        """JSON Schema of its values."""
        found: dict[str, object] = {"type": _SCHEMA_TYPES[self.kind], "description": self.help}
        match self.kind:
            case "number" | "integer":
                found |= {"minimum": self.low, "maximum": self.high}
                if self.grid > 1:
                    found["multipleOf"] = self.grid
            case "text" if self.choices:
                found["enum"] = list(self.choices)
            case "text":
                found["maxLength"] = int(self.high)
            case "list":
                found |= {"minItems": int(self.low), "maxItems": int(self.high)}
                found["items"] = {"type": _SCHEMA_TYPES[self.items]}
        return found


def parameter_named(name: str, field: str = "") -> Parameter:
    """A session's parameter by its key or its long name; its errors use the key.

    Raises:
        RemoteError: there is no such parameter; `field` is the one of the command that named it.
    """
    if name not in _NAMES:
        said = f"there is no parameter {_shown(name)}; choose one of {', '.join(KEYS.values())}"
        raise RemoteError("unknown_field", said, field or name)
    return PARAMETERS[_NAMES[name]]


def parameter_value(parameter: Parameter, value: object) -> Value:
    """The value in the parameter's type.

    Raises:
        RemoteError: it is of another type or out of range.
    """
    is_bool = isinstance(parameter.default, bool)
    if isinstance(value, bool) != is_bool or not isinstance(value, Real):
        kind = "true or false" if is_bool else f"a number from {parameter.low:g} to {parameter.high:g}"
        raise RemoteError("bad_type", f"{parameter.key} is {_shown(value)}; it must be {kind}", parameter.key)
    try:
        return replace(parameter, name=parameter.key).checked(value)
    except ParameterError as error:
        raise RemoteError("out_of_range", str(error), parameter.key) from None


def parameter_from_text(parameter: Parameter, text: str) -> Value:
    """The parameter's value that a text of an address stands for.

    Raises:
        RemoteError: it is of another type or out of range.
    """
    return parameter_value(parameter, _bool(text) if isinstance(parameter.default, bool) else _number(text))


def parameter_schema(parameter: Parameter) -> dict[str, object]:
    """JSON Schema of a parameter's values."""
    found: dict[str, object] = {"description": parameter.help, "default": parameter.default}
    if isinstance(parameter.default, bool):
        return {"type": "boolean", **found}
    kind = "integer" if isinstance(parameter.default, int) else "number"
    unit = {"unit": parameter.unit} if parameter.unit else {}
    step = {"step": parameter.step} if parameter.step else {}
    return {"type": kind, "minimum": parameter.low, "maximum": parameter.high, **found, **unit, **step}


def by_key(values: Mapping[str, Value]) -> dict[str, Value]:
    """Parameter values with keys in place of long names."""
    return {KEYS[name]: value for name, value in values.items()}


def _shown(value: object) -> str:
    """A value in a message: as it is written in JSON, but text in single quotes."""
    return repr(printable(value, 60)) if isinstance(value, str) else printable(dump(value), 60)


def _number(text: str) -> object:
    return float(text) if _DIGITS.fullmatch(text) else text


def _bool(text: str) -> object:
    lower = text.lower()
    return True if lower in _TRUE else False if lower in _FALSE else text
