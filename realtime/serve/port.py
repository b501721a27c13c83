"""What the server needs of whoever owns the live session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ...models.library import VoiceInfo
    from ..audio.commands import Change
    from ..audio.devices import AudioDevice
    from ..session.state import SessionState
    from ..session.status import Status


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What a start may choose; None for what the session's options say.

    Attributes:
        input: Name of the microphone.
        output: Name of the cable.
        monitor: Name of the monitor; empty for none.
        block_ms: Block size.
    """

    input: str | None = None
    output: str | None = None
    monitor: str | None = None
    block_ms: int | None = None


class RemoteSession(Protocol):
    """The one live session of this machine, whether it runs or not. Every method may be called on any thread."""

    @property
    def can_start(self) -> bool:
        """Whether `start` works; a session that was started in a terminal ends with `stop`."""
        ...

    def state(self) -> SessionState:
        """The requested state, which a stopped session keeps for its next start."""
        ...

    def status(self) -> Status:
        """The newest status; its state is "stopped" before the first start and after `stop`."""
        ...

    def do(self, command: Change, by: str) -> SessionState:
        """Apply a command; returns the new state. Never blocks.

        Args:
            command: What to change.
            by: Who asks, for the log and for other clients.

        Raises:
            AltervoxError: the command is invalid; nothing has changed.
        """
        ...

    def record(self, on: bool, by: str) -> None:
        """Begin or end a recording of input and output, in a folder that the owner of the session chose.

        Raises:
            AltervoxError: the session does not run.
        """
        ...

    def listen(self, heard: Callable[[str], None]) -> Callable[[], None]:
        """Have `heard` called after every change of state or status, with who caused it or an empty string.

        It is called on any thread and must not block. Returns what ends it.
        """
        ...

    def voices(self) -> Sequence[VoiceInfo]:
        """The voices that there are. Reads files."""
        ...

    def devices(self) -> Sequence[AudioDevice]:
        """The devices that there are. Takes up to some seconds.

        Raises:
            AltervoxError: the sound system does not answer.
        """
        ...

    def start(self, request: StartRequest) -> None:
        """Start the session, or start it again with what the request chooses; returns once it runs.

        Raises:
            AltervoxError: it does not start; the message says why.
        """
        ...

    def stop(self) -> None:
        """Stop the session and free its devices; a `start` that waits on another thread then returns."""
        ...

    def measure(self) -> Mapping[str, object]:
        """Measure the latency of the devices, as `altervox live --measure`; takes some seconds.

        Raises:
            AltervoxError: the session runs, or the input does not hear the output.
        """
        ...
