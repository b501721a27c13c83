"""`RemoteClient`: a program's connection to a live session, on this computer or another."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from ...kernels.errors import AltervoxError
from .errors import RemoteError
from .events import Event, Inbox, event_of
from .link import Address, Answers, Link
from .runtime import local_server

if TYPE_CHECKING:
    from .audio.client import RemoteAudio

_ANSWER_S = 10.0
_PAIRING_S = 90.0  # the server itself gives up after 60 s
_SLOW = frozenset({"start", "stop", "measure", "voices", "devices"})  # a voice may be downloaded first, say
_RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_LASTING_S = 10.0


class RemoteClient:
    """A connection to a live session, as an asynchronous context manager.

        async with RemoteClient.local() as remote:
            await remote.set(pitch=3, mute=False)
            async for event in remote.subscribe("state", meters=10):
                print(event.topic, event.data)

    Every command waits for its answer and raises RemoteError if it is refused. Several may wait at the same time.
    Beside the protocol's error codes there are "unreachable" (there is no server), "closed" (the connection has
    ended), "timeout" (no answer) and "not_ours" (the other side is not altervox).

    Args:
        url: Address of the server: ws, wss, http or https, with host and port.
        token: Token of the owner, or one that `pair` gave.
        name: How the server and other clients call this one.
        reconnect: Whether to connect again whenever the connection has ended. Commands that wait for an answer fail,
            for nobody knows whether they were carried out; new ones wait for the connection. Subscriptions go on, with
            an event of the topic "connection" at each end and return.
        ca: File of certificates (PEM) to trust instead of the system's, for wss.

    Attributes:
        role: What the server lets this client do, such as "view", "control" or "admin".
        rev: Newest revision of the session's state that this client has seen.
    """

    def __init__(
        self, url: str, token: str, *, name: str = "python", reconnect: bool = False, ca: Path | None = None
    ) -> None:
        self.role = ""
        self.rev = 0
        self._find: Callable[[], Address] = lambda: Address(url, token, ca)
        self._name = name
        self._reconnect = reconnect
        self._answers = Answers()
        self._subscriptions: list[tuple[Inbox, dict[str, dict[str, float]]]] = []
        self._link: Link | None = None
        self._is_open = asyncio.Event()  # or over, or not begun: cleared only while it is opened again
        self._is_open.set()
        self._error: RemoteError | None = RemoteError("closed", "this client is not open: use `async with`")
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def local(cls, *, port: int | None = None, token: str = "", name: str = "python", reconnect: bool = False) -> Self:
        """A client of the server that this user runs on this computer; it finds address and token by itself.

        Args:
            port: Port of the server, if there are several; default the newest.
            token: Token other than the owner's, such as one that may only look.
            name: See `RemoteClient`.
            reconnect: See `RemoteClient`.
        """
        client = cls("", token, name=name, reconnect=reconnect)
        client._find = lambda: _local_address(port, token)
        return client

    @staticmethod
    async def pair(
        url: str | None,
        name: str,
        *,
        role: str = "control",
        ca: Path | None = None,
        show_code: Callable[[str], object] = lambda code: None,
    ) -> str:
        """Ask the person at the server to let a program in.

        Args:
            url: Address of the server; None for the one that this user runs on this computer.
            name: What the person is shown, beside a code.
            role: Role to ask for: "control", "audio" or "control+audio".
            ca: See `RemoteClient`.
            show_code: Called with that code, for the program to show it, too.

        Returns:
            A token for `RemoteClient`, good until the client is removed at the server.

        Raises:
            RemoteError: the person refused or did not answer, or there is no connection.
        """

        def heard(message: Mapping[str, Any]) -> None:
            event = event_of(message)
            if event.topic == "pairing" and "code" in event.data:
                show_code(str(event.data["code"]))

        link = await Link.opened(_local_address(None, "") if url is None else Address(url, ca=ca))
        try:
            result = await link.exchange("pair", {"client": name, "role": role}, _PAIRING_S, heard)
        finally:
            await link.close()
        token = result.get("token")
        if not isinstance(token, str):
            raise RemoteError("not_ours", "the server has paired this program, but sent no token")
        return token

    async def __aenter__(self) -> Self:
        link = await self._opened()
        self._task = asyncio.create_task(self._run(link))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._finish(RemoteError("closed", "this client has been closed"))
        if self._link is not None:
            await self._link.close()

    @property
    def hello(self) -> Mapping[str, Any]:
        """What the server said about itself: version, features."""
        return self._link.hello if self._link is not None else {}

    async def do(self, command: str, params: Mapping[str, Any] | None = None, *, if_rev: int | None = None) -> Any:
        """Send a command of the protocol.

        Args:
            command: Name of the command.
            params: Fields of the command.
            if_rev: Refuse the command, with the code "conflict", unless the state has this revision.

        Returns:
            The result, whose form docs/remote.md gives.

        Raises:
            RemoteError: it was refused, or there is no connection, or no answer within 10 s.
        """
        seconds = None if command in _SLOW else _ANSWER_S
        fields = {} if if_rev is None else {"if_rev": if_rev}
        return await self._answers.ask(self._when_open, command, params or {}, seconds, **fields)

    async def get(self, *names: str) -> dict[str, Any]:
        """The state of the session, or what of it is named."""
        return dict(await self.do("get", {"names": list(names)} if names else {}))

    async def set(self, *, if_rev: int | None = None, **values: float | bool) -> dict[str, Any]:
        """Set parameters, all of them or none; returns the values reached."""
        return dict(await self.do("set", values, if_rev=if_rev))

    async def step(self, name: str, by: float) -> dict[str, Any]:
        """Change a parameter by an amount, up to the end of its range; returns the value reached."""
        return dict(await self.do("step", {"name": name, "by": by}))

    async def toggle(self, name: str) -> dict[str, Any]:
        """Turn a switch, such as "mute", on or off; returns the value reached."""
        return dict(await self.do("toggle", {"name": name}))

    async def voice(self, name: str = "", *, step: int = 0, random: bool = False) -> dict[str, Any]:
        """Change to a voice: by its name, by places in the list of voices, or to any other one."""
        given = {"name": name, "step": step, "random": random}
        return dict(await self.do("voice", {key: value for key, value in given.items() if value}))

    async def hold(self, seconds: float, **values: float | bool | str) -> dict[str, Any]:
        """Set parameters, or a `voice`, for some seconds; then what was set before returns. Holds may overlap.

        Returns:
            The ID of the hold, for `release`, as "hold"; and its values.
        """
        return dict(await self.do("hold", {"seconds": seconds, **values}))

    async def release(self, hold: str | None = None) -> Any:
        """End a hold before its time; without an ID, every hold."""
        return await self.do("release", {} if hold is None else {"hold": hold})

    async def record(self, on: bool = True) -> Any:
        """Begin or end a recording of input and output; the server decides where to."""
        return await self.do("record", {"on": on})

    async def start(self, **choices: str | int) -> Any:
        """Start the session, and wait until it runs.

        Args:
            choices: `input`, `output` and `monitor`, names of devices, and `block_ms`, a block size.
        """
        return await self.do("start", choices)

    async def stop(self) -> Any:
        """Stop the session and free its devices."""
        return await self.do("stop")

    async def measure(self) -> dict[str, Any]:
        """Measure the latency of the devices of a stopped session."""
        return dict(await self.do("measure"))

    async def block(self, ms: int | None = None) -> Any:
        """Change the block size; without one, to the longer one that is offered because blocks are late."""
        return await self.do("block", {"longer": True} if ms is None else {"ms": ms})

    async def voices(self) -> list[dict[str, Any]]:
        """The voices that there are."""
        return list((await self.do("voices"))["voices"])

    async def devices(self) -> dict[str, list[dict[str, Any]]]:
        """The "inputs" and "outputs" of the server's computer."""
        return dict(await self.do("devices"))

    async def batch(
        self, commands: Sequence[tuple[str, Mapping[str, Any]]], *, stop_on_error: bool = True
    ) -> list[dict[str, Any]]:
        """Send several commands, each with its fields, in one message; returns the answer to each."""
        listed = [{"cmd": command, "params": dict(params)} for command, params in commands]
        return list((await self.do("batch", {"stop_on_error": stop_on_error, "commands": listed}))["results"])

    def audio(
        self,
        rate: int,
        *,
        voice: str = "",
        pace: Literal["live", "fast"] = "live",
        format: Literal["s16", "f32"] = "f32",
        block_ms: int = 20,
        **values: float | bool,
    ) -> RemoteAudio:
        """An audio session on a connection of its own, for `async with`; this client need not be connected.

        Args:
            rate: Rate of the samples in Hz, 8000..48000.
            voice: Name of the voice; default that of the server.
            pace: "live" skips blocks that come too late; "fast" drops nothing, and is converted when nothing live is.
            format: How samples are sent.
            block_ms: Block size, 20..1000.
            values: Parameters of the voice.
        """
        from .audio.client import RemoteAudio

        options = {"rate": rate, "pace": pace, "format": format, "block_ms": block_ms, **values}
        return RemoteAudio(self._find, self._name, {**options, **({"voice": voice} if voice else {})})

    async def ping(self) -> float:
        """Seconds that a command takes to the server and back."""
        began = time.perf_counter()
        await self.do("ping")
        return time.perf_counter() - began

    async def subscribe(self, *topics: str, **rates: float) -> AsyncGenerator[Event, None]:
        """Events as they come, for `async for`; leaving the loop ends the subscription.

        The first event of the topic "state" is the whole state. A program that takes its time misses no change:
        see `Inbox`.

        Args:
            topics: "state", "voices", "devices" and "log".
            rates: `meters` and `stats`, in events a second.

        Raises:
            RemoteError: a topic was refused, or the connection has ended and this client does not reconnect.
        """
        wanted: dict[str, dict[str, float]] = {topic: {} for topic in topics}
        wanted |= {topic: {"hz": rate} for topic, rate in rates.items()}
        subscription = (Inbox(frozenset({*wanted, "connection"})), wanted)
        self._subscriptions.append(subscription)
        try:
            await self.do("subscribe", {"topics": wanted})
            while True:
                yield await subscription[0].get()
        finally:
            self._subscriptions.remove(subscription)
            unwanted = sorted(wanted.keys() - self._topics().keys())
            if unwanted and self._error is None and self._is_open.is_set():
                with contextlib.suppress(RemoteError):
                    await self.do("unsubscribe", {"topics": unwanted})

    def _topics(self) -> dict[str, dict[str, float]]:
        """All that is subscribed to."""
        return {topic: options for _, wanted in self._subscriptions for topic, options in wanted.items()}

    async def _opened(self) -> Link:
        """A connection that may send commands, subscribed to what there are subscriptions to."""
        address = self._find()
        link = await Link.opened(address)
        try:
            result = await link.exchange("auth", {"token": address.token, "client": self._name}, _ANSWER_S, self._take)
            self.role = str(result.get("role", ""))
            if topics := self._topics():
                await link.exchange("subscribe", {"topics": topics}, _ANSWER_S, self._take)
        except BaseException:
            await link.close()
            raise
        self._link, self._error = link, None
        self._is_open.set()
        return link

    async def _when_open(self) -> Link:
        """The connection, once there is one.

        Raises:
            RemoteError: there will be none again.
        """
        await self._is_open.wait()
        if self._error is not None:
            raise self._error
        assert self._link is not None
        return self._link

    async def _run(self, link: Link) -> None:
        """Take in messages; when the connection ends, open another one or end whatever waits."""
        tries = 0
        while True:
            began_s = time.monotonic()
            try:
                while True:
                    self._take(await link.receive())
            except RemoteError as error:
                if not self._reconnect or link.is_over_for_good:
                    self._finish(error)
                    return
                self._is_open.clear()
                self._answers.fail(error)
                self._put(Event("connection", {"is_open": False, "message": error.message}))
            if time.monotonic() - began_s > _LASTING_S:
                tries = 0  # else the server lets this client in and soon ends the connection
            while not self._is_open.is_set():
                await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
                tries += 1
                try:
                    link = await self._opened()
                except RemoteError as error:
                    if error.code == "denied":
                        self._finish(error)
                        return
            self._put(Event("connection", {"is_open": True, "message": ""}))

    def _take(self, message: Mapping[str, Any]) -> None:
        """Take in a message: an answer or an event."""
        if isinstance(rev := message.get("rev"), int):
            self.rev = rev
        if "event" in message:
            self._put(event_of(message))
        else:
            self._answers.take(message)

    def _put(self, event: Event) -> None:
        for inbox, _ in self._subscriptions:
            inbox.put(event)

    def _finish(self, error: RemoteError) -> None:
        """End all that waits or comes: there will be no connection again."""
        self._error = error
        self._is_open.set()
        self._answers.fail(error)
        for inbox, _ in self._subscriptions:
            inbox.end(error)


def _local_address(port: int | None, token: str) -> Address:
    try:
        server = local_server(port)
    except AltervoxError as error:
        raise RemoteError("unreachable", str(error)) from None
    return Address(server.socket_url, token or server.token, certificate=server.certificate)
