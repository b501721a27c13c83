"""Requests over HTTP: pages, commands, buttons, and everything that is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from altervox.models.library import VoiceInfo
from altervox.realtime.serve.pages import FOLDER
from remote_session import MemorySession
from remote_sockets import UPGRADE, Served, serving, until

FOREIGN = "https://twitchat.fr"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, url_buttons=True, origins=(FOREIGN,), host_names=("studio.local",)) as found:
        yield found


def test_the_panel_and_its_policy(served: Served) -> None:
    page = served.http("GET", "/", token="")
    assert (page.status, page.body) == (200, (FOLDER / "index.html").read_bytes())
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Length"] == str(len(page.body))
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["frame-ancestors"] == "'self'"
    assert policy["connect-src"] == f"'self' ws://127.0.0.1:{served.port} wss://127.0.0.1:{served.port}"
    expected = {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Connection": "close",
    }
    assert expected.items() <= page.headers.items()
    assert "Server" not in page.headers


def test_every_file_of_the_panel_is_served_and_nothing_else(served: Served) -> None:
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
    for path in FOLDER.iterdir():
        page = served.http("GET", f"/{path.name}", token="")
        assert page.status == 200, path
        assert page.body == path.read_bytes()
        assert page.headers["Content-Type"].partition(";")[0] == kinds.get(path.suffix, page.headers["Content-Type"])
    for target in ("/../server.py", "/%2e%2e/server.py", "/server.py", "//etc/passwd", "/panel/index.html", "/index"):
        assert served.http("GET", target).status == 404, target


def test_a_page_that_the_browser_has_is_not_sent_again(served: Served) -> None:
    tag = served.http("GET", "/", token="").headers["ETag"]
    again = served.http("GET", "/", f"If-None-Match: {tag}", token="")
    assert (again.status, again.body) == (304, b"")
    assert served.http("GET", "/", 'If-None-Match: "older"', token="").status == 200
    head = served.http("HEAD", "/", token="")
    assert (head.status, head.body, head.headers["ETag"]) == (200, b"", tag)


def test_commands(served: Served) -> None:
    def do(target: str) -> object:
        reply = served.http("POST", f"/v1/do/{target}")
        assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json"), reply
        assert reply.headers["Cache-Control"] == "no-store"
        return reply.json["result"]

    assert do("set?pitch=3&mute=false") == {"pitch": 3.0, "mute": False}
    assert do("step?what=pitch&by=+1") == {"pitch": 4.0}
    assert do("step?name=pitch&by=-1.5") == {"pitch": 2.5}
    assert do("toggle?what=mute") == {"mute": True}
    assert do("toggle?what=mute") == {"mute": False}
    assert do("voice?name=%C3%84nnie%20%F0%9F%8E%A4") == {"voice": "Ännie 🎤"}
    assert do("voice?name=man") == {"voice": "man"}
    assert do("devices")
    state = served.http("GET", "/v1/state").json
    assert (state["data"]["pitch"], state["data"]["voice"]) == (2.5, "man")
    assert served.http("POST", f"/v1/do/set?pitch=0&if_rev={state['rev']}").status == 200
    assert served.http("POST", f"/v1/do/set?pitch=1&if_rev={state['rev']}").status == 409


def test_a_mix_is_chosen_by_an_address_with_a_plus(tmp_path: Path) -> None:
    session = MemorySession()
    session.lists = [VoiceInfo(name, "neural", 24000, "", None) for name in ("clara", "edgar", "a b", "a", "b")]
    with serving(tmp_path, session) as served:
        for written in ("clara+edgar", "clara%2Bedgar", "clara%20edgar"):
            assert served.http("POST", f"/v1/do/voice?name={written}").json["result"] == {"voice": "clara+edgar"}
        held = served.http("POST", "/v1/do/hold?seconds=5&voice=edgar+clara").json["result"]["values"]
        assert held["voice"] == "edgar+clara"
        assert served.http("POST", "/v1/do/voice?name=a+b").json["result"] == {"voice": "a b"}
        refused = served.http("POST", "/v1/do/voice?name=clara+nobody").json["error"]
        assert refused["code"] == "unknown_voice"


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("POST", "/v1/do/set?pitch=99", 400, "out_of_range"),
        ("POST", "/v1/do/set?pitch=nan", 400, "bad_type"),
        ("POST", "/v1/do/set?pitch=1&pitch=2", 400, "bad_request"),
        ("POST", "/v1/do/set?pitch", 400, "bad_request"),
        ("POST", "/v1/do/set?pitch=%ff", 400, "bad_request"),
        ("POST", "/v1/do/set?" + "&".join(f"a{n}=1" for n in range(65)), 400, "bad_request"),
        ("POST", "/v1/do/set?loudness=1", 400, "unknown_field"),
        ("POST", "/v1/do/set?token=x", 400, "bad_request"),
        ("POST", "/v1/do/set", 400, "missing_field"),
        ("POST", "/v1/do/dance", 404, "unknown_command"),
        ("POST", "/v1/do/voice?name=../../etc/passwd", 404, "unknown_voice"),
        ("POST", "/v1/do/subscribe", 400, "bad_request"),
        ("POST", "/v1/do/auth?token=x", 400, "bad_request"),
        ("POST", "/v1/do", 404, "not_found"),
        ("POST", "/v1/do/%ff", 400, "bad_request"),
        ("GET", "/v1/do/set?pitch=1", 405, "bad_request"),
        ("POST", "/", 405, "bad_request"),
        ("DELETE", "/v1/state", 405, "bad_request"),
        ("OPTIONS", "/v1/state", 405, "bad_request"),
        ("GET", "/v1", 400, "bad_request"),
        ("GET", "/v2", 404, "not_found"),
        ("GET", "/v1/picture/nobody", 404, "not_found"),
        ("GET", "/v1/picture/..%2f..%2fsecret", 404, "not_found"),
        ("GET", "http://127.0.0.1/", 400, "bad_request"),
        ("GET", "*", 400, "bad_request"),
    ],
)
def test_refused(served: Served, method: str, target: str, status: int, code: str) -> None:
    before = served.session.state()
    reply = served.http(method, target)
    assert (reply.status, reply.error["code"]) == (status, code)
    assert reply.error["message"]
    assert ("Allow" in reply.headers) == (status == 405)
    assert served.session.state() == before


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Authorization: Basic dXNlcjpwYXNz",),
        ("Authorization: Bearer",),
        ("Authorization: Bearer wrong-token",),
        ("Authorization: Bearer \xff\xfe",),
    ],
)
def test_without_the_token(served: Served, headers: tuple[str, ...]) -> None:
    for method, target in (("POST", "/v1/do/set?pitch=9"), ("GET", "/v1/state"), ("GET", "/v1/picture/woman")):
        reply = served.http(method, target, *headers, token="")
        assert reply.status in (401, 429)
        assert reply.error["code"] in ("auth_required", "denied", "wait")
    assert served.session.state().params.pitch_semitones != 9


def test_the_schema_needs_no_token(served: Served) -> None:
    schema = served.http("GET", "/v1/schema.json", token="")
    assert schema.status == 200
    assert "$schema" in schema.json


FORBIDDEN = [
    ("Host: evil.example",),
    ("Host: 127.0.0.1.evil.example:7788",),
    ("Host: 192.168.1.5",),
    ("Origin: https://evil.example",),
    ("Origin: null",),
    ("Origin: http://localhost:3000",),
    ("Sec-Fetch-Site: cross-site",),
    ("Sec-Fetch-Site: same-site",),
    ("Host: localhost", "Host: evil.example"),
]


@pytest.mark.parametrize("headers", FORBIDDEN, ids=" ".join)
def test_foreign_pages_and_foreign_names(served: Served, headers: tuple[str, ...]) -> None:
    before = served.session.state()
    targets = [("POST", "/v1/do/set?pitch=9"), ("GET", "/v1/state"), ("GET", "/"), ("GET", "/v1/schema.json")]
    for method, target in targets:
        reply = served.http(method, target, *headers)
        assert (reply.status, reply.error["code"]) == (403, "forbidden"), target
        assert "Access-Control-Allow-Origin" not in reply.headers
    for path in ("/", "/v1"):
        assert served.http("GET", path, *UPGRADE, *headers).status == 403
    assert served.session.state() == before


def test_a_link_to_the_panel_may_be_anywhere(served: Served) -> None:
    link = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
    assert served.http("GET", "/", *link, token="").status == 200
    assert served.http("GET", "/v1/state", *link).status == 403
    assert served.http("GET", "/", *link, "Host: evil.example", token="").status == 403


def test_an_allowed_page_of_another_site(served: Served) -> None:
    page = (f"Origin: {FOREIGN}", "Sec-Fetch-Site: cross-site")
    asked = served.http("OPTIONS", "/v1/do/set", *page, "Access-Control-Request-Headers: authorization", token="")
    assert asked.status == 204
    assert asked.headers["Access-Control-Allow-Headers"] == "Authorization"
    done = served.http("POST", "/v1/do/set?pitch=1", *page)
    assert (done.status, done.headers["Access-Control-Allow-Origin"]) == (200, FOREIGN)
    assert served.http("POST", "/v1/do/set?pitch=1", *page, token="wrong-token").status in (401, 429)
    with served.web_socket(*page) as raw:
        raw.send_json({"id": 1, "cmd": "auth", "params": {"token": served.token}})
        assert raw.message()["ok"]


def test_a_name_that_was_given(served: Served) -> None:
    page = served.http("GET", "/", "Host: Studio.local:7788", "Origin: http://studio.local:7788", token="")
    assert page.status == 200
    assert "ws://studio.local:7788" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "sent",
    [
        b'POST /v1/do/set?pitch=9 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"a": 1}\n',
        b"POST /v1/do/set?pitch=9 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999999999999\r\n\r\n",
        b"POST /v1/do/set?pitch=9 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/do/set?pitch=9 HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\nHost: localhost\n\n\0",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-\xff: 1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",  # TLS
        b"\r\n\r\n",
    ],
)
def test_what_is_no_request_or_has_a_body(served: Served, sent: bytes) -> None:
    before = served.session.state()
    with served.raw() as raw:
        raw.send(sent)
        reply = raw.reply()
    assert reply.status == 400
    assert "put the values into the address" in reply.error["message"]
    assert served.session.state() == before


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nCookie: " + b"a" * 9000, 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_a_request_that_is_too_long(served: Served, sent: bytes, status: int) -> None:
    with served.raw() as raw:
        raw.send(sent)
        assert raw.reply().status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (("Connection: Upgrade", "Upgrade: websocket"), 400),
        (("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"), 400),
        (("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 8", UPGRADE[3]), 400),
        (("Upgrade: websocket", *UPGRADE[2:]), 426),
    ],
)
def test_a_handshake_that_is_wrong_leaves_nothing(served: Served, headers: tuple[str, ...], status: int) -> None:
    shell = served.server._shell
    assert shell is not None
    assert served.http("GET", "/v1", *headers).status == status
    until(lambda: shell.call(lambda hub, now_s: len(hub.connections)) == 0)


def test_buttons(served: Served, tmp_path: Path) -> None:
    with served.client() as client:
        added = client.ask("button_add", label="up", cmd="step", params={"name": "pitch", "by": 1})["result"]
        path = added["path"]
        before = served.session.state().params.pitch_semitones
        pressed = served.http("GET", path, token="")
        assert (pressed.status, pressed.json["result"]) == (200, {"pitch": before + 1})
        assert pressed.headers["Cache-Control"] == "no-store"
        for headers in (("Sec-Purpose: prefetch",), ("Purpose: prefetch",), ("Sec-Fetch-Site: cross-site",)):
            assert served.http("GET", path, *headers, token="").status == 403
        for target in (path.replace("/up", "/down"), "/b/wrong/up", f"{path}/more", "/b", "/b/"):
            assert served.http("GET", target, token="").status in (401, 404, 429), target
        assert served.http("HEAD", path, token="").status == 405
        assert served.session.state().params.pitch_semitones == before + 1
        client.ask("button_remove", id=added["id"])
        assert served.http("GET", path, token="").status in (401, 429)
    with serving(tmp_path) as other, other.client() as client:
        refused = client.ask("button_add", label="up", cmd="toggle", params={"name": "mute"})["error"]
        assert "--url-buttons" in refused["message"]
        reply = other.http("GET", path, token="")
        assert (reply.status, reply.error["code"]) == (404, "not_found")
        assert "--url-buttons" in reply.error["message"]


def test_pictures(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "robot.png").write_bytes(PNG)
    (tmp_path / "pictures" / "secret.png").write_bytes(PNG)
    (tmp_path / "pictures" / "man.png").write_bytes(b"<script>")
    picture = served.http("GET", "/v1/picture/robot")
    assert (picture.status, picture.body, picture.headers["Content-Type"]) == (200, PNG, "image/png")
    for name in ("secret", "man", "woman", "..%2Fpictures%2Frobot", "robot.png"):
        assert served.http("GET", f"/v1/picture/{name}").status == 404, name


def test_errors_hold_no_internals(served: Served) -> None:
    served.session.error = RuntimeError("secret of /home/somebody/altervox/realtime")
    try:
        with served.client() as client:
            errors = [client.ask("start")["error"], client.ask("set", pitch=1)["error"]]
        errors.append(served.http("POST", "/v1/do/devices").error)
    finally:
        served.session.error = None
    assert [error["code"] for error in errors] == ["running", "internal", "internal"]
    assert "secret" not in json.dumps(errors)
