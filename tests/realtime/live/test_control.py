"""The control process beside an audio process that is gone."""

import os
import signal

import pytest
from altervox.kernels.errors import AudioDeviceError
from altervox.models.voice import VoiceParams
from altervox.realtime.config import StreamConfig
from altervox.realtime.device import AudioDevice
from altervox.realtime.live.control import LiveControl
from altervox.realtime.live.settings import LiveSettings, SetMuted
from altervox.realtime.live.streams import StreamSpec


def test_a_command_to_a_session_that_is_gone_is_lost_and_check_says_why() -> None:
    device = AudioDevice(
        index=0,
        name="never opened",
        host_api="ALSA",
        system_name="never opened",
        inputs=1,
        outputs=1,
        default_rate=48000.0,
        low_input_latency_s=0.01,
        low_output_latency_s=0.01,
        is_default_input=False,
        is_default_output=False,
        is_primary=True,
        is_monitor=False,
        cable="",
        loops=(),
        listening_name="",
        portaudio_name="never opened",
        portaudio_host_api="ALSA",
    )
    source, output = StreamSpec(device, "input", 48000, 480), StreamSpec(device, "output", 48000, 480)
    with LiveControl(LiveSettings("off", "cpu", StreamConfig(), VoiceParams(), source, (output,))) as control:
        os.kill(control.process_id, signal.SIGTERM)
        with pytest.raises(AudioDeviceError, match="the audio process ended by itself"):
            control.wait_until_running()
        control.send(SetMuted(True))
