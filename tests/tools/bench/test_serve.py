"""The benchmark of the server: that it measures what it says, on a server with a session in memory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
from altervox.realtime.serve.runtime import local_server
from altervox.realtime.serve.server import RemoteServer
from altervox.realtime.serve.settings import ServerSettings
from altervox.tools.bench import audio_sessions, serve
from altervox.tools.bench.command_to_sound import changes_ms, summary
from altervox.tools.bench.sinks import RATE
from remote_session import MemorySession


def test_it_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr(serve, "_SENDERS", 2)
    monkeypatch.setattr(serve, "_KILLS", 1)
    with RemoteServer(MemorySession(), ServerSettings(port=0)):
        result = asyncio.run(serve._measured(local_server(), os.getpid(), None, 0.3, 3))
    trips = result["round_trip_ms"]
    assert trips["count"] == 45
    assert 0.0 < trips["p50"] <= trips["p99"] <= trips["max"]
    assert result["commands_per_second"] > 50
    assert result["controllers_meters_hz"] > 0.0  # each change of the state is a new status
    assert result["after_kill_ms"]["worst_round_trip"] > 0.0
    assert result["command_to_sound_ms"] is None
    assert result["underruns_at_s"] == []
    words = dict(serve._rows({**result, "stalls": 3, "audio": []}))
    assert words["pauses of the machine itself"] == "3"
    assert words["meters that each controller got"].endswith(" a second")


def test_it_measures_audio_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setattr(audio_sessions, "_SETTLE_S", 0.1)
    settings = ServerSettings(port=0, audio_workers=1, most_audio_sessions=2)
    with RemoteServer(MemorySession(), settings) as server:
        (row,) = asyncio.run(audio_sessions.measured_sessions(server.port, ["off"], 0.4))
        kill = asyncio.run(audio_sessions.after_worker_kill_ms(server.port, os.getpid(), "off"))
    assert row["sessions"] in (1, 2)  # nobody else is let in where a busy machine was late
    for trips in (row["alone"], row["together"]):
        assert 0.0 < trips["p50"] <= trips["p99"] <= trips["max"] < 20_000.0
    assert kill["noticed"] is not None
    assert kill["heard"] is not None
    assert 0.0 < kill["noticed"] < kill["heard"]
    words = dict(serve._audio_rows({"workers": 1, "voices": [row], "after_worker_kill_ms": kill}))
    assert words["sessions at once with off, 1 worker"] == str(row["sessions"])


def test_a_change_is_found_in_a_tone() -> None:
    tone = 0.1 * np.sin(2.0 * np.pi * 1000.0 * np.arange(3 * RATE) / RATE)
    tone[RATE : 2 * RATE] = 0.0
    tone += 1e-4 * np.random.default_rng(0).standard_normal(len(tone))
    sent = [RATE - 4800, 2 * RATE - 9600, 2 * RATE + 9600]
    delays_ms = changes_ms(tone.astype(np.float32), sent)
    assert delays_ms[:2] == pytest.approx([100.0, 200.0], abs=1.0)
    assert np.isnan(delays_ms[2])  # the tone does not end again
    result = summary(delays_ms, [90.0, 90.0, 120.0])
    assert (result["count"], result["not_found"], result["reported_latency"]) == (2, 1, 90.0)
    assert result["max_beyond_latency"] == pytest.approx(110.0, abs=1.0)
    assert summary([float("nan")], [90.0]) == {"count": 0, "not_found": 1}
