"""Values that are set for some time: what they give way to, and what ends them."""

from __future__ import annotations

from typing import Any

import pytest
from altervox.realtime.session.commands import Set, SetVoice, Step
from remote_hub import Desk
from remote_session import MemorySession


def pitch(desk: Desk) -> float:
    return desk.session.state().params.pitch_semitones


def test_a_hold_ends_and_everything_is_as_before() -> None:
    desk = Desk()
    bot = desk.client(name="bot")
    bot.ask("set", pitch=2, speaker=1)
    before = desk.session.state()
    reply = bot.ask("hold", seconds=30, voice="robot", pitch=-5, mute=True)["result"]
    assert reply["values"] == {"voice": "robot", "pitch": -5.0, "mute": True, "speaker": 0}
    held = desk.session.state()
    assert (held.voice, held.params.pitch_semitones, held.muted, held.params.speaker) == ("robot", -5.0, True, 0)
    desk.wait(29.9)
    assert desk.session.state() == held
    desk.wait(0.2)
    after = desk.session.state()
    assert (after.voice, after.params, after.muted) == (before.voice, before.params, before.muted)
    assert bot.ask("get", names=["holds"])["result"] == {"holds": []}


@pytest.mark.parametrize("first_s", [10, 30])
def test_of_holds_that_overlap_the_newest_decides_and_all_end_at_the_base(first_s: float) -> None:
    desk = Desk()
    bot = desk.client()
    bot.ask("set", pitch=1)
    bot.ask("hold", seconds=first_s, pitch=5, formant=2)
    bot.ask("hold", seconds=20, pitch=9)
    assert pitch(desk) == 9.0
    desk.wait(15)  # a first one that ends earlier changes nothing of the second's
    assert pitch(desk) == 9.0
    assert desk.session.state().params.formant_semitones == (0.0 if first_s == 10 else 2.0)
    desk.wait(6)  # the second ends
    assert pitch(desk) == (1.0 if first_s == 10 else 5.0)
    desk.wait(10)
    assert (pitch(desk), desk.session.state().params.formant_semitones) == (1.0, 0.0)


@pytest.mark.parametrize("who", ["the same client", "another client", "the keyboard"])
def test_what_a_person_sets_stays(who: str) -> None:
    desk = Desk()
    bot = desk.client()
    bot.ask("hold", seconds=10, pitch=5, formant=2)
    if who == "the keyboard":
        desk.session.do(Step("pitch_semitones", 1.0), "keyboard")
        desk.settle()
    else:
        (bot if who == "the same client" else desk.client()).ask("step", name="pitch", by=1)
    assert pitch(desk) == 6.0
    (hold,) = bot.ask("get", names=["holds"])["result"]["holds"]
    assert hold["values"] == {"formant": 2.0}
    desk.wait(11)
    assert (pitch(desk), desk.session.state().params.formant_semitones) == (6.0, 0.0)


def test_setting_the_held_value_itself_makes_it_stay() -> None:
    desk = Desk()
    bot = desk.client()
    bot.ask("hold", seconds=10, pitch=5)
    bot.ask("set", pitch=5)
    desk.wait(11)
    assert pitch(desk) == 5.0


def test_a_voice_chosen_during_a_hold_stays_and_so_does_its_speaker() -> None:
    desk = Desk()
    bot = desk.client()
    bot.ask("set", speaker=3)
    bot.ask("hold", seconds=10, voice="robot", bypass=True)
    desk.session.do(SetVoice("man"), "keyboard")
    desk.settle()
    desk.wait(11)
    state = desk.session.state()
    assert (state.voice, state.params.speaker, state.bypass) == ("man", 0, False)


def test_other_fields_may_change_during_a_hold() -> None:
    desk = Desk()
    bot = desk.client()
    bot.ask("hold", seconds=10, pitch=5)
    desk.session.do(Set({"gain_db": -6.0}), "keyboard")
    desk.settle()
    desk.wait(11)
    assert (pitch(desk), desk.session.state().gain_db) == (0.0, -6.0)


def test_any_other_voice_for_some_time() -> None:
    desk = Desk()
    bot = desk.client()
    for _ in range(5):
        shown = bot.ask("hold", seconds=10, random=True)["result"]["values"]["voice"]
        assert shown == desk.session.state().voice != "woman"
        desk.wait(11)
        assert desk.session.state().voice == "woman"
    for params in ({"random": False}, {"random": True, "voice": "man"}):
        assert bot.ask("hold", seconds=10, **params)["error"]["code"] == "bad_request"


def test_holds_are_released_one_or_all() -> None:
    desk = Desk()
    bot = desk.client()
    first = bot.ask("hold", seconds=10, pitch=5)["result"]["hold"]
    bot.ask("hold", seconds=10, pitch=7, mute=True)
    assert bot.ask("release", hold=first)["result"] == {"released": 1}
    assert pitch(desk) == 7.0
    assert bot.ask("release")["result"] == {"released": 1}
    assert (pitch(desk), desk.session.state().muted) == (0.0, False)
    assert bot.ask("release")["result"] == {"released": 0}


def test_holds_outlive_their_client_and_end_with_the_session() -> None:
    desk = Desk()
    bot = desk.client()
    bot.ask("hold", seconds=10, pitch=5)
    bot.ask("hold", seconds=3600, mute=True)
    desk.hub.disconnect(bot.connection, desk.now_s)
    assert pitch(desk) == 5.0
    desk.wait(11)
    assert (pitch(desk), desk.session.state().muted) == (0.0, True)
    desk.session.report(state="failed", causes=("the microphone is gone",))
    desk.settle()
    assert not desk.session.state().muted


def test_there_is_a_limit() -> None:
    desk = Desk()
    bot = desk.client()
    for _ in range(32):
        assert bot.ask("hold", seconds=5, pitch=5)["ok"]
    assert bot.ask("hold", seconds=5, voice="robot")["error"]["code"] == "too_many"
    assert desk.session.state().voice == "woman"
    desk.wait(6)
    assert pitch(desk) == 0.0
    assert bot.ask("hold", seconds=5, pitch=5)["ok"]


def test_clients_see_what_is_held_and_for_how_long() -> None:
    desk = Desk()
    bot, panel = desk.client(name="bot"), desk.client("view")
    panel.ask("subscribe", topics={"state": {}})
    panel.events()
    bot.ask("hold", seconds=30, voice="robot")
    desk.wait(12)
    (delta,) = panel.events()
    (hold,) = delta["data"]["holds"]
    assert (hold["by"], hold["values"], hold["remaining_s"]) == ("bot", {"voice": "robot", "speaker": 0}, 18.0)
    assert delta["by"] == "bot"
    desk.wait(20)
    (delta,) = panel.events()
    assert delta["data"]["holds"] == []
    assert (delta["data"]["voice"], delta["by"]) == ("woman", "hold")


def test_a_voice_that_is_gone_when_a_hold_ends_does_not_keep_the_rest() -> None:
    class Refusing(MemorySession):
        refuses = False

        def do(self, command: Any, by: str) -> Any:
            if self.refuses and isinstance(command, SetVoice):
                from altervox.kernels.errors import UnknownVoiceError

                raise UnknownVoiceError("there is no voice 'woman'")
            return super().do(command, by)

    session = Refusing()
    desk = Desk(session)
    bot = desk.client()
    bot.ask("hold", seconds=10, voice="robot", pitch=5)
    session.refuses = True
    desk.wait(11)
    assert (session.state().voice, pitch(desk)) == ("robot", 0.0)
    assert bot.ask("ping")["ok"]
