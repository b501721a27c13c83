"""All audio sessions of a server, without sockets, processes or a clock: who gets in, and how each of them ends."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Iterator
from typing import Any

from ....kernels.printable import MESSAGE_LIMIT, printable
from ..arguments import by_key
from ..board import Board
from ..commands import Params
from ..errors import AUDIO_ENDED, BAD_MESSAGE, FULL, REPLACED, TOO_BIG, TOO_FAST, UNAUTHORIZED, RemoteError
from ..facts import without_folders
from ..messages import dump
from ..voice_names import VoiceNames
from .frames import MOST_BYTES, BadFrame
from .pipe import Kind, json_message
from .reports import fixed_facts, listed, state_of
from .session import Answer, AudioSession, Line
from .spec import AudioSpec
from .workers import FULL_LOAD, LATE_S, AudioLimits, NoWorkers, Worker, WorkerPort, Workers

log = logging.getLogger(__name__)

RESUME_S = 60.0  # how long a session waits for a client whose connection was lost
RETRY_AFTER_S = 5
_MOST_OF_CLIENT = 8  # sessions; the owner may have all of them
_MOST_ANSWERS = 16  # that a session waits for
_OPENS_S = 120.0  # in which a session must be open; base models are loaded first
_MOST_NUMBER = 65_535
_NEVER = float("inf")
_FAULTS = (BAD_MESSAGE, UNAUTHORIZED, TOO_BIG, TOO_FAST)  # of a client, which has nothing to resume then


class AudioSessions:
    """Audio sessions and the workers that convert them.

    Args:
        port: Starts workers and carries messages to them; None for nothing.
        voices: Names of voices.
        board: Where the list of sessions and the log go.
        limits: What is allowed.

    Attributes:
        voices: Names of voices.
        default_voice: Voice of a session that names none, as sessions call it.
    """

    def __init__(self, port: WorkerPort | None, voices: VoiceNames, board: Board, limits: AudioLimits) -> None:
        self._limits = limits
        self.voices = voices
        self.default_voice = limits.voice
        self._board = board
        self._sessions: dict[int, AudioSession] = {}
        self._workers = Workers(port or NoWorkers(), limits.workers)
        self._keys = self._requests = 0
        self._number = 0
        self._touched: set[Line] = set()
        self._show()

    @property
    def is_on(self) -> bool:
        """Whether there may be audio sessions."""
        return self._workers.is_on

    # What a server calls

    def take_touched(self) -> set[Line]:
        """Connections that have something to send since this was called last."""
        touched, self._touched = self._touched, set()
        return touched

    def from_worker(self, number: int, kind: Kind, key: int, payload: bytes, now_s: float) -> None:
        """Take in a message of a worker."""
        worker, session = self._workers.heard(number), self._sessions.get(key)
        if worker is None or session is None or session not in worker.sessions:
            return
        match kind:
            case Kind.OUTPUT:
                session.put(payload)
                self._touch(session)
            case Kind.TAKEN:
                session.fed(int.from_bytes(payload, "little"))
                self._touch(session)
            case Kind.REPORT:
                late_before = session.report.get("late_blocks", 0)
                session.report, session.has_news = json.loads(payload), True
                if session.report["late_blocks"] > late_before:
                    worker.late_until_s = now_s + LATE_S
                session.latency_ms = session.report["latency_ms"]
                session.load = session.report["load"]
                self._touch(session)
                self._show()
            case Kind.ANSWER:
                self._answer_set(session, json.loads(payload))
            case Kind.OPENED:
                self._opened(worker, session, json.loads(payload), now_s)
            case Kind.REFUSED:
                refused = json.loads(payload)
                self._refuse(session, RemoteError(refused["code"], without_folders(refused["message"])), now_s)

    def worker_ended(self, number: int, now_s: float, why: str = "has died") -> None:
        """End the sessions of a worker that is gone; another one takes its place."""
        sessions = self._workers.lost(number, now_s)
        if sessions:
            log.warning("an audio worker %s, and %d sessions have ended with it", why, len(sessions))
        for session in sessions:
            if session.opened is not None and not session.tried:  # it may have ended before it came to this one
                session.tried.add(number)
                self._workers.place(session, now_s)
            else:
                self._end(session, RemoteError("worker_died", f"the process that converted this session {why}"), now_s)

    def tick(self, now_s: float) -> None:
        """End what its time is over for, and workers that do not answer."""
        for session in list(self._sessions.values()):
            if session.deadline_s > now_s:
                continue
            if session.opened is not None:
                said = f"the voice {self.voices.shown(session.voice)} is not ready after {_OPENS_S:.0f} s"
                self._refuse(session, RemoteError("failed", said), now_s)
            else:
                self._end(session, RemoteError("timeout", "the client has not come back"), now_s)
        for number in self._workers.tick(now_s):
            self.worker_ended(number, now_s, "did not answer any more and was ended")

    @property
    def next_due_s(self) -> float:
        """When `tick` has something to do; infinite for not before something happens."""
        return min(self._workers.next_due_s, *(session.deadline_s for session in self._sessions.values()), _NEVER)

    # Connections

    def receive(self, connection: Line, data: bytes, now_s: float) -> None:
        """Take in a binary message; what is wrong with it ends the session and the connection."""
        session = connection.audio
        if session is None:
            connection.close_with(BAD_MESSAGE, "binary message without an audio session")
            return
        try:
            sent = session.receive(data, now_s)
        except BadFrame as error:
            self._end(session, RemoteError("bad_frame", str(error)), now_s, BAD_MESSAGE)
        else:
            if sent is not None:
                self._workers.send(session, sent)

    def disconnected(self, connection: Line, now_s: float) -> None:
        """Keep the session of a connection that is lost for a while, unless it ended for a fault of the client."""
        session = connection.audio
        if session is None:
            return
        connection.audio = None
        session.connection = None
        if session.opened is not None or (connection.close is not None and connection.close[0] in _FAULTS):
            self._end(session, RemoteError("timeout", "the client has gone"), now_s)
            return
        session.deadline_s = now_s + RESUME_S
        self._show()

    def end_of_client(self, client_id: str, now_s: float) -> None:
        """End all sessions of a client whose token was revoked."""
        for session in [s for s in self._sessions.values() if s.client_id == client_id]:
            self._end(session, RemoteError("denied", "the token was revoked"), now_s, UNAUTHORIZED)

    # Commands

    def open(self, connection: Line, voice: str, params: Params, now_s: float, answer: Answer) -> None:
        """Begin a session on a connection; answered once its voice is ready.

        Raises:
            RemoteError: there may be none.
        """
        self._check(connection)
        assert connection.client is not None
        own = [session for session in self._sessions.values() if session.client_id == connection.client.id]
        if connection.client.id != "owner" and len(own) >= _MOST_OF_CLIENT and not self._evict(own, now_s):
            raise RemoteError("too_many", f"this client has {_MOST_OF_CLIENT} audio sessions already; close one first")
        if len(self._sessions) >= self._limits.sessions and not self._evict(list(self._sessions.values()), now_s):
            self._answer_full(connection, answer, f"there are {self._limits.sessions} audio sessions already")
            return
        self._keys += 1
        spec = AudioSpec(
            self._free_number(),
            params["rate"],
            params.get("format", "s16"),
            params.get("block_ms", 20),
            params.get("pace", "live") == "live",
        )
        session = AudioSession(
            self._keys, spec, connection.client.id, connection.name, voice, params.values, now_s, connection
        )
        session.opened, session.deadline_s = answer, now_s + _OPENS_S
        connection.audio = session
        self._sessions[session.key] = session
        self._workers.place(session, now_s)

    def resume(self, connection: Line, params: Params, now_s: float, answer: Answer) -> None:
        """Go on with a session on another connection.

        Raises:
            RemoteError: the token is wrong, was used before or came too late, or the output is not there any more.
        """
        self._check(connection)
        assert connection.client is not None
        digest, found = _digest(params["token"]), None
        for session in self._sessions.values():  # all of them, so that the time says nothing
            is_same = hmac.compare_digest(session.digest, digest)
            if is_same and session.client_id == connection.client.id and session.opened is None:
                found = session
        if found is None:
            raise RemoteError("bad_resume", "there is no session to resume with this token; open a new one", "token")
        before = found.connection
        found.resume(connection, params.get("position"), now_s)
        if before is not None:
            before.audio = None
            before.close_with(REPLACED, "resumed on another connection")
            self._touched.add(before)
        connection.audio = found
        self._touched.add(connection)
        answer({**self._facts(found), "position": found.received, "is_last": found.is_last})
        self._show()

    def change(self, connection: Line, voice: str, params: Params, answer: Answer) -> None:
        """Change voice and parameters of a session, all of them or none; answered once the worker has done so.

        Raises:
            RemoteError: there is no session, or it has much to answer already.
        """
        session = self._of(connection)
        if len(session.answers) >= _MOST_ANSWERS:
            raise RemoteError("busy", f"{_MOST_ANSWERS} changes of this session wait already")
        self._requests += 1

        def changed(result: dict[str, Any] | RemoteError) -> None:
            if not isinstance(result, RemoteError):
                session.voice = voice or session.voice
                result = {**({"voice": self.voices.shown(voice)} if voice else {}), **by_key(params.values)}
            answer(result)

        session.answers[self._requests] = changed
        wanted = {"request": self._requests, "voice": voice, "values": dict(params.values)}
        self._workers.send(session, json_message(Kind.SET, session.key, wanted))

    def get(self, connection: Line) -> dict[str, Any]:
        """State of the connection's session.

        Raises:
            RemoteError: there is none.
        """
        session = self._of(connection)
        return {**fixed_facts(session), **state_of(session, self.voices)}

    def close(self, connection: Line, now_s: float) -> dict[str, Any]:
        """End the connection's session; the connection stays, and may open another.

        Raises:
            RemoteError: there is none.
        """
        session = connection.audio
        if session is None:
            raise RemoteError("not_running", "this connection has no audio session")
        result = {"received": session.received, "dropped_samples": session.all_dropped_samples}
        self._end(session, None, now_s)
        return result

    def all(self) -> list[dict[str, Any]]:
        """All sessions that are open."""
        return [listed(session, self.voices) for session in self._sessions.values() if session.opened is None]

    def end_number(self, number: int, by: str, now_s: float) -> None:
        """End the session of that number.

        Raises:
            RemoteError: there is none.
        """
        found = [session for session in self._sessions.values() if session.spec.number == number]
        if not found:
            raise RemoteError("not_found", f"there is no audio session {number}; it may have ended", "session")
        self._end(found[0], RemoteError("ended", f"ended by {by}"), now_s)

    # Events

    def pull(self, session: AudioSession) -> bytes | str | None:
        """The next frame or event of a session to send; None if there is none."""
        if session.opened is not None:
            return None
        if (frame := session.pull()) is not None:
            return frame
        if session.has_news:
            session.has_news = False
            return dump({"event": "audio", "data": state_of(session, self.voices)})
        return None

    # Within

    def _check(self, connection: Line) -> None:
        if not self.is_on:
            raise RemoteError("audio_off", "audio sessions are switched off here: start without --audio-workers 0")
        if connection.audio is not None:
            raise RemoteError("bad_request", "this connection has an audio session; close it, or use another one")

    def _of(self, connection: Line) -> AudioSession:
        session = connection.audio
        if session is None or session.opened is not None:
            raise RemoteError("not_running", "this connection has no audio session; open one first")
        return session

    def _opened(self, worker: Worker, session: AudioSession, opened: dict[str, Any], now_s: float) -> None:
        """Answer a client whose session is ready, or look for room elsewhere."""
        load = opened["load"]
        if session.spec.is_live:
            while not worker.fits(load, now_s) and self._evict(list(worker.sessions), now_s):
                pass
            if not worker.fits(load, now_s):
                if self._workers.place_elsewhere(session, load, now_s):
                    return
                answer, connection = session.opened, session.connection
                self._end(session, None, now_s)
                if answer is not None and connection is not None:
                    self._answer_full(connection, answer, _too_much(load, session.spec.block_ms))
                return
        session.load, session.latency_ms = load, opened["latency_ms"]
        session.deadline_s = _NEVER
        session.begin(now_s)
        answer, session.opened = session.opened, None
        if answer is not None:
            answer(self._facts(session))
        self._touch(session)
        self._board.log(f"an audio session with the voice {self.voices.shown(session.voice)} was opened", session.by)
        self._show()

    def _facts(self, session: AudioSession) -> dict[str, Any]:
        """What a client is told of its session, with a new token that resumes it."""
        token = secrets.token_urlsafe(32)
        session.digest = _digest(token)
        return {
            **fixed_facts(session),
            "voice": self.voices.shown(session.voice),
            "latency_ms": session.latency_ms,
            "frame_samples": session.spec.frame_samples,
            "max_frame_bytes": MOST_BYTES,
            "resume": token,
        }

    def _show(self) -> None:
        """Have the list of sessions sent to those who watch it."""
        self._board.lists["audio_sessions"] = dump(self.all())

    def _touch(self, session: AudioSession) -> None:
        if session.connection is not None:
            self._touched.add(session.connection)

    def _answer_set(self, session: AudioSession, answered: dict[str, Any]) -> None:
        answer = session.answers.pop(answered["request"], None)
        if answer is not None:
            code, said = answered["code"], without_folders(answered["message"])
            answer(RemoteError(code, said) if code else {})
            self._touch(session)

    def _refuse(self, session: AudioSession, error: RemoteError, now_s: float) -> None:
        """Say no to a client that waits for its session; its connection stays."""
        answer, session.opened = session.opened, None
        self._touch(session)
        self._end(session, None, now_s)
        if answer is not None:
            answer(error)

    def _answer_full(self, connection: Line, answer: Answer, said: str) -> None:
        answer(RemoteError("full", f"{said}; try again in {RETRY_AFTER_S} s"))
        connection.close_with(FULL, f"full: Retry-After {RETRY_AFTER_S}")
        self._touched.add(connection)

    def _evict(self, sessions: list[AudioSession], now_s: float) -> bool:
        """End the session whose client has been away for longest; returns whether there is one."""
        away = [session for session in sessions if session.connection is None]
        if not away:
            return False
        oldest = min(away, key=lambda session: session.deadline_s)
        self._end(oldest, RemoteError("timeout", "its place was needed while its client was away"), now_s)
        return True

    def _end(self, session: AudioSession, error: RemoteError | None, now_s: float, code: int = AUDIO_ENDED) -> None:
        """End a session and, if there is an error, its connection with that reason."""
        self._workers.leave(session, now_s)
        self._forget(session)
        connection = session.connection
        if error is None:
            return
        for answer in (*([session.opened] if session.opened is not None else []), *session.answers.values()):
            answer(error)
        self._board.log(f"an audio session has ended: {error.message}", session.by)
        if connection is not None:
            connection.queue(dump({"event": "audio_end", "data": error.as_json()}))
            connection.close_with(code, f"{error.code}: {printable(error.message, MESSAGE_LIMIT)}")
            self._touched.add(connection)

    def _forget(self, session: AudioSession) -> None:
        self._sessions.pop(session.key, None)
        if session.connection is not None:
            session.connection.audio = None
        self._show()

    def _free_number(self) -> int:
        taken = {session.spec.number for session in self._sessions.values()}
        for number in _numbers_after(self._number):
            if number not in taken:
                self._number = number
                return number
        raise RemoteError("too_many", "all numbers of audio sessions are taken")


def _numbers_after(number: int) -> Iterator[int]:
    yield from range(number + 1, _MOST_NUMBER + 1)
    yield from range(1, number + 1)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _too_much(load: float, block_ms: int) -> str:
    share = f"this voice takes {100.0 * load:.0f} % of a core with blocks of {block_ms} ms"
    if load > FULL_LOAD:
        return f"{share}, more than one can have here: choose longer blocks or another voice"
    return f"{share}, and there is no room for it beside the sessions that run"
