"""What commands make of a session's state."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from altervox.kernels.errors import ParameterError
from altervox.models.parameters import VOICE_PARAMETERS
from altervox.models.voice import VoiceParams
from altervox.realtime.session.commands import Set, SetVoice, Step, StepVoice, Toggle
from altervox.realtime.session.state import PARAMETERS, SessionState


def test_every_parameter_has_a_field_with_its_default() -> None:
    for name, parameter in PARAMETERS.items():
        assert SessionState()[name] == parameter.default
        assert parameter.low <= parameter.default <= parameter.high
    assert {field.name for field in fields(VoiceParams)} == {*VOICE_PARAMETERS, "f0_method", "seed"}


def test_two_clients_do_not_overwrite_one_another() -> None:
    state = SessionState()
    for command in (Set({"pitch_semitones": 3.0}), Set({"formant_semitones": 1.0}), Step("pitch_semitones", -1.0)):
        state = state.after(command)
    assert (state.params.pitch_semitones, state.params.formant_semitones) == (2.0, 1.0)
    assert state.revision == 3


def test_a_command_that_changes_nothing_is_no_revision() -> None:
    state = SessionState(muted=True)
    assert state.after(Set({"muted": True})) is state
    assert state.after(StepVoice(1)) is state  # of no list
    assert state.after(Step("pitch_semitones", 0.0)).revision == 0


def test_several_values_are_set_or_none() -> None:
    state = SessionState()
    with pytest.raises(ParameterError, match="formant_semitones is 99"):
        state.after(Set({"pitch_semitones": 3.0, "formant_semitones": 99.0}))
    after = state.after(Set({"pitch_semitones": 3, "bypass": True, "monitor_gain_db": -6}))
    assert (after["pitch_semitones"], after["bypass"], after["monitor_gain_db"], after.revision) == (3.0, True, -6.0, 1)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (Set({"volume": 3.0}), "no parameter 'volume'; choose one of pitch_semitones, "),
        (Set({"muted": 1}), "muted is 1; it must be true or false"),
        (Set({"pitch_semitones": True}), "pitch_semitones is True; it must be a number from -36 to 36"),
        (Set({"pitch_semitones": "3"}), "pitch_semitones is '3'; it must be a number"),  # type: ignore[dict-item]
        (Set({"pitch_semitones": float("nan")}), "pitch_semitones is nan; it must lie between -36 and 36"),
        (Set({"speaker": 1.5}), "speaker is 1.5; it must be a whole number"),
        (Step("muted", 1.0), "muted has no steps"),
        (Toggle("gain_db"), "gain_db cannot be toggled"),
    ],
)
def test_what_does_not_fit_is_one_sentence(command: Set | Step | Toggle, said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        SessionState().after(command)


def test_a_voice_is_asked_for_by_name_or_path() -> None:
    assert SessionState().after(SetVoice(str(Path("mine.pth")))).voice == "mine.pth"
    assert SessionState(voice="man").after(StepVoice(-2), ["woman", "man", "robot"]).voice == "robot"
