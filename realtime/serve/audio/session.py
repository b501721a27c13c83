"""An audio session as the server knows it: what may come in next, and what waits to go out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..access import Client
from ..bucket import Bucket
from ..errors import RemoteError
from .frames import (
    DISCONTINUITY,
    HEADER_BYTES,
    INPUT,
    LAST,
    LATE,
    RESUMED,
    SAMPLE_BYTES,
    BadFrame,
    is_finite,
    is_last,
    pack,
    position_of,
    renumbered,
    unpack,
)
from .pipe import Kind, message
from .spec import GAP_S, AudioSpec

Answer = Callable[[dict[str, Any] | RemoteError], None]

_FASTEST = 1.05  # of real time that a client may send for long: its clock may be fast, but not that fast
_BURST_S = 2.0  # of audio that may come at once after a pause of the network
_SEQ = 1 << 32
_MOST_POSITION = 1 << 63
_KEPT_BYTES = 4_194_304  # of output of a session without a deadline, for a client whose connection was lost


class Line(Protocol):
    """What a session needs of its connection; see `Connection`."""

    client: Client | None
    name: str
    close: tuple[int, str] | None
    audio: AudioSession | None

    def queue(self, text: str) -> None:
        """Queue a text that must not be lost."""
        ...

    def close_with(self, code: int, reason: str) -> None:
        """Have the socket closed once what is queued has been sent."""
        ...


@dataclass(slots=True, eq=False)
class AudioSession:
    """One audio session.

    Attributes:
        key: Its key in messages to the worker.
        spec: What the client chose.
        client_id: Client that it belongs to.
        by: Name of the client, for lists and the log.
        voice: Requested voice, as sessions call it.
        values: Parameters that it was opened with, by their long names.
        since_s: When it was opened.
        connection: Connection of the client; None while there is none.
        worker: Number of its worker.
        tried: Workers that had no room for it.
        opened: Takes the answer to `audio.open`; None once it has been given.
        deadline_s: Until when it must be open, or the client must be back; infinite for no such limit.
        digest: SHA-256 of the token that resumes it.
        load: Processor time per block in its durations.
        latency_ms: Time from an input sample to its output, the block included; without the time to render it.
        received: Position of the next input sample.
        dropped_samples: Samples that the server left out.
        report: State that the worker reported last.
        answers: Take the answers to `audio.set`, by number.
        has_news: Whether there is a newer report than the client was sent.
        is_last: Whether the client has sent its last frame.
    """

    key: int
    spec: AudioSpec
    client_id: str
    by: str
    voice: str
    values: Mapping[str, Any]
    since_s: float
    connection: Line | None
    worker: int = 0
    tried: set[int] = field(default_factory=set)
    opened: Answer | None = None
    deadline_s: float = float("inf")
    digest: str = ""
    load: float = 0.0
    latency_ms: float = 0.0
    received: int = 0
    dropped_samples: int = 0
    report: dict[str, Any] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    has_news: bool = False
    is_last: bool = False
    _bucket: Bucket | None = None  # limits a live session to real time
    _silences: Bucket | None = None  # limits what it leaves out to that, for silence is rendered, too
    _forwarded: int = 0  # position after the last frame that the worker was sent
    _next_in: int = 0  # sequence numbers
    _next_out: int = 0
    _has_gap: bool = False  # whether the server has dropped what came before the next frame
    _samples_in: int = 0  # of the client, since the session was opened, with the silence for missing ones
    _samples_fed: int = 0  # of them, those that the worker has taken
    _outputs: deque[bytes] = field(default_factory=deque)
    _samples_out: int = 0  # in `_outputs`
    _position_out: int = 0  # after the last frame that was sent
    _sent: deque[bytes] = field(default_factory=deque)
    _sent_bytes: int = 0
    _flags_out: int = 0  # of the next frame, beside its own

    def begin(self, now_s: float) -> None:
        """Take frames from now on."""
        rate = self.spec.rate
        if self.spec.is_live:
            self._bucket, self._silences = (Bucket(now_s, _FASTEST * rate, _BURST_S * rate) for _ in range(2))

    def receive(self, data: bytes, now_s: float) -> bytes | None:
        """Take in a frame.

        Returns:
            The message for the worker; None for none.

        Raises:
            BadFrame: it is not what is due.
        """
        if self.opened is not None:
            raise BadFrame("frame before audio.open was answered")
        frame = unpack(data, INPUT)
        spec = self.spec
        for name, found, due in (
            ("session", frame.session, spec.number),
            ("format", frame.format, spec.format),
            ("sequence number", frame.seq, self._next_in),
        ):
            if found != due:
                raise BadFrame(f"{name} is {found}, not {due}")
        if self.is_last:
            raise BadFrame("frame after the last one")
        is_jump = bool(frame.flags & DISCONTINUITY)
        if frame.position != self.received and not (is_jump and self.received < frame.position < _MOST_POSITION):
            raise BadFrame(f"position is {frame.position}, not {self.received}")
        if not is_finite(frame):
            raise BadFrame("a sample is NaN or infinite")
        self._next_in = (self._next_in + 1) % _SEQ
        self.is_last = bool(frame.flags & LAST)
        self.received = frame.position + frame.samples
        silence = self._silence_before(frame.position)
        # In this order: a client whose clock is too fast must not pay for silence with frames that are dropped anyway.
        if not (_takes(self._bucket, frame.samples, now_s) and _takes(self._silences, silence, now_s)):
            self.dropped_samples += frame.samples
            self._has_gap = True
            if not self.is_last:
                return None
            frame = replace(frame, flags=frame.flags | DISCONTINUITY, position=self.received, data=b"")
            data = pack(INPUT, frame)
        self._forwarded = self.received
        self._samples_in += silence + frame.samples
        if self._has_gap and not is_jump:
            data = renumbered(data, frame.seq, DISCONTINUITY)
        self._has_gap = False
        return message(Kind.INPUT, self.key, data)

    def _silence_before(self, position: int) -> int:
        """Samples that the worker renders for what is missing before a frame: silence, or a block to start anew."""
        missing = position - self._forwarded
        return missing if missing <= GAP_S * self.spec.rate else self.spec.block_samples

    def fed(self, samples: int) -> None:
        """The worker has taken so many samples of the client."""
        self._samples_fed = samples

    def put(self, packed: bytes) -> None:
        """Queue a frame of output; in a live session the oldest one makes room."""
        self._outputs.append(packed)
        self._samples_out += self._samples_of(packed)
        while self.spec.is_live and self._samples_out > self.spec.queue_samples and len(self._outputs) > 1:
            self._drop_oldest()

    def pull(self) -> bytes | None:
        """The next frame to send; None if there is none."""
        if not self._outputs:
            return None
        packed = self._outputs.popleft()
        self._samples_out -= self._samples_of(packed)
        self._position_out = self._end_of(packed)
        if not self.spec.is_live:
            self._keep(packed)
        sent = renumbered(packed, self._next_out, self._flags_out)
        self._next_out = (self._next_out + 1) % _SEQ
        self._flags_out = 0
        return sent

    @property
    def all_dropped_samples(self) -> int:
        """Samples that the client, the server or the worker left out."""
        return self.dropped_samples + int(self.report.get("dropped_samples", 0))

    @property
    def is_full(self) -> bool:
        """Whether the client has to wait before it sends more; a live session drops instead."""
        if self.spec.is_live:
            return False
        most = self.spec.queue_samples
        return self._samples_in - self._samples_fed >= most or self._samples_out >= most

    def resume(self, connection: Line, position: int | None, now_s: float) -> None:
        """Go on with another connection, on which frames are numbered from 0 again.

        Args:
            connection: The connection.
            position: First position of the output that the client lacks, without a deadline; None for the next one.
            now_s: Time of the caller's clock.

        Raises:
            RemoteError: the output from there on is not kept any more; nothing has changed.
        """
        if self.spec.is_live:
            while self._outputs and not is_last(self._outputs[0]):
                self._drop_oldest()
        elif position is not None:
            self._send_again(position)
        self.connection = connection
        self.deadline_s = float("inf")
        self._next_in = self._next_out = 0
        self._flags_out |= RESUMED
        self.has_news = bool(self.report)
        self.begin(now_s)

    def _drop_oldest(self) -> None:
        dropped = self._samples_of(self._outputs.popleft())
        self._samples_out -= dropped
        self.dropped_samples += dropped
        self._flags_out |= DISCONTINUITY | LATE

    def _samples_of(self, packed: bytes) -> int:
        return (len(packed) - HEADER_BYTES) // SAMPLE_BYTES[self.spec.format]

    def _end_of(self, packed: bytes) -> int:
        return position_of(packed) + self._samples_of(packed)

    def _keep(self, packed: bytes) -> None:
        self._sent.append(packed)
        self._sent_bytes += len(packed)
        while self._sent_bytes > _KEPT_BYTES:
            self._sent_bytes -= len(self._sent.popleft())

    def _send_again(self, position: int) -> None:
        oldest = position_of(self._sent[0]) if self._sent else self._position_out
        if not oldest <= position <= self._position_out:
            said = f"position is {position}; output is kept from {oldest} to {self._position_out}"
            raise RemoteError("out_of_range", said, "position")
        while self._sent and self._end_of(self._sent[-1]) > position:
            packed = self._sent.pop()
            self._sent_bytes -= len(packed)
            self._outputs.appendleft(packed)
            self._samples_out += self._samples_of(packed)


def _takes(bucket: Bucket | None, count: int, now_s: float) -> bool:
    return bucket is None or bucket.takes(count, now_s)
