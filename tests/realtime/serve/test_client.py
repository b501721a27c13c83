"""The Python client against a real server on loopback, with a session in memory."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from altervox.realtime import RemoteClient, RemoteError
from altervox.realtime.serve.events import Event
from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
from remote_session import MemorySession

ANY_PORT = ServerSettings(port=0)


@pytest.fixture(autouse=True)
def _own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # is of no account on this computer


def run(work: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(10):
            await work

    asyncio.run(in_time())


def with_client(work: Callable[[RemoteClient], Awaitable[None]], session: MemorySession | None = None) -> MemorySession:
    """Do it with a client of a server; returns the session."""
    session = session or MemorySession()

    async def connected() -> None:
        async with RemoteClient.local(name="test") as remote:
            await work(remote)

    with RemoteServer(session, ANY_PORT):
        run(connected())
    return session


def test_every_command_of_a_session() -> None:
    async def work(remote: RemoteClient) -> None:
        assert remote.role == "admin"
        assert "hold" in remote.hello["features"]
        assert await remote.set(pitch=3, mute=True) == {"pitch": 3.0, "mute": True}
        assert await remote.step("pitch", -1) == {"pitch": 2.0}
        assert await remote.toggle("mute") == {"mute": False}
        assert await remote.voice("robot") == {"voice": "robot"}
        assert await remote.voice(step=-1) == {"voice": "man"}
        assert (await remote.voice(random=True))["voice"] != "man"
        held = await remote.hold(30, voice="robot", pitch=5)
        assert await remote.get("voice", "pitch") == {"voice": "robot", "pitch": 5.0}
        assert await remote.release(held["hold"]) == {"released": 1}
        assert await remote.get("pitch") == {"pitch": 2.0}
        await remote.record()
        await remote.record(False)
        await remote.block(60)
        assert "robot" in [voice["name"] for voice in await remote.voices()]
        assert [device["name"] for device in (await remote.devices())["inputs"]] == ["Microphone"]
        answers = await remote.batch([("set", {"pitch": 1}), ("set", {"pitch": 99}), ("ping", {})])
        assert [answer["ok"] for answer in answers] == [True, False]
        assert await remote.stop() == {"session": "stopped"}
        assert await remote.measure() == {"latency_ms": 21.5}
        assert await remote.start(block_ms=40) == {"session": "running"}
        assert 0 < await remote.ping() < 1

    session = with_client(work)
    assert session.calls[0:3] == ["voices", "record True", "record False"]
    assert session.state().params.pitch_semitones == 1.0


@pytest.mark.parametrize(
    ("command", "params", "expected"),
    [
        ("set", {"pitch": 99}, ("out_of_range", "pitch")),
        ("set", {"pich": 1}, ("unknown_field", "pich")),
        ("set", {"pitch": "high"}, ("bad_type", "pitch")),
        ("set", {"pitch": float("nan")}, ("bad_type", "pitch")),
        ("explode", {}, ("unknown_command", "")),
        ("voice", {"name": "robott"}, ("unknown_voice", "name")),
        ("start", {"input": "USB"}, ("failed", "")),
    ],
)
def test_what_is_refused(command: str, params: dict[str, Any], expected: tuple[str, str]) -> None:
    async def work(remote: RemoteClient) -> None:
        with pytest.raises(RemoteError) as caught:
            await remote.do(command, params)
        assert (caught.value.code, caught.value.field) == expected
        assert str(caught.value) == caught.value.message != ""
        await remote.ping()

    with_client(work)


def test_a_revision_that_is_not_current() -> None:
    async def work(remote: RemoteClient) -> None:
        await remote.set(pitch=1)
        rev = remote.rev
        await remote.set(pitch=2, if_rev=rev)
        with pytest.raises(RemoteError) as caught:
            await remote.set(pitch=3, if_rev=rev)
        assert caught.value.code == "conflict"

    assert with_client(work).state().params.pitch_semitones == 2.0


def test_commands_at_the_same_time_get_their_own_answers() -> None:
    async def work(remote: RemoteClient) -> None:
        session.slow_s = 0.2
        slow = asyncio.create_task(remote.devices())
        found = await asyncio.gather(*(remote.set(pitch=i) for i in range(30)))
        assert [answer["pitch"] for answer in found] == list(range(30))
        assert not slow.done()
        assert (await slow)["outputs"]

    session = MemorySession()
    with_client(work, session)


async def first(events: AsyncIterator[Event], wanted: Callable[[Event], bool]) -> Event:
    async for event in events:
        if wanted(event):
            return event
    raise AssertionError


def test_events_of_another_client() -> None:
    async def work(remote: RemoteClient) -> None:
        events = remote.subscribe("state", "log", meters=20.0)
        whole = await first(events, lambda event: event.topic == "state")
        assert (whole.is_full, whole.data["pitch"], whole.data["session"]) == (True, 0.0, "running")
        async with RemoteClient.local(name="deck") as deck:
            await deck.set(pitch=4)
        change = await first(events, lambda event: event.topic == "state" and "pitch" in event.data)
        assert (change.data["pitch"], change.by, change.is_full, change.rev) == (4.0, "deck", False, deck.rev)
        session.report(input_peak_db=-12.5)
        await first(events, lambda event: event.topic == "meters" and event.data["input_peak_db"] == -12.5)
        await first(events, lambda event: event.topic == "log" and "pitch" in event.data["text"])
        await events.aclose()
        with pytest.raises(RemoteError) as caught:
            await first(remote.subscribe("weather"), bool)
        assert caught.value.code == "unknown_field"
        await remote.ping()

    session = MemorySession()
    with_client(work, session)


def test_an_answer_does_not_wait_for_the_event_before_it() -> None:
    """TCP holds back a small message for 40 ms until the one before it is acknowledged, unless it is told not to."""

    async def work(remote: RemoteClient) -> None:
        async def receive() -> None:
            async for _ in remote.subscribe(meters=20.0):
                pass

        receiving = asyncio.create_task(receive())
        times_s = []
        for i in range(80):
            session.report(seconds=float(i))
            times_s.append(await remote.ping())
            await asyncio.sleep(0.005)
        receiving.cancel()
        assert sum(time_s > 0.03 for time_s in times_s) < 5

    session = MemorySession()
    with_client(work, session)


def test_two_subscriptions_of_one_client() -> None:
    async def work(remote: RemoteClient) -> None:
        one, two = remote.subscribe("state"), remote.subscribe("state")
        await first(one, bool)
        await first(two, bool)
        await one.aclose()
        await remote.set(pitch=1)
        assert (await first(two, lambda event: not event.is_full)).data["pitch"] == 1.0

    with_client(work)


def test_the_connection_ends_and_is_not_opened_again() -> None:
    async def work() -> None:
        server = RemoteServer(MemorySession(), ANY_PORT).__enter__()
        async with RemoteClient.local() as remote:
            events = remote.subscribe("state")
            await first(events, bool)
            await asyncio.to_thread(server.__exit__, None, None, None)
            with pytest.raises(RemoteError) as caught:
                await first(events, lambda event: event.topic == "log")
            assert caught.value.code == "closed"
            assert "the server shuts down" in caught.value.message
            with pytest.raises(RemoteError, match="the server shuts down"):
                await remote.ping()

    run(work())


def test_a_server_that_comes_back_is_connected_to_again() -> None:
    """With another port and another token, as a new process has them; what was subscribed to goes on."""

    async def work() -> None:
        session = MemorySession()
        server = RemoteServer(session, ANY_PORT).__enter__()
        async with RemoteClient.local(reconnect=True) as remote:
            events = remote.subscribe("state", meters=10.0)
            await first(events, lambda event: event.is_full)
            await asyncio.to_thread(server.__exit__, None, None, None)
            lost = await first(events, lambda event: event.topic == "connection")
            assert lost.data["is_open"] is False
            assert "the server shuts down" in lost.data["message"]
            waiting = asyncio.create_task(remote.set(pitch=7))
            with RemoteServer(session, ANY_PORT):
                assert await waiting == {"pitch": 7.0}
                states = [await first(events, lambda event: event.topic != "meters") for _ in range(2)]
                assert {event.topic: event for event in states}["connection"].data["is_open"] is True
                assert {event.topic: event for event in states}["state"].is_full
                await events.aclose()

    run(work())


def test_a_token_that_is_no_longer_good_ends_a_client_that_reconnects(tmp_path: Path) -> None:
    async def work() -> None:
        with RemoteServer(MemorySession(), ANY_PORT) as server:
            port = server.port
            client = RemoteClient(server.address, server.token, reconnect=True)
            await client.__aenter__()
        again = RemoteServer(MemorySession(), ServerSettings(port=port))
        with again:
            codes = {"closed"}
            while codes == {"closed"}:  # at first it does not know that the connection has ended
                with pytest.raises(RemoteError) as caught:
                    await client.ping()
                codes = {caught.value.code}
                await asyncio.sleep(0.05)
            assert codes == {"denied"}
            await client.__aexit__(None, None, None)

    run(work())


def test_a_wrong_token() -> None:
    async def work() -> None:
        with RemoteServer(MemorySession(), ANY_PORT) as server, pytest.raises(RemoteError) as caught:
            async with RemoteClient(server.address, "wrong"):
                pass
        assert caught.value.code == "denied"

    run(work())


def test_a_client_that_is_not_open() -> None:
    async def work(remote: RemoteClient) -> None:
        closed = RemoteClient.local()
        for client in (RemoteClient.local(), closed):
            with suppress(RemoteError):
                async with asyncio.timeout(1):
                    await client.ping()
                raise AssertionError
        async with closed:
            await closed.ping()
        with pytest.raises(RemoteError, match="has been closed"):
            await closed.ping()

    with_client(work)


@pytest.mark.parametrize("allow", [True, False])
def test_pairing(allow: bool) -> None:
    async def work(owner: RemoteClient) -> None:
        codes: list[str] = []
        asking = asyncio.create_task(RemoteClient.pair(server.address, "bot", show_code=codes.append))
        events = owner.subscribe("pairings")
        shown = (await first(events, lambda event: bool(event.data["list"]))).data["list"][0]
        assert (shown["client"], [shown["code"]]) == ("bot", codes)
        await owner.do("pair_answer", {"id": shown["id"], "allow": allow, "role": "view"})
        if not allow:
            with pytest.raises(RemoteError) as caught:
                await asking
            assert caught.value.code == "denied"
            return
        async with RemoteClient(server.address, await asking) as bot:
            assert bot.role == "view"
            with pytest.raises(RemoteError) as caught:
                await bot.set(pitch=1)
            assert caught.value.code == "forbidden"

    async def connected() -> None:
        async with RemoteClient.local() as owner:
            await work(owner)

    with RemoteServer(MemorySession(), ANY_PORT) as server:
        run(connected())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key for the name localhost, signed by nobody."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(path)]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    done = subprocess.run(["openssl", "req", "-x509", *key, *names], capture_output=True, text=True, check=True)
    with path.open("a", encoding="ascii") as file:
        file.write(done.stdout)
    path.chmod(0o600)
    return path


def test_tls(certificate: Path) -> None:
    async def work() -> None:
        with RemoteServer(MemorySession(), ServerSettings(port=0, certificate=certificate)) as server:
            async with RemoteClient.local() as remote:  # trusts what the runtime file holds
                await remote.ping()
            url = f"wss://localhost:{server.port}"
            async with RemoteClient(url, server.token, ca=certificate) as remote:
                await remote.ping()
            with pytest.raises(RemoteError, match="its certificate is not trusted"):
                await RemoteClient(url, server.token).__aenter__()
            with pytest.raises(RemoteError) as caught:
                await RemoteClient(f"ws://localhost:{server.port}", server.token).__aenter__()
            assert caught.value.code == "unreachable"

    run(work())
