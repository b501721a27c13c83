"""Whatever arrives: the Voicemod-compatible API never raises, answers each request once and stays within its bounds."""

from __future__ import annotations

import json
from typing import Any

from altervox.realtime.serve.inside import Inside
from altervox.realtime.serve.voicemod.face import VoicemodFace
from altervox.realtime.serve.voicemod.link import VoicemodLink
from altervox.realtime.serve.voicemod.messages import SWITCHES, voice_id
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from remote_hub import OWNER, Desk
from remote_session import VOICES

ACTIONS = [
    *(name for switch in SWITCHES for name in (switch.toggle, switch.status, *switch.also)),
    *("registerClient", "getVoices", "getCurrentVoice", "loadVoice", "selectVoice", "selectRandomVoice", "getBitmap"),
    *("setBeepSound", "setCurrentVoiceParameter", "getUser", "getMemes", "getAllSoundboard", "nonsense"),
]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.integers(10**300, 10**310)
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.dictionaries(st.sampled_from(["value", "x"]), scalars, max_size=2),
    st.sampled_from(["nofx", "pitch", "mix", *VOICES, *map(voice_id, VOICES)]),
)
fields = st.dictionaries(
    st.sampled_from(["voiceID", "voiceId", "badLanguage", "parameterName", "parameterValue", "value", "memeId"]), values
)
requests = st.fixed_dictionaries(
    {"action": st.sampled_from(ACTIONS)},
    optional={"id": values, "actionID": values, "payload": st.one_of(fields, values), "actionObject": fields},
)
messages = st.one_of(requests.map(json.dumps), values.map(json.dumps), st.text(max_size=60))


def linked(desk: Desk) -> tuple[VoicemodFace, VoicemodLink]:
    """A client over a hub, without a socket."""

    def run(effect: Any) -> None:
        desk.hub.finish(effect, effect.run(), None, desk.now_s)

    shared, inside = (Inside.connected(desk.hub, "test", desk.now_s) for _ in range(2))
    assert shared is not None
    assert inside is not None
    face = VoicemodFace(shared, run)
    return face, VoicemodLink(face, inside, desk.now_s)


@settings(
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.generate],
)
@given(st.lists(messages, max_size=12))
def test_every_request_is_answered_once(sent: list[str]) -> None:
    desk = Desk()
    face, link = linked(desk)
    for text in sent:
        link.receive(text, desk.now_s)
        desk.settle()
        desk.now_s += 0.1
        face.turn(desk.now_s)
        answers = []
        while (said := link.pull(desk.now_s)) is not None:
            answers.append(json.loads(said))
        assert sum("id" in answer for answer in answers) == 1, (text, answers)
        assert all(answer["actionType"].endswith(("Event", "Updated")) for answer in answers if "id" not in answer)
    assert link.close is None


def test_requests_that_come_too_fast_close_the_connection() -> None:
    desk = Desk()
    _, link = linked(desk)
    answers = 0
    while link.close is None:
        link.receive('{"action":"getUser"}', desk.now_s)
        answers += link.pull(desk.now_s) is not None
    assert link.close == (4429, "too many requests")
    assert 390 <= answers <= 400


def test_answers_that_are_not_read_close_the_connection() -> None:
    desk = Desk()
    _, link = linked(desk)
    while link.close is None:
        link.receive('{"action":"toggleBackground"}', desk.now_s)
        desk.now_s += 0.1
    assert link.close == (4429, "answers are not read")
    assert link.pull(desk.now_s) is None


def test_a_slider_that_is_dragged_makes_few_events_and_the_last_is_right() -> None:
    desk = Desk()
    _, link = linked(desk)
    panel = desk.connect()
    panel.ask("auth", token=OWNER)
    told: list[tuple[dict[str, Any], int]] = []
    for step in range(120):
        panel.ask("set", pitch=min(step, 95) / 10)
        if step == 50:
            panel.ask("set", mute=True)
        desk.wait(0.02)
        while link.next_due_s <= desk.now_s and (text := link.pull(desk.now_s)) is not None:
            told += [(event, step) for event in [json.loads(text)] if "action" in event]
    assert [step for event, step in told if event["action"] == "muteMicrophoneEnabledEvent"] == [50]
    assert told[-1][0]["payload"]["parameter"]["value"] == 9.5
    assert 9 <= len(told) <= 14
    assert link.next_due_s > desk.now_s + 1
