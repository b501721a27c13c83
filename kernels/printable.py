"""Text from outside (tags, names, messages of libraries) made fit for a terminal, a log and JSON."""

from __future__ import annotations

import re

# A terminal's escape sequences: CSI ("\x1b[31m"), OSC and their like up to their end, and those of two characters.
_ESCAPE_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f\r\n]*(?:\x07|\x9c|\x1b\\)"
    r"|\x1b[ -/]*[0-~]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHORTENED = "..."
MESSAGE_LIMIT = 10_000  # characters of a whole message, which may name long paths


def printable(text: object, limit: int = 200) -> str:
    """One line of printable characters, for text that nobody has checked.

    Escape sequences and control characters are dropped (so are those that change the direction of writing); any white
    space becomes a space. Bytes of a file name that are not UTF-8, which Python holds as lone surrogates, are shown as
    `\\xfc`, so that the result can always be encoded.

    Args:
        text: The text, or what has one by `str`, such as a path or an exception.
        limit: Characters; longer text is cut and ends in "...".
    """
    raw = str(text)
    cut = raw[: 8 * limit]  # no more work than the result is worth
    shown = "".join(map(_shown, _ESCAPE_SEQUENCES.sub("", cut))).strip()
    if len(shown) <= limit and len(cut) == len(raw):
        return shown
    return shown[: limit - len(_SHORTENED)] + _SHORTENED


def encodable(text: object) -> str:
    """The text itself if it can be encoded, else its printable form: for JSON, which has escapes for all the rest."""
    raw = str(text)
    return raw if raw.isascii() or not _SURROGATE.search(raw) else printable(raw, MESSAGE_LIMIT)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if character.isspace():
        return " "
    return f"\\x{ord(character) - 0xDC00:02x}" if "\udc80" <= character <= "\udcff" else ""
