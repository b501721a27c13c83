"""What recordings are refused for, before any time is spent: one sentence each, with the way out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import own_recordings
import pytest
from altervox.tools.voices import checks
from altervox.tools.voices.checks import Checked, Finding, check, sample_of, two_speakers
from altervox.tools.voices.recordings import Recording, utterances
from cli_runner import FEMALE, MALE
from numpy.typing import NDArray
from own_recordings import RATE, recording, spoken


def checked(*recordings: Recording) -> Checked:
    return check(recordings, [utterances(one.audio) for one in recordings])


def found_in(*recordings: Recording) -> list[Finding]:
    return checked(*recordings).findings


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    return spoken(30.0)


@pytest.fixture(autouse=True)
def short_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LEAST_S", 20.0)


def test_one_speaker_in_a_quiet_room(speech: NDArray[np.float32]) -> None:
    assert found_in(recording(speech)) == []
    assert found_in(recording(spoken(30.0, FEMALE))) == []
    assert found_in(recording(0.02 * speech)) == [], "quiet recordings are brought to one level"


@pytest.mark.parametrize("seconds", [0.0, 0.5, 5.0])
def test_too_short_is_refused_for_good(seconds: float) -> None:
    audio = np.zeros(0, dtype=np.int16) if not seconds else recording(spoken(seconds)).audio
    (finding,) = found_in(Recording(MALE, RATE, audio))
    assert not finding.can_force
    assert "of speech in 0:0" in finding.message
    assert "ten minutes are better" in finding.message


def test_rather_short_can_be_forced(monkeypatch: pytest.MonkeyPatch, speech: NDArray[np.float32]) -> None:
    monkeypatch.setattr(checks, "LEAST_S", 90.0)
    (finding,) = found_in(recording(speech))
    assert finding.can_force


@pytest.mark.parametrize(
    ("spoilt", "said", "can_force"),
    [
        (lambda x: np.clip(8.0 * x, -0.5, 0.5), r"it\.wav is clipped: \d+\.\d % of its samples", True),
        (own_recordings.telephone, r"it\.wav holds nothing above 4 kHz", False),
        (lambda x: own_recordings.noisy(x, 8.0), r"it\.wav is noisy: speech is [\d.]+ dB above", True),
        (lambda x: own_recordings.music(30.0), r"(music|no clear speech)", True),
    ],
    ids=["clipped", "telephone", "noisy", "music"],
)
def test_what_spoils_a_recording(spoilt: object, said: str, can_force: bool, speech: NDArray[np.float32]) -> None:
    assert callable(spoilt)
    findings = found_in(recording(spoilt(speech)))
    matching = [one for one in findings if re.search(said, one.message)]
    assert matching, findings
    assert matching[0].can_force == can_force


def test_noise_alone_and_a_steady_tone_are_no_speech() -> None:
    rng = np.random.default_rng(0)
    swelling = np.repeat(np.tile([0.0, 1.0, 1.0, 1.0], 30), RATE // 4)
    for audio in (rng.standard_normal(len(swelling)), np.sin(0.1 * np.arange(len(swelling)))):
        findings = found_in(recording(np.asarray(swelling * audio, dtype=np.float32)))
        assert any("no clear speech" in one.message or "music" in one.message for one in findings), findings


def test_a_low_sample_rate_is_refused_for_good(speech: NDArray[np.float32]) -> None:
    findings = found_in(recording(own_recordings.telephone(speech), rate=8000))
    assert [one.can_force for one in findings][:1] == [False]
    assert "sample rate of 8000 Hz" in findings[0].message


def pieces(path: object) -> list[checks.Sample]:
    """Eight overlapping pieces of a recording."""
    audio = recording(spoken(5.0, path)).audio  # type: ignore[arg-type]
    return [sample_of(audio[int(start * RATE) : int((start + 2.4) * RATE)]) for start in np.linspace(0.0, 2.4, 8)]


def test_two_speakers_are_told_from_one() -> None:
    man, woman = pieces(MALE), pieces(FEMALE)
    for one in (man, woman):
        apart, _, spread = two_speakers(one)
        assert apart < checks._TWO_SPEAKERS
        assert spread < checks._SEVERAL_SPEAKERS
    apart, share, _ = two_speakers(man + woman[:4])
    assert apart > checks._TWO_SPEAKERS
    assert share == pytest.approx(1 / 3)


def test_two_speakers_are_said() -> None:
    findings = found_in(recording(spoken(40.0)), recording(spoken(40.0, FEMALE)))
    assert [one.message for one in findings if "two speakers" in one.message]
    assert all(one.can_force for one in findings)


def test_what_lies_above_8_khz() -> None:
    wide, narrow = recording(spoken(10.0, FEMALE), 48000), recording(spoken(10.0, MALE), 16000)
    assert checked(wide).is_wide
    assert not checked(narrow).is_wide
    assert not checked(Recording(narrow.path, 48000, narrow.audio)).is_wide, "it was only resampled"


def named(audio: NDArray[np.float32], name: str, rate: int = 48000) -> Recording:
    return Recording(Path(name), rate, recording(audio).audio)


def test_single_recordings_that_are_worse_are_left_out() -> None:
    """And do not make a voice of all others dull, or impossible."""
    good = named(spoken(30.0, FEMALE), "good.wav")
    dull = named(spoken(2.5, MALE), "dull.wav", 16000)
    noisy = named(own_recordings.noisy(spoken(3.0, FEMALE), 3.0), "noisy.wav")
    told = named(own_recordings.telephone(spoken(3.0, FEMALE)), "told.wav", 8000)
    found = checked(good, dull, noisy)
    assert found.recordings == [good]
    assert (found.is_wide, found.findings) == (True, [])
    assert [remark.split(" ")[2] for remark in found.remarks] == ["noisy.wav", "dull.wav"]
    assert checked(good, told).recordings == [good]

    found = checked(named(spoken(20.0, FEMALE), "good.wav"), named(spoken(20.0, FEMALE), "dull.wav", 16000))
    assert not found.is_wide
    assert re.search(r"nothing above 8 kHz, for \d\d % of the speech", found.remarks[0])
    findings = found_in(good, named(own_recordings.noisy(spoken(20.0, FEMALE), 3.0), "noisy.wav"))
    assert re.search(r"noisy.wav is noisy: speech is [\d.]+ dB above the noise, not 15", findings[0].message)
