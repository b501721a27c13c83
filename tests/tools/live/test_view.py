"""What the terminal view says of a session, and its picture."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from altervox.kernels.errors import OutputError
from altervox.realtime.session.status import LiveStatus
from altervox.tools.live.view import live_view, save_view
from rich.console import Console


@pytest.fixture
def status() -> Iterator[LiveStatus]:
    status = LiveStatus.create()
    status.put(state="running", input_device="Microphone", output_device="Cable", voice="woman")
    status.put(f0_hz=200.0, gate_gain_db=-50.0)
    try:
        yield status
    finally:
        status.close(unlink=True)


def shown(status: LiveStatus) -> str:
    """The view's words, without frame and line breaks."""
    text = io.StringIO()
    Console(file=text, width=140).print(live_view(status.read()))
    return " ".join(text.getvalue().replace("│", " ").split())


@pytest.mark.parametrize(
    ("is_measured", "said"),
    [
        (0, "112 ms = device in 20 + block 40 + voice 2 + resamplers 0 + prefill 30 + device out 20"),
        (1, "112 ms = devices, measured 40 + block 40 + voice 2 + resamplers 0 + prefill 30"),
    ],
)
def test_a_measured_delay_takes_the_place_of_what_is_reported(status: LiveStatus, is_measured: int, said: str) -> None:
    status.put(device_in_ms=20.0, device_out_ms=20.0, device_ms=40.0, device_delay_is_measured=is_measured)
    status.put(block_ms=40.0, engine_ms=2.0, prefill_ms=30.0, total_ms=112.0)
    assert said in shown(status)
    assert ("device in" in shown(status)) is not bool(is_measured)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"f0_hz": 118.4}, "F0 118 Hz"),
        ({"f0_hz": 0.0}, "F0 - gate"),
        ({"gate_gain_db": 0.0}, "gate open (0 dB)"),
        ({"gate_gain_db": -12.0}, "gate closed (-12 dB)"),
        ({"gate_gain_db": -100.0}, "gate closed (silence)"),
        ({"input_peak_db": -18.0, "input_gain_db": 3.0, "output_peak_db": -9.0}, "-18 dB gain +3 dB"),
        ({"input_peak_db": -18.0, "output_peak_db": -9.0, "gain_db": -2.0}, "-9 dB gain -2 dB"),
        ({"pitch_semitones": 3.0, "formant_semitones": -0.5}, "woman pitch +3, formants -0.5 semitones"),
        ({"input_device": "Microphone [USB]"}, "microphone Microphone [USB]"),
        ({"output_device": "Cable [/b]"}, "output Cable [/b]"),
        ({"bypass": 1, "muted": 1}, "bypass muted"),
        ({"monitor_device": "Headphones", "monitor": 1}, "monitor Headphones on"),
        ({"monitor_device": "Headphones", "monitor": 0}, "monitor Headphones off"),
        ({"state": "reconnecting", "cause": "a device has stopped"}, "reconnecting 0:00:00"),
        ({"state": "reconnecting", "cause": "a device has stopped"}, " a device has stopped "),
        ({"cause": "CUDA out of memory"}, " CUDA out of memory "),
        ({"state": "failed", "cause": "no voice is called 'nobody'"}, " no voice is called 'nobody' "),
    ],
)
def test_it_says_what_the_session_tells(status: LiveStatus, told: dict[str, Any], said: str) -> None:
    assert said not in shown(status)
    status.put(**told)
    assert said in shown(status)


def test_the_voices_gain_is_not_shown_while_it_is_bypassed(status: LiveStatus) -> None:
    status.put(gain_db=6.0, input_gain_db=3.0, f0_hz=118.4)
    assert "gain +6 dB" in shown(status)
    status.put(bypass=1)
    assert "gain +6 dB" not in shown(status)
    assert "gain +3 dB" in shown(status)
    assert "F0 118 Hz" in shown(status)


VIEW_WHILE_DEVICES_ARE_LISTED = """
import os
from altervox.realtime.audio.devices import quiet
from altervox.realtime.session.status import LiveStatus
from altervox.tools.live.view import terminal_view
status = LiveStatus.create()
status.put(voice="woman")
with terminal_view() as show, quiet():
    show(status.read())
    status.close(unlink=True)
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
    status: LiveStatus, monkeypatch: pytest.MonkeyPatch, platform: str, said: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert "digital silence" not in shown(status)
    status.put(input_is_silent=1)
    assert f"digital silence: {said}" in shown(status)


def test_a_picture_needs_nothing_from_elsewhere(status: LiveStatus, tmp_path: Path) -> None:
    status.put(f0_hz=118.4)
    path = tmp_path / "view.svg"
    save_view(status.read(), path)
    svg = path.read_text(encoding="utf-8").replace("&#160;", " ")
    assert "118 Hz" in svg
    assert "font-face" not in svg
    assert svg.count("http") == svg.count("www.w3.org/2000/svg") + svg.count("www.textualize.io")
    with pytest.raises(OutputError, match=r"cannot write .*nowhere"):
        save_view(status.read(), tmp_path / "nowhere" / "view.svg")
