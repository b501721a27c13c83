"""Commands of audio sessions: voices by name, and answers that come once the worker has given them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..commands import CommandSpec, Params
from ..errors import RemoteError
from ..voice_names import VoiceUnknown
from .session import Answer, Line
from .sessions import AudioSessions

if TYPE_CHECKING:
    from ..session_commands import Handler

ON_CONNECTION = ("audio.open", "audio.resume", "audio.set", "audio.get", "audio.close")


class AudioCommands:
    """Carries out commands of audio sessions.

    Args:
        sessions: The sessions.
        read_voices: Reads the list of voices again, and calls back with an error or the time.
    """

    def __init__(
        self,
        sessions: AudioSessions,
        read_voices: Callable[[Callable[[Any, float], None], float], None],
    ) -> None:
        self._sessions = sessions
        self._read_voices = read_voices
        self.handlers: dict[str, Handler] = {
            "audio.sessions": lambda params, by, now_s: {"sessions": sessions.all()},
            "audio.end": self._end,
        }

    def execute(self, spec: CommandSpec, connection: Line, params: Params, now_s: float, answer: Answer) -> None:
        """Carry out a command of a connection's own session, and answer it now or later.

        Raises:
            RemoteError: it was refused.
        """
        try:
            self._do(spec, connection, params, now_s, answer)
        except VoiceUnknown:

            def try_again(result: Any, then_s: float) -> None:
                try:
                    if isinstance(result, RemoteError):
                        raise result
                    self._do(spec, connection, params, then_s, answer)
                except VoiceUnknown as unknown:
                    answer(unknown.error)
                except RemoteError as error:
                    answer(error)

            self._read_voices(try_again, now_s)

    def _do(self, spec: CommandSpec, connection: Line, params: Params, now_s: float, answer: Answer) -> None:
        name = params.get("voice", "")
        default = self._sessions.default_voice
        voice = self._sessions.voices.found(name, default, "voice") if name else ""
        match spec.name:
            case "audio.open":
                self._sessions.open(connection, voice or default, params, now_s, answer)
            case "audio.resume":
                self._sessions.resume(connection, params, now_s, answer)
            case "audio.set":
                self._sessions.change(connection, voice, params, answer)
            case "audio.get":
                answer(self._sessions.get(connection))
            case "audio.close":
                answer(self._sessions.close(connection, now_s))

    def _end(self, params: Params, by: str, now_s: float) -> dict[str, Any]:
        self._sessions.end_number(params["session"], by, now_s)
        return {}
