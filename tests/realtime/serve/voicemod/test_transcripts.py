"""Dialogues with the families of clients of the Voicemod-compatible API, played by a WebSocket client to a real server.

What each client reads of an answer was taken from its published source or documentation; the files say what is
peculiar. Lines: > sent, < expected (fields that are not named may be there), ! a command by another client, ? the
session's state.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from altervox.realtime.serve.voicemod.messages import PORTS, voice_id
from remote_session import VOICES
from remote_sockets import Served, serving
from websockets.sync.client import ClientConnection, connect

TRANSCRIPTS = sorted((Path(__file__).parents[3] / "data" / "voicemod").glob("*.txt"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, voicemod_api=True, origins=("https://twitchat.fr",)) as found:
        yield found


def matches(found: Any, expected: Any, where: str = "message") -> None:
    """All that is expected is there; lists have as many items."""
    match expected:
        case dict():
            assert isinstance(found, dict), where
            for key, value in expected.items():
                assert key in found, f"{where} has no {key}: {str(found)[:500]}"
                matches(found[key], value, f"{where}.{key}")
        case list():
            assert isinstance(found, list), where
            assert len(found) == len(expected), where
            for at, (one, other) in enumerate(zip(found, expected, strict=True)):
                matches(one, other, f"{where}[{at}]")
        case "$png":
            assert base64.b64decode(found, validate=True).startswith(b"\x89PNG\r\n\x1a\n"), where
        case _:
            assert (found, type(found)) == (expected, type(expected)), where


def lines(path: Path) -> list[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    for name in VOICES:
        text = text.replace(f'"${name}"', f'"{voice_id(name)}"')
    return [(mark, rest) for mark, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def next_message(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(10.0))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, served: Served) -> None:
    script = lines(path)
    options = {name: text for name, text in script if name in ("path", "origin")}
    port = served.server.faces.voicemod_port
    assert port in PORTS
    url = f"ws://127.0.0.1:{port}{options['path']}"
    with connect(url, origin=options.get("origin"), proxy=None) as socket, served.client() as other:  # type: ignore[arg-type]
        played = 0
        for mark, text in script:
            match mark:
                case ">":
                    socket.send(text)
                case "<":
                    matches(next_message(socket), json.loads(text), f"{path.stem}: {text[:60]} ...")
                    played += 1
                case "!":
                    command = json.loads(text)
                    assert other.ask(command["cmd"], **command["params"])["ok"]
                case "?":
                    matches(other.ask("get")["result"], json.loads(text), f"{path.stem}: {text}")
        assert played >= 5
        with pytest.raises(TimeoutError):
            raise AssertionError(socket.recv(0.05))
    assert "Traceback" not in str(served.session.calls)


def test_there_is_one_for_every_family() -> None:
    assert {path.stem for path in TRANSCRIPTS} >= {
        *("castmate", "companion", "deckboard", "kruiz", "loupedeck", "mirabox", "sammi", "streamerbot", "twitchat")
    }
