"""MIDI in the panel, and the overlay for streams: in a real Chromium, on the real server, over a session in memory."""

from __future__ import annotations

import io
from pathlib import Path

import browser
import pytest
from altervox.realtime.session.commands import Set
from panel_page import PanelPage, opened
from PIL import Image
from remote_session import MemorySession

pytestmark = pytest.mark.linux

# Machines that run tests have no MIDI device.
PIANO = """
window.piano = {name: "Piano", state: "connected"};
navigator.requestMIDIAccess = async () => ({inputs: new Map([["1", window.piano]])});
"""
HEAR = "for (const data of arguments[0]) window.piano.onmidimessage({data: new Uint8Array(data)})"
NOTE_ON, NOTE_OFF, CONTROLLER, PROGRAM, BEND = 0x99, 0x89, 0xB0, 0xC2, 0xE0
CLOCK, SENSING, AFTERTOUCH = [0xF8], [0xFE], [0xD9, 90]


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))


def hear(page: PanelPage, *messages: list[int]) -> None:
    """Have the device send messages."""
    page.browser.run(HEAR, messages)


def choose(page: PanelPage, action: str) -> None:
    """Press Learn for an action."""
    page.until("[...$('#midi-action').options].some(option => option.value == arguments[0])", action)
    page.click(f"#midi-action option[value='{action}']")
    page.click("#midi-learn")


def learn(page: PanelPage, action: str, *messages: list[int]) -> None:
    """Have the page learn the control that these messages come from."""
    choose(page, action)
    page.until_text("#midi-note", f"Now move the control for “{action}”")
    hear(page, *messages)
    page.until_text("#midi", action)


def test_controls_are_learned_and_remembered(chromium: browser.Browser) -> None:
    session = MemorySession()
    with opened(chromium, session) as (page, _):
        page.click("#details summary")
        chromium.run(PIANO)
        learn(page, "Mute on or off", CLOCK, SENSING, AFTERTOUCH, [NOTE_OFF, 36, 0], [NOTE_ON, 36, 0], [NOTE_ON, 36, 1])
        page.until_text("#midi", "note 36, channel 10")
        page.until_text("#midi-note", "Connected: Piano.")
        assert session.state().muted is False  # the press that is learned does nothing else
        hear(page, [NOTE_OFF, 36, 0], [NOTE_ON, 36, 90])
        page.until("$('#mute').ariaPressed == 'true'")
        hear(page, [NOTE_ON, 36, 0], [NOTE_ON, 36, 90])
        page.until("$('#mute').ariaPressed == 'false'")
        learn(page, "Voice robot", [PROGRAM, 3])
        hear(page, [PROGRAM, 3])
        page.until_text("#sounding", "robot")
        learn(page, "Bypass while held", [CONTROLLER, 64, 127], [CONTROLLER, 64, 0])
        hear(page, [CONTROLLER, 64, 127])
        page.until("$('#bypass').ariaPressed == 'true'")
        hear(page, [CONTROLLER, 64, 20])
        page.until("$('#bypass').ariaPressed == 'false'")
        # A key cannot be what a knob is: it is ignored until the knob is turned.
        learn(page, "Knob for Pitch", [NOTE_ON, 40, 90], [CONTROLLER, 7, 1])
        for position, semitones in ((127, 12.0), (64, 0.0), (0, -12.0)):
            hear(page, [CONTROLLER, 7, position])
            page.until("$('#value-pitch').value == String(arguments[0])", semitones)
            assert session.state().params.pitch_semitones == semitones
        learn(page, "Knob for Gate threshold", [BEND, 0, 0])
        hear(page, [BEND, 0, 64])
        page.until("$('#value-gate_db').value == '-30'")
        # The same control again: it has one meaning. It is remembered, and forgotten when that is wanted.
        learn(page, "Voice man", [NOTE_OFF, 36, 0], [NOTE_ON, 36, 90])
        assert "Mute on or off" not in page.text("#midi")
        chromium.call("refresh")
        page.until_open()
        page.until_text("#midi", "Voice man")
        chromium.run(PIANO)
        choose(page, "Voice woman")
        page.until_text("#midi-note", "Now move")
        page.click("#midi-learn")  # it says Cancel now
        page.until_text("#midi-note", "Connected")
        hear(page, [NOTE_ON, 36, 90])
        page.until_text("#sounding", "man")
        for left in range(4, -1, -1):
            page.click("#midi li button")
            page.until("document.querySelectorAll('#midi li').length == arguments[0]", left)
        assert chromium.run("return localStorage.getItem('altervox.midi')") is None


HARP = """
window.harp = {name: "Harp", state: "connected"};
window.second.navigator.requestMIDIAccess = async () => ({inputs: new Map([["1", window.harp]])});
window.second.document.querySelector("#midi-learn").click();
"""


def test_one_of_two_panels_in_a_browser_obeys(chromium: browser.Browser) -> None:
    session = MemorySession()
    with opened(chromium, session) as (page, _):
        page.click("#details summary")
        chromium.run(PIANO)
        learn(page, "Pitch up", [NOTE_ON, 36, 90])
        chromium.run("window.second = window.open('/')")
        page.until("window.second.document.querySelector('#midi-action')?.options.length > 5")
        page.until("!window.second.document.querySelector('#midi-learn').disabled")
        chromium.run(HARP)
        page.until("window.harp.onmidimessage != null")
        chromium.run("window.second.document.querySelector('#midi-learn').click()")  # Cancel
        press = "window.harp.onmidimessage({data: new Uint8Array([arguments[0], 36, 90])})"
        for _ in range(5):
            chromium.run(press, NOTE_ON)
            chromium.run(press, NOTE_OFF)
        hear(page, [NOTE_OFF, 36, 0], [NOTE_ON, 36, 90])
        page.until("$('#value-pitch').value == '1'")
        page.click("#mute")
        page.until("$('#mute').ariaPressed == 'true'")
        assert session.state().params.pitch_semitones == 1.0
        chromium.run("window.second.close(); localStorage.removeItem('altervox.midi')")


def test_a_browser_without_midi_says_so(chromium: browser.Browser) -> None:
    with opened(chromium, MemorySession()) as (page, _):
        page.click("#details summary")
        page.until_text("#midi-note", "press Learn")
        chromium.run("navigator.requestMIDIAccess = async () => { throw new DOMException('no sequencer', 'Any') }")
        choose(page, "Next voice")
        page.until_text("#midi-note", "MIDI does not work here: no sequencer")
        page.until_text("#midi-learn", "Learn")


def test_the_overlay_shows_who_is_heard_on_nothing(chromium: browser.Browser) -> None:
    session = MemorySession()
    chromium.resize(480, 200)
    try:
        with opened(chromium, session, "?view=meter") as (page, _):
            page.until("$('#overlay').checkVisibility() && !$('#panel').checkVisibility()")
            page.until_text("#overlay-name", "woman")
            session.report(output_peak_db=-12.0)
            page.until("$('#overlay-bar').getBoundingClientRect().width > 0")
            # Only what is drawn covers the stream.
            chromium.devtools("Emulation.setDefaultBackgroundColorOverride", color={"r": 0, "g": 0, "b": 0, "a": 0})
            for scheme in ("light", "dark"):
                chromium.prefer(scheme)
                picture = Image.open(io.BytesIO(chromium.picture())).convert("RGBA")
                opacity = picture.getchannel("A")
                assert (opacity.getpixel((240, 195)), opacity.getpixel((2, 2))) == (0, 0), scheme
                assert opacity.getextrema()[1] == 255
            session.do(Set({"muted": True, "bypass": True}), "")
            page.until_text("#overlay-name", "Own voice")
            page.until_text("#overlay-note", "muted")
            assert chromium.run("return document.documentElement.scrollWidth <= innerWidth")
            session.report(state="stopped")
            page.until("!$('#overlay').checkVisibility()")
    finally:
        chromium.devtools("Emulation.setDefaultBackgroundColorOverride")
        chromium.prefer("dark")
        chromium.resize(1180, 1000)
