"""`RemoteAudio`: a program's audio session on a server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from ....kernels.types import AnyFloatArray, FloatArray
from ..errors import RemoteError
from ..link import Address, Answers, Link
from .frames import DISCONTINUITY, INPUT, LAST, LATE, OUTPUT, BadFrame, Format, Frame, data_of, pack, samples_of, unpack

_AUTH_S = 10.0
_OPEN_S = 150.0  # the server itself gives up after 120 s
_ANSWER_S = 10.0
_CLOSE_S = 2.0
_RESUME_S = 60.0  # for which the server keeps a session
_RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_MOST_CHUNKS = 64  # that wait for the program; then it is read no further


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A piece of the output.

    Attributes:
        samples: Mono [n], nominally within -1..1.
        position: Position of its first sample, which is that of the input sample it was made from.
        delay_ms: Time since the input up to this position was sent; NaN where that is not known.
        is_late: Whether some of it, or something before it, was late or is missing.
        is_last: Whether it is the last one.
    """

    samples: FloatArray
    position: int
    delay_ms: float
    is_late: bool
    is_last: bool


class RemoteAudio:
    """An audio session on a connection of its own, as an asynchronous context manager; see `RemoteClient.audio`.

        async with RemoteClient.local().audio(48000, voice="robot", pace="fast") as audio:
            converted = await audio.convert(samples)

    Sending and receiving belong in two tasks (`convert` does so): a server of pace "fast" reads no further while its
    output is not read. When the connection is lost, the session goes on with another one for up to a minute: with pace
    "fast" nothing is missing then, with pace "live" what was said meanwhile.

    Args:
        find: Gives address and token of the server.
        name: How the server and other clients call this one.
        options: Fields of `audio.open`.

    Attributes:
        facts: Answer to `audio.open`: "session", "latency_ms" and so on.
        state: What the server said last of the session: "sounding", "late_blocks" and so on.
        sent: Samples that were sent or, with pace "live", dropped while there was no connection.
        received: Position up to which the output has come.
    """

    def __init__(self, find: Callable[[], Address], name: str, options: Mapping[str, Any]) -> None:
        self.facts: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.sent = self.received = 0
        self._find = find
        self._name = name
        self._options = dict(options)
        self._answers = Answers()
        self._chunks: asyncio.Queue[AudioChunk | RemoteError] = asyncio.Queue(_MOST_CHUNKS)
        self._times: deque[tuple[int, float]] = deque()  # end of each frame, and when it was sent
        self._history: deque[tuple[int, FloatArray]] = deque()  # of pace "fast": what may have to be sent again
        self._seq = 0
        self._next = 0  # position that the server expects
        self._is_ended = False  # whether the program will send no more
        self._has_last = False  # whether the server knows
        self._link: Link | None = None
        self._is_open = asyncio.Event()
        self._error: RemoteError | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open the session.

        Raises:
            RemoteError: there is no server, or it refuses; the code is "full" if it has no room.
        """
        link = await self._authenticated()
        try:
            result = await link.exchange("audio.open", self._options, _OPEN_S, self._take)
        except BaseException:
            await link.close()
            raise
        self.facts = dict(result)
        self._link = link
        self._is_open.set()
        self._task = asyncio.create_task(self._run(link))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._link is None:
            return
        if self._is_open.is_set() and self._error is None:  # else the server would keep the session for a minute
            with contextlib.suppress(RemoteError):
                await self._link.exchange("audio.close", {}, _CLOSE_S, lambda message: None)
        await self._link.close()

    @property
    def format(self) -> Format:
        """Format of the samples on the wire."""
        found: Format = self.facts["format"]
        return found

    @property
    def is_live(self) -> bool:
        """Whether what comes too late is dropped."""
        return bool(self.facts["pace"] == "live")

    @property
    def latency_ms(self) -> float:
        """Time from an input sample to its output, the block included; without network and rendering."""
        return float(self.state.get("latency_ms", self.facts["latency_ms"]))

    async def send(self, samples: AnyFloatArray) -> None:
        """Send samples [n] in frames of a block each.

        Raises:
            RemoteError: the session has ended.
        """
        part = np.array(samples, dtype=np.float32).ravel()
        size = int(self.facts["frame_samples"])
        for at in range(0, len(part), size):
            await self._send_part(part[at : at + size])

    async def finish(self) -> None:
        """Say that no more will be sent: all output that is missing then comes, the last chunk marked as such.

        Raises:
            RemoteError: the session has ended.
        """
        self._is_ended = True
        while not self._has_last:
            await self._when_open()
            with contextlib.suppress(RemoteError):
                await self._catch_up()
                is_jump = DISCONTINUITY if self.sent > self._next else 0
                await self._send_frame(self.sent, np.zeros(0, dtype=np.float32), LAST | is_jump)
                self._has_last = True

    async def convert(self, samples: AnyFloatArray) -> FloatArray:
        """The whole session in one: send samples [n] and return as many, each at its place; missing ones are 0.

        Raises:
            RemoteError: the session has ended.
        """
        out = np.zeros(len(samples), dtype=np.float32)

        async def send() -> None:
            await self.send(samples)
            await self.finish()

        sending = asyncio.create_task(send())
        try:
            async for chunk in self:
                out[chunk.position : chunk.position + len(chunk.samples)] = chunk.samples
            await sending
        finally:
            sending.cancel()
        return out

    async def __aiter__(self) -> AsyncIterator[AudioChunk]:
        """The output as it comes, up to the last chunk.

        Raises:
            RemoteError: the session has ended otherwise.
        """
        while True:
            chunk = await self._chunks.get()
            if isinstance(chunk, RemoteError):
                raise chunk
            yield chunk
            if chunk.is_last:
                return

    async def set(self, voice: str = "", **values: float | bool) -> dict[str, Any]:
        """Change voice and parameters, all of them or none; returns the values reached.

        Raises:
            RemoteError: a value is refused, or the session has ended.
        """
        params = {**({"voice": voice} if voice else {}), **values}
        return dict(await self._answers.ask(self._when_open, "audio.set", params, _ANSWER_S))

    async def get(self) -> dict[str, Any]:
        """The state of the session.

        Raises:
            RemoteError: the session has ended.
        """
        return dict(await self._answers.ask(self._when_open, "audio.get", {}, _ANSWER_S))

    async def _when_open(self) -> Link:
        """The connection, once there is one.

        Raises:
            RemoteError: the session has ended.
        """
        await self._is_open.wait()
        if self._error is not None:
            raise self._error
        assert self._link is not None
        return self._link

    async def _send_part(self, part: FloatArray) -> None:
        position = self.sent
        self.sent += len(part)
        if self.is_live:
            if self._error is not None:
                raise self._error
            if self._is_open.is_set():
                with contextlib.suppress(RemoteError):
                    await self._send_frame(position, part, DISCONTINUITY if position > self._next else 0)
            return
        self._history.append((position, part))
        while self._next < self.sent:
            await self._when_open()
            with contextlib.suppress(RemoteError):  # the connection was lost: again once there is another one
                await self._catch_up()

    async def _catch_up(self) -> None:
        """Send what the server lacks of what was kept."""
        for position, part in list(self._history):
            end = position + len(part)
            if end > self._next:
                await self._send_frame(self._next, part[self._next - position :], 0)

    async def _send_frame(self, position: int, part: FloatArray, flags: int) -> None:
        link = await self._when_open()
        number = self._seq
        self._seq += 1
        self._next = position + len(part)
        self._times.append((self._next, time.perf_counter()))
        frame = Frame(self.format, flags, self.facts["session"], number, position, data_of(part, self.format))
        await link.send_frame(pack(INPUT, frame))

    async def _authenticated(self) -> Link:
        address = self._find()
        link = await Link.opened(address)
        try:
            await link.exchange("auth", {"token": address.token, "client": self._name}, _AUTH_S, self._take)
        except BaseException:
            await link.close()
            raise
        return link

    async def _run(self, link: Link) -> None:
        """Take in what comes; when the connection is lost, go on with another one."""
        while True:
            try:
                while True:
                    found = await link.receive_either()
                    if isinstance(found, bytes):
                        await self._take_frame(found)
                    else:
                        self._take(found)
            except RemoteError as error:
                self._is_open.clear()
                self._answers.fail(error)
                if self._error is None and not link.is_over_for_good:
                    with contextlib.suppress(RemoteError, TimeoutError):
                        async with asyncio.timeout(_RESUME_S):
                            link = await self._resumed()
                            continue
                self._error = self._error or error
                self._is_open.set()
                await self._chunks.put(self._error)
                return

    async def _resumed(self) -> Link:
        """Another connection that goes on with the session.

        Raises:
            RemoteError: the server does not know the session any more.
        """
        for tries in itertools.count():
            await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
            try:
                link = await self._authenticated()
            except RemoteError as error:
                if error.code == "denied":
                    raise
                continue
            token = {"token": self.facts["resume"]}
            position = {} if self.is_live else {"position": self.received}
            try:
                facts = await link.exchange("audio.resume", {**token, **position}, _ANSWER_S, self._take)
            except BaseException:
                await link.close()
                raise
            self.facts |= facts
            self._link, self._seq, self._next = link, 0, int(facts["position"])
            self._has_last = bool(facts.get("is_last"))
            self._is_open.set()
            return link
        raise AssertionError

    def _take(self, message: Mapping[str, Any]) -> None:
        """Take in a message: an answer or an event."""
        match message.get("event"):
            case "audio":
                self.state = dict(message.get("data") or {})
            case "audio_end":
                data = message.get("data") or {}
                self._error = RemoteError(str(data.get("code") or "ended"), str(data.get("message") or ""))
            case None:
                self._answers.take(message)

    async def _take_frame(self, data: bytes) -> None:
        try:
            frame = unpack(data, OUTPUT)
        except BadFrame as error:
            raise RemoteError("not_ours", f"the server sent something that is not a frame: {error}") from None
        end = frame.position + frame.samples
        sent_s = float("nan")
        while self._times and self._times[0][0] <= end:
            sent_s = self._times.popleft()[1]
        while self._history and self._history[0][0] + len(self._history[0][1]) <= end:
            self._history.popleft()
        self.received = end
        await self._chunks.put(
            AudioChunk(
                samples_of(frame),
                frame.position,
                1000.0 * (time.perf_counter() - sent_s),
                bool(frame.flags & LATE),
                bool(frame.flags & LAST),
            )
        )
