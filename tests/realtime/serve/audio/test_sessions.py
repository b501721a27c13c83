"""Who gets an audio session, and how each of them ends: with workers in memory and the clock in the test's hands."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from altervox.realtime.config import StreamConfig
from altervox.realtime.serve.audio.frames import DISCONTINUITY, INPUT, LAST, LATE, OUTPUT, RESUMED, unpack
from altervox.realtime.serve.audio.pipe import Kind
from altervox.realtime.serve.audio.sessions import RESUME_S
from altervox.realtime.serve.audio.stream import AudioStream
from altervox.realtime.serve.errors import AUDIO_ENDED, BAD_MESSAGE, REPLACED, UNAUTHORIZED
from altervox.realtime.session.processor import Processor
from altervox.realtime.session.settings import SessionSettings
from altervox.realtime.session.state import SessionState
from remote_audio import BLOCK, RATE, frame, opened, output, send
from remote_hub import Desk, Remote


def test_a_session_is_opened_and_frames_go_both_ways() -> None:
    desk = Desk()
    remote, facts = opened(desk, voice="robot", pitch=2)
    assert facts.pop("resume")
    assert facts == {
        **{"session": 1, "rate": RATE, "format": "s16", "block_ms": 20, "pace": "live", "voice": "robot"},
        **{"latency_ms": 59.67, "frame_samples": 320, "max_frame_bytes": 32768},
    }
    (key,) = desk.workers.keys()
    assert json.loads(desk.workers.received[-1][3])["values"] == {"pitch_semitones": 2.0}
    send(remote, facts)
    send(remote, facts, 1)
    assert [unpack(packed, INPUT).position for packed in desk.workers.frames(key)] == [0, 320]
    output(desk, key, 0)
    output(desk, key, 320)
    remote.events()
    assert [(f.seq, f.position) for f in (unpack(packed, OUTPUT) for packed in remote.frames)] == [(0, 0), (1, 320)]
    assert remote.ask("audio.close")["result"] == {"received": 640, "dropped_samples": 0}
    assert desk.workers.received[-1][1:3] == (Kind.CLOSE, key)
    assert remote.ask("audio.open", rate=RATE)["result"]["session"] == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"session": 9}, "session is 9, not 1"),
        ({"form": "f32"}, "format is f32, not s16"),
        ({"seq": 3}, "sequence number is 3, not 1"),
        ({"position": 319}, "position is 319, not 320"),
        ({"position": 321}, "position is 321, not 320"),
        ({"position": 0, "flags": DISCONTINUITY}, "position is 0, not 320"),
        ({"position": 1 << 63, "flags": DISCONTINUITY}, "position is 9223372036854775808"),
        ({"data": b""}, "no samples"),
        ({"data": b"abc"}, "not a whole number of samples"),
        ({"data": bytes(32768)}, "32768 at most"),
    ],
)
def test_a_wrong_frame_ends_its_session_and_no_other(fields: dict[str, Any], said: str) -> None:
    desk = Desk()
    remote, facts = opened(desk)
    other, other_facts = opened(desk)
    send(remote, facts)
    send(remote, facts, **{"seq": 1, "position": 320, **fields})
    (event,) = remote.events("audio_end")
    assert event["data"]["code"] == "bad_frame"
    assert said in event["data"]["message"]
    assert remote.connection.close is not None
    assert remote.connection.close[0] == BAD_MESSAGE
    assert said in remote.connection.close[1]
    desk.hub.disconnect(remote.connection, desk.now_s)
    assert desk.client("audio").ask("audio.resume", token=facts["resume"])["error"]["code"] == "bad_resume"
    send(other, other_facts)
    assert len(desk.workers.frames(desk.workers.keys()[1])) == 1
    assert not other.is_closed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_must_be_numbers(value: float) -> None:
    desk = Desk()
    remote, facts = opened(desk, format="f32")
    samples = np.zeros(320, dtype=np.float32)
    samples[7] = value
    send(remote, facts, form="f32", data=samples.tobytes())
    assert remote.close_code == BAD_MESSAGE
    assert desk.workers.frames(1) == []


@pytest.mark.parametrize("message", [b"", b"hello", b'{"id":1,"cmd":"ping"}', bytes(40_000), frame(INPUT, data=BLOCK)])
def test_binary_without_a_session_closes_the_connection(message: bytes) -> None:
    remote = Desk().client("audio")
    remote.send(message)
    assert remote.close_code == BAD_MESSAGE


def test_no_frame_does_more_than_end_its_session() -> None:
    random = np.random.default_rng(7)
    desk = Desk()
    other, other_facts = opened(desk)
    ended = 0
    for number in range(300):
        remote, facts = opened(desk, "admin")
        packed = bytearray(frame(INPUT, session=facts["session"], data=BLOCK))
        for _ in range(random.integers(0, 4)):
            packed[random.integers(0, 24)] = random.integers(0, 256)
        remote.send(bytes(packed[: random.integers(0, 700)]))
        ended += remote.is_closed
        assert remote.close_code in (None, BAD_MESSAGE)
        desk.hub.disconnect(remote.connection, desk.now_s)
        if number % 50 == 0:
            send(other, other_facts, number // 50)
    assert 100 < ended < 300
    assert not other.is_closed
    assert len(desk.hub.audio.all()) <= 6


def test_text_that_is_no_command_ends_the_session() -> None:
    desk = Desk()
    remote, facts = opened(desk)
    remote.send("\x00\x01 not JSON")
    assert remote.close_code == BAD_MESSAGE
    desk.hub.disconnect(remote.connection, desk.now_s)
    assert desk.client("audio").ask("audio.resume", token=facts["resume"])["error"]["code"] == "bad_resume"


def test_nothing_follows_the_last_frame() -> None:
    desk = Desk()
    remote, facts = opened(desk)
    send(remote, facts, flags=LAST)
    send(remote, facts, 1)
    assert remote.close_code == BAD_MESSAGE


def test_frames_before_the_answer_are_refused() -> None:
    desk = Desk()
    desk.workers.answers = False
    remote = desk.client("audio")
    remote.send({"id": 7, "cmd": "audio.open", "params": {"rate": RATE}})
    remote.send(frame(INPUT, data=BLOCK))
    assert remote.close_code == BAD_MESSAGE
    desk.workers.answers = True
    desk.settle()
    assert desk.hub.audio.all() == []


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({}, "missing_field", "rate"),
        ({"rate": 7999}, "out_of_range", "rate"),
        ({"rate": 48001}, "out_of_range", "rate"),
        ({"rate": 16000.5}, "bad_type", "rate"),
        ({"rate": "16000"}, "bad_type", "rate"),
        ({"rate": RATE, "format": "s24"}, "out_of_range", "format"),
        ({"rate": RATE, "voice": "nobody"}, "unknown_voice", "voice"),
        ({"rate": RATE, "voice": "../../etc/passwd"}, "unknown_voice", "voice"),
        ({"rate": RATE, "block_ms": 30}, "out_of_range", "block_ms"),
        ({"rate": RATE, "block_ms": 1020}, "out_of_range", "block_ms"),
        ({"rate": RATE, "pace": "slow"}, "out_of_range", "pace"),
        ({"rate": RATE, "pitch": 99}, "out_of_range", "pitch"),
        ({"rate": RATE, "channels": 2}, "unknown_field", "channels"),
    ],
)
def test_what_cannot_be_opened_says_why(options: dict[str, Any], code: str, field: str) -> None:
    desk = Desk()
    remote = desk.client("audio")
    error = remote.ask("audio.open", **options)["error"]
    assert (error["code"], error["field"]) == (code, field)
    assert not remote.is_closed
    assert desk.workers.running == []


@pytest.mark.parametrize("role", ["view", "control"])
def test_other_roles_have_no_sessions(role: str) -> None:
    remote = Desk().client(role)
    for command in ("audio.get", "audio.close"):
        assert remote.ask(command)["error"]["code"] == "forbidden"
    assert remote.ask("audio.open", rate=RATE)["error"]["code"] == "forbidden"


def test_the_role_audio_changes_nothing_of_the_live_session() -> None:
    desk = Desk()
    audio, both = desk.client("audio"), desk.client("control+audio")
    assert audio.ask("get")["ok"]
    assert audio.ask("set", pitch=1)["error"]["code"] == "forbidden"
    assert audio.ask("audio.sessions")["error"]["code"] == "forbidden"
    assert both.ask("set", pitch=1)["ok"]
    assert both.ask("audio.open", rate=RATE)["ok"]
    assert both.ask("stop")["error"]["code"] == "forbidden"


def test_a_program_asks_for_its_role() -> None:
    desk = Desk()
    remote, panel = desk.connect(), desk.client("admin")
    remote.send({"id": 1, "cmd": "pair", "params": {"client": "phone", "role": "control+audio"}})
    (pairing,) = panel.ask("pairings")["result"]["pairings"]
    assert pairing["role"] == "control+audio"
    panel.ask("pair_answer", id=pairing["id"], allow=True)
    reply = next(message for message in remote.events() if message.get("id") == 1)
    assert reply["result"]["role"] == "control+audio"


def test_changes_are_the_workers_to_make() -> None:
    desk = Desk()
    remote, _ = opened(desk)
    assert remote.ask("audio.set", voice="man", pitch=-2)["result"] == {"voice": "man", "pitch": -2.0}
    assert remote.ask("audio.set", pitch=99)["error"]["code"] == "out_of_range"
    assert remote.ask("audio.set")["error"]["code"] == "missing_field"
    assert remote.ask("audio.set", voice="nobody")["error"]["code"] == "unknown_voice"
    assert remote.ask("audio.get")["result"]["dropped_samples"] == 0
    desk.workers.answers = False
    for number in range(17):
        remote.send({"id": 100 + number, "cmd": "audio.set", "params": {"pitch": 1}})
    (reply,) = remote.events()
    assert (reply["id"], reply["error"]["code"]) == (116, "busy")


def test_one_connection_has_one_session() -> None:
    desk = Desk()
    remote, facts = opened(desk)
    assert remote.ask("audio.open", rate=RATE)["error"]["code"] == "bad_request"
    assert remote.ask("audio.resume", token=facts["resume"])["error"]["code"] == "bad_request"
    bare = desk.client("audio")
    for command, params in (("audio.get", {}), ("audio.close", {}), ("audio.set", {"pitch": 1})):
        assert bare.ask(command, **params)["error"]["code"] == "not_running"


def test_a_session_is_resumed_once() -> None:
    desk = Desk()
    remote, facts = opened(desk)
    key = desk.workers.keys()[0]
    send(remote, facts)
    output(desk, key, 0)
    desk.hub.disconnect(remote.connection, desk.now_s)
    output(desk, key, 320)
    assert desk.hub.audio.all()[0]["is_connected"] is False
    desk.now_s += RESUME_S - 1.0
    stranger = desk.client("audio", "stranger")
    assert stranger.ask("audio.resume", token=facts["resume"])["error"]["code"] == "bad_resume"
    again = desk.connect()
    again.ask("auth", token=token_of(desk, remote))
    assert again.ask("audio.resume", token="x" * 43)["error"]["code"] == "bad_resume"
    reply = again.ask("audio.resume", token=facts["resume"])["result"]
    assert (reply["position"], reply["session"]) == (320, facts["session"])
    assert reply["resume"] != facts["resume"]
    output(desk, key, 640)
    again.events()
    (packed,) = again.frames  # what was not sent before is old news
    found = unpack(packed, OUTPUT)
    assert (found.seq, found.position, found.flags) == (0, 640, RESUMED | DISCONTINUITY | LATE)
    send(again, facts, 0, 320)
    assert not again.is_closed
    replayed = desk.connect()
    replayed.ask("auth", token=token_of(desk, remote))
    assert replayed.ask("audio.resume", token=facts["resume"])["error"]["code"] == "bad_resume"
    assert not again.is_closed
    assert replayed.ask("audio.resume", token=reply["resume"])["ok"]  # as if `again` were half open
    assert again.close_code == REPLACED


def token_of(desk: Desk, remote: Remote) -> str:
    """A new token of the same client."""
    assert remote.connection.client is not None
    return desk.tokens[remote.connection.client.id]


def test_a_session_waits_for_a_minute() -> None:
    desk = Desk()
    remote, facts = opened(desk)
    desk.hub.disconnect(remote.connection, desk.now_s)
    for _ in range(int(RESUME_S) + 1):
        desk.wait(1.0)
    assert desk.hub.audio.all() == []
    again = desk.connect()
    again.ask("auth", token=token_of(desk, remote))
    assert again.ask("audio.resume", token=facts["resume"])["error"]["code"] == "bad_resume"


def test_nothing_is_lost_of_a_session_without_a_deadline() -> None:
    desk = Desk()
    remote, facts = opened(desk, pace="fast")
    key = desk.workers.keys()[0]
    send(remote, facts)
    for number in range(5):
        output(desk, key, 320 * number)
    remote.events()
    assert len(remote.frames) == 5
    desk.hub.disconnect(remote.connection, desk.now_s)
    output(desk, key, 1600, LAST)
    again = desk.connect()
    again.ask("auth", token=token_of(desk, remote))
    error = again.ask("audio.resume", token=facts["resume"], position=1601)["error"]
    assert (error["code"], error["field"]) == ("out_of_range", "position")
    assert again.ask("audio.resume", token=facts["resume"], position=700)["result"]["position"] == 320
    again.events()
    found = [unpack(packed, OUTPUT) for packed in again.frames]
    assert [(f.seq, f.position) for f in found] == [(0, 640), (1, 960), (2, 1280), (3, 1600)]
    assert found[0].flags & RESUMED
    assert found[-1].flags & LAST


def test_a_revoked_client_has_no_sessions() -> None:
    desk = Desk()
    panel = desk.client("admin")
    (remote, _), (away, _) = opened(desk), opened(desk)
    desk.hub.disconnect(away.connection, desk.now_s)
    for connection in (remote.connection, away.connection):
        assert connection.client is not None
        panel.ask("client_remove", id=connection.client.id)
    assert remote.close_code == UNAUTHORIZED
    assert desk.hub.audio.all() == []


def test_sessions_are_listed_and_can_be_ended() -> None:
    desk = Desk()
    panel = desk.client("admin")
    panel.ask("subscribe", topics={"audio_sessions": {}})
    assert panel.events("audio_sessions")[-1]["data"] == []
    remote, facts = opened(desk)
    (listed,) = panel.events("audio_sessions")[-1]["data"]
    assert (listed["session"], listed["client"], listed["voice"]) == (facts["session"], "deck", "woman")
    assert panel.ask("audio.sessions")["result"]["sessions"] == [listed]
    assert panel.ask("audio.end", session=9)["error"]["code"] == "not_found"
    assert desk.http("audio.end", [("session", str(facts["session"]))], "admin")[0] == 200
    assert remote.connection.close == (AUDIO_ENDED, "ended: ended by owner")


def test_a_live_client_cannot_send_faster_than_real_time() -> None:
    desk = Desk()
    remote, facts = opened(desk)
    key = desk.workers.keys()[0]
    for number in range(200):  # 4 s at once
        send(remote, facts, number)
    frames = desk.workers.frames(key)
    assert len(frames) == 100
    assert remote.ask("audio.get")["result"]["dropped_samples"] == 100 * 320
    desk.now_s += 0.1
    send(remote, facts, 200)
    assert unpack(desk.workers.frames(key)[-1], INPUT).flags == DISCONTINUITY
    assert not remote.is_closed


@pytest.mark.parametrize(("missing", "taken"), [(15_999, 2), (16_001, 100)])
def test_silence_for_what_a_client_leaves_out_is_limited_too(missing: int, taken: int) -> None:
    """To about two seconds at once, and to two seconds of blocks with which the voice starts anew."""
    desk = Desk()
    remote, facts = opened(desk)
    key = desk.workers.keys()[0]
    for number in range(200):
        position = number * (missing + 1) + missing
        send(remote, facts, number, position, flags=DISCONTINUITY, data=b"\0\0")
    assert len(desk.workers.frames(key)) == taken
    assert not remote.is_closed


@pytest.mark.parametrize(("missing", "most"), [(15_999, 1), (16_001, 50)])
def test_silence_counts_for_a_client_without_a_deadline(missing: int, most: int) -> None:
    desk = Desk()
    remote, facts = opened(desk, pace="fast")
    session = remote.connection.audio
    assert session is not None
    fed = AudioStream(session.spec, Processor(SessionSettings(SessionState(voice="off"), StreamConfig(16_000, 20))))
    for number in range(1_000):
        if session.is_full:
            break
        position = number * (missing + 1) + missing
        packed = frame(INPUT, "s16", DISCONTINUITY, facts["session"], number, position, b"\0\0")
        remote.send(packed)
        fed.take(unpack(packed, INPUT))
    assert number <= most
    while fed.has_block:
        fed.step()
    desk.hub.audio.from_worker(1, Kind.TAKEN, desk.workers.keys()[0], fed.fed.to_bytes(8, "little"), desk.now_s)
    assert session._samples_in == session._samples_fed
    assert not session.is_full


def test_output_that_is_not_read_makes_room_for_newer() -> None:
    desk = Desk()
    remote, _ = opened(desk)
    key = desk.workers.keys()[0]
    for number in range(10):
        output(desk, key, 320 * number)
    remote.events()
    found = [unpack(packed, OUTPUT) for packed in remote.frames]
    assert [f.position for f in found] == [320 * number for number in (7, 8, 9)]
    assert found[0].flags == DISCONTINUITY | LATE
    assert remote.ask("audio.get")["result"]["dropped_samples"] == 7 * 320


def test_a_client_without_a_deadline_has_to_wait() -> None:
    desk = Desk()
    remote, facts = opened(desk, pace="fast")
    session = remote.connection.audio
    assert session is not None
    key, number = desk.workers.keys()[0], 0
    while not session.is_full:
        send(remote, facts, number)
        number += 1
    assert number == 50  # a second
    desk.hub.audio.from_worker(1, Kind.TAKEN, key, (320 * 10).to_bytes(8, "little"), desk.now_s)
    assert not session.is_full
    for at in range(50):
        output(desk, key, 320 * at)
    assert session.is_full
    remote.events()
    assert not session.is_full


def test_nothing_of_an_old_session_reaches_a_new_one() -> None:
    desk = Desk()
    remote, _ = opened(desk)
    old = desk.workers.keys()[0]
    remote.ask("audio.close")
    remote.ask("audio.open", rate=RATE)
    packed = frame(OUTPUT, session=2, data=b"\x7f" * 640)
    desk.hub.audio.from_worker(1, Kind.OUTPUT, old, packed, desk.now_s)
    remote.events()
    assert remote.frames == []


def test_a_server_without_workers_has_no_sessions() -> None:
    desk = Desk(audio_workers=0)
    remote = desk.client("audio")
    assert remote.ask("audio.open", rate=RATE)["error"]["code"] == "audio_off"
    assert "audio" not in desk.hub._hello()["features"]
