"""The rig itself: what it plays it hears exactly, it notices what is lost, and nothing of it stays behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from pulse import FRAME, RATE, PulseServer, compare, pulse_server, track

NOISE = np.random.default_rng(3).uniform(-0.3, 0.3, RATE)


def heard(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1234), *parts, np.zeros(RATE // 10)])


def test_an_exact_copy_has_no_bad_frame() -> None:
    result = compare(NOISE, heard(NOISE * 0.7))
    assert (result.lag, result.bad_frames, result.frames, result.missing) == (1234, 0, 100, 0)
    assert result.gain == pytest.approx(0.7)


def test_a_lost_frame_is_counted_though_the_correlation_hardly_shows_it() -> None:
    silenced = NOISE.copy()
    silenced[40 * FRAME : 41 * FRAME] = 0
    result = compare(NOISE, heard(silenced))
    assert result.bad_frames == 1
    assert result.correlation > 0.99


def test_a_stretch_left_out_shifts_all_that_follows() -> None:
    result = compare(NOISE, heard(NOISE[: 70 * FRAME], NOISE[71 * FRAME :]))
    assert result.lag == 1234
    assert result.bad_frames == 30


def test_a_recording_that_ends_early_is_told() -> None:
    assert compare(NOISE, heard(NOISE)[: 1234 + RATE // 2]).missing == RATE // 2


def test_something_else_is_not_taken_for_it() -> None:
    other = np.random.default_rng(4).uniform(-0.3, 0.3, RATE)
    assert compare(NOISE, heard(other)).bad_frames > 50


def test_a_drifting_recording_is_followed_and_what_it_lacks_is_told() -> None:
    said = 0.1 * np.random.default_rng(5).standard_normal(20 * RATE)
    lost = said.copy()
    lost[1500 * FRAME : 1502 * FRAME] = 0.0
    played = np.interp(np.arange(len(said)) * (1.0 + 3e-4), np.arange(len(said)), lost)  # 6 ms faster in the end
    found = track(said, heard(played), RATE // 2)
    assert found.frames == 2000
    assert 1 <= found.bad_frames <= 3
    assert set(found.bad_at) <= {1499, 1500, 1501}
    drift = 1234 - 3e-4 * found.stretches * FRAME
    assert np.abs(found.lags - drift).max() < 10.0


@pytest.mark.linux
def test_the_microphone_hears_what_is_played_into_it_and_the_cable_does_not(pulse_rig: PulseServer) -> None:
    for _ in range(3):  # it loses sound now and then
        with pulse_rig.record("vmic_source") as microphone, pulse_rig.record("vcable_source") as cable:
            pulse_rig.play(NOISE, "vmic")
            microphone.wait_for(0.3)
        result = compare(NOISE, microphone.samples)
        if result.bad_frames == 0:
            break
    assert (result.bad_frames, result.frames, result.missing) == (0, 100, 0)
    assert not cable.samples.any()


@pytest.mark.linux
def test_nothing_of_it_runs_on(pulse_rig: PulseServer, tmp_path: Path) -> None:
    with pulse_server(tmp_path, ["module-null-sink sink_name=one"]) as server:
        assert server.names("sinks") == ["one"]
        assert "PULSE_SERVER" in server.variables
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in processes
    assert not (tmp_path / "native").exists()
