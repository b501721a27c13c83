"""What OSC messages do to a session, and what of the session is sent back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from altervox.realtime.serve.inside import Inside
from altervox.realtime.serve.osc.face import OscFace
from altervox.realtime.serve.osc.packets import Value, read_packet
from altervox.realtime.serve.osc.port import Arrived
from altervox.realtime.serve.osc.settings import Control, OscMap
from remote_hub import OWNER, Desk
from remote_session import VOICES

PITCH = Control("pitch", (-1.0, 1.0), (-12.0, 12.0))
MAP = OscMap(
    parameters={"Voice": Control("voice"), "Mute": Control("mute"), "Pitch": PITCH, "Bypass": Control("bypass")},
    avatars={"avtr_robot": "robot", "avtr_nobody": "nobody"},
)


class Bench:
    """A face over a hub, without sockets."""

    def __init__(self, osc_map: OscMap = MAP, is_shared: bool = False) -> None:
        self.desk = Desk()
        inside = Inside.connected(self.desk.hub, "OSC", self.desk.now_s)
        assert inside is not None
        self.packets: list[bytes] = []
        self.face = OscFace(inside, osc_map, self.packets.append, self.desk.now_s, is_shared)
        self.turn()

    def turn(self, seconds: float = 0.05) -> None:
        self.desk.wait(seconds)
        self.face.turn(self.desk.now_s)
        self.desk.settle()
        self.face.turn(self.desk.now_s)

    def get(self, address: str, *values: Value) -> list[tuple[str, Value]]:
        """What is sent once this has come."""
        return self.get_all([(address, values)])

    def get_all(self, messages: Sequence[tuple[str, tuple[Value, ...]]]) -> list[tuple[str, Value]]:
        """What is sent once these have come."""
        self.face.receive(Arrived(list(messages)), self.desk.now_s)
        self.turn()
        self.turn()
        return self.sent()

    def sent(self) -> list[tuple[str, Value]]:
        """What has been sent since this was asked for last."""
        found = [(address, values[0]) for packet in self.packets for address, values in read_packet(packet)]
        self.packets.clear()
        return found

    def change(self, cmd: str, **params: Any) -> list[tuple[str, Value]]:
        """What is sent once another client has done this."""
        other = self.desk.connect()
        other.ask("auth", token=OWNER)
        assert other.ask(cmd, **params)["ok"]
        self.turn()
        return self.sent()

    def __getitem__(self, key: str) -> Any:
        return self.face._inside.state[key]

    @property
    def log(self) -> str:
        return " ".join(text for _, text in self.face._inside.connection.board.lines)


def test_nothing_is_sent_until_something_changes() -> None:
    assert Bench().sent() == []


def test_own_addresses() -> None:
    bench = Bench()
    assert bench.get("/altervox/pitch", 3.0) == [("/avatar/parameters/Pitch", 0.25)]
    assert bench["pitch"] == 3.0
    for value, is_on in ((True, True), (0, False), (1.0, True), (False, False)):
        bench.get("/altervox/mute", value)
        assert bench["mute"] is is_on
    assert ("/altervox/voice_index", 4) not in bench.get("/altervox/voice", "robot")
    assert bench["voice"] == "robot"
    assert ("/altervox/voice", "woman") in bench.get("/altervox/voice", 1)
    assert ("/altervox/voice", "man") in bench.get("/altervox/next", 1.0)
    assert bench.get("/altervox/next", 0.0) == []  # the button is released
    assert ("/altervox/voice", "woman") in bench.get("/altervox/previous")
    assert bench.get("/altervox/random")
    assert ("/altervox/bypass", 1) in bench.get("/altervox/toggle/bypass", 1)
    assert ("/altervox/pitch", 5.5) in bench.get("/altervox/step/pitch", 2.5)


def test_holds() -> None:
    bench = Bench()
    assert ("/altervox/voice", "robot") in bench.get("/altervox/hold", "robot", 30.0)
    bench.get("/altervox/hold/pitch", -4.0, 20)
    assert (bench["pitch"], len(bench["holds"])) == (-4.0, 2)
    assert set(bench.get("/altervox/release", 1)) >= {("/altervox/voice", "woman"), ("/altervox/pitch", 0.0)}


def test_a_value_is_not_sent_back_to_where_it_came_from() -> None:
    bench = Bench()
    assert bench.get("/altervox/formant", 2.0) == []
    assert bench.change("set", formant=4) == [("/altervox/formant", 4.0)]
    assert bench.change("set", formant=4) == []
    both = Bench(is_shared=True)
    assert both.get("/altervox/formant", 2.0) == [("/altervox/formant", 2.0)]


def test_avatar_parameters_choose_voice_switches_and_pitch() -> None:
    bench = Bench()
    assert set(bench.get("/avatar/parameters/Voice", 3)) == {("/altervox/voice", "robot"), ("/altervox/voice_index", 3)}
    assert bench.get("/avatar/parameters/Mute", True) == [("/altervox/mute", 1)]
    assert bench.get("/avatar/parameters/Pitch", -0.5) == [("/altervox/pitch", -6.0)]
    assert bench.get("/avatar/parameters/Bypass", 1) == [("/altervox/bypass", 1)]
    assert bench.change("set", pitch=12, mute=False) == [
        ("/altervox/pitch", 12.0),
        ("/altervox/mute", 0),
        ("/avatar/parameters/Mute", False),
        ("/avatar/parameters/Pitch", 1.0),
    ]


def test_the_numbers_of_a_map_stay_when_voices_are_added() -> None:
    bench = Bench(OscMap(parameters={"Voice": Control("voice")}, voices=("robot", "man")))
    bench.get("/avatar/parameters/Voice", 1)
    assert bench["voice"] == "man"
    assert ("/avatar/parameters/Voice", 0) in bench.change("voice", name="robot")
    addresses = [address for address, _ in bench.change("voice", name="woman")]
    assert addresses == ["/altervox/voice"]  # the voice has no number


def test_an_avatar_has_its_voice_and_shows_what_is_the_case() -> None:
    bench = Bench()
    bench.change("set", pitch=6)
    sent = bench.get("/avatar/change", "avtr_robot")
    assert bench["voice"] == "robot"
    assert {("/avatar/parameters/Voice", 3), ("/avatar/parameters/Pitch", 0.5)} <= set(sent)
    sent = bench.get("/avatar/change", "avtr_other")
    assert bench["voice"] == "robot"
    assert {address for address, _ in sent} == {f"/avatar/parameters/{name}" for name in MAP.parameters}


def test_what_an_avatar_begins_with_is_no_choice() -> None:
    bench = Bench()
    bench.change("set", pitch=6)
    start: list[tuple[str, tuple[Value, ...]]] = [
        ("/avatar/change", ("avtr_robot",)),
        ("/avatar/parameters/Voice", (0,)),
        ("/avatar/parameters/Pitch", (0.0,)),
    ]
    sent = bench.get_all(start)
    assert (bench["voice"], bench["pitch"]) == ("robot", 6.0)
    assert {("/avatar/parameters/Voice", 3), ("/avatar/parameters/Pitch", 0.5)} <= set(sent)
    bench.get("/avatar/parameters/Voice", 2)
    assert bench["voice"] == "man"
    bench.turn(1.0)
    bench.get("/avatar/parameters/Voice", 0)
    assert bench["voice"] == "off"


def test_an_avatar_that_repeats_what_it_was_sent_changes_nothing() -> None:
    bench = Bench()
    bench.change("voice", name="robot")
    bench.change("voice", name="man")  # before the avatar has repeated the first one
    bench.get("/avatar/parameters/Voice", 3)
    assert bench["voice"] == "man"
    bench.get("/avatar/parameters/Voice", 2)
    assert bench["voice"] == "man"
    bench.get("/avatar/parameters/Voice", 3)  # and now somebody wants it
    assert bench["voice"] == "robot"
    bench.change("voice", name="man")
    bench.turn(2.0)
    bench.get("/avatar/parameters/Voice", 1)
    bench.get("/avatar/parameters/Voice", 2)  # long after it was sent
    assert bench["voice"] == "man"


@pytest.mark.parametrize(
    ("address", "values", "said"),
    [
        ("/altervox/voice", (), "it needs a number"),
        ("/altervox/voice", ("nobody",), "there is no voice 'nobody'"),
        ("/altervox/voice", (len(VOICES),), "there is no voice number 5; the last one is 4"),
        ("/altervox/voice", (-1,), "there is no voice number -1"),
        ("/altervox/pitch", (99.0,), "pitch is 99"),
        ("/altervox/pitch", ("high",), "it needs a number"),
        ("/altervox/pitch", (float("nan"),), "it needs a number"),
        ("/altervox/mute", (float("inf"),), "it needs a number"),
        ("/altervox/mute", (None,), "it needs a number"),
        ("/altervox/dance", (1,), "there is no such address"),
        ("/altervox/toggle/pitch", (1,), "cannot be toggled"),
        ("/altervox/step/pitch", (), "it needs a number"),
        ("/altervox/hold", ("robot",), "it needs a number"),
        ("/altervox/hold", ("robot", 0), "seconds is 0"),
        ("/altervox/stop", (), "there is no such address"),
        ("/avatar/change", (7,), "it needs a text"),
        ("/avatar/change", ("avtr_nobody",), "there is no voice 'nobody'"),
        ("/avatar/parameters/Voice", (1 << 40,), "there is no voice number"),
    ],
)
def test_what_makes_no_sense_is_logged_and_changes_nothing(address: str, values: tuple[Value, ...], said: str) -> None:
    bench = Bench()
    before = dict(bench.face._inside.state)
    bench.get(address, *values)
    bench.turn(11)
    assert dict(bench.face._inside.state) == before
    assert f"OSC: 1 messages refused ({address}: " in bench.log
    assert said in bench.log


def test_a_control_that_asked_for_the_impossible_is_put_right() -> None:
    assert ("/altervox/pitch", 0.0) in Bench().get("/altervox/pitch", 99.0)


def test_refresh_sends_everything() -> None:
    sent = dict(Bench().get("/altervox/refresh"))
    assert {"/altervox/voice", "/altervox/pitch", "/altervox/mute", "/avatar/parameters/Voice"} <= sent.keys()


def test_a_slider_that_moves_too_fast_arrives_where_it_stops() -> None:
    bench = Bench()
    bench.get_all([("/altervox/pitch", (n / 100,)) for n in range(1000)])
    assert bench["pitch"] == pytest.approx(9.99)
    bench.get_all([(f"/altervox/x{n}", (1,)) for n in range(1000)])
    bench.turn(11)
    bench.turn(11)
    assert "packets dropped that came too fast" in bench.log
    bench.get("/altervox/pitch", 1.0)
    assert bench["pitch"] == 1.0


def test_lost_packets_are_told_of_now_and_then() -> None:
    bench = Bench()
    for _ in range(30):
        bench.face.receive(Arrived([], malformed=2, dropped=1), bench.desk.now_s)
        bench.turn(0.5)
    bench.turn(11)
    assert bench.log.count("malformed packets dropped") == 3
