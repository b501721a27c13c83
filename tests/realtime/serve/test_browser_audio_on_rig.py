"""A browser as microphone and headphones: what its fake microphone hears is converted, and comes back complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import browser
import numpy as np
import pytest
import soundfile
from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
from audio_client import directly
from numpy.typing import NDArray
from panel_page import PanelPage
from remote_session import MemorySession
from tcp_relay import relay

if TYPE_CHECKING:
    from pulse import PulseServer

pytestmark = pytest.mark.linux

RATE = 48_000
SPEECH = Path(__file__).parents[2] / "data" / "alsa_female.wav"
SAID_S = 4.0
TRIES = 5  # the sound server, and machines that others use, lose something now and then
STEADY = 48.0  # samples, one millisecond, by which the delay of what comes back may vary ...
BUFFER = 480.0  # ... beside one buffer of Chromium's: a busy one loses that of its microphone, and counts it nowhere
MOST_CUT = 20  # frames of 10 ms that a connection that was cut may cost
ROBOT_HZ = 115.0
BEYOND_MS = 60.0  # that the network and a busy server may add to the latency of blocks and voice


@pytest.fixture
def said() -> NDArray[np.float32]:
    return np.asarray(soundfile.read(SPEECH, dtype="float32")[0][: round(SAID_S * RATE)])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RemoteServer]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if absent := browser.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {absent}: sudo apt install {browser.PACKAGES}")
    with RemoteServer(MemorySession(), ServerSettings(port=0)) as running:
        yield running


def opened(chromium: browser.Browser, server: RemoteServer, port: int) -> PanelPage:
    """A panel that is open, reached by that port."""
    page = PanelPage(chromium, server.panel_link().replace(f":{server.port}", f":{port}"))
    page.until_open()
    return page


def lost(before: dict[str, Any], after: dict[str, Any]) -> dict[str, int]:
    """What was counted between two reports."""
    found = {"underruns": after["terminal"]["underruns"] - before["terminal"]["underruns"]}
    found["late_blocks"] = after["told"].get("late_blocks", 0) - before["told"].get("late_blocks", 0)
    names = ("outOfOrder", "notSent", "notReceived")
    return found | {name: after["counts"][name] - before["counts"][name] for name in names}


@pytest.mark.alone
@pytest.mark.quiet
def test_two_pages_are_converted_side_by_side(
    pulse_rig: PulseServer, tmp_path: Path, server: RemoteServer, said: NDArray[np.float32]
) -> None:
    from browser_audio import BrowserAudio, speaking_browser
    from pulse import harmonic_strength, track

    expected = directly(said, RATE, "off")  # its own voice, through the high-pass filter that all voices have
    with (
        speaking_browser(pulse_rig, tmp_path / "one", said, "vcable") as one,
        speaking_browser(pulse_rig, tmp_path / "two", said, "vmic") as two,
    ):
        pages = [BrowserAudio(opened(each, server, server.port)) for each in (one, two)]
        for page, voice in zip(pages, ("off", "robot"), strict=True):
            page.start(voice)
        tries = []
        for _ in range(TRIES):
            before = [page.report() for page in pages]
            with pulse_rig.record("vcable.monitor") as cable, pulse_rig.record("vmic.monitor") as feed:
                for page in pages:
                    page.speak()
                cable.wait_for(SAID_S + 2.5)
            after = [page.report() for page in pages]
            losses = [lost(was, now) for was, now in zip(before, after, strict=True)]
            found = track(expected, cable.samples)
            print(losses, found.bad_at, np.ptp(found.lags))
            counted = sum(sum(loss.values()) for loss in losses)
            tries.append((counted, len(found.bad_at), np.ptp(found.lags), after, cable.samples, feed.samples))
            if not counted and np.ptp(found.lags) < STEADY:
                break
        for page in pages:
            page.stop()
    counted, bad_frames, varied, after, cable_heard, feed_heard = min(tries, key=lambda one: one[:3])
    assert not counted
    for now in after:
        assert 0.0 < now["delays"]["p50"] - now["facts"]["latency_ms"] < BEYOND_MS, now
    assert (bad_frames, found.frames > 150) == (0, True)
    assert varied < BUFFER + STEADY  # nothing else was skipped or repeated
    assert harmonic_strength(feed_heard, ROBOT_HZ) > 3.0
    assert harmonic_strength(cable_heard, ROBOT_HZ) < 3.0


@pytest.mark.alone
@pytest.mark.quiet
def test_a_session_goes_on_after_the_connection_was_cut(
    pulse_rig: PulseServer, tmp_path: Path, server: RemoteServer, said: NDArray[np.float32]
) -> None:
    from browser_audio import BrowserAudio, speaking_browser
    from pulse import track

    expected = directly(said, RATE, "off")
    with relay(server.port) as between, speaking_browser(pulse_rig, tmp_path, said, "vcable") as chromium:
        page = BrowserAudio(opened(chromium, server, between.port))
        page.start("off")
        for _ in range(TRIES):
            before = page.report()
            with pulse_rig.record("vcable.monitor") as cable:
                page.speak()
                cable.wait_for(2.5)
                between.cut()
                cable.wait_for(SAID_S)
            after = page.report()
            found = track(expected, cable.samples)
            print(lost(before, after), found.bad_at)
            if len(found.bad_at) <= MOST_CUT:
                break
        page.stop()
    assert (after["counts"]["opened"], after["counts"]["outOfOrder"]) == (1, 0)
    assert after["counts"]["resumed"] == before["counts"]["resumed"] + 1
    # What was spoken meanwhile was sent afterwards. A little may be lost on its way, and all else is there.
    assert len(found.bad_at) <= MOST_CUT, found.bad_at
    assert found.frames > 150
