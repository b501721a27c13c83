"""A browser as microphone and headphones: what its fake microphone hears is converted, and comes back complete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import browser
import numpy as np
import pytest
import soundfile
from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
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


def harmonic(heard: NDArray[np.float32], f0_hz: float) -> float:
    """How much stronger the harmonics of that F0 are than what lies between them."""
    loud = heard[np.argmax(np.convolve(heard**2, np.ones(4800), "same")) - 4800 :][:9600]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud)), RATE))
    at, between = (
        [spectrum[round(f0_hz * (k + off)) - 3 : round(f0_hz * (k + off)) + 4].max() for k in range(2, 10)]
        for off in (0.0, 0.5)
    )
    return float(np.median(at) / np.median(between))


@pytest.mark.alone
def test_two_pages_are_converted_side_by_side(
    pulse_rig: PulseServer, tmp_path: Path, server: RemoteServer, said: NDArray[np.float32]
) -> None:
    from browser_audio import BrowserAudio, speaking_browser
    from pulse import track

    with (
        speaking_browser(pulse_rig, tmp_path / "one", said, "vcable") as one,
        speaking_browser(pulse_rig, tmp_path / "two", said, "vmic") as two,
    ):
        plain, robot = BrowserAudio(opened(one, server, server.port)), BrowserAudio(opened(two, server, server.port))
        plain.start("off")
        robot.start("robot")
        before = [audio.report() for audio in (plain, robot)]
        with pulse_rig.record("vcable.monitor") as cable, pulse_rig.record("vmic.monitor") as feed:
            for audio in (plain, robot):
                audio.speak()
            cable.wait_for(SAID_S + 2.5)
            after = [audio.report() for audio in (plain, robot)]
        plain.stop()
        robot.stop()
    for was, now in zip(before, after, strict=True):
        lost = [now["terminal"]["underruns"] - was["terminal"]["underruns"], now["told"]["late_blocks"]]
        counts = now["counts"]
        assert (lost, counts["outOfOrder"], counts["notSent"], counts["notReceived"]) == ([0, 0], 0, 0, 0), now
        latency_ms = now["facts"]["latency_ms"]
        assert latency_ms < now["delays"]["p50"] < latency_ms + BEYOND_MS, now["delays"]
    found = track(said, cable.samples)
    assert (found.bad_frames, found.frames > 200) == (0, True), found.bad_at
    assert harmonic(feed.samples, ROBOT_HZ) > 3.0
    assert harmonic(cable.samples, ROBOT_HZ) < 3.0


@pytest.mark.alone
def test_a_session_goes_on_after_the_connection_was_cut(
    pulse_rig: PulseServer, tmp_path: Path, server: RemoteServer, said: NDArray[np.float32]
) -> None:
    from browser_audio import BrowserAudio, speaking_browser
    from pulse import track

    with relay(server.port) as between, speaking_browser(pulse_rig, tmp_path, said, "vcable") as chromium:
        audio = BrowserAudio(opened(chromium, server, between.port))
        audio.start("off")
        with pulse_rig.record("vcable.monitor") as cable:
            audio.speak()
            cable.wait_for(2.5)
            between.cut()
            cable.wait_for(SAID_S)
            report = audio.report()
        audio.stop()
    counts = report["counts"]
    assert (counts["opened"], counts["resumed"], counts["outOfOrder"]) == (1, 1, 0), report
    # What was on its way is lost, what was spoken meanwhile is not: the rest is there, before and after.
    found = track(said, cable.samples)
    assert len(found.bad_at) <= 40, found.bad_at
    assert found.bad_at[-1] - found.bad_at[0] < 60, found.bad_at
    gap_s = (counts["notSent"] + counts["notReceived"]) / report["facts"]["rate"]
    assert gap_s < 0.4, report
