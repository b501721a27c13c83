"""Clients on real sockets: what they are sent, in what order, and how it ends."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from altervox.kernels.errors import ServerError
from altervox.realtime.serve.runtime import local_server
from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
from remote_session import MemorySession
from remote_sockets import Client, Served, serving, until
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.sync.client import connect
from websockets.typing import Subprotocol


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        yield found


def test_one_client_sees_what_another_does(served: Served) -> None:
    with served.client() as deck, served.client() as panel:
        panel.ask("subscribe", topics={"state": {}})
        assert panel.event("state")["full"] is True
        reply = deck.ask("set", pitch=3, mute=True)
        assert reply["result"] == {"pitch": 3.0, "mute": True}
        event = panel.event("state")
        assert event["data"] == {"pitch": 3.0, "mute": True}
        assert (event["rev"], event["by"]) == (reply["rev"], "test")
        served.session.report(causes=("the microphone is gone",))
        assert panel.event("state")["data"] == {"causes": ["the microphone is gone"]}
        served.session.report(causes=())


def test_slow_commands_do_not_delay_others(served: Served) -> None:
    served.session.slow_s = 0.5
    try:
        with served.client() as slow, served.client() as quick:
            began_s = time.monotonic()
            number = slow.send("measure") and slow.send("devices")
            for _ in range(5):
                assert quick.ask("ping")["ok"]
            assert time.monotonic() - began_s < 0.4
            while slow.next().get("id") != number:
                pass
            assert time.monotonic() - began_s >= 0.5
    finally:
        served.session.slow_s = 0.0


def test_meters_come_at_the_chosen_rate_to_everybody(served: Served) -> None:
    stopped = threading.Event()

    def measure() -> None:
        level = 0
        while not stopped.wait(0.02):
            level += 1
            served.session.report(input_peak_db=-float(level % 60))

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        with served.client() as often, served.client() as seldom:
            often.ask("subscribe", topics={"meters": {"hz": 20}})
            seldom.ask("subscribe", topics={"meters": {"hz": 5}})
            end, counts = time.monotonic() + 1.0, [0, 0]
            while time.monotonic() < end:
                often.event("meters")
                counts[0] += 1
            counts[1] = sum(message.get("event") == "meters" for message in seldom.rest())
    finally:
        stopped.set()
        thread.join()
    assert 8 <= counts[0] <= 23, counts
    assert 3 <= counts[1] <= 7, counts


def test_a_link_opens_the_panel_once(served: Served) -> None:
    link = served.server.panel_link()
    address, _, token = link.partition("#")
    assert address == f"http://127.0.0.1:{served.port}/"
    wanted = [Subprotocol("other"), Subprotocol("altervox.v1")]
    with Client(connect(f"ws://127.0.0.1:{served.port}", subprotocols=wanted, proxy=None)) as client:
        assert client.socket.subprotocol == "altervox.v1"
        kept = client.ask("auth", token=token, client="panel")["result"]["token"]
        assert kept != token
    with Client(connect(f"ws://127.0.0.1:{served.port}", proxy=None)) as client:
        assert client.ask("auth", token=token)["error"]["code"] == "denied"
        with pytest.raises(ConnectionClosed):
            client.next()
        assert client.socket.close_code == 4401


@pytest.mark.parametrize(
    ("opcode", "data", "code"),
    [
        (Opcode.BINARY, b"{}", 4400),
        (Opcode.TEXT, b"{", 4400),
        (Opcode.TEXT, b'{"id":1,"id":2,"cmd":"ping"}', 4400),
        (Opcode.TEXT, b'{"id":1,"cmd":"set","params":{"pitch":NaN}}', 4400),
        (Opcode.TEXT, b"[" * 60_000, 4400),
        (Opcode.TEXT, b"\xff\xfe", 1007),
        (Opcode.TEXT, b'{"id":1,"cmd":"ping","params":{"a":"' + b"x" * 70_000 + b'"}}', 4413),
        (Opcode.TEXT, b"x" * 140_000, 1009),
        (Opcode.CONT, b"", 1002),
        (Opcode.CLOSE, b"\x03", 1002),
    ],
)
def test_bad_messages_close_with_a_documented_code(served: Served, opcode: Opcode, data: bytes, code: int) -> None:
    with served.web_socket() as raw:
        raw.send_frame(opcode, data)
        assert raw.close_code() == code
        assert raw.is_closed()


def test_frames_that_no_client_sends(served: Served) -> None:
    with served.web_socket() as raw:
        raw.send(b"\x81\x02{}")  # not masked
        assert raw.close_code() == 1002
    with served.web_socket() as raw:
        raw.send(b"\xf1\x80\0\0\0\0")  # reserved bits
        assert raw.close_code() == 1002
    with served.web_socket() as raw:
        raw.send(b"\x89\xfe\0\x7e\0\0\0\0" + b"x" * 126)  # a ping must be shorter
        assert raw.close_code() == 1002
    with served.web_socket() as raw:
        raw.send(b"\x81\xff" + (1 << 62).to_bytes(8, "big") + b"\0\0\0\0")  # claims 4 EiB
        assert raw.close_code() == 1009


def test_a_client_that_ignores_its_close_is_cut_off(served: Served) -> None:
    shell = served.server._shell
    assert shell is not None
    until(lambda: not shell.sockets)
    staying = [served.web_socket() for _ in range(3)]
    for raw, frame in zip(staying, (b"\x81\x02{}", b"\x82\x80\0\0\0\0", b"\x81\x81\0\0\0\0\xff"), strict=True):
        raw.send(frame)
    until(lambda: not shell.sockets, 4.0)
    for raw in staying:
        raw.tcp.close()


def test_a_message_in_pieces_is_one_message(served: Served) -> None:
    text = json.dumps({"id": "x", "cmd": "auth", "params": {"token": served.token}}).encode()
    with served.web_socket() as raw:
        pieces = [text[at : at + 7] for at in range(0, len(text), 7)]
        for number, piece in enumerate(pieces):
            raw.send_frame(Opcode.CONT if number else Opcode.TEXT, piece, number == len(pieces) - 1)
            raw.send_frame(Opcode.PING, b"between")
        assert raw.message()["result"]["role"] == "admin"
        for number in range(40):  # that never ends
            raw.send_frame(Opcode.CONT if number else Opcode.TEXT, b" " * 4000, False)
        assert raw.close_code() == 1009


def test_clients_that_vanish_leave_nothing(served: Served) -> None:
    shell = served.server._shell
    assert shell is not None
    until(lambda: not shell.sockets)
    for data in (b"", b"GET / HT", b"GET /v1 HTTP/1.1\r\nHost: x\r\n"):
        with served.raw() as raw:
            raw.send(data)
    for frame in (b"", b"\x81", b"\x81\xfe\xff\xff\0\0\0\0half a mess"):
        raw = served.web_socket()
        raw.send(frame)
        raw.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset rather than an end
        raw.tcp.close()
    until(lambda: not shell.sockets)
    assert shell.call(lambda hub, now_s: len(hub.connections)) == 0
    with served.client() as client:
        assert client.ask("ping")["ok"]


def test_the_end_closes_clients_and_frees_the_port(tmp_path: Path) -> None:
    session = MemorySession()
    with serving(tmp_path, session) as served:
        port = served.port
        client, waiting, idle = served.client(), served.client(), served.raw()
        session.slow_s = 30.0
        waiting.send("measure")
        request = served.raw()
        request.ask("POST", "/v1/do/devices", f"Authorization: Bearer {served.token}")
        deaf = served.web_socket()
        deaf.send_json({"id": 1, "cmd": "auth", "params": {"token": served.token}})
        until(lambda: {"devices"} <= set(session.calls))
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 4.0
    for each in (client, waiting):
        assert not [message for message in each.rest() if "event" in message]
        assert each.socket.close_code == 4503
    assert request.reply().status == 503
    assert idle.is_closed()
    assert deaf.close_code() == 4503
    with socket.create_server(("127.0.0.1", port)):
        pass
    for raw in (idle, request, deaf):
        raw.tcp.close()


def test_a_second_server_on_the_port_is_refused(served: Served) -> None:
    settings = ServerSettings(port=served.port)
    with pytest.raises(ServerError, match="is taken by another program"), RemoteServer(MemorySession(), settings):
        pass
    with served.client() as client:
        assert client.ask("ping")["ok"]


def test_programs_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as served:
        found = local_server(served.port)
        assert (found.token, found.socket_url) == (served.token, f"ws://127.0.0.1:{served.port}/v1")
        assert list((tmp_path / "runtime").glob("*.json"))
    assert not list((tmp_path / "runtime").iterdir())


def test_no_token_is_ever_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("", "altervox", "websockets", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    with serving(tmp_path, url_buttons=True) as served:
        link = served.server.panel_link()
        with served.client() as client:
            button = client.ask("button_add", label="up", cmd="step", params={"name": "pitch", "by": 1})["result"]
            client.ask("set", pitch=2)
        for target in (button["path"], "/v1/state", f"/v1/state?token={served.token}", "/b/wrong-token/up"):
            served.http("GET", target)
        served.http("GET", "/v1/state", token="wrong-token")
        with served.web_socket() as raw:
            raw.send_json({"id": 1, "cmd": "auth", "params": {"token": "wrong-token"}})
            assert raw.close_code() == 4401
        secrets = [served.token, link.partition("#")[2], button["token"], "wrong-token"]
    texts = [record.getMessage() for record in caplog.records if not record.name.startswith("websockets.client")]
    assert not [text for text in texts for secret in secrets if secret in text]
    written = (tmp_path / "remote.json").read_text()
    assert not [secret for secret in secrets if secret in written]


@pytest.mark.linux
def test_tls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    both = tmp_path / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-days", "9", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, *names, "-keyout", str(both), "-out", str(tmp_path / "cert.pem")], check=True, stderr=-3)
    both.write_bytes((tmp_path / "cert.pem").read_bytes() + both.read_bytes())
    with serving(tmp_path, certificate=both) as served:
        found = local_server()
        assert served.server.panel_link().startswith(f"https://127.0.0.1:{served.port}/#")
        assert "PRIVATE" not in found.certificate
        trusting = ssl.create_default_context(cadata=found.certificate)
        with Client(connect(found.socket_url, ssl=trusting, proxy=None)) as client:
            assert client.ask("auth", token=found.token)["ok"]
            strangers = [served.raw() for _ in range(60)]  # none of them begins with TLS
            for raw in strangers[::2]:
                raw.ask("GET", "/")
                assert raw.is_closed()
            assert client.ask("ping")["ok"]
            for raw in strangers:
                raw.tcp.close()
            agreed = ssl.create_default_context(cadata=found.certificate)
            begun = [agreed.wrap_socket(served.raw().tcp, server_hostname="127.0.0.1") for _ in range(20)]
            assert client.ask("ping")["ok"]
            for each in begun:
                each.close()
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.linux
def test_who_does_not_read_delays_nobody_and_takes_no_memory(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("altervox.realtime.serve.tcp._UNREAD_S", 1.0)
    shell = served.server._shell
    assert shell is not None
    until(lambda: not shell.sockets)
    deaf = served.web_socket()
    deaf.send_json({"id": 1, "cmd": "auth", "params": {"token": served.token}})
    deaf.send_json({"id": 2, "cmd": "subscribe", "params": {"topics": {"state": {}, "meters": {"hz": 20}, "log": {}}}})
    most, round_trips = 0, list[float]()
    with served.client() as client:
        client.ask("set", pitch=0)
        until(lambda: len(shell.sockets) == 2)
        end = time.monotonic() + 8.0
        while len(shell.sockets) == 2:
            assert time.monotonic() < end, "it was never cut off"
            served.session.report(causes=(*(9 * ["x" * 900]), str(len(round_trips))))
            began_s = time.monotonic()
            client.ask("ping")
            round_trips.append(time.monotonic() - began_s)
            most = max([most, *(socket.transport.get_write_buffer_size() for socket in list(shell.sockets))])
            time.sleep(0.005)  # 200 commands a second are allowed
        assert client.ask("ping")["ok"]
    deaf.tcp.close()
    served.session.report(causes=())
    assert 0 < most < 20_000, "one message, and what was answered to it"
    assert sorted(round_trips)[len(round_trips) // 2] < 0.05


def test_the_asyncio_debug_mode_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Calls from wrong threads and coroutines that nobody awaited would be logged."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    caplog.set_level(logging.WARNING)
    with serving(tmp_path) as served:
        with served.client() as client:
            client.ask("subscribe", topics={"state": {}, "voices": {}, "devices": {}, "meters": {}, "stats": {}})
            for pitch in range(20):
                client.ask("set", pitch=pitch)
        served.http("GET", "/")
    assert not [text for record in caplog.records if "took" not in (text := record.getMessage())]  # slow ones
