"""What the terminal view says of a session, and its picture."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from altervox.kernels.errors import OutputError
from altervox.models.voice import VoiceParams
from altervox.realtime.session.state import SessionState
from altervox.realtime.session.status import Latency, Status
from altervox.tools.live.keys import KEYS_HELP
from altervox.tools.live.view import live_view, save_view
from rich.console import Console

STATUS = Status(
    state="running",
    input_device="Microphone",
    output_device="Cable",
    voice="woman",
    f0_hz=200.0,
    gate_gain_db=-50.0,
)
ESCAPES = "\x1b[31mred\x07\nline"


def shown(status: Status) -> str:
    """The view's words, without frame and line breaks."""
    text = io.StringIO()
    Console(file=text, width=140).print(live_view(status))
    return " ".join(text.getvalue().replace("│", " ").split())


@pytest.mark.parametrize(
    ("is_measured", "said"),
    [
        (False, "112 ms = device in 20 + block 40 + voice 2 + resamplers 0 + prefill 30 + device out 20"),
        (True, "112 ms = devices, measured 40 + block 40 + voice 2 + resamplers 0 + prefill 30"),
    ],
)
def test_a_measured_latency_takes_the_place_of_what_is_reported(is_measured: bool, said: str) -> None:
    parts = {"device_in": 20.0, "block": 40.0, "voice": 2.0, "prefill": 30.0, "device_out": 20.0}
    latency = Latency(**parts, devices=40.0, total=112.0, is_measured=is_measured)
    view = shown(replace(STATUS, latency=latency))
    assert said in view
    assert ("device in" in view) is not is_measured


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"f0_hz": 118.4}, "F0 118 Hz"),
        ({"f0_hz": 0.0}, "F0 - gate"),
        ({"gate_gain_db": 0.0}, "gate open (0 dB)"),
        ({"gate_gain_db": -12.0}, "gate closed (-12 dB)"),
        ({"gate_gain_db": -100.0}, "gate closed (silence)"),
        ({"input_peak_db": -18.0, "session": SessionState(input_gain_db=3.0)}, "-18 dB gain +3 dB"),
        ({"output_peak_db": -9.0, "session": SessionState(gain_db=-2.0)}, "-9 dB gain -2 dB"),
        (
            {"session": SessionState(params=VoiceParams(pitch_semitones=3.0, formant_semitones=-0.5))},
            "woman pitch +3, formants -0.5 semitones",
        ),
        ({"input_device": "Microphone [USB]"}, "microphone Microphone [USB]"),
        ({"output_device": "Cable [/b]"}, "output Cable [/b]"),
        ({"session": SessionState(bypass=True, muted=True)}, "bypass muted"),
        (
            {"session": SessionState(voice="robot"), "is_loading": True},
            "woman pitch +0, formants +0.0 semitones loading",
        ),
        ({"monitor_device": "Headphones", "monitor_is_open": True}, "monitor Headphones on"),
        ({"monitor_device": "Headphones", "monitor_is_open": False}, "monitor Headphones off"),
        (
            {"monitor_device": "Headphones", "monitor_is_open": True, "session": SessionState(monitor=False)},
            "monitor Headphones off",
        ),
        ({"state": "reconnecting", "causes": ("a device has stopped",)}, "reconnecting 0:00:00"),
        ({"state": "reconnecting", "causes": ("a device has stopped",)}, " a device has stopped "),
        ({"causes": ("CUDA out of memory", "no space left")}, " CUDA out of memory no space left "),
        ({"state": "failed", "causes": ("no voice is called 'nobody'",)}, " no voice is called 'nobody' "),
        (
            {"underruns": 2, "underrun_ms": 30.4, "overruns": 1, "overrun_ms": 5.0},
            "2 underruns (30 ms), 1 overruns (5 ms)",
        ),
        ({"longer_block_ms": 40}, "blocks are late: press l for blocks of 40 ms"),
        ({"voice": ESCAPES, "causes": (ESCAPES,)}, "red line pitch"),
    ],
)
def test_it_says_what_the_session_tells(told: dict[str, Any], said: str) -> None:
    assert said not in shown(STATUS)
    view = shown(replace(STATUS, **told))
    assert said in view
    assert "\x1b" not in view


def test_a_long_cause_is_shown_whole() -> None:
    cause = (
        "the content encoder is missing: put hubert_base.pt into " + "C:\\Users\\somebody\\AppData\\Local\\" + "x" * 200
    )
    assert cause.replace(" ", "") in shown(replace(STATUS, causes=(cause,))).replace(" ", "")


def test_keys_stay_beside_what_they_do_in_a_narrow_terminal() -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(live_view(STATUS))
    for keys in KEYS_HELP:
        assert keys in text.getvalue()


VIEW_WHILE_DEVICES_ARE_LISTED = """
import os
from altervox.realtime.audio.devices import quiet
from altervox.realtime.session.status import Status
from altervox.tools.live.keys import KEYS_HELP
from altervox.tools.live.view import terminal_view
with terminal_view() as show, quiet():
    show(Status(voice="woman"))
    os._exit(0)  # before it is shown once more at the end
"""


@pytest.mark.linux
def test_it_is_shown_while_devices_are_listed() -> None:
    """PortAudio is kept off stderr meanwhile, for all threads."""
    import pty

    terminal, stderr = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", VIEW_WHILE_DEVICES_ARE_LISTED], stdin=subprocess.DEVNULL, stderr=stderr, env=environment
    ) as process:
        os.close(stderr)
        said = b""
        with suppress(OSError), os.fdopen(terminal, "rb", 0) as view:  # Linux ends a terminal with an error
            while part := view.read(4096):
                said += part
    assert process.returncode == 0, said.decode()
    assert b"woman" in said


@pytest.mark.parametrize(
    ("platform", "said"),
    [
        ("win32", "Settings > Privacy & security > Microphone"),
        ("darwin", "System Settings > Privacy & Security > Microphone"),
        ("linux", "it may be muted: see the input in your sound settings"),
    ],
)
def test_digital_silence_names_the_systems_permission(
    monkeypatch: pytest.MonkeyPatch, platform: str, said: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert "digital silence" not in shown(STATUS)
    assert f"digital silence: {said}" in shown(replace(STATUS, input_is_silent=True))


def test_a_picture_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    status = replace(STATUS, f0_hz=118.4)
    path = tmp_path / "view.svg"
    save_view(status, path)
    svg = path.read_text(encoding="utf-8").replace("&#160;", " ")
    assert "118 Hz" in svg
    assert "font-face" not in svg
    assert svg.count("http") == svg.count("www.w3.org/2000/svg") + svg.count("www.textualize.io")
    with pytest.raises(OutputError, match=r"cannot write .*nowhere"):
        save_view(status, tmp_path / "nowhere" / "view.svg")
