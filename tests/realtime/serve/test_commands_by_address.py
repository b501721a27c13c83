"""Commands whose fields come from an address: one line of curl."""

from __future__ import annotations

import pytest
from altervox.realtime.serve.commands import COMMANDS
from remote_hub import Desk


@pytest.mark.parametrize(
    ("command", "query", "result"),
    [
        ("set", [("pitch", "3")], {"pitch": 3.0}),
        ("set", [("pitch", "-1.5"), ("mute", "true"), ("speaker", "2")], {"pitch": -1.5, "mute": True, "speaker": 2}),
        ("set", [("bypass", "off")], {"bypass": False}),
        ("step", [("what", "pitch"), ("by", "+1")], {"pitch": 1.0}),
        ("toggle", [("what", "mute")], {"mute": True}),
        ("toggle", [("name", "monitor")], {"monitor": False}),
        ("voice", [("name", "Ännie 🎤")], {"voice": "Ännie 🎤"}),
        ("voice", [("step", "-1")], {"voice": "off"}),
        ("record", [("on", "1")], {"recording": True}),
        ("block", [("ms", "80")], {"block_ms": 80}),
        ("get", [("names", "pitch,voice")], {"pitch": 0.0, "voice": "woman"}),
        ("ping", [], {}),
    ],
)
def test_commands_work(command: str, query: list[tuple[str, str]], result: dict[str, object]) -> None:
    status, body = Desk().http(command, query)
    assert (status, body["ok"], body["result"]) == (200, True, result)


@pytest.mark.parametrize(
    ("command", "query", "status", "code"),
    [
        ("set", [("pitch", "99")], 400, "out_of_range"),
        ("set", [("pitch", "1e99999")], 400, "bad_type"),
        ("set", [("pitch", "1e999")], 400, "out_of_range"),
        ("set", [("pitch", "nan")], 400, "bad_type"),
        ("set", [("pitch", "inf")], 400, "bad_type"),
        ("set", [("pitch", "1_0")], 400, "bad_type"),
        ("set", [("pitch", "٣")], 400, "bad_type"),
        ("set", [("pitch", "")], 400, "bad_type"),
        ("set", [("pitch", "1"), ("pitch", "2")], 400, "bad_request"),
        ("set", [("mute", "maybe")], 400, "bad_type"),
        ("set", [("volume", "1")], 400, "unknown_field"),
        ("set", [], 400, "missing_field"),
        ("set", [("pitch", "1"), ("if_rev", "7")], 409, "conflict"),
        ("set", [("pitch", "1"), ("if_rev", "x")], 400, "bad_type"),
        ("set", [("pitch", "1"), ("if_rev", "0"), ("if_rev", "0")], 400, "bad_type"),
        ("voice", [("name", "../../etc/passwd")], 404, "unknown_voice"),
        ("voice", [("name", "/root/x.pth")], 404, "unknown_voice"),
        ("shout", [], 404, "unknown_command"),
        ("stop", [], 403, "forbidden"),
        ("auth", [("token", "x")], 400, "bad_request"),
        ("batch", [], 400, "bad_request"),
        ("subscribe", [], 400, "bad_request"),
    ],
)
def test_what_is_wrong_has_a_status_and_a_code(
    command: str, query: list[tuple[str, str]], status: int, code: str
) -> None:
    desk = Desk()
    before = desk.session.state()
    found, body = desk.http(command, query)
    assert (found, body["error"]["code"]) == (status, code)
    assert desk.session.state() == before


def test_slow_commands_are_answered_after_their_effect() -> None:
    desk = Desk()
    assert desk.http("voices")[1]["result"]["voices"][0]["name"] == "off"
    assert desk.http("stop", role="admin") == (200, {"ok": True, "result": {"session": "stopped"}, "rev": 0})
    assert desk.http("start", [("block_ms", "60")], "admin")[0] == 200
    assert desk.http("hold", [("seconds", "5"), ("voice", "robot")])[0] == 200
    assert desk.session.state().voice == "robot"


def test_floods_are_refused_without_a_connection_too() -> None:
    desk = Desk()
    client = desk.hub.authenticate("owner-token", "127.0.0.1", desk.now_s)
    statuses: list[int] = []
    for _ in range(500):
        desk.hub.do_http("ping", [], client, desk.now_s, lambda status, body: statuses.append(status))
    assert (statuses.count(200), statuses.count(429)) == (400, 100)


def test_every_command_by_address_needs_no_nested_values() -> None:
    for spec in COMMANDS.values():
        if spec.by_http:
            assert all(argument.kind != "object" and argument.items == "text" for argument in spec.arguments), spec.name
