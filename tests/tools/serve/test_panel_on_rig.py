"""The web panel of `altervox serve` as a user has it: a browser, a microphone and a cable."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile

if TYPE_CHECKING:
    from pulse import PulseServer

pytestmark = pytest.mark.linux

RATE = 48_000
SPEECH = Path(__file__).parents[2] / "data" / "alsa_female.wav"
DEVICES = ["--input", "Virtual Microphone", "--output", "Virtual Cable"]
ROBOT_HZ = 115.0


@contextmanager
def serving(rig: PulseServer, home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`altervox serve` and the address that opens its panel once."""
    with subprocess.Popen(
        [sys.executable, "-m", "altervox.tools", "serve", "--port", "0", *DEVICES, *options],
        env={**rig.environment, "ALTERVOX_HOME": str(home), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            links = (re.search(r"http://\S+#\S+", line) for line in process.stdout)
            yield process, next(link[0] for link in links if link)
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            assert process.wait(30) == 0


def test_the_panel_changes_what_is_heard_and_notices_a_server_that_hangs(
    pulse_rig: PulseServer, tmp_path: Path
) -> None:
    import browser
    from panel_page import PanelPage
    from pulse import harmonic_strength

    if absent := browser.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {absent}: sudo apt install {browser.PACKAGES}")
    said = soundfile.read(SPEECH, dtype="float32")[0][: 2 * RATE]
    with (
        serving(pulse_rig, tmp_path, "--start", "--voice", "robot") as (process, address),
        browser.chromium(dict(os.environ), tmp_path) as chromium,
    ):
        page = PanelPage(chromium, address)
        page.until_open()
        page.until_text("#phase", "Live")
        page.until("$('#device-output').value == 'Virtual Cable'")
        page.until_text("#listening", "Virtual Cable Output")
        page.click("#tone button[aria-label='Pitch +12 semitones']")
        page.until("$('#value-pitch').value == '12'")
        page.until("Number($('#latency').textContent) > 0")
        with pulse_rig.record("vcable_source") as cable:
            pulse_rig.play(said, "vmic")
            cable.wait_for(0.3)
        # Between the harmonics of twice the robot's F0 there would be others as strong if it had not changed.
        assert harmonic_strength(cable.samples, 2.0 * ROBOT_HZ) > 3.0
        process.send_signal(signal.SIGSTOP)
        page.until("$('#link').dataset.state == 'lost'")
        process.send_signal(signal.SIGCONT)
        page.until("$('#link').dataset.state == 'open' && $('#value-pitch').value == '12'")
        page.click("#power")
        page.until_text("#trouble", "Not running.")
        assert page.faults() == []
