"""The remote protocol without sockets: what is answered, what is sent, what closes a connection."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from altervox.realtime.serve.access import ROLES
from altervox.realtime.serve.commands import COMMANDS
from altervox.realtime.session.commands import Set, SetVoice, Step
from remote_hub import OWNER, Desk
from remote_session import FAILURE, MemorySession


def error(reply: dict[str, Any]) -> tuple[str, str]:
    assert reply["ok"] is False
    return reply["error"]["code"], reply["error"]["field"]


def test_the_first_exchange_is_as_documented() -> None:
    desk = Desk()
    remote = desk.connect()
    remote.send({"id": 1, "cmd": "auth", "params": {"token": OWNER, "client": "deck 1.0"}})
    remote.send({"id": "x", "cmd": "set", "params": {"pitch": 3}})
    first, second = remote.events()
    assert first == {"id": 1, "ok": True, "result": {"role": "admin", "client": "deck 1.0"}, "rev": 0}
    assert second == {"id": "x", "ok": True, "result": {"pitch": 3.0}, "rev": 1}
    assert desk.session.state().params.pitch_semitones == 3.0


def test_commands_change_the_state_and_answer_with_the_value_reached() -> None:
    desk = Desk()
    remote = desk.client()
    assert remote.ask("step", name="pitch", by=2)["result"] == {"pitch": 2.0}
    assert remote.ask("step", what="pitch", by=-100)["result"] == {"pitch": -36.0}
    assert remote.ask("toggle", name="mute")["result"] == {"mute": True}
    assert remote.ask("toggle", name="muted")["result"] == {"mute": False}  # the long name too
    assert remote.ask("set", formant=-1, bypass=True, pitch_semitones=4)["result"] == {
        "formant": -1.0,
        "bypass": True,
        "pitch": 4.0,
    }
    assert remote.ask("voice", name="robot")["result"] == {"voice": "robot"}
    assert remote.ask("voice", step=1)["result"] == {"voice": "Ännie 🎤"}
    assert remote.ask("voice", random=True)["result"]["voice"] != "Ännie 🎤"
    assert remote.ask("record", on=True)["result"] == {"recording": True}
    assert remote.ask("block", ms=80)["result"] == {"block_ms": 80}
    assert desk.session.calls[-2:] == ["record True", "block 80"]


def test_a_second_client_sees_who_changed_what() -> None:
    desk = Desk()
    deck, panel = desk.client(name="deck"), desk.client("view", name="panel")
    panel.ask("subscribe", topics={"state": {}})
    (full,) = panel.events()
    assert (full["event"], full["seq"], full["full"], full["data"]["pitch"]) == ("state", 0, True, 0.0)
    deck.ask("set", pitch=3)
    deck.ask("set", pitch=5, mute=True)
    (delta,) = panel.events()  # two changes, one event: it reads what there is
    assert delta == {"event": "state", "rev": 2, "seq": 1, "data": {"pitch": 5.0, "mute": True}, "by": "deck"}
    desk.session.do(Step("pitch_semitones", -1.0), "keyboard")
    desk.settle()
    (delta,) = panel.events()
    assert delta == {"event": "state", "rev": 3, "seq": 2, "data": {"pitch": 4.0}, "by": "keyboard"}
    desk.session.report(causes=("the microphone is gone: /home/me/x.wav",), state="reconnecting")
    desk.settle()
    (delta,) = panel.events()  # no command did that: same revision, nobody's name
    assert delta["data"] == {"session": "reconnecting", "causes": ["the microphone is gone: x.wav"]}
    assert (delta["rev"], delta["seq"], "by" in delta) == (3, 3, False)
    deck.ask("set", pitch=6)
    desk.session.report(state="running", causes=())
    desk.settle()
    (delta,) = panel.events()  # one event for both: the one that nobody caused does not hide who caused the other
    assert (set(delta["data"]), delta["by"]) == ({"pitch", "session", "causes"}, "deck")
    panel.ask("subscribe", topics={"state": {}})
    (full,) = panel.events()
    assert full["full"]


def test_a_command_refuses_a_state_that_has_moved_on() -> None:
    desk = Desk()
    remote = desk.client()
    assert remote.ask_with("set", {"pitch": 1}, if_rev=0)["ok"]
    assert error(remote.ask_with("set", {"pitch": 2}, if_rev=0)) == ("conflict", "if_rev")
    assert error(remote.ask_with("batch", {"commands": [{"cmd": "ping"}]}, if_rev=0)) == ("conflict", "if_rev")
    assert desk.session.state().params.pitch_semitones == 1.0


@pytest.mark.parametrize(
    ("cmd", "params", "expected"),
    [
        ("set", {"pitch": 99}, ("out_of_range", "pitch")),
        ("set", {"pitch": 1, "formant": 99}, ("out_of_range", "formant")),
        ("set", {"pitch": "3"}, ("bad_type", "pitch")),
        ("set", {"pitch": True}, ("bad_type", "pitch")),
        ("set", {"mute": 1}, ("bad_type", "mute")),
        ("set", {"speaker": 1.5}, ("out_of_range", "speaker")),
        ("set", {"volume": 1}, ("unknown_field", "volume")),
        ("set", {"pitch": 1, "pitch_semitones": 2}, ("bad_request", "pitch")),
        ("set", {"pitch": None}, ("bad_type", "pitch")),
        ("set", {}, ("missing_field", "")),
        ("step", {"name": "pitch"}, ("missing_field", "by")),
        ("step", {"name": "pitch", "what": "pitch", "by": 1}, ("bad_request", "name")),
        ("step", {"name": "mute", "by": 1}, ("bad_request", "name")),
        ("step", {"name": "pitch", "by": 1e9}, ("out_of_range", "by")),
        ("step", {"name": "volume", "by": 1}, ("unknown_field", "name")),
        ("toggle", {"name": "pitch"}, ("bad_request", "name")),
        ("toggle", {"name": 7}, ("bad_type", "name")),
        ("voice", {"name": "robto"}, ("unknown_voice", "name")),
        ("voice", {"name": "/etc/passwd"}, ("unknown_voice", "name")),
        ("voice", {"name": "../woman"}, ("unknown_voice", "name")),
        ("voice", {"name": "woman", "step": 1}, ("bad_request", "")),
        ("voice", {"random": False}, ("bad_request", "")),
        ("voice", {"step": 1.5}, ("bad_type", "step")),
        ("voice", {}, ("bad_request", "")),
        ("hold", {"seconds": 0.5, "pitch": 1}, ("out_of_range", "seconds")),
        ("hold", {"seconds": 30}, ("missing_field", "")),
        ("hold", {"seconds": 30, "voice": "nobody"}, ("unknown_voice", "voice")),
        ("release", {"hold": "1"}, ("not_found", "hold")),
        ("block", {"ms": 50}, ("out_of_range", "ms")),
        ("block", {"ms": 80, "longer": True}, ("bad_request", "")),
        ("block", {"longer": True}, ("bad_request", "longer")),
        ("record", {"on": "yes"}, ("bad_type", "on")),
        ("get", {"names": ["pitch", "folder"]}, ("unknown_field", "names")),
        ("get", {"names": "pitch"}, ("bad_type", "names")),
        ("shout", {}, ("unknown_command", "")),
        ("auth", {"token": OWNER}, ("bad_request", "")),
        ("start", {}, ("forbidden", "")),
        ("stop", {}, ("forbidden", "")),
        ("subscribe", {"topics": {"noise": {}}}, ("unknown_field", "topics")),
        ("subscribe", {"topics": {"meters": {"hz": 99}}}, ("out_of_range", "hz")),
        ("subscribe", {"topics": {"meters": {"hz": True}}}, ("bad_type", "hz")),
        ("subscribe", {"topics": {"state": {"hz": 5}}}, ("unknown_field", "topics")),
        ("subscribe", {"topics": {"pairings": {}}}, ("forbidden", "topics")),
        ("unsubscribe", {"topics": ["noise"]}, ("unknown_field", "topics")),
        ("batch", {"commands": []}, ("out_of_range", "commands")),
        ("batch", {"commands": [{"cmd": "ping"}] * 33}, ("out_of_range", "commands")),
        ("batch", {"commands": ["ping"]}, ("bad_type", "commands")),
    ],
)
def test_what_is_wrong_is_named_and_changes_nothing(
    cmd: str, params: dict[str, Any], expected: tuple[str, str]
) -> None:
    desk = Desk()
    remote = desk.client()
    before = desk.session.state()
    reply = remote.ask(cmd, **params)
    assert error(reply) == expected
    assert reply["error"]["message"]
    assert desk.session.state() == before
    assert remote.close_code is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "true"), (None, "null"), ([False, 1.5], "[false,1.5]"), ({"a": None}, '{"a":null}'), ("3", "'3'")],
)
def test_messages_show_values_as_json_does(value: object, shown: str) -> None:
    message = Desk().client().ask("set", pitch=value)["error"]["message"]
    assert message == f"pitch is {shown}; it must be a number from -36 to 36"


def test_a_voice_that_was_added_meanwhile_is_found_and_the_nearest_is_named() -> None:
    desk = Desk()
    remote = desk.client()
    assert "did you mean 'robot'?" in remote.ask("voice", name="robto")["error"]["message"]
    desk.session.lists = MemorySession(["robto"]).lists
    assert remote.ask("voice", name="robto")["result"] == {"voice": "robto"}


def test_a_voice_given_by_path_is_known_by_its_name_only() -> None:
    desk = Desk()
    remote = desk.client()
    desk.session.do(SetVoice("/home/somebody/voices/mine.pth"), "keyboard")
    desk.settle()
    remote.ask("subscribe", topics={"state": {}})
    (full,) = remote.events("state")
    assert full["data"]["voice"] == full["data"]["sounding"] == "mine"
    assert "somebody" not in str(full)
    remote.ask("voice", name="woman")
    assert remote.ask("voice", name="mine")["result"] == {"voice": "mine"}
    assert desk.session.state().voice == "/home/somebody/voices/mine.pth"


def test_two_neural_voices_of_the_list_may_be_mixed() -> None:
    desk = Desk()
    desk.session.lists += [replace(info, kind="neural", name=f"n{info.name}") for info in desk.session.lists[1:3]]
    remote = desk.client()
    assert remote.ask("voice", name="nwoman+nman")["result"] == {"voice": "nwoman+nman"}
    assert desk.session.state().voice == "nwoman+nman"
    assert remote.ask("set", mix=0.25)["result"] == {"mix": 0.25}
    for name in ("nwoman+man", "woman+man", "nwoman+", "+", "nwoman+nman+nman", "../nwoman+nman"):
        assert remote.ask("voice", name=name)["error"]["code"] == "unknown_voice"


def test_a_batch_is_carried_out_in_order_and_ends_at_an_error() -> None:
    desk = Desk()
    remote = desk.client()
    commands = [
        {"cmd": "set", "params": {"pitch": 1}},
        {"cmd": "devices"},
        {"cmd": "set", "params": {"pitch": 2}},
    ]
    results = remote.ask("batch", commands=commands)["result"]["results"]
    assert [entry["ok"] for entry in results] == [True, False]
    assert results[1]["error"]["code"] == "not_in_batch"
    commands[1] = {"cmd": "voice", "params": {"name": "robto"}}
    results = remote.ask("batch", commands=commands, stop_on_error=False)["result"]["results"]
    assert [entry["ok"] for entry in results] == [True, False, True]
    assert desk.session.state().params.pitch_semitones == 2.0
    nested = remote.ask("batch", commands=[{"cmd": "batch", "params": {"commands": []}}])["result"]["results"]
    assert nested[0]["error"]["code"] == "not_in_batch"
    extra = remote.ask("batch", commands=[{"cmd": "ping", "id": 1}])["result"]["results"]
    assert extra[0]["error"]["code"] == "unknown_field"


@pytest.mark.parametrize("role", ["view", "control", "admin"])
def test_roles_may_do_what_the_table_says(role: str) -> None:
    desk = Desk()
    for name, spec in COMMANDS.items():
        remote = desk.client(role)
        if spec.role is not None:
            reply = remote.ask(name)
            is_refused = not reply["ok"] and reply["error"]["code"] == "forbidden"
            assert is_refused == (ROLES.index(role) < ROLES.index(spec.role)), name
        desk.hub.disconnect(remote.connection, desk.now_s)


def test_slow_commands_are_answered_when_done_and_one_at_a_time() -> None:
    desk = Desk(MemorySession(runs=False))
    first, second = desk.client("admin"), desk.client("admin")
    first.connection.receive('{"id":1,"cmd":"start","params":{"block_ms":60}}', desk.now_s)
    (effect,) = desk.hub.take_effects()
    assert first.events() == []
    assert error(second.ask("start"))[0] == "busy"
    assert error(second.ask("measure"))[0] == "busy"
    desk.hub.finish(effect, effect.run(), None, desk.now_s)
    (reply,) = first.events()
    assert reply["result"] == {"session": "running"}
    assert first.ask("get", names=["session", "block_ms"])["result"] == {"session": "running", "block_ms": 60.0}
    assert error(first.ask("start"))[0] == "running"
    assert error(first.ask("measure"))[0] == "running"
    assert error(first.ask("start", input="USB"))[0] == "failed"
    assert error(first.ask("start", block_ms=50)) == ("out_of_range", "block_ms")  # before anything is ended for it
    assert second.ask("stop")["result"] == {"session": "stopped"}
    assert second.ask("measure")["result"] == {"latency_ms": 21.5}
    desk.session.report(state="failed")
    assert second.ask("measure")["ok"]
    assert [error(second.ask("record", on=on))[0] for on in (True, False)] == ["not_running"] * 2
    assert error(second.ask("hold", seconds=5, pitch=1))[0] == "not_running"


def test_a_start_that_takes_long_can_be_stopped() -> None:
    desk = Desk(MemorySession(runs=False))
    first, second = desk.client("admin"), desk.client("admin")
    first.connection.receive('{"id":1,"cmd":"start"}', desk.now_s)
    (start,) = desk.hub.take_effects()
    second.connection.receive('{"id":1,"cmd":"stop"}', desk.now_s)
    second.connection.receive('{"id":2,"cmd":"stop"}', desk.now_s)
    (stop,) = desk.hub.take_effects()
    desk.hub.finish(stop, stop.run(), None, desk.now_s)
    desk.hub.finish(start, None, None, desk.now_s)  # it has given up
    (reply,) = first.events()
    assert error(reply)[0] == "failed"
    busy, reply = second.events()
    assert (error(busy)[0], reply["result"]) == ("busy", {"session": "stopped"})
    assert first.ask("start")["ok"]


def test_a_session_of_a_terminal_is_stopped_but_not_started() -> None:
    desk = Desk(MemorySession(can_start=False))
    remote = desk.client("admin")
    assert error(remote.ask("start", block_ms=60))[0] == "bad_request"
    assert remote.ask("stop")["ok"]
    assert error(remote.ask("measure"))[0] == "bad_request"


def test_failures_are_told_without_paths_and_faults_without_details() -> None:
    desk = Desk()
    remote = desk.client("admin")
    desk.session.error = FAILURE
    reply = remote.ask("start", block_ms=60)
    assert reply["error"] == {
        "code": "failed",
        "field": "",
        "message": "the microphone 'USB' cannot be opened; see log.txt",
    }
    desk.session.error = KeyError("/home/somebody/secret")
    for reply in (remote.ask("set", pitch=1), remote.ask("devices"), remote.ask("stop")):
        assert error(reply)[0] == "internal"
        assert "secret" not in str(reply)
    desk.session.error = None
    assert remote.ask("set", pitch=1)["ok"]
    assert remote.ask("stop")["ok"]


def test_lists_are_read_once_for_all_who_ask() -> None:
    desk = Desk()
    remotes = [desk.client("view") for _ in range(3)]
    desk.session.calls.clear()
    for remote in remotes:
        remote.connection.receive('{"id":7,"cmd":"devices"}', desk.now_s)
        remote.connection.receive('{"id":8,"cmd":"subscribe","params":{"topics":{"devices":{}}}}', desk.now_s)
    desk.settle()
    assert desk.session.calls == ["devices"]
    for remote in remotes:
        replies = {message.get("id"): message for message in remote.events()}
        names = [entry["name"] for entry in replies[7]["result"]["outputs"]]
        assert names == ["Virtual Cable", "Headphones"]
        assert replies[None]["data"] == replies[7]["result"]


def test_a_list_that_never_comes_hangs_nobody() -> None:
    desk = Desk()
    remote = desk.client("view")
    remote.connection.receive('{"id":1,"cmd":"devices"}', desk.now_s)
    (hanging,) = desk.hub.take_effects()
    assert desk.hub.next_due_s <= desk.now_s + 30
    for _ in range(2):  # whoever asks again is not left waiting either
        desk.wait(31)
        (reply,) = remote.events()
        assert error(reply) == ("failed", "")
        remote.connection.receive('{"id":2,"cmd":"devices"}', desk.now_s)
    assert desk.hub.take_effects() == []  # no second thread beside one that hangs
    desk.hub.finish(hanging, hanging.run(), None, desk.now_s)
    (reply,) = remote.events()
    assert reply["ok"]
    assert remote.ask("devices")["ok"]


def test_no_connection_fills_the_threads() -> None:
    desk = Desk()
    remote = desk.client("view")
    for number in range(6):
        remote.connection.receive(f'{{"id":{number},"cmd":"devices"}}', desk.now_s)
    codes = [message["error"]["code"] for message in remote.events()]
    assert codes == ["busy", "busy"]
    desk.settle()
    assert [message["id"] for message in remote.events()] == [0, 1, 2, 3]
    assert remote.ask("devices")["ok"]


def test_values_set_beside_one_another_do_not_collide() -> None:
    desk = Desk()
    one, other = desk.client(), desk.client()
    one.ask("set", pitch=1)
    other.ask("set", formant=2)
    desk.session.do(Set({"gain_db": -3.0}), "keyboard")
    desk.settle()
    assert desk.http("get", [("names", "pitch,formant,gain_db")], "view")[1]["result"] == {
        "pitch": 1.0,
        "formant": 2.0,
        "gain_db": -3.0,
    }
