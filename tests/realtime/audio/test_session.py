"""The session with devices, as far as it goes without opening any."""

from __future__ import annotations

import sys
import threading
from multiprocessing import Pipe

import pytest
from altervox.models.library import load_voice
from altervox.models.voice import Voice
from altervox.realtime.audio.session import LiveSession
from altervox.realtime.audio.settings import LiveSettings, StreamSpec
from altervox.realtime.session.commands import SetVoice, Step, Toggle
from altervox.realtime.session.processor import Processor
from altervox.realtime.session.settings import SessionSettings
from altervox.realtime.session.state import SessionState
from altervox.realtime.session.warm_up import WarmUp
from made_up_device import made_up_device
from remote_sockets import until


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> LiveSession:
    monkeypatch.setattr("altervox.realtime.audio.session.raise_priority", lambda: "")  # that of the test stays
    source = StreamSpec(made_up_device("microphone", inputs=1, outputs=0), "input", 48_000, None)
    output = StreamSpec(made_up_device("cable"), "output", 48_000, None)
    settings = LiveSettings(SessionSettings(SessionState(voice="off")), source, (output,), block_ms=100)
    return LiveSession(settings, Pipe()[0], Pipe()[0], threading.Event())


def test_a_voice_that_is_built_while_blocks_change_is_not_lost(
    session: LiveSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, warmed_up = session.processor, session._warmed_up
    is_changing = threading.Event()

    def load(name: str, device: str) -> Voice:
        assert is_changing.wait(30)
        return load_voice(name, device)

    def warmed_up_meanwhile(block_ms: int | None) -> tuple[Processor, WarmUp]:
        with monkeypatch.context() as patch:
            patch.setattr("altervox.realtime.session.processor.load_voice", load_voice)
            warmed = warmed_up(block_ms)
        is_changing.set()
        until(lambda: before.sounding == "robot")
        return warmed

    monkeypatch.setattr("altervox.realtime.session.processor.load_voice", load)
    monkeypatch.setattr(session, "_warmed_up", warmed_up_meanwhile)
    before.do(SetVoice("robot"))
    session._change_block(40)
    assert session.processor is not before
    assert session.processor.state.voice == "robot"
    until(lambda: session.processor.sounding == "robot")


def test_a_status_holds_what_the_commands_it_counts_have_done(session: LiveSession) -> None:
    """Otherwise the other side would take the newest command for one that was refused."""
    ended, behind = threading.Event(), []

    def report() -> None:
        while not ended.is_set():
            status = session.status()
            if status.session.revision < status.commands_done:
                behind.append(status)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    reporter = threading.Thread(target=report)
    reporter.start()
    try:
        for number in range(1500):
            session._handle(Toggle("muted") if number % 2 else Step("gain_db", -1.0 if number % 4 else 1.0))
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        reporter.join()
        session.processor.close()
    assert not behind
    assert session.status().commands_done == 1500
