"""The remote protocol without sockets, threads or a clock: messages in, messages and effects out.

A server makes one `Hub` and, on one thread only:

    connection = hub.connect(now_s, peer)       None: full, answer 503
    connection.receive(message, now_s)          for each message
    connection.pull(now_s)                      text, bytes or None: whenever the socket has room, until it returns None
    connection.close -> (code, reason) | None   once `pull` has returned None
    hub.disconnect(connection, now_s)           when the socket is gone
    hub.session_changed(by, now_s)              after the session called what `RemoteSession.listen` was given
    hub.tick(now_s)                             at `hub.next_due_s`, and after any of the above
    hub.take_effects() -> [Effect]              after any of the above: run each on a thread of its own, then
    hub.finish(effect, result, error, now_s)

`now_s` is a clock that never goes back. Texts become ready in `pull` at `connection.next_due_s`; after any of these
calls that may be now for every connection.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

from ...kernels.printable import printable
from .access import Access, Client, Role, allows
from .admin_commands import AdminCommands
from .audio.commands import ON_CONNECTION, AudioCommands
from .audio.sessions import AudioSessions
from .audio.workers import AudioLimits, WorkerPort
from .board import Board
from .bucket import Bucket
from .commands import COMMANDS, NAME_LENGTH, Params, command_named, read_params, read_query
from .connection import AUTH_S, Budget, Connection, Message
from .errors import ERRORS, FULL, TIME_OUT, TOO_FAST, UNAUTHORIZED, RemoteError
from .executor import Answer, Caller, Effect, Executor, forbidden, refusal
from .messages import dump
from .pairing import Grant
from .port import RemoteSession
from .room import has_room
from .runtime import PROTOCOL
from .session_commands import Result, SessionCommands
from .topics import TOPICS, subscription
from .voice_names import VoiceNames

FEATURES = ("events", "batch", "hold", "pair")
BUTTONS, AUDIO = "buttons", "audio"  # features of servers that were started with them
MOST_CONNECTIONS = 256
MOST_UNAUTHENTICATED = 32
_VOICES_EVERY_S = 15.0  # while somebody is subscribed to their list


class Hub:
    """All connections to a session, and what they share.

    Args:
        session: The session.
        access: Tokens.
        now_s: Time of the caller's clock.
        has_buttons: Whether opening an address may carry out a prepared command.
        workers: What runs the workers of audio sessions; None for nothing.
        audio: What is allowed of them; None for no audio sessions.
        wall_clock: Seconds since 1970, for the log that clients see.

    Attributes:
        audio: Audio sessions.
        connections: Connections, in the order in which they were made.
        voices: Names of voices, and their pictures.
    """

    def __init__(
        self,
        session: RemoteSession,
        access: Access,
        now_s: float,
        has_buttons: bool = False,
        workers: WorkerPort | None = None,
        audio: AudioLimits | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.connections: list[Connection] = []
        self.voices = VoiceNames()
        self._access = access
        self._has_buttons = has_buttons
        self._board = Board(wall_clock)
        self._budget = Budget()
        self._bucket = Bucket(now_s)  # of commands without a connection
        self._session_id = secrets.token_hex(8)
        self._commands = SessionCommands(session, self._board, self.voices)
        self._admin = AdminCommands(access, self._board, has_buttons, self._connected, self._revoked)
        self.audio = AudioSessions(workers, self.voices, self._board, audio or AudioLimits())
        self._audio = AudioCommands(self.audio, lambda then, asked_s: self._executor.load("voices", then, asked_s))
        handlers = {**self._commands.handlers, **self._admin.handlers, **self._audio.handlers}
        self._executor = Executor(session, self._board, self.voices, handlers, self._commands.refresh)
        self._next_voices_s = now_s
        self._has_withdrawn = False  # a program that asked to be paired has gone; `tick` shows the rest
        self._admin.show_pairings(now_s)
        self._commands.refresh("", now_s)
        self._executor.load("voices", _ignored, now_s)

    # What a server calls

    def connect(self, now_s: float, peer: str, client: Client | None = None) -> Connection | None:
        """A new connection, with a greeting to pull; None if there are too many.

        Args:
            now_s: Time of the caller's clock.
            peer: Address of the other side, without its port.
            client: Who it is, for a part of the server that needs neither token nor greeting; None for others.
        """
        strangers = [connection.peer for connection in self.connections if connection.client is None]
        is_refused = client is None and not has_room(strangers, peer, MOST_UNAUTHENTICATED)
        if is_refused or len(self.connections) >= MOST_CONNECTIONS:
            return None
        connection = Connection(
            peer, self._board, self.voices, self._budget, self._handle, self.audio, now_s + AUTH_S, Bucket(now_s)
        )
        if client is not None:
            self._welcome(connection, client, client.name)
        else:
            connection.queue(dump({"hello": self._hello()}))
        self.connections.append(connection)
        return connection

    def disconnect(self, connection: Connection, now_s: float) -> None:
        """Forget a connection whose socket is gone. Its holds go on, and its audio session waits for a while."""
        if connection not in self.connections:
            return
        self.connections.remove(connection)
        connection.drop_queue()
        self.audio.disconnected(connection, now_s)
        connection.close_with(FULL, "disconnected")
        self._withdraw(connection)

    def session_changed(self, by: str, now_s: float) -> None:
        """Take over a new state or status of the session; never from within a call of the session."""
        self._commands.refresh(by, now_s)

    def tick(self, now_s: float) -> None:
        """End what its time is over for: holds, pairings, connections that did not authenticate."""
        self._commands.expire(now_s)
        if self._admin.pairings.expire(now_s) or self._has_withdrawn:
            self._has_withdrawn = False
            self._admin.show_pairings(now_s)
        self._executor.expire(now_s)
        self.audio.tick(now_s)
        for connection in self.connections:
            if connection.client is None and connection.deadline_s <= now_s:
                connection.close_with(TIME_OUT, "not authenticated in time")
        self._board.flush(now_s)
        if now_s >= self._next_voices_s:
            self._next_voices_s = now_s + _VOICES_EVERY_S
            if any("voices" in connection.topics for connection in self.connections):
                self._executor.load("voices", _ignored, now_s)

    @property
    def next_due_s(self) -> float:
        """When `tick` has something to do; infinite for not before something happens."""
        deadlines = (c.deadline_s for c in self.connections if c.client is None and c.close is None)
        return min(
            self._commands.holds.next_end_s,
            self._commands.next_look_s,
            self._admin.pairings.next_end_s,
            self._board.next_flush_s,
            self._next_voices_s,
            self._executor.next_end_s,
            self.audio.next_due_s,
            *deadlines,
        )

    def take_effects(self) -> list[Effect]:
        """What is to be done on threads now; each is returned once."""
        return self._executor.take_effects()

    def finish(self, effect: Effect, result: Any, error: BaseException | None, now_s: float) -> None:
        """Take in what an effect has returned, or what it has raised."""
        effect.finished(refusal(error, effect.name) if error is not None else result, now_s)

    def shut_down(self) -> None:
        """Close all connections."""
        for connection in self.connections:
            connection.close_with(FULL, "the server shuts down")

    # HTTP

    def authenticate(self, token: str, peer: str, now_s: float) -> Client:
        """The client that a bearer token belongs to.

        Raises:
            RemoteError: the token is wrong, or the address has to wait.
        """
        return self._access.authenticate(token, peer, now_s)[0]

    def do_http(
        self,
        command: str,
        query: Iterable[tuple[str, str]],
        client: Client,
        now_s: float,
        answer: Callable[[int, dict[str, Any]], None],
    ) -> None:
        """Carry out a command of an address.

        Args:
            command: Name of the command.
            query: Names and values, decoded, in the order of the address; `if_rev` may be among them.
            client: Who asks, from `authenticate`.
            now_s: Time of the caller's clock.
            answer: Called once with HTTP status and JSON, now or after an effect has finished.
        """
        reply = self._http_answer(answer)
        try:
            self._check_http_rate(now_s)
            spec = command_named(command)
            if not spec.by_http:
                raise RemoteError("bad_request", f"{spec.name} needs a connection; it does not work by HTTP")
            query = list(query)
            revisions = [text for name, text in query if name == "if_rev"]
            if len(revisions) > 1 or not all(
                text.isascii() and text.isdigit() and len(text) < 16 for text in revisions
            ):
                raise RemoteError("bad_type", "if_rev must be one whole number", "if_rev")
            if_rev = int(revisions[0]) if revisions else None
            params = read_query(spec, ((name, text) for name, text in query if name != "if_rev"))
        except RemoteError as error:
            reply(error)
        else:
            self._executor.execute(spec, params, if_rev, Caller(client.role, client.name), now_s, reply)

    def do_button(
        self, token: str, label: str, peer: str, now_s: float, answer: Callable[[int, dict[str, Any]], None]
    ) -> None:
        """Carry out the prepared command of an address; see `do_http`."""
        reply = self._http_answer(answer)
        try:
            self._check_http_rate(now_s)
            button = self._access.button(token, label, peer, now_s)
            spec = command_named(button.cmd)
            params = read_params(spec, button.params)
        except RemoteError as error:
            reply(error)
        else:
            self._executor.execute(spec, params, None, Caller("control", f"button {button.label}"), now_s, reply)

    def state_json(self, now_s: float) -> dict[str, Any]:
        """All of the state, as the topic `state` sends it, with its revision."""
        return {"rev": self._board.rev, "data": self._commands.handlers["get"](Params(), "", now_s)}

    def panel_link_token(self, now_s: float) -> str:
        """A token that opens the panel once."""
        return self._access.panel_link_token(now_s)

    def set_panel_address(self, address: str) -> None:
        """The address that `panel_link` gives to clients, with a slash at its end."""
        self._admin.panel_address = address

    # Messages

    def _hello(self) -> dict[str, Any]:
        return {
            "protocol": PROTOCOL,
            "min": PROTOCOL,
            "server": f"altervox {version('altervox')}",
            "session": self._session_id,
            "features": [*FEATURES, *([BUTTONS] if self._has_buttons else []), *([AUDIO] if self.audio.is_on else [])],
            "auth": ["token", "pair"],
        }

    def _handle(self, connection: Connection, message: Message, now_s: float) -> None:
        def answer(result: Result | RemoteError) -> None:
            if isinstance(result, RemoteError):
                connection.refuse(message.id, result)
            else:
                connection.answer(message.id, result)

        client = connection.client
        try:
            if client is None:
                self._open(connection, message, now_s, answer)
                return
            spec = command_named(message.cmd)
            if spec.role is None:
                raise RemoteError("bad_request", "this connection is authenticated already")
            if not allows(client.role, spec.role):
                raise forbidden(spec)
            params = read_params(spec, message.params)
            caller = Caller(client.role, connection.name)
            match spec.name:
                case "subscribe":
                    answer(self._subscribe(connection, client.role, params, now_s))
                case "unsubscribe":
                    answer(self._unsubscribe(connection, params))
                case name if name in ON_CONNECTION:
                    self._audio.execute(spec, connection, params, now_s, answer)
                case "batch":
                    self._batch(connection, message, params, caller, now_s)
                case _:
                    self._executor.execute(spec, params, message.if_rev, caller, now_s, answer, connection)
        except RemoteError as error:
            answer(error)

    def _open(self, connection: Connection, message: Message, now_s: float, answer: Answer) -> None:
        """Authenticate a connection; whatever else it sends closes it."""
        if connection.pairing is not None:
            raise RemoteError("busy", "the user has not answered yet")
        if message.cmd == "auth":
            params = read_params(COMMANDS["auth"], message.params)
            name = printable(params.get("client", ""), NAME_LENGTH)
            try:
                client, token = self._access.authenticate(params["token"], connection.peer, now_s, name, True)
            except RemoteError as error:
                answer(error)
                connection.close_with(UNAUTHORIZED, error.code)
                if error.code == "denied":
                    self._board.log(f"a wrong token came from {connection.peer}")
                return
            self._welcome(connection, client, name)
            answer({"role": client.role, "client": connection.name, **({"token": token} if token else {})})
        elif message.cmd == "pair":
            params = read_params(COMMANDS["pair"], message.params)
            self._pair(connection, params, now_s, answer)
        else:
            answer(RemoteError("auth_required", "send auth or pair first"))
            connection.close_with(UNAUTHORIZED, "auth_required")

    def _welcome(self, connection: Connection, client: Client, name: str) -> None:
        connection.client = client
        connection.name = name or client.name
        connection.deadline_s = float("inf")

    def _pair(self, connection: Connection, params: Params, now_s: float, answer: Answer) -> None:
        def answered(grant: Grant | None, is_over: bool) -> None:
            connection.pairing = None
            if grant is None:
                code = "timeout" if is_over else "denied"
                answer(RemoteError(code, "nobody has answered" if is_over else "the user has refused"))
                connection.close_with(TIME_OUT if is_over else UNAUTHORIZED, code)
                return
            client, token = grant
            self._welcome(connection, client, client.name)
            answer({"role": client.role, "client": client.name, "token": token})

        icon, role = params.get("icon", ""), params.get("role", "control")
        pairing = self._admin.pairings.ask(params["client"], icon, role, connection.peer, now_s, answered)
        connection.pairing = pairing
        connection.deadline_s = float("inf")  # the pairing has its own
        connection.queue(dump({"event": "pairing", "data": {"code": pairing.code, "seconds": pairing.ends_s - now_s}}))
        self._admin.show_pairings(now_s)
        self._board.log(f"{pairing.client} asks to be paired, from {pairing.peer}")

    def _withdraw(self, connection: Connection) -> None:
        if connection.pairing is not None:
            self._admin.pairings.withdraw(connection.pairing)
            connection.pairing = None
            self._has_withdrawn = True

    def _subscribe(self, connection: Connection, role: Role, params: Params, now_s: float) -> Result:
        wanted = {name: subscription(name, options, role) for name, options in params["topics"].items()}
        connection.topics.update(wanted)
        for name in ("voices", "devices"):
            if name in wanted and name not in self._board.lists:
                self._executor.load(name, _ignored, now_s)
        return {"topics": {name: {"hz": 1.0 / s.period_s} if s.period_s else {} for name, s in wanted.items()}}

    def _unsubscribe(self, connection: Connection, params: Params) -> Result:
        for name in params["topics"]:
            if name not in TOPICS:
                raise RemoteError("unknown_field", f"there is no topic {name[:64]!r}", "topics")
        for name in params["topics"]:
            connection.topics.pop(name, None)
        return {"topics": list(connection.topics)}

    def _batch(self, connection: Connection, message: Message, params: Params, caller: Caller, now_s: float) -> None:
        if not connection.bucket.takes(len(params["commands"]) - 1, now_s):
            connection.close_with(TOO_FAST, "too many commands")
        else:
            connection.answer(message.id, self._executor.batch(params, message.if_rev, caller, now_s))

    # Clients

    def _connected(self, client_id: str) -> int:
        return sum(c.client is not None and c.client.id == client_id for c in self.connections)

    def _revoked(self, client_id: str, now_s: float) -> None:
        self.audio.end_of_client(client_id, now_s)
        for connection in self.connections:
            if connection.client is not None and connection.client.id == client_id:
                connection.close_with(UNAUTHORIZED, "the token was revoked")

    # HTTP answers

    def _check_http_rate(self, now_s: float) -> None:
        if not self._bucket.takes(1, now_s):
            raise RemoteError("wait", "too many commands; try again in a second")

    def _http_answer(self, answer: Callable[[int, dict[str, Any]], None]) -> Answer:
        def reply(result: Result | RemoteError) -> None:
            if isinstance(result, RemoteError):
                answer(ERRORS[result.code][0], {"ok": False, "error": result.as_json(), "rev": self._board.rev})
            else:
                answer(200, {"ok": True, "result": result, "rev": self._board.rev})

        return reply


def _ignored(result: Any, now_s: float) -> None:
    """For lists that nobody waits for: whoever is subscribed gets them from the board."""
