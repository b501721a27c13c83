"""Requests of foreign web pages and under foreign names are distinguished from those of the panel and of programs."""

from __future__ import annotations

from typing import Any

import pytest
from altervox.realtime.serve.origin import OriginCheck
from altervox.realtime.serve.settings import ServerSettings

OPEN = {"bind": "0.0.0.0", "token": "correct-horse-battery"}


def refusal(settings: dict[str, Any] | None = None, **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return OriginCheck(ServerSettings(**(settings or {}))).refusal(named)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:7788", "localhost:7788", "LOCALHOST:7788", "localhost.:9000", "localhost", "[::1]:7788", "127.0.0.9:1"],
)
def test_names_of_this_computer(host: str) -> None:
    assert refusal(host=host) == ""
    assert refusal(host=host, origin=f"http://{host}".lower(), sec_fetch_site="same-origin") == ""


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example:7788",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.1.5:7788",
        "localhost:7788@evil.example",
        "localhost/",
        "localhost:7788:1",
        "localhost, evil.example",
        "[::ffff:8.8.8.8]:1",
        "[",
        "[]",
        "loc\u212aalhost",
        " localhost",
    ],
)
def test_a_foreign_name_is_refused(host: str) -> None:
    assert "is not known as" in refusal(host=host, origin=f"http://{host}")


def test_no_host_at_all() -> None:
    assert "is not known as" in refusal()


def test_names_that_were_given_and_addresses_that_are_served() -> None:
    assert refusal({"host_names": ("Studio.local",)}, host="studio.local:7788") == ""
    assert refusal(OPEN, host="192.168.1.5:7788") == ""
    assert "is not known as" in refusal(OPEN, host="studio.local:7788")
    assert refusal({**OPEN, "bind": "192.168.1.5"}, host="192.168.1.5") == ""


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://localhost:3000",  # another program's page on this computer
        "http://127.0.0.1:7788",  # not the name that was asked for
        "http://localhost:7788.evil.example",
        "file://",
        "chrome-extension://abc",
        "localhost:7788",
    ],
)
def test_a_foreign_origin_is_refused(origin: str) -> None:
    assert "may not control" in refusal(host="localhost:7788", origin=origin)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Cross-Site", "", "unheard-of"])
def test_a_foreign_site_is_refused(site: str) -> None:
    assert "other web pages" in refusal(host="localhost:7788", sec_fetch_site=site)


def test_an_origin_that_was_allowed() -> None:
    settings = {"origins": ("https://Twitchat.fr", "null")}
    for origin in ("https://twitchat.fr", "null"):
        assert refusal(settings, host="localhost:7788", origin=origin, sec_fetch_site="cross-site") == ""
    assert refusal(settings, host="evil.example", origin="https://twitchat.fr") != ""
    assert refusal(settings, host="localhost:7788", origin="https://twitchat.fr.evil.example") != ""


def test_what_is_said_is_fit_for_a_terminal() -> None:
    said = refusal(host="\x1b[31m" + "x" * 9000)
    assert said.isprintable()
    assert len(said) < 250
