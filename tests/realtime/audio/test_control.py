"""The control process beside an audio process that is gone or does not listen."""

import os
import signal
import time

import pytest
from altervox.kernels.errors import AudioDeviceError
from altervox.realtime.audio.control import LiveControl
from altervox.realtime.audio.settings import LiveSettings, StreamSpec
from altervox.realtime.session.commands import Set
from altervox.realtime.session.settings import SessionSettings
from altervox.realtime.session.status import Status
from made_up_device import made_up_device


def settings() -> LiveSettings:
    device = made_up_device("never opened", inputs=1)
    source, output = StreamSpec(device, "input", 48000, 10.0), StreamSpec(device, "output", 48000, 10.0)
    return LiveSettings(SessionSettings(), source, (output,))


def test_a_command_to_a_session_that_is_gone_is_lost_and_check_says_why() -> None:
    with LiveControl(preload=False) as control:
        os.kill(control.process_id, signal.SIGKILL)
        control.begin(settings())
        with pytest.raises(AudioDeviceError, match="the audio process ended by itself"):
            control.wait_until_running()
        control.send(Set({"muted": True}))


def test_a_session_that_ends_is_not_taken_for_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another thread takes the exit code of a process, `is_alive` takes it for alive."""
    with LiveControl(preload=False) as control:
        os.kill(control.process_id, signal.SIGKILL)
        monkeypatch.setattr(control, "_status", Status(state="running"))
        monkeypatch.setattr(control._process, "is_alive", lambda: True)
    assert not control.was_killed


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal")
def test_a_session_that_hangs_holds_nobody_up() -> None:
    """Thousands of commands to a process that reads none: nobody waits, and it is ended all the same."""
    with LiveControl(preload=False) as control:
        os.kill(control.process_id, signal.SIGSTOP)
        began_s = time.monotonic()
        for number in range(5000):
            control.send(Set({"pitch_semitones": float(number % 12)}))
        assert time.monotonic() - began_s < 30.0
    assert time.monotonic() - began_s < 60.0
