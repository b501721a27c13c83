"""Where sessions go: room by load, and what becomes of them when a worker refuses, dies or hangs."""

from __future__ import annotations

import json

import pytest
from altervox.realtime.serve.audio.pipe import Kind
from altervox.realtime.serve.errors import AUDIO_ENDED, FULL
from remote_audio import RATE, opened
from remote_hub import Desk


def test_sessions_beyond_the_limit_are_refused_and_not_queued() -> None:
    desk = Desk()
    remotes = [opened(desk, "admin")[0] for _ in range(6)]
    late = desk.client("admin")
    assert late.ask("audio.open", rate=RATE)["error"]["code"] == "full"
    assert late.connection.close == (FULL, "full: Retry-After 5")
    desk.hub.disconnect(late.connection, desk.now_s)
    remotes[3].ask("audio.close")
    opened(desk, "admin")
    # Who is away makes room for who is there.
    desk.hub.disconnect(remotes[0].connection, desk.now_s)
    opened(desk, "admin")
    assert len(desk.hub.audio.all()) == 6


def test_load_is_spread_and_bounded() -> None:
    desk = Desk()
    desk.workers.load = 0.4
    opened(desk)
    opened(desk)  # beyond 0.35, so on the second worker
    assert desk.workers.running == [1, 2]
    refused = desk.client("audio")
    assert refused.ask("audio.open", rate=RATE)["error"]["code"] == "full"  # both have tried
    assert refused.close_code == FULL
    desk.workers.load = 0.2
    opened(desk)
    desk.workers.load = 0.9
    error = desk.client("audio").ask("audio.open", rate=RATE)["error"]
    assert "longer blocks or another voice" in error["message"]
    desk.workers.load = 3.0  # nobody waits for it
    opened(desk, pace="fast")
    assert desk.workers.running == [1, 2, 3]


def test_where_blocks_are_late_there_is_no_room() -> None:
    desk = Desk()
    desk.workers.load = 0.36
    (_, facts), _ = opened(desk), opened(desk)
    desk.workers.load = 0.1
    report = {"late_blocks": 3, "latency_ms": 59.67, "load": 0.1, "dropped_samples": 0}
    for key, number in zip(desk.workers.keys(), (1, 2), strict=True):
        desk.hub.audio.from_worker(number, Kind.REPORT, key, json.dumps(report).encode(), desk.now_s)
    refused = desk.client("audio")
    error = refused.ask("audio.open", rate=RATE)["error"]
    assert (error["code"], refused.close_code) == ("full", FULL)
    for _ in range(21):
        desk.wait(0.5)
    assert facts["session"] == 1
    opened(desk)


def test_a_load_that_fits_elsewhere_goes_there() -> None:
    desk = Desk()
    desk.workers.load = 0.3
    opened(desk)
    desk.workers.load = 0.5
    opened(desk)
    assert desk.workers.running == [1, 2]
    assert {number for number, kind, _, _ in desk.workers.received if kind is Kind.CLOSE} == {1}


def test_what_the_worker_refuses_is_answered() -> None:
    desk = Desk()
    desk.workers.refusal = {"code": "failed", "message": "the file /home/somebody/voice.pth is damaged"}
    remote = desk.client("audio")
    error = remote.ask("audio.open", rate=RATE)["error"]
    assert (error["code"], error["message"]) == ("failed", "the file voice.pth is damaged")
    desk.workers.refusal = None
    assert remote.ask("audio.open", rate=RATE)["ok"]


def test_a_worker_that_dies_ends_its_sessions_and_is_replaced() -> None:
    desk = Desk()
    desk.workers.load = 0.4
    (gone, facts), (stays, _) = opened(desk), opened(desk)
    desk.workers.answers = False
    gone.send({"id": 50, "cmd": "audio.set", "params": {"pitch": 1}})
    desk.workers.running.remove(1)
    desk.hub.audio.worker_ended(1, desk.now_s)
    answered, ended = gone.events()
    assert (answered["id"], answered["error"]["code"]) == (50, "worker_died")
    assert ended["data"]["code"] == "worker_died"
    assert gone.close_code == AUDIO_ENDED
    assert not stays.is_closed
    assert desk.workers.running == [2, 3]
    desk.workers.answers = True
    desk.settle()
    assert desk.client("audio").ask("audio.resume", token=facts["resume"])["error"]["code"] == "bad_resume"


def test_a_session_that_is_being_opened_is_given_another_worker_once() -> None:
    desk = Desk()
    desk.workers.answers = False
    remote = desk.client("audio")
    for number in (1, 2):
        if number == 1:
            remote.send({"id": 7, "cmd": "audio.open", "params": {"rate": RATE}})
        assert desk.workers.running == [number]
        desk.workers.running.clear()
        desk.hub.audio.worker_ended(number, desk.now_s)
    reply = next(message for message in remote.events() if message.get("id") == 7)
    assert reply["error"]["code"] == "worker_died"


@pytest.mark.parametrize(("pace", "patience_s"), [("live", 2.0), ("fast", 10.0)])
def test_a_worker_that_hangs_is_killed(pace: str, patience_s: float) -> None:
    desk = Desk()
    remote, _ = opened(desk, pace=pace)
    for _ in range(10):
        desk.wait(0.5)
    assert desk.workers.killed == []
    desk.workers.answers = False
    for _ in range(int(patience_s / 0.5)):
        desk.wait(0.5)
    assert not remote.is_closed
    for _ in range(2):
        desk.wait(0.5)
    assert desk.workers.killed == [1]
    assert remote.close_code == AUDIO_ENDED
    assert desk.workers.running == [2]


def test_a_server_that_was_asleep_kills_nobody() -> None:
    desk = Desk()
    remote, _ = opened(desk)
    desk.workers.answers = False
    desk.wait(100.0)
    desk.workers.answers = True
    desk.settle()
    desk.wait(0.5)
    assert desk.workers.killed == []
    assert not remote.is_closed
