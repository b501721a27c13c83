"""The control process beside an audio process that is gone."""

import os
import signal

import pytest
from altervox.kernels.errors import AudioDeviceError
from altervox.models.voice import VoiceParams
from altervox.realtime.audio.control import LiveControl
from altervox.realtime.audio.settings import LiveSettings, SetMuted
from altervox.realtime.audio.streams import StreamSpec
from altervox.realtime.config import StreamConfig
from made_up_device import made_up_device


def test_a_command_to_a_session_that_is_gone_is_lost_and_check_says_why() -> None:
    device = made_up_device("never opened", inputs=1)
    source, output = StreamSpec(device, "input", 48000, 10.0), StreamSpec(device, "output", 48000, 10.0)
    with LiveControl(LiveSettings("off", "cpu", StreamConfig(), VoiceParams(), source, (output,))) as control:
        os.kill(control.process_id, signal.SIGTERM)
        with pytest.raises(AudioDeviceError, match="the audio process ended by itself"):
            control.wait_until_running()
        control.send(SetMuted(True))
