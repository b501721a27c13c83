"""The Voicemod-compatible API beyond what its clients do: what it refuses, bounds and shares with the session."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from altervox.kernels.errors import ServerError
from altervox.realtime.serve.voicemod.messages import PORTS, voice_id
from remote_session import MemorySession, voice
from remote_sockets import RawSocket, Served, serving, until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), voicemod_api=True, origins=("https://twitchat.fr",)) as found:
        yield found


def connected(served: Served, path: str = "/v1", **options: Any) -> ClientConnection:
    client: ClientConnection = connect(
        f"ws://127.0.0.1:{served.server.faces.voicemod_port}{path}", proxy=None, **options
    )
    return client


def ask(client: ClientConnection, action: str, **payload: Any) -> dict[str, Any]:
    """The answer to a request; events before it are dropped."""
    number = time.monotonic_ns()
    client.send(json.dumps({"id": str(number), "action": action, "payload": payload}))
    while (message := json.loads(client.recv(10.0))).get("id") != str(number):
        pass
    found: dict[str, Any] = message
    return found


def test_an_answer_has_all_forms_and_an_event_no_id(served: Served) -> None:
    with connected(served) as client:
        client.send('{"id":7,"action":"toggleMuteMic"}')
        answer, event = (json.loads(client.recv(10.0)) for _ in range(2))
        is_muted = answer["payload"]["value"]
        assert answer == {
            "id": 7,
            "actionID": 7,
            "actionId": 7,
            "action": "toggleMuteMic",
            "actionType": "toggleMuteMic",
            "appVersion": answer["appVersion"],
            "actionObject": {"value": is_muted},
            "payload": {"value": is_muted},
        }
        assert answer["appVersion"].startswith("altervox ")
        name = f"muteMicrophone{'Enabled' if is_muted else 'Disabled'}Event"
        said = {"action": name, "actionType": name, "appVersion": answer["appVersion"]}
        assert event == {**said, "actionObject": {"value": is_muted}, "payload": {"value": is_muted}}


def test_both_protocols_switch_the_same_session(served: Served) -> None:
    with connected(served) as client, served.client() as panel:
        panel.ask("set", bypass=False, mute=False)
        panel.ask("subscribe", topics={"state": {}})
        panel.event("state")
        ask(client, "toggleVoiceChanger")
        event = panel.event("state")
        assert (event["data"], event["by"]) == ({"bypass": True}, "Voicemod API")
        panel.ask("toggle", name="bypass")
        while json.loads(client.recv(10.0))["action"] != "voiceChangerEnabledEvent":
            pass
        assert ask(client, "getVoiceChangerStatus")["payload"]["value"] is True


def test_one_client_sees_what_another_does_without_sound(served: Served) -> None:
    with connected(served) as one, connected(served) as other:
        ask(other, "getUser")
        wanted = not ask(one, "getBackgroundEffectStatus")["payload"]["value"]
        assert ask(one, "toggleBackground")["payload"]["value"] is wanted
        assert json.loads(other.recv(10.0))["payload"]["value"] is wanted
        assert ask(other, "toggleBackground", value=wanted)["payload"]["value"] is wanted  # asks for what is already


def test_a_voice_that_is_chosen_while_the_changer_is_off_is_heard_once_it_is_on(served: Served) -> None:
    with connected(served) as client, served.client() as panel:
        panel.ask("set", bypass=True)
        ask(client, "loadVoice", voiceID=voice_id("robot"))
        assert panel.ask("get", names=["voice", "bypass"])["result"] == {"voice": "robot", "bypass": True}
        assert ask(client, "getCurrentVoice")["payload"]["voiceID"] == voice_id("robot")
        panel.ask("set", bypass=False)


def test_random_leaves_the_entry_without_effect(served: Served) -> None:
    with connected(served) as client, served.client() as panel:
        ask(client, "loadVoice", voiceID="nofx")
        assert ask(client, "getVoices")["payload"]["currentVoice"] == "nofx"
        ask(client, "selectRandomVoice", mode="CustomVoices")
        assert panel.ask("get", names=["bypass"])["result"] == {"bypass": False}
        assert ask(client, "getVoices")["payload"]["currentVoice"] != "nofx"


def test_the_list_has_new_voices_and_the_sessions_own(tmp_path: Path) -> None:
    session = MemorySession()
    with serving(tmp_path, session, voicemod_api=True) as served, connected(served) as client:
        session.lists.append(voice("newest"))
        assert ask(client, "loadVoice", voiceID="newest")["payload"]["status"]["code"] == "200"
        voices = ask(client, "getVoices")["payload"]["voices"]
        assert [entry["friendlyName"] for entry in voices][-1] == "newest"
        session.lists.pop()
        with served.client() as panel:
            panel.ask("voices")
        assert ask(client, "getVoices")["payload"]["voices"][-1]["id"] == voice_id("newest")  # it is still chosen


def test_a_beep_ends_with_its_client(served: Served) -> None:
    with served.client() as panel:
        panel.ask("set", mute=False)
        with connected(served) as client:
            ask(client, "setBeepSound", badLanguage=1)
            assert panel.ask("get", names=["mute"])["result"] == {"mute": True}
        until(lambda: panel.ask("get", names=["mute"])["result"] == {"mute": False})
        assert panel.ask("get", names=["holds"])["result"] == {"holds": []}


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "400", "no JSON"),
        ("{", "400", "no JSON"),
        ("[]", "400", "no JSON object"),
        ("{}", "400", "no action"),
        ('{"action":7}', "400", "no action"),
        ('{"action":"dance"}', "404", "no action 'dance'"),
        ('{"action":"loadVoice"}', "400", "needs voiceID"),
        ('{"action":"loadVoice","payload":{"voiceID":null}}', "400", "needs voiceID"),
        ('{"action":"loadVoice","payload":{"voiceID":{"a":1}}}', "400", "needs voiceID"),
        ('{"action":"loadVoice","payload":{"voiceID":"nobody"}}', "404", "no voice 'nobody'"),
        ('{"action":"getBitmap","payload":"x"}', "400", "needs voiceID"),
        ('{"action":"setBeepSound"}', "400", "needs badLanguage"),
        ('{"action":"setBeepSound","payload":{"badLanguage":[1]}}', "400", "needs badLanguage"),
        ('{"action":"setCurrentVoiceParameter"}', "400", "needs parameterName"),
        (
            '{"action":"setCurrentVoiceParameter","payload":{"parameterName":"mute","parameterValue":1}}',
            "404",
            "'mute'",
        ),
        ('{"action":"setCurrentVoiceParameter","payload":{"parameterName":"pitch"}}', "400", "needs parameterValue"),
        (
            '{"action":"setCurrentVoiceParameter","payload":{"parameterName":"pitch","parameterValue":{"value":99}}}',
            "400",
            "pitch is 99",
        ),
        (
            '{"action":"setCurrentVoiceParameter","payload":{"parameterName":"pitch","parameterValue":"nan"}}',
            "400",
            "needs parameterValue",
        ),
    ],
)
def test_what_is_wrong_is_answered_and_changes_nothing(served: Served, text: str, code: str, said: str) -> None:
    with connected(served) as client, served.client() as panel:
        before = panel.ask("get")["result"]
        client.send(text)
        answer = json.loads(client.recv(10.0))
        assert answer["payload"]["status"]["code"] == answer["actionObject"]["status"]["code"] == code
        assert said in answer["payload"]["status"]["description"] == answer["error"]
        assert panel.ask("get")["result"] == before
        assert ask(client, "getUser")["payload"]["userId"] == "altervox"


def test_too_much_closes_with_a_code_and_harms_nobody(served: Served) -> None:
    with served.client() as panel, connected(served) as well_behaved:
        for sent, code in (("x" * 70_000, 4413), (b"{}", 4400)):
            with connected(served) as client:
                client.send(sent)
                with suppress(ConnectionClosed):
                    while client.recv(10.0):
                        pass
                assert client.close_code == code
            assert panel.ask("ping")["ok"]
        assert ask(well_behaved, "getUser")


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [
        (None, True),
        ("http://localhost:5173", True),
        ("http://127.0.0.1", True),
        ("https://[::1]:8080", True),
        ("file://", True),
        ("https://twitchat.fr", True),
        ("https://example.org", False),
        ("http://localhost.example.org", False),
        ("null", False),
    ],
)
def test_pages_of_other_sites_are_refused(served: Served, origin: str | None, is_let_in: bool) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"} if origin and origin.startswith("http") else {}
    options: dict[str, Any] = {"origin": origin, "additional_headers": headers}
    if is_let_in:
        with connected(served, **options) as client:
            assert ask(client, "getUser")
    else:
        with pytest.raises(InvalidStatus) as refused:
            connected(served, **options)
        assert refused.value.response.status_code == 403


def test_the_log_says_once_which_page_was_refused(served: Served) -> None:
    with served.client() as panel:
        for _ in range(3):
            with pytest.raises(InvalidStatus):
                connected(served, origin="http://absolute")
        panel.ask("subscribe", topics={"log": {}})
        lines = [event["data"]["text"] for event in panel.rest() if event.get("event") == "log"]
    assert sum("'http://absolute'" in line and "--allow-origin" in line for line in lines) == 1


def test_other_names_of_this_computer_and_other_paths_are_refused(served: Served) -> None:
    port = served.server.faces.voicemod_port
    for method, path, headers in (
        ("GET", "/v1", ["Host: rebound.example.org"]),
        ("GET", "/v1", []),
        ("POST", "/v1/do/stop", []),
        ("GET", "/app.js", []),
    ):
        with RawSocket.open(port) as raw:
            raw.ask(method, path, *headers)
            assert raw.reply().status == 403


def test_it_takes_the_first_free_port_and_gives_it_back(tmp_path: Path) -> None:
    with ExitStack() as held:
        held.enter_context(suppress(OSError))
        for port in PORTS[:2]:
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        with serving(tmp_path, voicemod_api=True) as served:
            assert served.server.faces.voicemod_port in PORTS[2:]
            assert served.server.faces.described == [
                f"Voicemod-compatible API: port {served.server.faces.voicemod_port}"
            ]
            for port in PORTS:
                with suppress(OSError):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            with (
                pytest.raises(ServerError, match=r"all ports that its clients look at are taken"),
                serving(tmp_path / "second", voicemod_api=True),
            ):
                pass


def test_it_is_off_unless_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        assert served.server.faces.voicemod_port == 0
        assert served.server.faces.sockets == []
