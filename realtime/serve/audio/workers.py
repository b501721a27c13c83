"""The workers as the server's core sees them: which sessions they have, and whether they answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from .pipe import Kind, json_message, message
from .session import AudioSession
from .spec import opening

FULL_LOAD = 0.7  # of a core that the sessions of a worker may take
BUSY_LOAD = 0.35  # from which on another worker is started
PING_S = 0.5
_HANGS_S, _BUILDS_S, _STARTS_S = 2.0, 5.0, 30.0  # without an answer
_PATIENCE = 5  # times as long for a worker that gives way to others, on a busy processor to all of them
_IDLE_S = 600.0  # without a session
LATE_S = 10.0  # after a late block, in which no further session is let in beside it


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What a server allows.

    Attributes:
        workers: Workers of sessions with deadlines; 0 for no audio sessions at all.
        sessions: Sessions at once.
        voice: Voice of a session that names none, as sessions call it.
    """

    workers: int = 0
    sessions: int = 0
    voice: str = ""


class WorkerPort(Protocol):
    """Starts and ends processes, and carries messages to them; what they send comes to `AudioSessions`."""

    def start(self, number: int, is_live: bool) -> None:
        """Start a worker. Messages to it may be sent at once."""
        ...

    def send(self, number: int, data: bytes) -> None:
        """Send a message; to a worker that has ended, nothing happens."""
        ...

    def kill(self, number: int) -> None:
        """End a worker at once, whatever it does."""
        ...


class NoWorkers:
    """A `WorkerPort` of servers without audio sessions."""

    def start(self, number: int, is_live: bool) -> None:
        """Nothing."""

    def send(self, number: int, data: bytes) -> None:
        """Nothing."""

    def kill(self, number: int) -> None:
        """Nothing."""


@dataclass(slots=True, eq=False)
class Worker:
    """One worker.

    Attributes:
        number: Its number, never used again.
        is_live: Whether its sessions have deadlines.
        sessions: Its sessions.
        next_ping_s: When it is asked next whether it still answers.
        unanswered: Pings since it has answered last.
        has_started: Whether it has ever answered.
        idle_since_s: Since when it has had no session.
        late_until_s: Until when it counts as full, because blocks of its sessions were late.
    """

    number: int
    is_live: bool
    sessions: set[AudioSession] = field(default_factory=set)
    next_ping_s: float = 0.0
    unanswered: int = 0
    has_started: bool = False
    idle_since_s: float = 0.0
    late_until_s: float = 0.0

    @property
    def load(self) -> float:
        """Part of a core that its sessions take."""
        return sum(session.load for session in self.sessions)

    def hangs(self) -> bool:
        """Whether it has left so many pings unanswered that nothing more can be expected of it."""
        builds = any(s.opened is not None or s.report.get("loading") for s in self.sessions)
        limit_s = (_BUILDS_S if builds else _HANGS_S) if self.has_started else _STARTS_S
        return self.unanswered * PING_S > limit_s * (1 if self.is_live else _PATIENCE)

    def fits(self, load: float, now_s: float) -> bool:
        """Whether there is room for a further session of this load, and all others have been in time."""
        is_late = now_s < self.late_until_s and any(session.opened is None for session in self.sessions)
        return self.load + load <= FULL_LOAD and not is_late


class Workers:
    """All workers.

    Args:
        port: Starts and ends them, and carries messages to them.
        most: Workers of sessions with deadlines; those without have one more, once it is needed.
    """

    def __init__(self, port: WorkerPort, most: int) -> None:
        self._port = port
        self._most = most
        self._workers: dict[int, Worker] = {}
        self._last_number = 0

    @property
    def is_on(self) -> bool:
        """Whether there may be any."""
        return self._most > 0

    def place(self, session: AudioSession, now_s: float) -> None:
        """Have a worker that has not tried it yet prepare a session."""
        is_live = session.spec.is_live
        usable = [w for w in self._workers.values() if w.is_live == is_live and w.number not in session.tried]
        worker = min(usable, key=lambda found: found.load, default=None)
        if worker is None or (worker.load > BUSY_LOAD and self._may_start(is_live)):
            worker = self._start(is_live, now_s)
        worker.sessions.add(session)
        session.worker = worker.number
        wanted = opening(session.spec, session.voice, session.values)
        self.send(session, json_message(Kind.OPEN, session.key, wanted))

    def place_elsewhere(self, session: AudioSession, load: float, now_s: float) -> bool:
        """Have another worker prepare a session for which there is no room where it is; returns whether one may."""
        self.leave(session, now_s)
        session.tried.add(session.worker)
        others = [w for w in self._workers.values() if w.is_live and w.number not in session.tried]
        if load > FULL_LOAD or not (self._may_start(True) or any(worker.fits(load, now_s) for worker in others)):
            return False
        self.place(session, now_s)
        return True

    def leave(self, session: AudioSession, now_s: float) -> None:
        """Have the worker of a session forget it."""
        worker = self._workers.get(session.worker)
        if worker is not None and session in worker.sessions:
            worker.sessions.remove(session)
            worker.idle_since_s = now_s
            self.send(session, message(Kind.CLOSE, session.key))

    def send(self, session: AudioSession, data: bytes) -> None:
        """Send a message to the worker of a session."""
        self._port.send(session.worker, data)

    def heard(self, number: int) -> Worker | None:
        """The worker that has sent something; None if it counts no more."""
        worker = self._workers.get(number)
        if worker is not None:
            worker.unanswered, worker.has_started = 0, True
        return worker

    def lost(self, number: int, now_s: float) -> list[AudioSession]:
        """Replace a worker that is gone, unless it has never worked; returns the sessions that it had."""
        worker = self._workers.pop(number, None)
        if worker is None:
            return []
        if worker.has_started and worker.sessions:
            self._start(worker.is_live, now_s)
        return list(worker.sessions)

    def tick(self, now_s: float) -> list[int]:
        """Ask workers whether they still answer, and end those that do not or have long had nothing to do.

        Returns:
            The numbers of those that did not answer: they are still to be reported as lost.
        """
        hung = []
        for worker in list(self._workers.values()):
            if now_s >= worker.next_ping_s:
                if worker.hangs():
                    self._port.kill(worker.number)
                    hung.append(worker.number)
                    continue
                worker.next_ping_s = now_s + PING_S
                worker.unanswered += 1
                self._port.send(worker.number, message(Kind.PING))
            if not worker.sessions and now_s - worker.idle_since_s > _IDLE_S:
                self._port.kill(worker.number)
                del self._workers[worker.number]
        return hung

    @property
    def next_due_s(self) -> float:
        """When `tick` has something to do; infinite for not before something happens."""
        return min((worker.next_ping_s for worker in self._workers.values()), default=float("inf"))

    def _may_start(self, is_live: bool) -> bool:
        return sum(worker.is_live == is_live for worker in self._workers.values()) < (self._most if is_live else 1)

    def _start(self, is_live: bool, now_s: float) -> Worker:
        self._last_number += 1
        worker = Worker(self._last_number, is_live, next_ping_s=now_s, idle_since_s=now_s)
        self._workers[worker.number] = worker
        self._port.start(worker.number, is_live)
        return worker
