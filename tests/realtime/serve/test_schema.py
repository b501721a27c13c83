"""docs/remote.md and the JSON Schema say what the core does: its tables, its examples, its messages."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import remote_docs
from altervox.realtime.serve.arguments import KEYS
from altervox.realtime.serve.commands import COMMANDS
from altervox.realtime.serve.schema import json_schema
from altervox.realtime.serve.topics import TOPICS
from jsonschema import Draft202012Validator
from remote_hub import OWNER, Desk, Remote
from remote_session import MemorySession

DOCS = (Path(__file__).resolve().parents[3] / "docs" / "remote.md").read_text(encoding="utf-8")
DIALOGUES = re.findall(r"^```json\n(.*?)^```", DOCS, flags=re.MULTILINE | re.DOTALL)
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def kind(name: str) -> Draft202012Validator:
    """Checks one kind of message."""
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})


@pytest.mark.parametrize("table", remote_docs.TABLES)
def test_tables_are_those_of_the_code(table: str) -> None:
    expected = "\n".join(remote_docs.TABLES[table]())
    assert f"\n\n{expected}\n\n" in DOCS, f"python tests/support/remote_docs.py prints it:\n{expected}"


def matches(said: Any, found: Any) -> bool:
    """Whether a message is what the docs say; "..." stands for any text, and for any further fields."""
    if isinstance(said, dict) and isinstance(found, dict):
        names = set(said) - {"..."}
        return (names == set(found) or ("..." in said and names < set(found))) and all(
            matches(said[name], found[name]) for name in names
        )
    if isinstance(said, list) and isinstance(found, list):
        return len(said) == len(found) and all(map(matches, said, found))
    return (said == "..." and isinstance(found, str)) or (said == found and type(said) is type(found))


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=range(len(DIALOGUES)))
def test_examples_are_what_is_answered(dialogue: str) -> None:
    desk = Desk()
    lines = [(line[0], json.loads(line[2:].replace('"TOKEN"', f'"{OWNER}"'))) for line in dialogue.splitlines()]
    first = lines[0][1]
    if "hello" in first:
        connection = desk.hub.connect(desk.now_s, "127.0.0.1")
        assert connection is not None
        remote = Remote(desk, connection)
    else:
        is_audio = first["cmd"].startswith("audio.")
        remote = desk.connect() if first["cmd"] == "pair" else desk.client("audio" if is_audio else "control")
    waiting: list[dict[str, Any]] = []
    for (side, message), (_, reply) in itertools.pairwise([*lines, ("", {})]):
        if side == ">":
            assert kind("command").is_valid(message) == reply.get("ok", True)
            remote.send(message)
            continue
        if not waiting:
            waiting += remote.events(after_s=0.0) or remote.events()
        if not waiting:  # the user answers
            panel = desk.client("admin")
            (pairing,) = panel.ask("pairings")["result"]["pairings"]
            panel.ask("pair_answer", id=pairing["id"], allow=True)
            waiting += remote.events(after_s=0.0)
        found = waiting.pop(0)
        VALIDATOR.validate(found)
        assert matches(message, found), f"the docs say {message}, the core says {found}"
    assert waiting == []


def test_the_keys_of_statistics_are_those_of_the_docs() -> None:
    desk = Desk()
    remote = desk.client()
    remote.ask("subscribe", topics={"stats": {}})
    (event,) = remote.events("stats")
    listed = re.search(r"^- `stats` has these keys .*?:\n(.*?)\. The others", DOCS, re.MULTILINE | re.DOTALL)
    assert listed
    assert re.findall(r"`(\w+)`", listed.group(1)) == list(event["data"])


def test_examples_are_seen() -> None:
    assert len(DIALOGUES) >= 5
    assert {command for command in COMMANDS if f'"cmd":"{command}"' in DOCS} >= {"auth", "pair", "set", "hold", "batch"}


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert len(json.dumps(SCHEMA)) < 65536


@pytest.mark.parametrize("runs", [True, False])
def test_all_that_is_sent_fits_the_schema_and_is_in_it(runs: bool) -> None:
    desk = Desk(MemorySession(runs=runs))
    panel = desk.client("admin")
    panel.ask("subscribe", topics={name: {} for name in TOPICS})
    panel.ask("set", pitch=1)
    panel.ask("hold", seconds=3, voice="robot")
    desk.connect().send({"id": 1, "cmd": "pair", "params": {"client": "deck"}})
    panel.ask("get")
    desk.wait(1)
    events = panel.events()
    assert {event["event"] for event in events} == set(TOPICS)
    known = {
        schema["properties"]["event"]["const"]: schema["properties"] for schema in SCHEMA["$defs"]["event"]["oneOf"]
    }
    for event in events:
        kind("event").validate(event)
        properties = known[event["event"]]
        assert set(event) <= set(properties)
        if isinstance(event["data"], dict):
            assert set(event["data"]) <= set(properties["data"]["properties"])


@pytest.mark.parametrize(
    "message",
    [
        {"id": 1, "cmd": "set", "params": {"pitch": 99}},
        {"id": 1, "cmd": "set", "params": {"volume": 1}},
        {"id": 1, "cmd": "set"},
        {"id": 1, "cmd": "set", "params": {}},
        {"id": 1, "cmd": "hold", "params": {"seconds": 3}},
        {"id": 1, "cmd": "step", "params": {"name": "pitch", "what": "pitch", "by": 1}},
        {"id": 1, "cmd": "step", "params": {"by": 1}},
        {"id": 1, "cmd": "voice", "params": {"step": 1.5}},
        {"id": 1, "cmd": "subscribe", "params": {"topics": {"meters": {"hz": 50}}}},
        {"id": 1, "cmd": "batch", "params": {"commands": [{"cmd": "stop"}]}},
        {"id": "x" * 65, "cmd": "ping"},
        {"cmd": "ping"},
        {"id": 1, "cmd": "ping", "pitch": 1},
        {"id": 1, "cmd": "shout"},
    ],
)
def test_the_schema_refuses_what_the_core_refuses(message: dict[str, Any]) -> None:
    assert not kind("command").is_valid(message)
    remote = Desk().client("admin")
    remote.send(message)
    (reply,) = remote.events()
    refused = [reply, *reply.get("result", {}).get("results", ())]
    assert any(not entry["ok"] for entry in refused)
    VALIDATOR.validate(reply)


@pytest.mark.parametrize("key", KEYS.values())
def test_limits_of_the_schema_are_those_of_the_core(key: str) -> None:
    limits = SCHEMA["$defs"]["parameters"]["properties"][key]
    assert limits["description"]
    remote = Desk().client()
    for value in (True, False) if limits["type"] == "boolean" else (limits["minimum"], limits["maximum"]):
        message = {"id": 1, "cmd": "set", "params": {key: value}}
        kind("command").validate(message)
        assert remote.ask("set", **{key: value})["result"] == {key: value}
