"""Hot keys on a real X server whose keys go to another client: what altervox makes of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from altervox.kernels.errors import ParameterError
from altervox.tools.live.hotkeys import global_hot_keys
from spawned import streams_of

if TYPE_CHECKING:
    from pulse import PulseServer
    from Xlib.display import Display

pytestmark = pytest.mark.linux

BINDINGS = {"bypass": "ctrl+alt+b", "mute": "f9", "next voice": "ctrl+f9", "talk": "shift+f8"}
SENTINEL = "F9"  # bound to "mute": what came before it has arrived when it has
TIMEOUT_S = 60.0


@contextmanager
def x_server() -> Iterator[tuple[Display, subprocess.Popen[str]]]:
    """A private X server, to which the environment of this process leads, and a connection to it."""
    if shutil.which("Xvfb") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Xvfb: sudo apt install xvfb")
    from Xlib.display import Display

    command = ["Xvfb", "-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "320x240x24"]
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            patch.setenv("DISPLAY", f":{server.stdout.readline().strip()}")
            patch.delenv("WAYLAND_DISPLAY", raising=False)
            patch.delenv("XDG_SESSION_TYPE", raising=False)
            yield Display(), server
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def display() -> Iterator[Display]:
    with x_server() as (connection, _):
        yield connection


class Keyboard:
    """Keys of the X server, by X11's names, as a person would press them; and what comes of it."""

    def __init__(self, display: Display, next_action: Callable[[], str]) -> None:
        self._display = display
        self._next_action = next_action

    def _fake(self, name: str, kind: int) -> None:
        from Xlib import XK
        from Xlib.ext import xtest

        code = self._display.keysym_to_keycode(XK.string_to_keysym(name))
        assert code, name
        xtest.fake_input(self._display, kind, code)
        self._display.sync()

    def press(self, *names: str) -> None:
        from Xlib import X

        for name in names:
            self._fake(name, X.KeyPress)

    def release(self, *names: str) -> None:
        from Xlib import X

        for name in names:
            self._fake(name, X.KeyRelease)

    def strike(self, *names: str) -> None:
        self.press(*names)
        self.release(*reversed(names))

    def wait(self) -> str:
        """The next action, when it has come."""
        end = time.monotonic() + TIMEOUT_S
        while not (action := self._next_action()):
            assert time.monotonic() < end, "no action has come"
            time.sleep(0.005)
        return action

    def actions(self) -> list[str]:
        """All so far: once the sentinel has come there is nothing before it still to come."""
        self.strike(SENTINEL)
        return [*iter(self.wait, "mute")]


@pytest.fixture
def keyboard(display: Display) -> Iterator[Keyboard]:
    with global_hot_keys(BINDINGS) as next_action:
        yield Keyboard(display, next_action)


@contextmanager
def game(display: Display, grabs: bool) -> Iterator[Any]:
    """Another client's window that has the focus."""
    from Xlib import X

    window = display.screen().root.create_window(0, 0, 100, 100, 0, 24, event_mask=X.KeyPressMask)
    window.map()
    window.set_input_focus(X.RevertToNone, X.CurrentTime)
    if grabs:
        assert window.grab_keyboard(False, X.GrabModeAsync, X.GrabModeAsync, X.CurrentTime) == X.GrabSuccess
    display.sync()
    yield window
    display.ungrab_keyboard(X.CurrentTime)
    window.destroy()
    display.sync()


@pytest.mark.parametrize("grabs", [False, True])
def test_keys_act_while_a_game_has_them(display: Display, keyboard: Keyboard, grabs: bool) -> None:
    with closing(type(display)()) as other, game(other, grabs):
        keyboard.strike("Control_L", "Alt_L", "b")
        assert keyboard.actions() == ["bypass"]
        assert other.pending_events() >= 3, "the game must get its keys all the same"


@pytest.mark.parametrize(
    "modifiers", [("Control_R", "Alt_L"), ("Alt_L", "Control_L"), ("Shift_L", "Alt_R", "Control_R")]
)
def test_modifiers_of_either_side_in_any_order_beside_others(keyboard: Keyboard, modifiers: tuple[str, ...]) -> None:
    keyboard.strike(*modifiers, "b")
    assert keyboard.actions() == ["bypass"]


def test_a_part_of_a_combination_does_nothing(keyboard: Keyboard) -> None:
    keyboard.strike("b")
    keyboard.strike("Control_L", "b")
    keyboard.strike("Control_L", "Alt_L", "n")
    keyboard.strike("b", "Control_L", "Alt_L")
    keyboard.strike("Control_L", "Alt_L")
    keyboard.strike("b")
    assert keyboard.actions() == []


def test_a_modifier_counts_until_both_of_its_keys_are_up(keyboard: Keyboard) -> None:
    keyboard.press("Alt_L", "Control_L", "Control_R")
    keyboard.release("Control_L")
    keyboard.strike("b")
    keyboard.release("Control_R")
    keyboard.strike("b")
    keyboard.release("Alt_L")
    assert keyboard.actions() == ["bypass"]


def test_the_combination_with_most_keys_acts(keyboard: Keyboard) -> None:
    keyboard.strike("Control_L", "F9")
    assert keyboard.actions() == ["next voice"]


@pytest.mark.parametrize("first", ["Shift_L", "F8"])
def test_talk_lasts_until_a_key_goes_up(keyboard: Keyboard, first: str) -> None:
    keyboard.press("Shift_L", "F8")
    assert keyboard.actions() == ["talk"]
    keyboard.strike("Control_L", "Alt_L", "b")
    assert keyboard.actions() == ["bypass"]
    keyboard.release(first)
    assert keyboard.actions() == ["release"]
    keyboard.release(*({"Shift_L", "F8"} - {first}))
    assert keyboard.actions() == []


def test_a_key_that_repeats_acts_once(display: Display, keyboard: Keyboard) -> None:
    from Xlib import X

    with closing(type(display)()) as other, game(other, grabs=False):
        keyboard.press("Shift_L", "F8")
        presses, end = 0, time.monotonic() + TIMEOUT_S
        while presses < 6:  # two, and four that the X server repeats
            assert time.monotonic() < end, "the X server does not repeat the key"
            presses += sum(other.next_event().type == X.KeyPress for _ in range(other.pending_events()))
            time.sleep(0.005)
        assert keyboard.actions() == ["talk"]
        keyboard.release("F8", "Shift_L")
        assert keyboard.actions() == ["release"]


def test_nothing_is_heard_afterwards_and_it_can_begin_again(display: Display) -> None:
    threads = threading.active_count()
    with global_hot_keys(BINDINGS) as before:
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads
    Keyboard(display, before).strike("F9")
    with global_hot_keys({"bypass": "f9"}) as after:
        keyboard = Keyboard(display, after)
        keyboard.strike("F9")
        assert keyboard.wait() == "bypass"
    assert before() == after() == ""


@contextmanager
def remapped(display: Display, name: str, *symbols: str) -> Iterator[None]:
    """Another layout of the keyboard: this key bears these symbols, at its first level and so on."""
    from Xlib import XK

    code = display.keysym_to_keycode(XK.string_to_keysym(name))
    before = display.get_keyboard_mapping(code, 1)
    after = [XK.string_to_keysym(symbol) for symbol in symbols]
    display.change_keyboard_mapping(code, [after + [0] * (len(before[0]) - len(after))])
    display.sync()
    try:
        yield
    finally:
        display.change_keyboard_mapping(code, before)
        display.sync()


def test_a_key_that_the_keyboard_lacks_gets_one_sentence(display: Display) -> None:
    sentence = r"^hot key f11: this keyboard has no such key"
    with remapped(display, "F11"), pytest.raises(ParameterError, match=sentence), global_hot_keys({"mute": "f11"}):
        pass


@pytest.mark.parametrize(("symbols", "actions"), [(["Control_L"], ["bypass"]), (["F11", "Control_L"], [])])
def test_a_key_is_known_by_its_first_symbol(display: Display, symbols: list[str], actions: list[str]) -> None:
    with remapped(display, "F11", *symbols), global_hot_keys(BINDINGS) as next_action:
        keyboard = Keyboard(display, next_action)
        keyboard.strike("F11", "Alt_L", "b")  # by the layout before: the key in the place of F11
        assert keyboard.actions() == actions


def test_the_end_of_the_x_server_is_survived() -> None:
    with x_server() as (_, server):
        with global_hot_keys(BINDINGS) as next_action:
            server.terminate()
            server.wait()
        assert next_action() == ""


def test_a_session_obeys(display: Display, pulse_rig: PulseServer, tmp_path: Path) -> None:
    """Push-to-talk keeps it silent from the start; a key pressed elsewhere lets the voice be bypassed."""
    command = [sys.executable, "-m", "altervox.tools", "live", "--json", "--voice", "off", "--block-ms", "100"]
    command += ["--input", "Virtual Microphone", "--output", "Virtual Cable"]
    command += ["--hot-key", "talk=f8", "--hot-key", "bypass=f9", "--seconds", "4"]
    environment = {**pulse_rig.environment, "ALTERVOX_HOME": str(tmp_path), "DISPLAY": os.environ["DISPLAY"]}
    for variable in ("WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        environment.pop(variable, None)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as session:
        keyboard = Keyboard(display, lambda: "")
        end = time.monotonic() + 60.0
        while not streams_of(pulse_rig, session.pid):
            assert session.poll() is None, "the session has ended"
            assert time.monotonic() < end, "the session has not begun to play"
            time.sleep(0.05)
        keyboard.strike("F9")
        out, errors = session.communicate(timeout=60)
    assert session.returncode == 0, errors
    status = json.loads(out)
    assert status["bypass"] == 1
    assert status["muted"] == 1


def test_no_display_is_one_sentence_before_anything_starts(tmp_path: Path, pulse_rig: PulseServer) -> None:
    command = [sys.executable, "-m", "altervox.tools", "live", "--voice", "off", "--hot-keys"]
    command += ["--input", "Virtual Microphone", "--output", "Virtual Cable"]
    environment = {**pulse_rig.environment, "ALTERVOX_HOME": str(tmp_path)}
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE"):
        environment.pop(variable, None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "hot key" in done.stderr.splitlines()[-1].lower()
