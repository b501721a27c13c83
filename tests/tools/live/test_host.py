"""The live session of a process, as terminal, keys and remote programs share it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from altervox.kernels.errors import AltervoxError, ParameterError
from altervox.realtime.audio.commands import SetBlock
from altervox.realtime.serve.port import StartRequest
from altervox.realtime.session.commands import Set, SetVoice, Step
from altervox.realtime.session.settings import SessionSettings
from altervox.realtime.session.state import SessionState
from altervox.tools.live.host import LiveHost
from altervox.tools.live.options import LiveOptions
from pulse import PulseServer, enter
from remote_sockets import until

OPTIONS = LiveOptions(SessionSettings(SessionState(voice="off")), "Virtual Microphone", "Virtual Cable", block_ms=100)


def test_a_stopped_session_keeps_what_is_requested_of_it() -> None:
    heard: list[str] = []
    with LiveHost(OPTIONS, can_start=True) as host:
        end = host.listen(heard.append)
        assert host.do(Set({"pitch_semitones": 3.0}), "deck").revision == 1
        assert host.do(Step("pitch_semitones", 1.0), "deck").params.pitch_semitones == 4.0
        with pytest.raises(ParameterError, match="must lie between"):
            host.do(Set({"pitch_semitones": 99.0}), "deck")
        assert host.state().params.pitch_semitones == 4.0
        assert host.status().state == "stopped"
        with pytest.raises(AltervoxError, match="start it first"):
            host.record(True, "deck")
        end()
        host.do(Set({"muted": True}), "deck")
    assert heard == ["deck", "deck"]


def test_it_starts_again_with_what_was_requested_meanwhile(
    pulse_rig: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(pulse_rig, monkeypatch, tmp_path)
    with LiveHost(OPTIONS, can_start=True) as host:
        with pytest.raises(AltervoxError, match="no input is called 'nowhere'"):
            host.start(StartRequest(input="nowhere"))
        host.start(StartRequest())
        assert (host.status().state, host.status().voice) == ("running", "off")
        assert (host.state().monitor, host.state().revision) == (False, 1)  # there is none: that is a change, too
        for wrong in (StartRequest(input="nowhere"), StartRequest(monitor="Virtual Cable")):
            with pytest.raises(AltervoxError, match=r"nowhere|itself"):
                host.start(wrong)
            assert host.status().state == "running"  # what cannot start ends nothing
        with pytest.raises(AltervoxError, match="stop it before measuring"):
            host.measure()
        host.stop()
        assert host.status().state == "stopped"
        host.do(Set({"gain_db": -6.0}), "deck")
        host.start(StartRequest(block_ms=60))
        until(lambda: host.status().session == host.state())
        assert (host.status().block_ms, host.status().session.gain_db) == (60.0, -6.0)


def test_a_start_is_given_up_when_it_is_stopped(
    pulse_rig: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(pulse_rig, monkeypatch, tmp_path)
    (tmp_path / "devices.json").mkdir()  # that choices cannot be stored ends nothing
    with LiveHost(OPTIONS, can_start=True) as host:
        starting = threading.Thread(target=host.start, args=(StartRequest(),))
        starting.start()
        until(lambda: host.status().state == "starting")
        host.stop()
        starting.join(10.0)
        assert not starting.is_alive()
        assert host.status().state == "stopped"
        host.start(StartRequest())
        assert host.status().state == "running"


def test_a_block_size_that_is_chosen_while_it_starts_stays(
    pulse_rig: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(pulse_rig, monkeypatch, tmp_path)
    with LiveHost(OPTIONS, can_start=True) as host:
        starting = threading.Thread(target=host.start, args=(StartRequest(),))
        starting.start()
        until(lambda: host.status().state == "starting")
        host.do(SetBlock(60), "deck")
        starting.join(10.0)
        until(lambda: host.status().block_ms == 60.0)
        host.stop()
        host.start(StartRequest())
        assert host.status().block_ms == 60.0


def test_what_the_session_does_otherwise_is_taken_back(
    pulse_rig: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(pulse_rig, monkeypatch, tmp_path)
    heard: list[str] = []
    with LiveHost(OPTIONS, can_start=True) as host:
        host.start(StartRequest())
        host.listen(heard.append)
        for number in range(20):  # faster than the session reads them
            host.do(Step("pitch_semitones", 1.0 if number % 2 else 2.0), "deck")
        until(lambda: host.status().session == host.state())
        assert host.state().params.pitch_semitones == 30.0
        assert "session" not in heard
        before = host.state()
        assert host._control is not None
        host._control.send(Set({"pitch_semitones": -3.0}))  # something that this side did not work out
        until(lambda: host.state().params.pitch_semitones == -3.0)
        assert host.state().revision > before.revision
        assert "session" in heard
        host.do(SetBlock(40), "deck")
        until(lambda: host.status().block_ms == 40.0)
        assert host.state().params.pitch_semitones == -3.0


def test_a_session_that_dies_says_so_and_frees_the_cable(
    pulse_rig: PulseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(pulse_rig, monkeypatch, tmp_path)
    with LiveHost(OPTIONS, can_start=True) as host, LiveHost(OPTIONS, can_start=True) as other:
        host.start(StartRequest())
        with pytest.raises(AltervoxError, match="already plays into"):
            other.start(StartRequest())
        assert host._control is not None
        os.kill(host._control.process_id, signal.SIGKILL)
        until(lambda: host.status().state == "failed")
        assert "exit code -9" in host.status().causes[0]
        host.do(SetVoice("robot"), "deck")  # for the next start
        until(lambda: host._control is None)
        other.start(StartRequest())
        other.stop()
        host.start(StartRequest())
        until(lambda: host.status().voice == "robot")
