"""Text to a JSON object and back, strictly: what JSON leaves open, or Python adds to it, is refused."""

from __future__ import annotations

import json
import math
from typing import Any

MOST_BYTES = 65536  # of one message
MOST_NESTED = 16
_SEPARATORS = (",", ":")


class BadMessage(Exception):  # noqa: N818 - it says what the text is
    """The text is not an acceptable JSON object; the reason follows in a few words."""


def parse(text: str) -> dict[str, Any]:
    """The JSON object that a text is.

    Raises:
        BadMessage: it is no JSON, no object, nested too deep, or holds a duplicate key, NaN, an infinite number or half
            a surrogate pair.
    """
    try:
        message = json.loads(text, object_pairs_hook=_unique, parse_constant=_refused, parse_float=_finite)
        _check(message)
    except RecursionError:
        raise BadMessage("nested too deep") from None
    except ValueError:  # also whole numbers of thousands of digits
        raise BadMessage("no JSON") from None
    if not isinstance(message, dict):
        raise BadMessage("no JSON object")
    return message


def dump(value: object) -> str:
    """The value as compact JSON. A number that is not finite becomes null, what JSON does not know becomes text."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=_SEPARATORS, allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_without_nan(value), ensure_ascii=False, separators=_SEPARATORS, default=str)


def _without_nan(value: Any) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _without_nan(item) for key, item in value.items()}
        case list() | tuple():
            return [_without_nan(item) for item in value]
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadMessage("duplicate key")
    return found


def _refused(name: str) -> float:
    raise BadMessage(f"{name} is not a number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadMessage("a number is too large")
    return number


def _check(message: Any) -> None:
    """Refuse deep nesting and text that cannot be encoded, one level after the other."""
    level, depth = [message], 0
    while level:
        depth += 1
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, dict):
                for key in value:
                    _check_text(key)
                below += value.values()
            elif isinstance(value, list):
                below += value
        if depth > MOST_NESTED and below:
            raise BadMessage("nested too deep")
        level = below


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadMessage("half a surrogate pair") from None
