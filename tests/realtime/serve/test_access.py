"""Tokens, pairing, the panel's link and buttons: who gets in, and what is kept."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from altervox.realtime.serve.access import MOST_BUTTONS, MOST_CLIENTS, PANEL_LINK_S, Access
from altervox.realtime.serve.errors import RemoteError
from remote_hub import OWNER, PEER, Desk, Remote

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 50).decode()


def ask_to_pair(desk: Desk, name: str = "deck", **more: object) -> Remote:
    remote = desk.connect()
    remote.send({"id": "p", "cmd": "pair", "params": {"client": name, **more}})
    return remote


def test_a_program_is_paired_by_the_panel(tmp_path: Path) -> None:
    desk = Desk(file=tmp_path / "remote.json")
    panel = desk.client("admin", "panel")
    panel.ask("subscribe", topics={"pairings": {}})
    assert panel.events("pairings")[0]["data"] == []
    remote = ask_to_pair(desk, icon=PNG)
    (asked,) = remote.events()
    (event,) = panel.events("pairings")
    (shown,) = event["data"]
    assert (asked["event"], asked["data"]["seconds"]) == ("pairing", 60.0)
    assert (shown["client"], shown["code"], shown["icon"]) == ("deck", asked["data"]["code"], PNG)
    assert len(shown["code"]) == 6
    desk.wait(30)  # longer than authentication may take
    assert panel.ask("pair_answer", id=shown["id"], allow=True, role="view")["ok"]
    (reply,) = remote.events()
    assert (reply["id"], reply["ok"], reply["result"]["role"]) == ("p", True, "view")
    assert remote.ask("set", pitch=1)["error"]["code"] == "forbidden"
    assert panel.events("pairings")[-1]["data"] == []
    token = reply["result"]["token"]
    later = Desk(file=tmp_path / "remote.json").connect()
    assert later.ask("auth", token=token)["result"] == {"role": "view", "client": "deck"}
    assert token not in (tmp_path / "remote.json").read_text()


def test_nobody_is_paired_without_the_panel() -> None:
    desk = Desk()
    refused, late, gone = (ask_to_pair(desk, name) for name in ("refused", "late", "gone"))
    panel, deck = desk.client("admin"), desk.client("control")
    panel.ask("subscribe", topics={"pairings": {}})
    pairings = panel.ask("pairings")["result"]["pairings"]
    assert [entry["client"] for entry in pairings] == ["refused", "late", "gone"]
    assert deck.ask("pair_answer", id=pairings[0]["id"], allow=True)["error"]["code"] == "forbidden"
    assert panel.ask("pair_answer", id="forged", allow=True)["error"]["code"] == "not_found"
    assert refused.ask("set", pitch=1)["error"]["code"] == "busy"
    assert refused.ask("pair", client="again")["error"]["code"] == "busy"
    assert panel.ask("pair_answer", id=pairings[0]["id"], allow=False)["ok"]
    assert panel.ask("pair_answer", id=pairings[0]["id"], allow=True)["error"]["code"] == "not_found"
    panel.events()
    desk.hub.disconnect(gone.connection, desk.now_s)
    desk.wait(0.1)
    assert [entry["client"] for entry in panel.events("pairings")[-1]["data"]] == ["late"]
    assert len(panel.ask("pairings")["result"]["pairings"]) == 1
    desk.wait(61)
    (answer,) = [message for message in refused.events() if message.get("id") == "p"]
    assert (answer["error"]["code"], refused.close_code) == ("denied", 4401)
    (answer,) = [message for message in late.events() if message.get("id") == "p"]
    assert (answer["error"]["code"], late.close_code) == ("timeout", 4408)
    assert desk.access.clients == tuple(client for client in desk.access.clients if client.name == "deck")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"client": ""}, "out_of_range"),
        ({"client": "\x1b[2J\u202e"}, "out_of_range"),
        ({"client": "x" * 61}, "out_of_range"),
        ({"client": "deck", "icon": "no base64"}, "out_of_range"),
        ({"client": "deck", "icon": base64.b64encode(b"<svg onload=x>").decode()}, "out_of_range"),
        ({"client": "deck", "icon": "A" * 40_000}, "out_of_range"),
        ({"client": "deck", "role": "admin"}, "out_of_range"),
        ({}, "missing_field"),
    ],
)
def test_what_cannot_be_shown_is_not_asked(params: dict[str, object], code: str) -> None:
    desk = Desk()
    assert desk.connect().ask("pair", **params)["error"]["code"] == code
    assert desk.client("admin").ask("pairings")["result"] == {"pairings": []}


def test_questions_do_not_pile_up() -> None:
    desk = Desk()
    for _ in range(3):
        ask_to_pair(desk)
    assert desk.connect().ask("pair", client="deck")["error"]["code"] == "too_many"
    panel = desk.client("admin")
    for entry in panel.ask("pairings")["result"]["pairings"]:
        panel.ask("pair_answer", id=entry["id"], allow=False)
    assert desk.connect().ask("pair", client="deck")["error"]["code"] == "wait"
    desk.wait(31)
    ask_to_pair(desk)
    assert len(panel.ask("pairings")["result"]["pairings"]) == 1


def test_a_revoked_client_is_out_at_once() -> None:
    desk = Desk()
    panel, deck = desk.client("admin"), desk.client("control", "deck")
    (entry,) = panel.ask("clients")["result"]["clients"]
    assert (entry["name"], entry["role"], entry["kind"], entry["connections"]) == ("deck", "control", "paired", 1)
    assert "digest" not in entry
    assert panel.ask("client_remove", id=entry["id"])["ok"]
    assert deck.close_code == 4401
    assert panel.ask("client_remove", id=entry["id"])["error"]["code"] == "not_found"
    assert panel.ask("client_remove", id="owner")["error"]["code"] == "not_found"
    assert panel.ask("ping")["ok"]


def test_the_panels_link_works_once_and_the_browser_stays(tmp_path: Path) -> None:
    desk = Desk(file=tmp_path / "remote.json")
    desk.hub.set_panel_address("http://127.0.0.1:7788/")
    link = desk.client("admin").ask("panel_link")["result"]
    assert link["url"] == f"http://127.0.0.1:7788/#{link['token']}"
    with pytest.raises(RemoteError, match="wrong"):  # by HTTP, where nobody would keep the new token
        desk.hub.authenticate(link["token"], PEER, desk.now_s)
    first = desk.connect()
    result = first.ask("auth", token=link["token"], client="Firefox")["result"]
    assert (result["role"], result["client"]) == ("admin", "Firefox")
    assert desk.connect().ask("auth", token=link["token"])["error"]["code"] == "denied"
    assert desk.connect().ask("auth", token=result["token"])["result"] == {"role": "admin", "client": "Firefox"}
    again = Desk(file=tmp_path / "remote.json").connect().ask("auth", token=result["token"])
    assert again["result"]["role"] == "admin"


def test_the_panels_link_is_not_used_up_in_vain(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    desk = Desk(file=tmp_path / "file" / "remote.json")
    token = desk.hub.panel_link_token(desk.now_s)
    assert desk.connect().ask("auth", token=token)["error"]["code"] == "failed"
    (tmp_path / "file").unlink()
    assert desk.connect().ask("auth", token=token)["ok"]


def test_the_panels_link_expires() -> None:
    desk = Desk()
    token = desk.hub.panel_link_token(desk.now_s)
    desk.wait(PANEL_LINK_S + 1)
    assert desk.connect().ask("auth", token=token)["error"]["code"] == "denied"


def test_browsers_make_room_for_one_another() -> None:
    desk = Desk()
    tokens = []
    for number in range(20):
        token = desk.hub.panel_link_token(desk.now_s)
        remote = desk.connect()
        tokens.append(remote.ask("auth", token=token, client=f"browser {number}")["result"]["token"])
    assert len(desk.access.clients) == 16
    assert desk.connect().ask("auth", token=tokens[-1])["ok"]


def test_numbers_of_clients_and_buttons_are_limited() -> None:
    access = Access(OWNER)
    for _ in range(MOST_CLIENTS):
        access.add_client("deck", "view", "paired")
    with pytest.raises(RemoteError, match="64 clients already"):
        access.add_client("deck", "view", "paired")
    for _ in range(MOST_BUTTONS):
        access.add_button("mute", "toggle", {"name": "mute"})
    with pytest.raises(RemoteError, match="64 buttons already"):
        access.add_button("mute", "toggle", {"name": "mute"})


def test_servers_of_one_user_share_their_clients(tmp_path: Path) -> None:
    file = tmp_path / "remote.json"
    one, other = Access(OWNER, file), Access(OWNER, file)
    deck, token = one.add_client("deck", "control", "paired")
    assert other.authenticate(token, PEER, 0.0)[0].name == "deck"
    other.add_button("mute", "toggle", {"name": "mute"})
    one.add_client("bot", "control", "paired")
    assert [client.name for client in Access(OWNER, file).clients] == ["deck", "bot"]
    assert [button.label for button in one.buttons] == ["mute"]
    other.remove_client(deck.id)
    with pytest.raises(RemoteError, match="revoked"):
        one.authenticate(token, PEER, 0.0)


@pytest.mark.linux
def test_only_the_user_can_read_the_file(tmp_path: Path) -> None:
    file = tmp_path / "altervox" / "remote.json"
    access = Access(OWNER, file)
    before = os.umask(0)
    try:
        access.add_client("deck", "control", "paired")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["remote.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"clients": [], "buttons": 7}',
        b'{"clients": [{}], "buttons": []}',
        b'{"clients": [{"id": 1, "name": "x", "role": "root", "kind": "paired"}], "buttons": []}',
        b'{"clients": [{"id": "a", "name": "x", "role": "admin", "kind": "owner"}], "buttons": []}',
        b'{"clients": [], "buttons": [{"id": "a", "label": "x", "cmd": "stop", "params": [], "digest": ""}]}',
        b"[" * 100_000,
        b'{"clients": [{"id": "a", "name": "x", "role": "admin", "kind": "paired", "digest": 7}], "buttons": []}',
    ],
)
def test_a_damaged_file_is_kept_aside_and_lets_nobody_in(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "remote.json"
    file.write_bytes(content)
    access = Access(OWNER, file)
    assert (access.clients, access.buttons) == ((), ())
    assert (tmp_path / "remote.json.damaged").read_bytes() == content
    with pytest.raises(RemoteError):
        access.authenticate("", PEER, 0.0)
    access.add_client("deck", "control", "paired")
    assert [client.name for client in Access(OWNER, file).clients] == ["deck"]


def test_what_cannot_be_written_has_not_happened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    desk = Desk(file=tmp_path / "file" / "remote.json")
    remote = ask_to_pair(desk)
    panel = desk.client("admin")
    (entry,) = panel.ask("pairings")["result"]["pairings"]
    reply = panel.ask("pair_answer", id=entry["id"], allow=True)
    assert reply["error"]["code"] == "failed"
    assert str(tmp_path) not in reply["error"]["message"]
    assert len(panel.ask("pairings")["result"]["pairings"]) == 1
    assert remote.close_code is None


def test_a_button_does_one_thing_until_it_is_removed(tmp_path: Path) -> None:
    desk = Desk(file=tmp_path / "remote.json")
    panel = desk.client("admin")
    made = panel.ask("button_add", label="robot-30s", cmd="hold", params={"seconds": 30, "voice": "robot"})["result"]
    assert made["path"] == f"/b/{made['token']}/robot-30s"

    def press(desk: Desk, token: str, label: str) -> tuple[int, str]:
        answers: list[tuple[int, dict[str, object]]] = []
        desk.hub.do_button(token, label, PEER, desk.now_s, lambda status, body: answers.append((status, body)))
        desk.settle()
        ((status, body),) = answers
        return status, json.dumps(body)

    assert press(desk, made["token"], "robot-30s")[0] == 200
    assert desk.session.state().voice == "robot"
    assert press(desk, made["token"], "other")[0] == 401
    assert press(desk, OWNER, "robot-30s")[0] == 401
    assert desk.connect().ask("auth", token=made["token"])["error"]["code"] == "denied"
    assert made["token"] not in (tmp_path / "remote.json").read_text()
    later = Desk(file=tmp_path / "remote.json")
    assert press(later, made["token"], "robot-30s")[0] == 200
    (listed,) = panel.ask("buttons")["result"]["buttons"]
    assert listed == {
        "id": made["id"],
        "label": "robot-30s",
        "cmd": "hold",
        "params": {"seconds": 30, "voice": "robot"},
    }
    assert panel.ask("button_remove", id=made["id"])["ok"]
    assert press(desk, made["token"], "robot-30s")[0] == 401
    assert panel.ask("button_remove", id=made["id"])["error"]["code"] == "not_found"


def test_there_are_no_buttons_unless_asked_for() -> None:
    desk = Desk(has_buttons=False)
    connection = desk.hub.connect(desk.now_s, PEER)
    assert connection is not None
    assert "buttons" not in json.loads(connection.pull(desk.now_s) or "")["hello"]["features"]
    reply = desk.client("admin").ask("button_add", label="mute", cmd="toggle", params={"name": "mute"})
    assert "--url-buttons" in reply["error"]["message"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"label": "../x", "cmd": "toggle", "params": {"name": "mute"}}, "out_of_range"),
        ({"label": "", "cmd": "toggle", "params": {"name": "mute"}}, "out_of_range"),
        ({"label": "x", "cmd": "toggle"}, "missing_field"),
        ({"label": "x", "cmd": "toggle", "params": {"name": "mute", "x": 1}}, "unknown_field"),
        ({"label": "x", "cmd": "stop"}, "bad_request"),
        ({"label": "x", "cmd": "get"}, "bad_request"),
        ({"label": "x", "cmd": "batch", "params": {"commands": [{"cmd": "ping"}]}}, "bad_request"),
        ({"label": "x", "cmd": "shout"}, "unknown_command"),
    ],
)
def test_what_makes_no_button_is_refused(params: dict[str, object], code: str) -> None:
    desk = Desk()
    assert desk.client("admin").ask("button_add", **params)["error"]["code"] == code
    assert desk.access.buttons == ()
