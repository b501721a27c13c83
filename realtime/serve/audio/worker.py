"""A worker: a process that converts the audio of several sessions, block by block, each in its turn."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from ....kernels.errors import AltervoxError, UnknownVoiceError
from ...config import StreamConfig, with_lengths
from ...processes import end_with_owner
from ...session.commands import Change, Set, SetVoice
from ...session.settings import SessionSettings
from ...session.state import PARAMETERS, SessionState
from .frames import INPUT, unpack
from .pipe import Kind, Unpacker, json_message, message, number_message
from .spec import AudioSpec, opening

if TYPE_CHECKING:
    from ...session.processor import Processor
    from .stream import AudioStream

log = logging.getLogger(__name__)

_SWITCH_INTERVAL_S = 0.0005  # of Python's threads: blocks must not wait 5 ms, the default, beside a voice that loads
_REPORT_S = 1.0
_FEW_BYTES = 262_144  # that are read at once
_MOST_UNSENT_BYTES = 4_194_304  # after which nothing more is converted until the server reads
_NICE = 5  # of the worker of sessions without a deadline; far more, and a busy machine never comes to it
_CHOSEN = ("sample_rate", "block_ms")  # lengths that the client chooses, also of a voice that is bound to some
_TRIAL_S = 0.5  # of processor time to learn what a voice costs


def run_worker(link: socket.socket, settings: SessionSettings, is_live: bool, log_level: int) -> None:
    """Convert sessions until the server closes the link or is gone. The whole of the process.

    Args:
        link: Stream of messages, see `pipe`.
        settings: What all sessions have in common: compute device, backend and lengths of the engines.
        is_live: Whether its sessions have deadlines; else it gives way to other processes.
        log_level: Lowest level that is logged.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded, whenever that is
    end_with_owner()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server says what to do
    if not is_live and hasattr(os, "nice"):
        os.nice(_NICE)
    logging.basicConfig(level=max(log_level, logging.WARNING), format="altervox: audio worker: %(message)s")
    logging.getLogger("altervox").setLevel(log_level)
    from ....kernels.denormals import flush_denormals
    from ....kernels.heap import keep_freed_memory

    flush_denormals()
    keep_freed_memory()
    with suppress(ConnectionError, EOFError):
        Worker(link, settings).run()
    logging.shutdown()
    os._exit(0)  # a thread may be in the middle of building a voice, and the interpreter must not end under it


@dataclass(slots=True, eq=False)
class _Session:
    """A session.

    Attributes:
        key: Its key in messages.
        stream: What converts it.
        report: State that was sent last.
        fed: Number of samples that was sent last.
    """

    key: int
    stream: AudioStream
    report: Mapping[str, Any] = field(default_factory=dict)
    fed: int = 0


class Worker:
    """Sessions of a worker.

    Args:
        link: Stream of messages, see `pipe`.
        settings: What all sessions have in common.
    """

    def __init__(self, link: socket.socket, settings: SessionSettings) -> None:
        link.setblocking(False)
        self._link = link
        self._settings = settings
        self._unpacker = Unpacker()
        self._unsent = bytearray()
        self._sessions: dict[int, _Session] = {}
        self._turns: deque[_Session] = deque()  # whose turn it is, first
        self._next_report_s = 0.0
        self._opening: set[int] = set()
        # What takes long is done on a thread of its own; what follows from it, on this one.
        self._jobs: SimpleQueue[Callable[[], Callable[[], None]]] = SimpleQueue()
        self._done: deque[Callable[[], None]] = deque()
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._jobs.put(_warmed_up)
        threading.Thread(target=self._work, name="builder", daemon=True).start()

    def run(self) -> None:
        """Convert until the link ends.

        Raises:
            EOFError: the server has closed the link.
            ConnectionError: the server is gone.
        """
        while True:
            self._read()
            session = self._next_session()
            if session is not None:
                session.stream.step()
                self._send_outputs(session)
            now_s = time.monotonic()
            if now_s >= self._next_report_s:
                self._next_report_s = now_s + _REPORT_S
                self._report()
            self._flush()

    def _next_session(self) -> _Session | None:
        """The session whose turn it is among those that have a block."""
        if len(self._unsent) > _MOST_UNSENT_BYTES:
            return None
        for _ in range(len(self._turns)):
            session = self._turns.popleft()
            self._turns.append(session)
            if session.stream.has_block:
                return session
        return None

    def _read(self) -> None:
        """Take in all that has arrived; waits for something if there is nothing to convert."""
        has_work = len(self._unsent) <= _MOST_UNSENT_BYTES and any(s.stream.has_block for s in self._turns)
        wait_s = 0.0 if has_work else max(self._next_report_s - time.monotonic(), 0.0)
        readable, _, _ = select.select([self._link, self._wake], [self._link] if self._unsent else [], [], wait_s)
        if self._wake in readable:
            self._wake.recv(4096)
            while self._done:
                self._done.popleft()()
        while self._link in readable:
            try:
                data = self._link.recv(_FEW_BYTES)
            except BlockingIOError:
                return
            if not data:
                raise EOFError
            for kind, key, payload in self._unpacker.feed(data):
                self._take(kind, key, payload)
            if len(data) < _FEW_BYTES:
                return

    def _take(self, kind: Kind, key: int, payload: bytes) -> None:
        session = self._sessions.get(key)
        match kind:
            case Kind.PING:
                self._send(message(Kind.PONG))
            case Kind.OPEN:
                self._opening.add(key)
                self._jobs.put(lambda: self._built(key, json.loads(payload)))
            case Kind.CLOSE:
                self._opening.discard(key)
                self._close(key)
            case Kind.INPUT if session is not None:
                session.stream.take(unpack(payload, INPUT))
                self._send_outputs(session)
            case Kind.SET if session is not None:
                self._set(session, json.loads(payload))

    def _set(self, session: _Session, wanted: Mapping[str, Any]) -> None:
        """Apply values, all of them or none, and say whether they were applied."""
        processor = session.stream.processor
        code = said = ""
        commands: list[Change] = [*([SetVoice(wanted["voice"])] if wanted["voice"] else []), Set(wanted["values"])]
        try:
            processor.do(*commands)
        except AltervoxError as error:
            code, said = "failed", str(error)
        self._send_report(session)
        answer = {"request": wanted["request"], "code": code, "message": said}
        self._send(json_message(Kind.ANSWER, session.key, answer))

    def _send_outputs(self, session: _Session) -> None:
        stream = session.stream
        for frame in stream.take_outputs():
            self._send(message(Kind.OUTPUT, session.key, frame))
        if stream.fed != session.fed and not stream.spec.is_live:
            session.fed = stream.fed
            self._send(number_message(Kind.TAKEN, session.key, stream.fed))

    def _report(self) -> None:
        """Send what has changed of each session, and have replaced voices freed."""
        for session in self._sessions.values():
            self._send_report(session)
        self._jobs.put(_released([session.stream.processor for session in self._sessions.values()]))

    def _send_report(self, session: _Session) -> None:
        report = _report_of(session.stream)
        if report != session.report:
            session.report = report
            self._send(json_message(Kind.REPORT, session.key, report))

    def _send(self, data: bytes) -> None:
        self._unsent += data

    def _flush(self) -> None:
        while self._unsent:
            try:
                sent = self._link.send(self._unsent)
            except BlockingIOError:
                return
            del self._unsent[:sent]

    def _close(self, key: int) -> None:
        session = self._sessions.pop(key, None)
        if session is not None:
            self._turns.remove(session)
            self._jobs.put(_closed(session.stream.processor))

    # On the builder's thread

    def _work(self) -> None:
        from ....kernels.denormals import flush_denormals

        flush_denormals()
        while True:
            try:
                self._done.append(self._jobs.get()())
            except Exception as error:
                log.warning("an audio worker has a fault", exc_info=error)
            with suppress(BlockingIOError):  # it has much to wake up for already
                self._waker.send(b"\0")

    def _built(self, key: int, wanted: Mapping[str, Any]) -> Callable[[], None]:
        """Build what a session needs; returns what is to be done then."""
        if key not in self._opening:
            return _nothing
        try:
            stream, load, slowest_ms = _opened(self._settings, wanted)
        except Exception as error:
            code = "unknown_voice" if isinstance(error, UnknownVoiceError) else "failed"
            if not isinstance(error, AltervoxError):
                log.warning("a session could not be opened", exc_info=error)
                code = "internal"
            refusal = json_message(Kind.REFUSED, key, {"code": code, "message": str(error) or type(error).__name__})
            return lambda: self._send(refusal)

        def open_it() -> None:
            if key not in self._opening:  # the client has gone meanwhile
                self._jobs.put(_closed(stream.processor))
                return
            self._opening.discard(key)
            session = self._sessions[key] = _Session(key, stream)
            self._turns.append(session)
            opened = {"latency_ms": round(stream.latency_ms, 2), "load": load, "slowest_ms": slowest_ms}
            self._send(json_message(Kind.OPENED, key, opened))

        return open_it


def _opened(settings: SessionSettings, wanted: Mapping[str, Any]) -> tuple[AudioStream, float, float]:
    """A stream; the processor time of its blocks in their durations; the time of its slowest block."""
    from ....models.library import load_voice
    from ...session.processor import Processor
    from ...session.warm_up import time_blocks
    from .stream import AudioStream

    spec = AudioSpec(**wanted["spec"])
    state = SessionState(voice=wanted["voice"]).after(Set(wanted["values"]))
    common = settings.config
    config = StreamConfig(
        spec.engine_rate, spec.block_ms, backend=common.backend, precision=common.precision, threads=common.threads
    )
    voice = load_voice(state.voice, settings.device)
    config = with_lengths(config, {k: v for k, v in voice.lengths.items() if k not in _CHOSEN})
    processor = Processor(SessionSettings(state=state, config=config, device=settings.device), voice)
    cost = time_blocks(processor, float("inf"), _TRIAL_S)
    processor.reset()
    stream = AudioStream(spec, processor)
    stream.load = cost.cost_ms / spec.block_ms
    return stream, stream.load, cost.slowest_ms


def _warmed_up() -> Callable[[], None]:
    """Have compiled what every session needs."""
    from ...audio.priority import settle_memory

    spec = AudioSpec(1, 48000, "f32", 20, True)
    _opened(SessionSettings(), opening(spec, SessionState().voice, {}))[0].processor.close()
    settle_memory()  # a whole collection would stop every session for 40 ms
    return _nothing


def _closed(processor: Processor) -> Callable[[], Callable[[], None]]:
    def close() -> Callable[[], None]:
        processor.close()
        return _nothing

    return close


def _released(processors: list[Processor]) -> Callable[[], Callable[[], None]]:
    def release() -> Callable[[], None]:
        for processor in processors:
            processor.release()
        return _nothing

    return release


def _nothing() -> None:
    """For jobs after which nothing is left to do."""


def _report_of(stream: AudioStream) -> dict[str, Any]:
    processor = stream.processor
    p50_ms, p99_ms = processor.times.quantiles_ms(0.5, 0.99)
    return {
        "voice": processor.state.voice,
        "sounding": processor.sounding,
        "loading": processor.is_loading,
        "values": {name: processor.state[name] for name in PARAMETERS},
        "late_blocks": processor.late_blocks,
        "dropped_samples": stream.dropped_samples,
        "p50_ms": round(p50_ms, 2),
        "p99_ms": round(p99_ms, 2),
        "latency_ms": round(stream.latency_ms, 2),
        "load": round(stream.load, 3),
        "cause": "; ".join(processor.causes),
    }
