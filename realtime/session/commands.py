"""Commands to a session: plain data, partial, so that keys, panel and programs can all control one session.

A command names what it changes and nothing else. `SessionState.after` works out what it means for the state that the
session has by then, so two clients never overwrite one another's changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...models.parameters import Value


@dataclass(frozen=True, slots=True)
class Set:
    """Give parameters new values, all of them or none.

    Attributes:
        values: Parameter values by name, see `PARAMETERS`.
    """

    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """Change a numeric parameter by an amount; it stops at the ends of its range.

    Attributes:
        name: See `PARAMETERS`.
        delta: Change in the parameter's unit.
    """

    name: str
    delta: float


@dataclass(frozen=True, slots=True)
class Toggle:
    """Turn a parameter that is true or false into the other.

    Attributes:
        name: See `PARAMETERS`.
    """

    name: str


@dataclass(frozen=True, slots=True)
class SetVoice:
    """Build another voice while this one sounds, and change over once it is ready.

    Attributes:
        voice: Name or path.
    """

    voice: str


@dataclass(frozen=True, slots=True)
class StepVoice:
    """Change to a neighbour in the list of voices.

    Attributes:
        delta: Places in the list; it wraps around.
    """

    delta: int


@dataclass(frozen=True, slots=True)
class Record:
    """Start or end a recording of input and output.

    Attributes:
        folder: Folder for the WAV files; None ends the recording.
    """

    folder: Path | None


Change = Set | Step | Toggle | SetVoice | StepVoice  # of the session's state
Command = Change | Record
