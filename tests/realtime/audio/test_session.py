"""The session with devices, as far as it goes without opening any."""

from __future__ import annotations

import sys
import threading
from multiprocessing import Pipe

import pytest
from altervox.realtime.audio.session import LiveSession
from altervox.realtime.audio.settings import LiveSettings, StreamSpec
from altervox.realtime.session.commands import Step, Toggle
from altervox.realtime.session.settings import SessionSettings
from altervox.realtime.session.state import SessionState
from made_up_device import made_up_device


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> LiveSession:
    monkeypatch.setattr("altervox.realtime.audio.session.raise_priority", lambda: "")  # that of the test stays
    source = StreamSpec(made_up_device("microphone", inputs=1, outputs=0), "input", 48_000, None)
    output = StreamSpec(made_up_device("cable"), "output", 48_000, None)
    settings = LiveSettings(SessionSettings(SessionState(voice="off")), source, (output,), block_ms=100)
    return LiveSession(settings, Pipe()[0], Pipe()[0], threading.Event())


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
