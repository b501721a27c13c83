"""Measures the browser as microphone and headphones: speech through Chromium, a server on loopback, and back.

    .venv/bin/python tests/support/browser_round_trip.py [--voice NAME ...] [--seconds N]

prints the latency of each voice by parts, and everything that was lost. Needs what the rig needs (see pulse.py) and
Chromium with its driver. The microphone is Chromium's fake one, which adds no latency that it would report as its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
from altervox.tools.machine import processor
from browser_audio import BrowserAudio, speaking_browser
from panel_page import PanelPage
from pulse import RATE, RIG, pulse_server
from remote_session import MemorySession

SPEECH = Path(__file__).parents[1] / "data" / "alsa_female.wav"
SETTLE_S = 3.0  # clocks and start-up
REPORTS_PER_S = 2.0


@contextmanager
def page_open(folder: Path, seconds: float) -> Iterator[BrowserAudio]:
    """A panel in a browser that hears speech for at least so long."""
    once = soundfile.read(SPEECH, dtype="float32")[0]
    said = np.tile(once, 1 + int(seconds * RATE) // len(once))
    with ExitStack() as stack:
        rig = stack.enter_context(pulse_server(folder / "pulse", RIG))
        server = stack.enter_context(RemoteServer(MemorySession(), ServerSettings(port=0)))
        chromium = stack.enter_context(speaking_browser(rig, folder / "browser", said, "vcable"))
        page = PanelPage(chromium, server.panel_link())
        page.until_open()
        yield BrowserAudio(page)


def measured(audio: BrowserAudio, voice: str, seconds: float) -> dict[str, Any]:
    """Figures of one voice in ms, and counts."""
    audio.start(voice)
    audio.speak()
    time.sleep(SETTLE_S)
    before = audio.report()
    depths = []
    for _ in range(round(seconds * REPORTS_PER_S)):
        time.sleep(1.0 / REPORTS_PER_S)
        depths.append(audio.report()["terminal"]["depthMs"])
    after = audio.report()
    audio.stop()
    facts, delays = after["facts"], after["delays"]
    figures = {
        "microphone": after["deviceMs"]["input"],
        "block": facts["block_ms"],
        "voice": facts["latency_ms"] - facts["block_ms"],
        "network and server p50": delays["p50"] - facts["latency_ms"],
        "network and server p99": delays["p99"] - facts["latency_ms"],
        "jitter buffer": statistics.median(depths),
        "headphones": after["deviceMs"]["output"],
    }
    figures["whole"] = sum(ms for name, ms in figures.items() if not name.endswith("p99"))
    counts = {name: after["counts"][name] - before["counts"][name] for name in ("sent", "notSent", "notReceived")}
    counts["underruns"] = after["terminal"]["underruns"] - before["terminal"]["underruns"]
    counts["late blocks"] = after["told"].get("late_blocks", 0) - before["told"].get("late_blocks", 0)
    return {name: round(float(ms), 1) for name, ms in figures.items()} | counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the browser's round trip by parts.")
    parser.add_argument("--voice", action="append", help="Voice to measure; default: off, robot and woman.")
    parser.add_argument("--seconds", type=float, default=20.0, help="Length of each measurement (default 20).")
    options = parser.parse_args()
    voices = options.voice or ["off", "robot", "woman"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        with page_open(Path(folder), options.seconds + 2 * SETTLE_S) as audio:
            found = {voice: measured(audio, voice, options.seconds) for voice in voices}
    print(f"{processor()}; {options.seconds:g} s each; ms, then counts (samples, underruns, blocks)")
    for name in next(iter(found.values())):
        print(f"{name:26}", *(f"{found[voice][name]:>9}" for voice in voices))
    print(f"{'':26}", *(f"{voice:>9}" for voice in voices))


if __name__ == "__main__":
    main()
