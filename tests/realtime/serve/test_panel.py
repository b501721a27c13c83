"""The web panel in a real Chromium, on the real server, over a session in memory."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import browser
import panel_page
import pytest
from altervox.kernels.errors import AltervoxError
from altervox.models.library import VoiceInfo
from altervox.models.pictures import set_picture
from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
from panel_page import PanelPage, opened
from PIL import Image
from remote_session import MemorySession, voice
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.linux

EVIL = "<img src=x onerror=document.title='hit'>"
# WebDriver's codes of keys.
RELEASED, BACKSPACE, ENTER, CONTROL, ESCAPE, SPACE, HOME, RIGHT = "\ue000\ue003\ue007\ue009\ue00c\ue00d\ue011\ue014"
NEURAL = [VoiceInfo(name, "neural", 24000, f"sounds like {name}", None) for name in ("clara", "greta", "edgar")]
WIDTHS = {"desktop": 1180, "phone": 390, "dock": 300}


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path))


@contextmanager
def program(server: RemoteServer) -> Iterator[Program]:
    with connect(f"ws://127.0.0.1:{server.port}/v1", proxy=None) as socket:
        client = Program(socket)
        client.receive("hello")
        client.do("auth", token=server.token, client="deck <b>")
        yield client


class Program:
    """A second client."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._id = 0

    def receive(self, key: str, value: object = None) -> dict[str, Any]:
        """The next message with that key, and that value unless it is None."""
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(timeout=20))
            if key in message and value in (None, message[key]):
                return message

    def do(self, command: str, **params: object) -> dict[str, Any]:
        self._id += 1
        self._socket.send(json.dumps({"id": self._id, "cmd": command, "params": params}))
        reply = self.receive("id", self._id)
        assert reply["ok"], reply
        return dict(reply["result"])

    def changed(self, key: str) -> Any:
        """The next value of a field of the state."""
        while key not in (data := self.receive("event", "state")["data"]):
            pass
        return data[key]


def test_panel_and_program_control_one_session(chromium: browser.Browser) -> None:
    session = MemorySession()
    with opened(chromium, session) as (page, server), program(server) as deck:
        deck.do("subscribe", topics={"state": {}})
        assert deck.changed("pitch") == 0.0
        page.click("#tone button[aria-label='Pitch +1 semitones']")
        assert deck.changed("pitch") == 1.0
        assert session.state().params.pitch_semitones == 1.0
        page.until("$('#value-pitch').value == '1'")
        deck.do("set", pitch=-4.5, mute=True)
        page.until("$('#value-pitch').value == '-4.5' && Math.abs(Number($('#tone .range').value) + 4.5) <= 0.5")
        page.until("$('#mute').ariaPressed == 'true'")
        assert deck.changed("mute") is True
        page.click("#mute")
        assert deck.changed("mute") is False
        # The number can be typed; what is out of range is refused with a sentence, and the control tells the truth.
        page.type("#value-pitch", f"{CONTROL}a{RELEASED}99{ENTER}")
        page.until_text("#note", "-36 and 36")
        page.until("$('#value-pitch').value == '-4.5'")


def test_a_slider_that_is_held_does_not_move_by_itself(chromium: browser.Browser) -> None:
    session = MemorySession()
    with opened(chromium, session) as (page, server), program(server) as deck:
        left, top, width, height = chromium.run(
            "const box = document.querySelector('#tone .range').getBoundingClientRect();"
            "return [box.x, box.y, box.width, box.height]"
        )
        middle = {"x": round(left + width / 2), "y": round(top + height / 2)}
        further = {"x": round(left + 0.75 * width), "y": middle["y"]}
        page.pointer(
            {"type": "pointerMove", "duration": 0, **middle},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerMove", "duration": 300, **further},
        )
        held = chromium.run("return Number(document.querySelector('#tone .range').value)")
        assert 15 <= held <= 20
        page.until("$('#value-pitch').value == String(arguments[0])", held)
        deck.do("subscribe", topics={"state": {}})
        deck.do("set", pitch=-12, formant=2)
        page.until("$('#value-formant').value == '2'")  # so the change has come
        assert chromium.run("return Number(document.querySelector('#tone .range').value)") == held
        page.pointer({"type": "pointerUp", "button": 0})
        page.until("$('#tone .range').value == '-12' && $('#value-pitch').value == '-12'")
        assert session.state().params.pitch_semitones == -12.0


def test_keys_choose_voices_and_switches(chromium: browser.Browser) -> None:
    session = MemorySession()
    session.lists += [voice(f"Anna {number}") for number in range(10)]
    with opened(chromium, session) as (page, _):
        assert session.state().voice == "woman"
        page.press("4")
        page.until("$('[role=radio][aria-checked=true]').textContent.startsWith('R')")
        assert session.state().voice == "robot"
        page.press("m", "b")
        page.until("$('#mute').ariaPressed == 'true' && $('#bypass').ariaPressed == 'true'")
        # Where text is typed, keys are text.
        page.click("#search")
        page.press("1", "m", BACKSPACE, BACKSPACE, "7")
        page.until("document.querySelectorAll('.tile').length == 1")
        page.press(ENTER)
        page.until("$('[role=radio]').ariaChecked == 'true'")
        assert (session.state().voice, session.state().muted) == ("Anna 7", True)
        page.press(ESCAPE)
        # A favourite comes first, also after the page was opened again.
        page.click(".tile:nth-child(3) .star")
        page.until("$('.tile .caption-row').textContent == 'man'")
        chromium.call("refresh")
        page.until_open()
        page.until("$('.tile .caption-row').textContent == 'man' && $('.star').ariaPressed == 'true'")
        # The grid is one stop for Tab, and arrows move within it.
        assert (
            chromium.run("return document.querySelectorAll('.tile > button[role=radio][tabindex=\"0\"]').length") == 1
        )
        chromium.run("document.querySelector('.tile > button[tabindex=\"0\"]').focus()")
        page.press(HOME, RIGHT, SPACE)
        page.until("document.activeElement.ariaChecked == 'true'")
        assert session.state().voice == "off"


def test_a_voice_has_its_picture_and_is_warming_while_it_loads(chromium: browser.Browser, tmp_path: Path) -> None:
    session = MemorySession()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "voice.png")
    session.lists.append(voice("Ünal #1 & 2"))
    set_picture("Ünal #1 & 2", tmp_path / "voice.png")
    with opened(chromium, session) as (page, _):
        page.until("$('.tile:last-child img')?.naturalWidth == 8")
        session.report(voice="man", is_loading=True)
        page.until_text("[data-warming] .state", "warming")
        assert page.text("#sounding") == "man"
        session.report(voice="woman", is_loading=False)
        page.until("!$('[data-warming]') && $('[aria-checked=true] .state').textContent == 'live'")


def test_text_from_outside_stays_text(chromium: browser.Browser) -> None:
    session = MemorySession()
    session.lists.append(voice(EVIL))
    with opened(chromium, session) as (page, server), program(server) as deck:
        session.report(causes=(f"cause {EVIL}",), input_device=EVIL, voice=EVIL, recording_error=EVIL)
        page.until_text("#trouble-text", f"Cause {EVIL}")
        page.until_text("#sounding", EVIL)
        page.until_text("#device-input", EVIL)
        deck.do("hold", seconds=60, voice=EVIL)
        page.until_text("#holds", f"{EVIL} for ")
        page.until_text("#holds", "by deck <b>")
        page.click("#details summary")
        page.until_text("#log", EVIL)
        page.until_text("#clients", "panel, ")
        elements = chromium.run("return document.querySelectorAll('main img, main b b, .holds b, #log b').length")
        assert (elements, chromium.run("return document.title == 'hit'")) == (0, False)
        page.click("#holds button")
        page.until("!$('#holds li')")


def test_the_light_says_what_to_do(chromium: browser.Browser) -> None:
    session = MemorySession()
    with opened(chromium, session) as (page, _):
        page.until("$('#trouble').dataset.level == 'ok'")
        page.until_text("#latency", "90")
        session.report(longer_block_ms=60)
        page.until_text("#trouble-action", "Use 60 ms blocks")
        page.click("#trouble-action")
        page.until("$('#trouble').dataset.level == 'warn'")
        assert "block 60" in session.calls
        session.report(longer_block_ms=0, underruns=2)
        page.until_text("#trouble", "Underruns.")
        session.report(input_is_silent=True, causes=("the monitor is gone",))
        page.until_text("#trouble", "The monitor is gone")
        session.report(state="failed", causes=("the voice file is damaged",))
        page.until_text("#trouble", "The voice file is damaged")
        page.until("$('#trouble').dataset.level == 'bad'")
        session.report(causes=())
        page.click("#trouble-action")
        page.until_text("#phase", "Live")
        page.click("#power")
        page.until_text("#trouble", "Not running.")
        assert not page.text("#latency").isdigit()
        assert session.calls[-2:] == ["start", "stop"]


def test_devices_are_chosen_and_a_cable_is_named(chromium: browser.Browser) -> None:
    session = MemorySession(runs=False)
    with opened(chromium, session) as (page, _):
        page.until("$('#device-output').options.length == 3 && $('#device-output').value == ''")
        page.until_text("#listening", "the other end of this cable")
        page.click("#relist")
        page.until("!$('#relist').ariaBusy")
        assert session.calls.count("devices") == 2
        page.click("#device-output option[value='Headphones']")
        page.until_text("#listening", "no virtual cable")
        page.click("#device-output option[value='Virtual Cable']")
        page.click("#device-monitor option[value='Headphones']")
        session.error = AltervoxError(f"no sound {EVIL}")
        page.click("#apply")
        page.until_text("#trouble", f"Not started. No sound {EVIL}.")
        session.error = None
        page.click("#trouble-action")
        page.until_text("#phase", "Live")
        status = session.status()
        found = status.input_device, status.output_device, status.monitor_device
        assert found == ("Microphone", "Virtual Cable", "Headphones")
        page.until("$('#monitor').ariaPressed == 'true'")
        page.until_text("#apply", "Restart")


def test_it_comes_back_after_the_server(chromium: browser.Browser, tmp_path: Path) -> None:
    session = MemorySession()
    with RemoteServer(session, ServerSettings(port=0), tmp_path / "access.json") as server:
        page = PanelPage(chromium, server.panel_link())
        page.until_open()
        assert chromium.run("return location.href") == server.address  # the token is out of sight
    page.until("$('#link').dataset.state == 'lost' && $('#trouble').dataset.level == 'bad'")
    assert chromium.run("return [...document.querySelectorAll('.toggles button')].every(button => button.disabled)")
    session.do(panel_page.pitch(5.0), "")
    with RemoteServer(session, ServerSettings(port=server.port), tmp_path / "access.json") as server:
        page.until("$('#link').dataset.state == 'open' && $('#value-pitch').value == '5'")
        with program(server) as deck:
            deck.do("set", pitch=6)
        page.until("$('#value-pitch').value == '6' && !$('#mute').disabled")
        assert page.faults() == []


def test_access_is_asked_for_and_given(chromium: browser.Browser) -> None:
    session = MemorySession()
    with RemoteServer(session, ServerSettings(port=0)) as server, program(server) as deck:
        page = PanelPage(chromium, f"{server.address}#wrong-token")
        page.until("!$('#entry').hidden && $('#panel').hidden")
        page.until_text("#entry", "altervox remote panel")
        deck.do("subscribe", topics={"pairings": {}})
        page.type("#ask-name", " on the desk")
        page.click("#ask-button")
        page.until("/^\\d{3} \\d{3}$/.test($('#ask-code').textContent)")
        pairing: dict[str, Any] = {}
        while not pairing:
            pairing = next(iter(deck.receive("event", "pairings")["data"]), {})
        assert pairing["code"] == page.text("#ask-code").replace(" ", "")
        assert pairing["client"].endswith(" on the desk")
        deck.do("pair_answer", id=pairing["id"], allow=True, role="view")
        page.until_open()
        page.until_text("#link", "view only")
        # To look at the devices again changes nothing.
        controls = "[...document.querySelectorAll('main button:not(.star), main select, main input')]"
        enabled = chromium.run(f"return {controls}.filter(e => !e.disabled && e.checkVisibility()).map(e => e.id)")
        assert enabled == ["relist"]
        # Its token is revoked: it is shown the door.
        (client,) = (c for c in deck.do("clients")["clients"] if c["name"].endswith(" on the desk"))
        deck.do("client_remove", id=client["id"])
        page.until("!$('#entry').hidden")
        page.until_text("#entry-reason", "removed")
        # And this panel lets another program in.
        page.open(server.panel_link())
        page.until_open()
        with connect(f"ws://127.0.0.1:{server.port}/v1", proxy=None) as socket:
            asking = Program(socket)
            socket.send(json.dumps({"id": 1, "cmd": "pair", "params": {"client": f"bot {EVIL}"}}))
            code = asking.receive("event", "pairing")["data"]["code"]
            page.until_text("#prompts .code", f"{code[:3]} {code[3:]}")
            page.until_text("#prompts", f"bot {EVIL}")
            page.click("#prompts .primary")
            assert asking.receive("id", 1)["result"]["role"] == "control"
        page.until("!$('#prompts div')")
        assert page.faults() == []


def test_an_address_is_made_for_a_tool_that_can_only_open_one(chromium: browser.Browser) -> None:
    session = MemorySession()
    with opened(chromium, session, url_buttons=True) as (page, server):
        allowed = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        chromium.devtools("Browser.grantPermissions", permissions=allowed, origin=server.address)
        page.click("#details summary")
        page.until("$('#button-action option[value=\"Voice robot for 30 s\"]')")
        page.click("#button-action option[value='Voice robot for 30 s']")
        page.click("#button-form button")
        page.until_text("#buttons", "robot-30s")
        page.click("#buttons button.primary")
        page.until_text("#buttons button.primary", "Copied")
        address = chromium.call("execute/async", script="navigator.clipboard.readText().then(arguments[0])", args=[])
        with urllib.request.urlopen(address) as answer:
            assert json.load(answer)["ok"] is True
        page.until_text("#holds", "robot for ")
        # The address is shown once, and works until it is removed.
        page.click("#buttons li button:last-child")
        page.click("#buttons li button.sure")
        page.until("!$('#buttons li')")
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(address)


def test_two_neural_voices_become_a_mix_and_one_again(chromium: browser.Browser) -> None:
    session = MemorySession()
    session.lists += NEURAL
    with opened(chromium, session) as (page, _):
        page.until("!$('#second').checkVisibility()")  # a DSP voice is in no mix
        page.browser.run(
            "[...document.querySelectorAll('.tile')].find(t => t.textContent.includes('clara')).firstChild.click()"
        )
        page.until("$('#second').checkVisibility() && !$('#value-mix').checkVisibility()")
        offered = page.browser.run("return [...document.querySelectorAll('#second option')].map(o => o.value)")
        assert offered == ["", "greta", "edgar"]
        page.type("#second", "edgar")
        page.until(
            "$('#value-mix').checkVisibility() && $('.tile [aria-checked=true]').textContent.includes('clara+edgar')"
        )
        assert session.state().voice == "clara+edgar"
        page.browser.run("const i = document.querySelector('#value-mix'); i.value = 0.3; i.onchange()")
        page.until("$('#mixing .range').value == 0.3")
        assert session.state().params.mix == 0.3
        page.press(HOME)
        page.until("!$('#value-mix').checkVisibility()")
        assert session.state().voice == "clara"


@pytest.mark.parametrize("view", WIDTHS)
def test_everything_can_be_read_and_reached(chromium: browser.Browser, view: str) -> None:
    """Dark and light: AA contrast, nothing cut off, on top of another or without a name, no sideways scrolling."""
    session = MemorySession()
    session.lists += [voice(f"A voice of a long name {number}") for number in range(10)] + NEURAL
    session.report(monitor_device="Headphones", longer_block_ms=60, latency=panel_page.LATENCY)
    chromium.resize(WIDTHS[view], 1000)
    try:
        with (
            opened(chromium, session, "?view=dock" if view == "dock" else "") as (page, server),
            program(server) as deck,
        ):
            deck.do("hold", seconds=60, pitch=3)
            page.until("$('#holds li')")
            deck.do("voice", name="clara+greta")
            page.until("$('#second').checkVisibility() && $('#value-mix').checkVisibility()")
            chromium.run("document.querySelectorAll('details').forEach(details => details.open = true)")
            page.until("$('#parts i') && $('#clients li')")
            for scheme in ("light", "dark"):
                chromium.prefer(scheme)
                page.until("document.documentElement.dataset.theme == arguments[0]", scheme)
                assert chromium.run(panel_page.CONTRAST) == [], scheme
            assert chromium.run("return document.documentElement.scrollWidth <= innerWidth")
            assert chromium.run(panel_page.NAMELESS) == []
            assert chromium.run(panel_page.OVERLAPS) == []
            assert chromium.run(panel_page.CUT_OFF) == []
    finally:
        chromium.resize(1180, 1000)
        chromium.prefer("dark")
