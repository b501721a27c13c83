"""Carries out commands: at once, or through an effect that the server runs on a thread; each is answered once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...kernels.errors import AltervoxError, UnknownVoiceError
from .access import Role, allows
from .board import Board
from .commands import CommandSpec, Params, command_named, read_params
from .connection import MOST_SLOW, Connection
from .errors import RemoteError
from .facts import devices_json, without_folders
from .messages import dump
from .port import RemoteSession, StartRequest
from .session_commands import Handler, Result
from .voice_names import VoiceNames, VoiceUnknown, voices_json

log = logging.getLogger(__name__)

_RUNS = ("running", "reconnecting")
_LIST_S = 30.0  # how long a client waits for the list of voices or devices

Answer = Callable[[Result | RemoteError], None]
Then = Callable[[Any, float], None]  # takes what an effect has returned, or a RemoteError, and the time


@dataclass(eq=False, slots=True)
class Effect:
    """Something slow that the core wants done.

    Attributes:
        name: What it is, for names of threads and the log.
        run: Does it, on any thread; may raise anything.
        finished: For `Hub.finish`.
    """

    name: str
    run: Callable[[], Any]
    finished: Callable[[Any, float], None]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who gives a command.

    Attributes:
        role: What it may do.
        by: Name for the log and for other clients.
    """

    role: Role
    by: str


class Executor:
    """Carries out commands.

    Args:
        session: The session.
        board: Where lists and the log go.
        voices: Names of voices.
        handlers: What carries out commands that need no thread, by name.
        refresh: Takes over the session's state, see `SessionCommands.refresh`.
    """

    def __init__(
        self,
        session: RemoteSession,
        board: Board,
        voices: VoiceNames,
        handlers: Mapping[str, Handler],
        refresh: Callable[[str, float], None],
    ) -> None:
        self._session = session
        self._board = board
        self._voices = voices
        self._handlers = handlers
        self._refresh = refresh
        self._effects: list[Effect] = []
        self._waiting: dict[str, list[tuple[float, Then]]] = {}  # for the list of voices, of devices; and until when
        self._busy: list[str] = []  # which of start, stop and measure are being carried out

    def take_effects(self) -> list[Effect]:
        """What is to be done on threads now; each is returned once."""
        effects, self._effects = self._effects, []
        return effects

    def expire(self, now_s: float) -> None:
        """Answer who has waited too long for a list; a sound system that hangs must not hang its clients."""
        for name, waiting in self._waiting.items():
            late = [then for end_s, then in waiting if end_s <= now_s]
            waiting[:] = [(end_s, then) for end_s, then in waiting if end_s > now_s]
            for then in late:
                then(RemoteError("failed", f"the list of {name} is not there after {_LIST_S:.0f} s; try again"), now_s)

    @property
    def next_end_s(self) -> float:
        """When somebody will have waited too long; infinite if nobody waits."""
        return min((end_s for waiting in self._waiting.values() for end_s, _ in waiting), default=float("inf"))

    def execute(
        self,
        spec: CommandSpec,
        params: Params,
        if_rev: int | None,
        caller: Caller,
        now_s: float,
        answer: Answer,
        connection: Connection | None = None,
    ) -> None:
        """Carry out a command, and answer it now or after an effect.

        Args:
            spec: The command.
            params: Its fields.
            if_rev: Revision that the state must have; None for any.
            caller: Who gives it.
            now_s: Time of the caller's clock.
            answer: Called once; must not raise.
            connection: Where it came from; None for HTTP.
        """
        try:
            if not allows(caller.role, spec.role):
                raise forbidden(spec)
            self.check_rev(if_rev)
            if spec.name in ("voices", "devices"):
                self.load(spec.name, self._later(connection, lambda result, then_s: answer(result)), now_s)
            elif spec.name in ("start", "stop", "measure"):
                self._begin(spec.name, params, caller, self._later(connection, lambda result, then_s: answer(result)))
            else:
                answer(self.perform(spec, params, caller, now_s, may_wait=True))
        except VoiceUnknown:

            def try_again(result: Any, then_s: float) -> None:
                try:
                    if isinstance(result, RemoteError):
                        raise result
                    self.check_rev(if_rev)
                    answer(self.perform(spec, params, caller, then_s))
                except RemoteError as error:
                    answer(error)

            try:
                self.load("voices", self._later(connection, try_again), now_s)
            except RemoteError as error:
                answer(error)
        except RemoteError as error:
            answer(error)

    def perform(
        self, spec: CommandSpec, params: Params, caller: Caller, now_s: float, may_wait: bool = False
    ) -> Result:
        """Carry out a command that needs no thread.

        Raises:
            RemoteError: it was refused.
            VoiceUnknown: it names a voice that may be known once the list has been read again; only if it may wait.
        """
        try:
            return self._handlers[spec.name](params, caller.by, now_s)
        except RemoteError:
            raise
        except VoiceUnknown as unknown:
            if may_wait:
                raise
            raise unknown.error from None
        except Exception as error:
            raise refusal(error, spec.name) from None
        finally:
            if spec.role != "view":
                self._refresh(caller.by, now_s)

    def batch(self, params: Params, if_rev: int | None, caller: Caller, now_s: float) -> Result:
        """Carry out the commands of a batch in their order.

        Raises:
            RemoteError: the state has another revision than `if_rev`; what is wrong with one command is in the result.
        """
        self.check_rev(if_rev)
        results: list[dict[str, Any]] = []
        for command in params["commands"]:
            try:
                results.append({"ok": True, "result": self._batched(command, caller, now_s)})
            except RemoteError as error:
                results.append({"ok": False, "error": error.as_json()})
                if params.get("stop_on_error", True):
                    break
        return {"results": results}

    def _batched(self, command: Mapping[str, Any], caller: Caller, now_s: float) -> Result:
        for name in command.keys() - {"cmd", "params"}:
            raise RemoteError("unknown_field", f"a command of a batch has no field {name[:64]!r}", name)
        cmd, params = command.get("cmd"), command.get("params", {})
        if not isinstance(cmd, str) or not isinstance(params, dict):
            raise RemoteError("bad_request", "a command of a batch has cmd, a text, and params, an object", "commands")
        spec = command_named(cmd)
        if not spec.in_batch:
            raise RemoteError("not_in_batch", f"{spec.name} cannot be part of a batch; send it by itself", "cmd")
        if not allows(caller.role, spec.role):
            raise forbidden(spec)
        return self.perform(spec, read_params(spec, params), caller, now_s)

    def check_rev(self, if_rev: int | None) -> None:
        """Raises RemoteError if the state has another revision than the one that a command expects."""
        rev = self._session.state().revision
        if if_rev is not None and if_rev != rev:
            raise RemoteError("conflict", f"the state has the revision {rev}, not {if_rev}", "if_rev")

    def _later(self, connection: Connection | None, then: Then) -> Then:
        """Count a command that waits for a thread.

        Raises:
            RemoteError: too many of this connection do.
        """
        if connection is None:
            return then
        if connection.slow >= MOST_SLOW:
            raise RemoteError("busy", f"{MOST_SLOW} commands of this connection wait already")
        connection.slow += 1

        def counted(result: Any, now_s: float) -> None:
            connection.slow -= 1
            then(result, now_s)

        return counted

    def load(self, name: str, then: Then, now_s: float) -> None:
        """Read the list of voices or devices on a thread; all who ask meanwhile get the same.

        Args:
            name: "voices" or "devices".
            then: Takes the list as it is sent; must not raise.
            now_s: Time of the caller's clock.
        """
        is_read = name in self._waiting
        self._waiting.setdefault(name, []).append((now_s + _LIST_S, then))
        if is_read:
            return

        def voices() -> tuple[Any, Any]:
            infos = tuple(self._session.voices())
            return infos, {"voices": voices_json(infos)}

        def devices() -> tuple[Any, Any]:
            return (), devices_json(self._session.devices())

        def finished(result: Any, now_s: float) -> None:
            waiting = self._waiting.pop(name)
            if not isinstance(result, RemoteError):
                infos, result = result
                if name == "voices":
                    self._voices.read(infos)
                text = dump(result["voices"] if name == "voices" else result)
                if self._board.lists.get(name) != text:
                    self._board.lists[name] = text
                self._refresh("", now_s)
            for _, then in waiting:
                then(result, now_s)

        self._effects.append(Effect(name, voices if name == "voices" else devices, finished))

    def _begin(self, name: str, params: Params, caller: Caller, then: Then) -> None:
        """Start, stop or measure on a thread, one at a time; but a start that takes long can be stopped."""
        session, state = self._session, self._session.status().state
        run: Callable[[], Any]
        result: Mapping[str, Any] = {}
        try:
            if self._busy and not (name == "stop" and self._busy == ["start"]):
                raise RemoteError("busy", f"{self._busy[-1]} is being carried out; wait for its answer")
            if name != "stop" and not session.can_start:
                raise RemoteError("bad_request", f"{name} does not work here: a terminal owns this session")
            if name == "measure" and state not in ("stopped", "failed"):
                raise RemoteError("running", "measure needs the devices for itself; stop the session first")
            if name == "start" and state in _RUNS and not params.fields:
                raise RemoteError("running", "the session runs already; name devices or a block size to start it anew")
        except RemoteError as error:
            then(error, 0.0)
            return
        match name:
            case "start":
                request = StartRequest(*(params.get(field) for field in ("input", "output", "monitor", "block_ms")))
                run, result = lambda: session.start(request), {"session": "running"}
            case "stop":
                run, result = session.stop, {"session": "stopped"}
            case _:
                run = session.measure
        self._busy.append(name)
        self._board.log(name, caller.by)

        def finished(outcome: Any, now_s: float) -> None:
            self._busy.remove(name)
            self._refresh(caller.by, now_s)
            if name == "start" and not isinstance(outcome, RemoteError) and session.status().state not in _RUNS:
                outcome = RemoteError("failed", "the session was stopped before it ran")
            if isinstance(outcome, RemoteError):
                self._board.log(f"{name} failed: {outcome.message}", caller.by)
                then(outcome, now_s)
            else:
                then(dict(outcome) if name == "measure" else dict(result), now_s)

        self._effects.append(Effect(name, run, finished))


def forbidden(spec: CommandSpec) -> RemoteError:
    """The refusal of a command that the client's role does not include."""
    return RemoteError("forbidden", f"{spec.name} needs the role {spec.role}")


def refusal(error: BaseException, name: str) -> RemoteError:
    """What a client gets to know of an exception: never paths or the inside of altervox."""
    match error:
        case RemoteError():
            return error
        case UnknownVoiceError():
            return RemoteError("unknown_voice", without_folders(str(error)))
        case AltervoxError():
            return RemoteError("failed", without_folders(str(error)))
    log.error("the remote command %s failed", name, exc_info=error)
    return RemoteError("internal", "altervox has a fault there; its log describes it")
