"""Whether the speaker agrees that a voice is made: asked in plain words, and kept in the voice's card."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from ...kernels.errors import ParameterError, VoiceError
from ...kernels.printable import printable

_LONGEST = 300  # characters


def consent(given: str | None) -> str:
    """What a card records: who agreed, in what words, and when.

    Args:
        given: What `--consent` says; None asks on the terminal.

    Raises:
        ParameterError: nobody can be asked, or the answer says nothing.
        VoiceError: the speaker does not agree.
    """
    if given is not None:
        return _recorded(f"{_checked(given, '--consent')} (as given to --consent)")
    if not sys.stdin.isatty():
        raise ParameterError(
            "whether the speaker agrees is not known, and there is no terminal to ask: say who agreed, and how, by "
            '--consent "TEXT"'
        )
    click.echo(
        "A voice can be made to say anything in the name of the person who spoke. Make one of your own voice, or of "
        "somebody's who has agreed.",
        err=True,
    )
    speaker = _checked(click.prompt("Who speaks in these recordings", err=True), "the name of the speaker")
    question = f"Does {speaker} consent to a voice made from these recordings, and know what it will be used for?"
    if not click.confirm(question, err=True):
        raise VoiceError(f"without the consent of {speaker} no voice is made")
    return _recorded(f'{speaker}: asked "{question}", the person at the terminal answered yes')


def _checked(text: str, what: str) -> str:
    """Raises ParameterError for a text that says nothing or too much."""
    text = " ".join(text.split())
    shown = printable(text, _LONGEST)
    if not any(character.isalnum() for character in shown):
        raise ParameterError(f"{what} is {shown!r}; say who agrees that a voice is made")
    if len(text) > _LONGEST:
        raise ParameterError(f"{what} has {len(text)} characters; say it in {_LONGEST}")
    return shown


def _recorded(words: str) -> str:
    return f"{datetime.now(UTC).date().isoformat()}: {words}"
