"""Voices by name only: no path of the file system comes from the network or goes to it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from ...kernels.printable import printable
from ...models.pictures import Picture, picture_of
from .errors import RemoteError

if TYPE_CHECKING:
    from ...models.library import VoiceInfo

_MOST_LISTED = 1000
_MOST_REMEMBERED = 16


class VoiceUnknown(Exception):  # noqa: N818 - it may be known once the list has been read again
    """No voice of that name in the list as it was read last.

    Attributes:
        error: What to answer if it is not in the new list either.
    """

    def __init__(self, error: RemoteError) -> None:
        super().__init__(str(error))
        self.error = error


class VoiceNames:
    """Names of voices on the wire, and what a session calls them."""

    def __init__(self) -> None:
        self.infos: tuple[VoiceInfo, ...] = ()
        self._given: dict[str, str] = {}  # voices that a session was given by path, by the name that is shown

    @property
    def names(self) -> list[str]:
        """Names of the voices in the list."""
        return [info.name for info in self.infos]

    def read(self, infos: Sequence[VoiceInfo]) -> None:
        """Take over a new list."""
        self.infos = tuple(infos[:_MOST_LISTED])

    def shown(self, voice: str) -> str:
        """The name of a voice that a session was given by name or by path."""
        if any(info.name == voice for info in self.infos):
            return voice
        path = PurePath(voice.replace("\\", "/"))
        name = printable(path.stem if path.suffix.lower() in (".pth", ".pt", ".safetensors") else path.name, 100)
        if name != voice and self._given.get(name) != voice:
            while len(self._given) >= _MOST_REMEMBERED:
                del self._given[next(iter(self._given))]
            self._given[name] = voice
        return name

    def found(self, name: str, current: str, field: str) -> str:
        """What a session calls the voice of that name.

        Args:
            name: Name from the network; the plus of a mix may be a space, which addresses make of it.
            current: The session's voice, which may be in no list.
            field: Field of the command that holds the name.

        Raises:
            VoiceUnknown: it is neither in the list, nor a mix of two neural voices of it, nor one that the session was
                given.
        """
        if self._is_listed(name):
            return name
        if name == self.shown(current):
            return current
        if name in self._given:
            return self._given[name]
        with_plus = name.replace(" ", "+")
        if self._is_listed(with_plus):
            return with_plus
        near = difflib.get_close_matches(name[:100].lower(), [known.lower() for known in self.names], n=1)
        nearest = next((known for known in self.names if near and known.lower() == near[0]), "")
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        said = f"there is no voice {printable(name, 60)!r}{hint}"
        raise VoiceUnknown(RemoteError("unknown_voice", said, field))

    def _is_listed(self, name: str) -> bool:
        """Whether it is in the list, or a mix of two neural voices of it."""
        both, neural = name.split("+"), [info.name for info in self.infos if info.kind == "neural"]
        return name in self.names or (len(both) == 2 and all(one in neural for one in both))

    def picture(self, name: str) -> Picture | None:
        """The picture of a voice of the list; None if there is none. Reads a file: not on an event loop."""
        return picture_of(name) if name in self.names else None


def voices_json(infos: Sequence[VoiceInfo]) -> list[dict[str, object]]:
    """The list of voices as it is sent. Touches files: not on an event loop."""
    return [
        {
            "name": info.name,
            "kind": info.kind,
            "sample_rate": info.sample_rate,
            "description": printable(info.description, 200),
            "picture": picture_of(info.name) is not None,
        }
        for info in infos[:_MOST_LISTED]
    ]
