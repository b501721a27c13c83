"""Audio sessions on real sockets, with real workers and voices."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from altervox.kernels.types import FloatArray
from altervox.realtime.serve.audio.client import AudioChunk
from altervox.realtime.serve.audio.frames import LAST, LATE, RESUMED
from altervox.realtime.serve.client import RemoteClient
from altervox.realtime.serve.errors import RemoteError
from altervox.realtime.synthetic import speech_like
from audio_client import SECONDS, AudioClient, directly
from remote_sockets import Served, serving, until
from spawned import spawned_by
from websockets.exceptions import ConnectionClosed

RATE = 48000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), audio_workers=2) as found:
        yield found


def speech(seconds: float, rate: int = RATE) -> FloatArray:
    return speech_like(seconds + 0.1, rate).astype(np.float32)[: int(seconds * rate)]


@pytest.mark.parametrize(
    ("voice", "rate", "block_ms"), [("robot", 48000, 20), ("woman", 44100, 40), ("man", 16000, 20)]
)
def test_a_session_gives_what_the_voice_gives(served: Served, voice: str, rate: int, block_ms: int) -> None:
    x = speech(0.73, rate)
    options: dict[str, Any] = {
        "rate": rate,
        "format": "f32",
        "voice": voice,
        "block_ms": block_ms,
        "pitch": 1.5,
        "pace": "fast",
    }
    with AudioClient(served.client(), **options) as audio:
        audio.send_all(x, 777)
        audio.receive(len(x))
        assert audio.frames[-1].flags & LAST
        assert [frame.seq for frame in audio.frames] == list(range(len(audio.frames)))
        np.testing.assert_array_equal(audio.output(), directly(x, rate, voice, block_ms, pitch_semitones=1.5))


def test_samples_of_16_bits_are_rounded_once(served: Served) -> None:
    x = np.rint(speech(0.5) * 32768.0).astype(np.float32) / 32768.0
    with AudioClient(served.client(), rate=RATE, voice="man", pace="fast") as audio:
        audio.send_all(x)
        audio.receive(len(x))
        np.testing.assert_allclose(audio.output(), directly(x, RATE, "man"), atol=0.5 / 32768)


def end_of(audio: AudioClient) -> ConnectionClosed:
    """How the server ends a connection."""
    try:
        while True:
            audio.next()
    except ConnectionClosed as closed:
        return closed


def paced(audio: AudioClient, x: FloatArray, began_s: float) -> None:
    """Send samples in real time."""
    size = audio.facts["frame_samples"]
    for at in range(0, len(x), size):
        time.sleep(max(began_s + at / RATE - time.monotonic(), 0.0))
        audio.send(x[at : at + size], LAST if at + size >= len(x) else 0)


def test_two_sessions_run_side_by_side(served: Served) -> None:
    x = {"robot": speech(2.0), "man": -0.5 * speech(2.0)[::-1]}
    clients = {voice: AudioClient(served.client(), rate=RATE, format="f32", voice=voice) for voice in x}
    began_s = time.monotonic()
    work = [threading.Thread(target=paced, args=(clients[voice], x[voice], began_s)) for voice in x]
    work += [threading.Thread(target=clients[voice].receive, args=(len(x[voice]),)) for voice in x]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    for voice, audio in clients.items():
        out, wanted = audio.output(), directly(x[voice], RATE, voice)
        assert len(out) == len(wanted)
        if any(frame.flags & LATE for frame in audio.frames):  # a busy machine may be late; then it says so
            assert audio.ask("audio.get")["late_blocks"] > 0
        else:
            np.testing.assert_array_equal(out, wanted)
        audio.__exit__()


def test_no_sample_reaches_another_session(served: Served) -> None:
    """Each session speaks a tone of its own; each slot is used again and again."""
    block, tones = 960, (400.0, 900.0, 1700.0, 2900.0)
    at = np.arange(5 * block) / RATE
    for turn in range(6):
        clients = [AudioClient(served.client(), rate=RATE, format="f32", voice="off", pace="fast") for _ in range(2)]
        mine = [tones[(2 * turn + i) % len(tones)] for i in range(2)]
        for audio, tone in zip(clients, mine, strict=True):
            audio.send_all((0.5 * np.sin(2.0 * np.pi * tone * at)).astype(np.float32)[: 4 * block + turn], block)
        for audio, tone in zip(clients, mine, strict=True):
            audio.receive(4 * block + turn)
            spectrum = np.abs(np.fft.rfft(audio.output()[: 4 * block] * np.hanning(4 * block)))
            level = {hz: spectrum[round(hz * 4 * block / RATE)] for hz in tones}
            assert level.pop(tone) > 200.0
            assert max(level.values()) < 1.0, (turn, tone, level)
        for audio in clients:
            audio.__exit__()


def test_a_session_that_begins_hears_nothing_of_the_one_before(served: Served) -> None:
    loud = np.full(9600, 0.9, dtype=np.float32)
    for _ in range(3):
        with AudioClient(served.client(), rate=RATE, format="f32", voice="robot", pace="fast") as audio:
            audio.send(loud[:4800])  # and goes, with no word
        with AudioClient(served.client(), rate=RATE, format="f32", voice="robot", pace="fast") as audio:
            audio.send_all(np.zeros(4800, dtype=np.float32))
            audio.receive(4800)
            np.testing.assert_array_equal(audio.output(), directly(np.zeros(4800, dtype=np.float32), RATE, "robot"))


def test_a_worker_that_is_killed_ends_its_sessions_and_is_replaced(served: Served) -> None:
    with AudioClient(served.client(), rate=RATE) as audio:
        for process in spawned_by():
            os.kill(process, signal.SIGKILL)
        closed = end_of(audio).rcvd
        assert closed is not None
        assert closed.code == 4410
        assert closed.reason.startswith("worker_died: ")
        assert audio.events[-1]["data"]["code"] == "worker_died"
    x = speech(0.3)
    with AudioClient(served.client(), rate=RATE, format="f32", voice="man", pace="fast") as audio:
        audio.send_all(x)
        audio.receive(len(x))
        np.testing.assert_array_equal(audio.output(), directly(x, RATE, "man"))


def test_a_worker_that_hangs_is_killed(served: Served) -> None:
    before = set(spawned_by())
    with AudioClient(served.client(), rate=RATE) as audio:
        audio.ask("audio.get")
        for process in spawned_by():
            os.kill(process, signal.SIGSTOP)
        closed = end_of(audio).rcvd
        assert closed is not None
        assert closed.reason.startswith("worker_died: ")
    until(lambda: not before & set(spawned_by()), SECONDS)


def test_a_lost_connection_is_resumed(served: Served) -> None:
    x = speech(1.0)
    first = AudioClient(served.client(), rate=RATE, format="f32", voice="robot", pace="fast")
    for at in range(0, 24000, 960):
        first.send(x[at : at + 960])
    first.receive(12000)
    first.client.socket.socket.shutdown(socket.SHUT_RDWR)  # without a word
    second = AudioClient.resumed(served.client(), first)
    assert second.facts["position"] <= 24000
    second.send_all(x[second.facts["position"] :])
    second.receive(len(x))
    assert second.frames[0].flags & RESUMED
    out = np.concatenate([first.output()[: second.frames[0].position], second.output()])
    np.testing.assert_array_equal(out, directly(x, RATE, "robot"))
    second.__exit__()


def test_a_disconnection_in_the_middle_of_a_frame_harms_nobody(served: Served) -> None:
    with AudioClient(served.client(), rate=RATE, format="f32", voice="man", pace="fast") as audio:
        raw = served.web_socket()
        raw.send_json({"id": 1, "cmd": "auth", "params": {"token": served.token}})
        raw.send_json({"id": 2, "cmd": "audio.open", "params": {"rate": RATE}})
        while raw.message().get("id") != 2:
            pass
        raw.send(b"\x82\xfe\x08\x00mask\xa7\x01\x01")  # 3 of 2048 bytes
        raw.tcp.close()
        x = speech(0.3)
        audio.send_all(x)
        audio.receive(len(x))
        np.testing.assert_array_equal(audio.output(), directly(x, RATE, "man"))


def test_the_python_client_converts(served: Served) -> None:
    x = speech(1.3)

    async def convert() -> FloatArray:
        remote = RemoteClient(f"ws://127.0.0.1:{served.port}", served.token)
        async with remote.audio(RATE, voice="robot", pace="fast", pitch=2.0) as audio:
            assert (await audio.get())["pitch"] == 2.0
            with pytest.raises(RemoteError) as refused:
                await audio.set(pitch=99.0)
            assert (refused.value.code, refused.value.field) == ("out_of_range", "pitch")
            assert audio.latency_ms > 20.0
            return await audio.convert(x)

    np.testing.assert_array_equal(asyncio.run(convert()), directly(x, RATE, "robot", pitch_semitones=2.0))


def test_the_python_client_goes_on_after_a_lost_connection(served: Served) -> None:
    x = speech(3.0)

    async def convert() -> FloatArray:
        remote = RemoteClient(f"ws://127.0.0.1:{served.port}", served.token)
        async with remote.audio(RATE, voice="man", pace="fast") as audio:
            converting = asyncio.create_task(audio.convert(x))
            for _ in range(2):
                before = audio.received
                while audio.received < before + 20_000:
                    await asyncio.sleep(0.001)
                assert audio._link is not None
                audio._link._socket.transport.abort()
            return await asyncio.wait_for(converting, SECONDS)

    np.testing.assert_array_equal(asyncio.run(convert()), directly(x, RATE, "man"))


def test_a_live_client_goes_on_with_what_is_said_by_then(served: Served) -> None:
    x = speech(2.0)

    async def run() -> list[AudioChunk]:
        remote = RemoteClient(f"ws://127.0.0.1:{served.port}", served.token)
        async with remote.audio(RATE, voice="man") as audio:

            async def send() -> None:
                began_s = time.monotonic()
                for number in range(100):
                    if number == 50:
                        assert audio._link is not None
                        audio._link._socket.transport.abort()
                    await asyncio.sleep(max(began_s + 0.02 * number - time.monotonic(), 0.0))
                    await audio.send(x[960 * number : 960 * (number + 1)])
                await audio.finish()

            sending = asyncio.create_task(send())
            async with asyncio.timeout(SECONDS):
                chunks = [chunk async for chunk in audio]
            await sending
            assert audio.sent == len(x)
            return chunks

    chunks = asyncio.run(run())
    ends = [chunk.position + len(chunk.samples) for chunk in chunks]
    assert all(chunk.position >= end for chunk, end in zip(chunks[1:], ends, strict=False))
    assert ends[-1] == len(x)
    assert chunks[-1].is_last
    assert any(chunk.is_late for chunk in chunks)


def test_a_client_that_reads_nothing_harms_nobody(served: Served) -> None:
    slow = AudioClient(served.client(max_queue=1, close_timeout=0.2), rate=RATE, format="f32", voice="off")
    with AudioClient(served.client(), rate=RATE, format="f32", voice="man", pace="fast") as audio:
        for _ in range(100):
            slow.send(np.zeros(960, dtype=np.float32))
        x = speech(0.3)
        audio.send_all(x)
        audio.receive(len(x))
        np.testing.assert_array_equal(audio.output(), directly(x, RATE, "man"))
    slow.__exit__()


def test_the_worker_ends_with_its_server(served: Served) -> None:
    with AudioClient(served.client(), rate=RATE):
        assert spawned_by()
    served.server.__exit__(None, None, None)
    until(lambda: not spawned_by())
