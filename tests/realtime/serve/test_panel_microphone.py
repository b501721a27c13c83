"""The panel's section *Microphone of this browser*, on the real server with workers: what it says and does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from browser_audio import BrowserAudio
from panel_page import opened
from remote_session import MemorySession
from remote_sockets import Client
from tcp_relay import relay
from websockets.sync.client import connect

pytestmark = pytest.mark.linux


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    """A browser with a microphone that beeps."""
    if absent := browser.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {absent}: sudo apt install {browser.PACKAGES}")
    folder = tmp_path_factory.mktemp("speaking")
    with browser.chromium(dict(os.environ), folder, "use-fake-device-for-media-stream") as running:
        running.resize(1180, 1000)
        yield running


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))


def test_a_session_is_opened_changed_and_ended(speaking: browser.Browser) -> None:
    with opened(speaking, MemorySession(), audio_workers=1) as (page, server):
        page.click("#details summary")
        page.until("$('#no-sessions').checkVisibility()")
        audio = BrowserAudio(page)
        audio.start("robot")
        page.until_text("#mic-text", "robot is heard.")
        page.until("!$('#mic-numbers').hidden && Number($('#mic-ms').textContent) > 20")
        page.until_text("#sessions", "robot, ")
        page.type("#mic-pitch", "\ue009a\ue00099\ue007")  # Ctrl+A, out of range, Enter
        page.until("$('#mic-pitch').value == '0'")
        page.type("#mic-pitch", "\ue009a\ue0003\ue007")
        page.click("#mic-voice option[value='man']")
        page.until_text("#mic-text", "man is heard.")
        with Client(connect(f"ws://127.0.0.1:{server.port}/v1", proxy=None)) as admin:
            admin.ask("auth", token=server.token)
            (session,) = admin.ask("audio.sessions")["result"]["sessions"]
            assert (session["voice"], session["block_ms"], session["is_connected"]) == ("man", 20, True)
        page.until("!$('#mic-mute').disabled")
        page.click("#mic-mute")
        page.until("$('#mic-mute').ariaPressed == 'true'")
        audio.stop()
        page.until("$('#no-sessions').checkVisibility()")
        # The choice is remembered, and whoever may everything can end it.
        page.click("#mic-power")
        page.until_text("#mic-text", "man is heard.")
        page.click("#sessions button")
        page.click("#sessions button.sure")
        page.until_text("#mic-text", "Ended by ")
        page.click("#mic-power")
        page.until_text("#mic-power", "Start")


def test_a_connection_that_hangs_is_replaced(speaking: browser.Browser) -> None:
    """The other side is silent, as where a cable was pulled: the session goes on over another connection."""
    with opened(speaking, MemorySession(), audio_workers=1) as (page, server), relay(server.port) as between:
        page.open(server.panel_link().replace(f":{server.port}", f":{between.port}"))
        page.until_open()
        audio = BrowserAudio(page)
        audio.start("robot")
        between.freeze()
        # What is chosen meanwhile holds for the session that comes back.
        page.click("#mic-voice option[value='man']")
        page.until_text("#mic-text", "man is heard.")
        counts = audio.report()["counts"]
        assert (counts["opened"], counts["resumed"], counts["outOfOrder"]) == (1, 1, 0)
        page.until_open()
        audio.stop()
        page.open(server.panel_link())
        page.until_open()


def test_it_works_where_threads_cannot_share_memory(speaking: browser.Browser) -> None:
    with opened(speaking, MemorySession(), audio_workers=1) as (page, _):
        speaking.run("Object.defineProperty(globalThis, 'crossOriginIsolated', {value: false})")
        audio = BrowserAudio(page)
        audio.start("off")
        page.until("!$('#mic-numbers').hidden")
        page.until("new DOMMatrix(getComputedStyle($('#mic-out')).transform).a > 0.3")  # the beep comes back
        assert audio.report()["counts"]["outOfOrder"] == 0
        audio.stop()


def test_a_program_is_given_the_right_to_audio(chromium: browser.Browser) -> None:
    with (
        opened(chromium, MemorySession()) as (page, server),
        Client(connect(f"ws://127.0.0.1:{server.port}/v1", proxy=None)) as asking,
    ):
        asking.send("pair", client="studio", role="control+audio")
        page.until_text("#prompts", "asks for access from 127.0.0.1 to control, and to convert its sound")
        grants = chromium.run("return [...document.querySelectorAll('#prompts button')].map(b => b.textContent)")
        assert grants == ["Allow control", "Allow control and audio", "View only", "Everything", "Deny"]
        page.click("#prompts .primary")
        while "result" not in (message := asking.next()):
            pass
        assert message["result"]["role"] == "control+audio"


def test_it_says_why_there_is_no_session(speaking: browser.Browser) -> None:
    with opened(speaking, MemorySession(), audio_workers=0) as (page, _):
        speaking.run("document.querySelector('#browser-audio').open = true")
        page.until("!$('#mic-power').disabled")
        page.click("#mic-power")
        page.until_text("#mic-text", "This altervox offers no audio sessions.")
        page.until("$('#sessions-part').hidden")


def test_a_page_without_a_secure_context_says_what_to_do(chromium: browser.Browser) -> None:
    """Only https, and this computer's own names, give a page the microphone."""
    with opened(chromium, MemorySession(), host_names=("studio.test",)) as (page, server):
        page.open(server.panel_link().replace("127.0.0.1", "studio.test"))
        page.until_open()
        chromium.run("document.querySelectorAll('details').forEach(details => details.open = true)")
        page.until("$('#mic-insecure').checkVisibility() && !$('#mic-part').checkVisibility()")
        page.until_text("#mic-insecure", "only over https")
        page.until_text("#mic-tls", "subjectAltName=DNS:studio.test")
        page.until_text("#midi-note", "only over https")
        assert [line for line in chromium.log() if "Cross-Origin-Opener-Policy" not in line] == []
