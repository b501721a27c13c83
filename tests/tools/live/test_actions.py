"""What keys do: actions to commands, the terminal's bytes to actions, and a session that is typed at."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from altervox.kernels.errors import ParameterError
from altervox.realtime.session.commands import Set, SetVoice, Step, StepVoice, Toggle
from altervox.realtime.session.state import PARAMETERS, SessionState
from altervox.tools.live.actions import ACTIONS, QUIT, command_for
from altervox.tools.live.keys import KEY_ACTIONS, key_actions

if TYPE_CHECKING:
    from pulse import PulseServer, Recording

RATE = 48000
PEAK = 0.05  # of the noise that is said
SILENCE = 1e-9
DEVICES = ["--input", "Virtual Microphone", "--output", "Virtual Cable", "--monitor", "Headphones"]
HEADPHONES = (
    "module-null-sink sink_name=headphones rate=48000 channels=2 format=float32le"
    " sink_properties=\"device.description='Headphones'\""
)


def after(*actions: str, state: SessionState | None = None) -> SessionState:
    """The state of a session after these actions."""
    state = state or SessionState(voice="man", input_gain_db=59.5)
    for action in actions:
        command = command_for(action)
        assert isinstance(command, Set | Step | Toggle | SetVoice | StepVoice)
        state = state.after(command, ["woman", "man", "robot"])
    return state


@pytest.mark.parametrize(
    ("actions", "name", "value"),
    [
        (["pitch up", "pitch up"], "pitch_semitones", 2.0),
        (["pitch down"], "pitch_semitones", -1.0),
        (["formant up", "formant up", "formant down"], "formant_semitones", 0.5),
        (["gain down", "gain down", "gain up"], "gain_db", -1.0),
        (["input gain down"], "input_gain_db", 58.5),
        (["input gain up", "input gain up"], "input_gain_db", 60.0),  # the end of its range
        (["bypass"], "bypass", True),
        (["bypass", "bypass"], "bypass", False),
        (["mute"], "muted", True),
        (["release", "release", "talk"], "muted", False),
        (["talk", "release"], "muted", True),
        (["monitor"], "monitor", False),
    ],
)
def test_actions_change_the_state_that_there_is(actions: list[str], name: str, value: float | bool) -> None:
    state = after(*actions)
    assert state[name] == value
    assert {other: state[other] for other in PARAMETERS if other != name} == {
        other: after()[other] for other in PARAMETERS if other != name
    }


@pytest.mark.parametrize(
    ("actions", "voice"),
    [(["next voice", "next voice"], "woman"), (["previous voice"], "woman"), (["previous voice"] * 2, "robot")],
)
def test_voices_are_gone_through_in_the_order_of_the_list(actions: list[str], voice: str) -> None:
    assert after(*actions).voice == voice


@pytest.mark.parametrize(("action", "voice"), [("next voice", "woman"), ("previous voice", "robot")])
def test_from_a_voice_file_the_list_begins_at_its_ends(action: str, voice: str) -> None:
    assert after(action, state=SessionState(voice="mine.pth")).voice == voice


def test_there_is_an_action_behind_every_key_and_no_other() -> None:
    assert set(KEY_ACTIONS.values()) == set(ACTIONS) - {"talk", "release"}
    for action in set(ACTIONS) - {QUIT}:
        command_for(action)
    with pytest.raises(ParameterError, match="no action 'shout'; choose one of pitch up, "):
        command_for("shout")


@pytest.mark.linux
def test_keys_typed_at_once_are_all_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    import pty

    keyboard, terminal = pty.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with key_actions() as next_action:
            assert next_action() == ""
            os.write(keyboard, b"\x1b[A++V\x1bOB?q")
            taken = [next_action() for _ in range(8)]
    os.close(keyboard)
    assert taken == ["pitch up", "gain up", "gain up", "previous voice", "pitch down", "", "quit", ""]


class Terminal:
    """A session in a terminal of its own."""

    def __init__(self, rig: PulseServer, home: Path, *options: str, kind: str = "xterm") -> None:
        import pty

        self.keyboard, terminal = pty.openpty()
        self._shown = bytearray()
        environment = {
            **rig.environment,
            "ALTERVOX_HOME": str(home),
            "COLUMNS": "120",
            "TERM": kind,
            "NO_COLOR": "1",
        }
        command = [sys.executable, "-m", "altervox.tools", "live", *options]
        self.process = subprocess.Popen(
            command, env=environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
        )
        os.close(terminal)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                self._shown += os.read(self.keyboard, 65536)
            except OSError:  # the session has closed its end
                return

    def type(self, keys: str, until: str) -> None:
        """Press keys, and wait for the view to say something that it does not say yet."""
        before = len(self._shown)
        os.write(self.keyboard, keys.encode())
        end = time.monotonic() + 60
        while until not in self._shown[before:].decode(errors="ignore"):
            assert time.monotonic() < end, f"no {until!r} after {keys!r}: {self._shown[-3000:].decode(errors='ignore')}"
            time.sleep(0.05)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._thread.join()
        os.close(self.keyboard)


@contextmanager
def noise(rig: PulseServer, folder: Path) -> Iterator[None]:
    """Play steady noise into the microphone meanwhile."""
    path = folder / "noise.raw"
    np.random.default_rng(0).uniform(-PEAK, PEAK, 90 * RATE).astype(np.float32).tofile(path)
    command = ["pacat", "--raw", "--format=float32le", "--channels=1", f"--rate={RATE}", "--device", "vmic", str(path)]
    with subprocess.Popen([*command, "--latency-msec=50"], env=rig.environment) as player:
        try:
            yield
        finally:
            player.kill()


def wait_for_level(recording: Recording, wanted_db: float) -> None:
    """Until the newest half second is so loud, within 0.5 dB, by most frames: on a busy machine the rig loses some."""
    end, level_db = time.monotonic() + 30, 0.0
    while abs(level_db - wanted_db) > 0.5:
        assert time.monotonic() < end, f"{level_db:.1f} dB instead of {wanted_db:.1f}"
        time.sleep(0.1)
        frames = recording.newest(0.5).astype(float).reshape(-1, RATE // 100)
        level_db = 20.0 * np.log10(np.median(np.sqrt(np.mean(frames**2, axis=1))) + SILENCE)


@pytest.mark.linux
def test_keys_change_what_is_shown_and_heard(pulse_rig: PulseServer, tmp_path: Path) -> None:
    said_db, silent_db = (20.0 * np.log10(x) for x in (PEAK / np.sqrt(3.0), SILENCE))
    module = pulse_rig.pactl("load-module", *HEADPHONES.split(" ", 5)).strip()
    with pulse_rig.record("vcable_source") as cable, pulse_rig.record("headphones.monitor") as headphones:
        terminal = Terminal(pulse_rig, tmp_path, *DEVICES, "--monitor-gain-db=-6", "--voice=off", "--block-ms=100")
        try:
            terminal.type("", until="digital silence")
            with noise(pulse_rig, tmp_path):
                for keys, shown, cable_db, headphones_db in (
                    ("]]]]]]", "gain +6 dB", said_db + 6.0, said_db),
                    ("o", "Headphones   off", said_db + 6.0, silent_db),
                    ("o---", "gain -3 dB", said_db + 3.0, said_db - 3.0),
                    ("m", "muted", silent_db, silent_db),
                    ("mb", "bypass", said_db + 3.0, said_db - 3.0),  # gains stay, the voice goes
                ):
                    terminal.type(keys, until=shown)
                    wait_for_level(cable, cable_db)
                    wait_for_level(headphones, headphones_db)
                terminal.type("bV", until="whisper")
            os.write(terminal.keyboard, b"q")
            assert terminal.process.wait(20) == 0
        finally:
            terminal.close()
    pulse_rig.pactl("unload-module", module)


@pytest.mark.linux
def test_a_terminal_that_cannot_move_its_cursor_is_told_that_it_runs(pulse_rig: PulseServer, tmp_path: Path) -> None:
    terminal = Terminal(pulse_rig, tmp_path, *DEVICES[:4], "--voice=off", "--seconds=1", kind="dumb")
    try:
        terminal.type("", until="running; press Ctrl-C to stop")
        assert terminal.process.wait(60) == 0
    finally:
        terminal.close()
