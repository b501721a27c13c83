"""Whatever arrives: the core never raises, answers each message once, stays within its bounds, and changes a session
by valid commands only."""

from __future__ import annotations

import json
from typing import Any

from altervox.kernels.errors import ParameterError
from altervox.realtime.serve.arguments import KEYS
from altervox.realtime.serve.commands import COMMANDS
from altervox.realtime.serve.errors import CLOSE_CODES, ERRORS
from altervox.realtime.serve.topics import TOPICS
from altervox.realtime.session.commands import Set
from altervox.realtime.session.state import PARAMETERS, SessionState
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from remote_hub import Desk, Remote
from remote_session import VOICES

QUICK = settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    phases=[Phase.generate],  # no search for the smallest failure, which takes minutes on a busy machine
)
_MOST_QUEUED = 600_000  # characters

FIELDS = sorted({argument.name for spec in COMMANDS.values() for argument in spec.arguments} | {"what", "x"})
numbers = st.one_of(st.integers(), st.floats(), st.integers(-40, 40), st.booleans())
texts = st.one_of(
    st.text(max_size=20), st.sampled_from([*VOICES, *KEYS.values(), *COMMANDS, *TOPICS, "../x", "\x1b[2J"])
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)
params = st.dictionaries(st.sampled_from([*FIELDS, *KEYS.values(), *PARAMETERS]), values, max_size=4)
commands = st.sampled_from(sorted(COMMANDS))
near_messages = st.fixed_dictionaries(
    {"id": st.one_of(st.integers(), texts), "cmd": st.one_of(commands, texts), "params": st.one_of(params, values)},
    optional={"if_rev": st.one_of(st.integers(0, 3), values), "x": values},
)
messages = st.one_of(
    st.text(max_size=200),
    st.binary(max_size=50),
    values.map(json.dumps),
    near_messages.map(json.dumps),
    st.text(alphabet='{}[]":,1eE+-.\\ud8tnfa', max_size=80),
)


def is_bounded(remote: Remote) -> bool:
    return sum(map(len, remote.connection._replies)) < _MOST_QUEUED


@given(st.lists(messages, max_size=12), st.sampled_from(["", "view", "control", "admin"]))
@QUICK
def test_any_message_is_answered_or_closes_the_connection(sent: list[str | bytes], role: str) -> None:
    desk = Desk()
    remote = desk.client(role) if role else desk.connect()
    before = desk.session.state()
    for message in sent:
        was_open = not remote.is_closed
        remote.send(message)
        for event in remote.events():
            assert set(event) in ({"id", "ok", "result", "rev"}, {"id", "ok", "error", "rev"}) or "event" in event
            if "error" in event:
                assert event["error"]["code"] in ERRORS
                assert event["error"]["message"].isprintable()
                assert event["error"]["code"] != "internal", event
        if was_open and remote.is_closed:
            assert remote.close_code in CLOSE_CODES
    if role in ("", "view"):
        assert desk.session.state() == before
    assert desk.client("admin").ask("ping")["ok"]


@given(st.dictionaries(st.sampled_from([*KEYS.values(), *PARAMETERS, "x"]), st.one_of(numbers, texts), max_size=3))
@QUICK
def test_set_does_what_the_session_would_do_or_nothing(wanted: dict[str, Any]) -> None:
    desk = Desk()
    remote = desk.client()
    names = {**{key: name for name, key in KEYS.items()}, **{name: name for name in PARAMETERS}}
    before = desk.session.state()
    expected: SessionState | None = None
    if wanted and all(name in names for name in wanted) and len({names[name] for name in wanted}) == len(wanted):
        try:
            expected = before.after(Set({names[name]: value for name, value in wanted.items()}))
        except ParameterError:
            expected = None
    remote.send(json.dumps({"id": 1, "cmd": "set", "params": wanted}))
    assert desk.session.state() == (before if expected is None else expected)
    replies = remote.events()
    assert remote.is_closed or replies[0]["ok"] == (expected is not None)


@given(commands, st.lists(st.tuples(st.one_of(st.sampled_from([*FIELDS, *KEYS.values()]), texts), texts), max_size=4))
@QUICK
def test_any_address_is_answered(command: str, query: list[tuple[str, str]]) -> None:
    status, body = Desk().http(command, query)
    assert status in (200, *(status for status, _ in ERRORS.values()))
    assert body["ok"] == (status == 200)
    assert status != 500, body


class Controllers(RuleBasedStateMachine):
    """Several clients, a keyboard, and time, in any order."""

    allows_anything = True
    remotes = Bundle("remotes")

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.shown: dict[str, Any] | None = None
        self.rev = 0
        self.pitch: float | None = 0.0  # what a person set last; None for unknown
        self.watcher = self.desk.client("view", "watcher")
        self.watcher.ask("subscribe", topics={"state": {}})

    @rule(target=remotes, role=st.sampled_from(["view", "control", "admin"]))
    def join(self, role: str) -> Remote:
        return self.desk.client(role)

    @rule(remote=consumes(remotes))
    def leave(self, remote: Remote) -> None:
        self.desk.hub.disconnect(remote.connection, self.desk.now_s)

    @rule(remote=remotes, key=st.sampled_from(["pitch", "formant"]), value=st.integers(-12, 12))
    def set_value(self, remote: Remote, key: str, value: int) -> None:
        if not remote.is_closed and remote.ask("set", **{key: value})["ok"] and key == "pitch":
            self.pitch = float(value)

    @rule(remote=remotes, seconds=st.integers(1, 30), value=st.integers(-12, 12), name=st.sampled_from(VOICES))
    def hold(self, remote: Remote, seconds: int, value: int, name: str) -> None:
        remote.send({"id": 1, "cmd": "hold", "params": {"seconds": seconds, "pitch": value, "voice": name}})

    @rule(remote=remotes)
    def release(self, remote: Remote) -> None:
        remote.send({"id": 1, "cmd": "release"})

    @rule(remote=remotes, running=st.booleans())
    def start_or_stop(self, remote: Remote, running: bool) -> None:
        remote.send({"id": 1, "cmd": "start" if running else "stop"})

    @precondition(lambda machine: machine.allows_anything)
    @rule(remote=remotes, message=near_messages)
    def anything(self, remote: Remote, message: dict[str, Any]) -> None:
        remote.send(json.dumps(message))
        assert is_bounded(remote)
        self.pitch = None

    @rule(value=st.integers(-12, 12))
    def press_a_key(self, value: int) -> None:
        self.pitch = float(value) if value != self.desk.session.state().params.pitch_semitones else None
        self.desk.session.do(Set({"pitch_semitones": float(value)}), "keyboard")
        self.desk.settle()

    @rule(seconds=st.floats(0.01, 40))
    def wait(self, seconds: float) -> None:
        self.desk.wait(seconds)

    @invariant()
    def the_watcher_sees_the_session_as_it_is(self) -> None:
        for event in self.watcher.events("state"):
            self.shown = event["data"] if event.get("full") else {**(self.shown or {}), **event["data"]}
            assert event["rev"] >= self.rev
            self.rev = event["rev"]
        state = self.desk.session.state()
        assert self.shown is not None
        assert {name: self.shown[key] for name, key in KEYS.items()} == {name: state[name] for name in KEYS}
        assert (self.shown["voice"], self.rev) == (state.voice, state.revision)
        assert len(self.shown["holds"]) <= 32

    def teardown(self) -> None:
        self.desk.wait(3601.0)
        assert self.desk.hub.state_json(self.desk.now_s)["data"]["holds"] == []
        assert self.pitch in (None, self.desk.session.state().params.pitch_semitones)


class OrderlyControllers(Controllers):
    """The same without arbitrary messages, so that it is known what a person set last."""

    allows_anything = False


TestControllers = Controllers.TestCase
TestOrderlyControllers = OrderlyControllers.TestCase
TestControllers.settings = TestOrderlyControllers.settings = settings(QUICK, max_examples=25, stateful_step_count=25)
