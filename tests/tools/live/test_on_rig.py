"""`altervox live` as a user starts it, between a real virtual microphone and a real virtual cable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.signal
import soundfile
from spawned import spawned_by, streams_of

if TYPE_CHECKING:
    from altervox.tools.bench.stalls import Stalls
    from pulse import PulseServer

pytestmark = pytest.mark.linux

RATE = 48000
SPEECH = Path(__file__).parents[2] / "data" / "alsa_female.wav"
TRIES = 3
MOST_MOVED_MS = 25.0  # several steps of prefill
# Frames in a minute. PipeWire's null sinks leave out a cycle of 5 ms now and then, each at times of its own: what the
# cable's leaves out the microphone does not show. PulseAudio's, on which sessions run the same code, leave out none.
SKIPPED = {"pulse": 0, "pipewire": 10}
DEVICES = ["--input", "Virtual Microphone", "--output", "Virtual Cable"]


def speech() -> np.ndarray:
    audio, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == RATE
    return np.asarray(audio)


def through_highpass(x: np.ndarray) -> np.ndarray:
    """What altervox does to a microphone whatever the voice."""
    b, a = scipy.signal.butter(2, 60.0, "highpass", fs=RATE)
    return np.asarray(scipy.signal.lfilter(b, a, x))


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "altervox.tools", "live", *options]


def environment(rig: PulseServer, home: Path) -> dict[str, str]:
    return {**rig.environment, "ALTERVOX_HOME": str(home), "OMP_NUM_THREADS": "1"}


@contextmanager
def live(rig: PulseServer, home: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A session that has begun to run."""
    with subprocess.Popen(
        command(*DEVICES, "--json", *options),
        env=environment(rig, home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for_streams(rig, process)
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_for_streams(rig: PulseServer, process: subprocess.Popen[str], seconds: float = 60.0) -> None:
    """Until the session records and plays; the rig's own clock readers record as well."""
    end = time.monotonic() + seconds
    while not streams_of(rig, process.pid):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < end, "the session has not begun to play"
        time.sleep(0.1)
    time.sleep(1.0)  # sound begins half a second after the devices do


def ended(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> dict[str, Any]:
    """Statistics of a session that is told to end."""
    process.send_signal(number)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    statistics: dict[str, Any] = json.loads(out)
    return statistics


@pytest.mark.alone
@pytest.mark.quiet
def test_every_frame_that_is_said_is_heard(pulse_rig: PulseServer, pipewire_rig: PulseServer, tmp_path: Path) -> None:
    """A minute without a voice, on both sound servers at the same time, compared frame by frame."""
    from altervox.tools.bench.stalls import stall_watch

    # Noise: no stretch of it can be taken for another, and what the sound server loses of it shows.
    said = (0.1 * np.random.default_rng(0).standard_normal(60 * RATE)).astype(np.float32)
    rigs = {"pulse": pulse_rig, "pipewire": pipewire_rig}
    for _ in range(TRIES):
        with stall_watch() as stalls, ThreadPoolExecutor(len(rigs)) as pool:
            tries = [
                pool.submit(hold_a_session, name, rig, tmp_path / name, said, stalls) for name, rig in rigs.items()
            ]
            sessions = [started.result() for started in tries]
        complaints = [complaint for session in sessions for complaint in session.complaints]
        if not complaints or not any(session.is_disturbed for session in sessions):
            break  # only what a machine that stalled may have caused is tried again
    assert not complaints


@dataclass(frozen=True)
class Heard:
    """How a session went: what it lost, and whether the sound server lost audio itself, or the machine stood still."""

    complaints: list[str]
    is_disturbed: bool


def hold_a_session(name: str, rig: PulseServer, home: Path, said: np.ndarray, stalls: Stalls) -> Heard:
    """A second around a stall, and around what the microphone lacks, does not count: all programs lost audio there."""
    from pulse import CLOCK_MS, FRAME, track

    with live(rig, home, "--voice", "off", "--block-ms", "20") as process:
        with rig.record("vmic_source") as microphone, rig.record("vcable_source") as cable:
            began = time.monotonic()
            rig.play(said, "vmic")
            cable.wait_for(1.0)
        status = ended(process)
    at_microphone = track(said, microphone.samples, reach=RATE // 2)
    at_cable = track(through_highpass(said), cable.samples, reach=RATE // 2)
    counts = np.ones(len(said) // FRAME, dtype=bool)
    ended_s = [at for at, lasted in zip(stalls.ended_s, stalls.lasted_s, strict=False) if lasted > CLOCK_MS / 1000]
    stalled = [round((at - began) * RATE / FRAME) for at in ended_s if 0.0 < at - began < len(said) / RATE]
    for frame in (*stalled, *at_microphone.bad_at):
        counts[max(frame - 100, 0) : frame + 100] = False
    bad = [frame for frame in at_cable.bad_at if counts[frame]]
    lost = {count: status[count] for count in ("underruns", "overruns", "late_blocks") if status[count]}
    complaints = []
    if counts.mean() < 0.2 or at_cable.frames < len(counts):
        complaints.append(f"only {counts.mean():.0%} of what was said counts")
    if len(bad) > SKIPPED[name]:
        complaints.append(f"{len(bad)} frames are not heard: {shortened(bad)}")
    # What is heard again, or later than before, would be found all the same, at another delay; a stall stays in the
    # queues of the sound server.
    common, mic, out = np.intersect1d(at_microphone.stretches, at_cable.stretches, return_indices=True)
    delays_ms = (at_cable.lags[out] - at_microphone.lags[mic])[counts[common]] * 1000 / RATE
    moved_ms = float(np.ptp(delays_ms)) if delays_ms.size else 0.0
    if moved_ms > MOST_MOVED_MS and not stalled:
        complaints.append(f"the delay moved by {moved_ms:.0f} ms")
    if lost and counts.all():
        complaints.append(f"{lost}")
    # An underrun of a moment is a processor that was elsewhere; one that altervox causes is there again a minute later.
    is_momentary = 0.0 < status["underrun_ms"] < 20.0
    is_disturbed = not counts.all() or status["max_ms"] > status["deadline_ms"] or is_momentary
    told = {
        key: status[key] for key in ("blocks", "max_ms", "underrun_ms", "overrun_ms", "prefill_grown_ms", "drift_ppm")
    }
    print(
        f"{name}: stalls at frames {shortened(stalled)}, microphone lacks {shortened(at_microphone.bad_at)}, cable "
        f"{shortened(at_cable.bad_at)}, the delay moved by {moved_ms:.1f} ms, {told}"
    )
    return Heard([f"{name}: {complaint}" for complaint in complaints], is_disturbed)


def shortened(frames: list[int]) -> str:
    """The first of them, and how many they are."""
    return f"{frames[:20]} of {len(frames)}" if len(frames) > 20 else f"{frames}"


def test_a_voice_comes_out_of_the_cable(pulse_rig: PulseServer, tmp_path: Path) -> None:
    from pulse import harmonic_strength

    said = np.concatenate([speech(), np.zeros(RATE, dtype=np.float32)] * 2)
    with live(pulse_rig, tmp_path, "--voice", "robot", "--record", str(tmp_path / "takes")) as process:
        with pulse_rig.record("vcable_source") as cable:
            pulse_rig.play(said, "vmic")
            cable.wait_for(1.0)
        status = ended(process, signal.SIGINT)
    heard = cable.samples
    assert np.sqrt(np.mean(heard**2)) > 0.2 * np.sqrt(np.mean(said**2))
    assert harmonic_strength(heard, 115.0) > 3.0  # one unchanging pitch
    assert status["state"] == "stopped"
    assert status["voice"] == "robot"
    assert status["start_ms"] > 0
    latency = status["latency_ms"]
    parts = ("device_in", "block", "voice", "resamplers", "prefill", "device_out")
    assert latency["total"] == pytest.approx(sum(latency[part] for part in parts), abs=1.0)
    names = sorted(path.name.split("-")[0] for path in (tmp_path / "takes").iterdir())
    assert names == ["input", "output"]


def test_a_browser_hears_the_cable_as_a_microphone(pulse_rig: PulseServer, tmp_path: Path) -> None:
    """As Discord does, which is Chromium: found by its label, and what is said arrives."""
    import browser
    from pulse import track

    if absent := browser.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {absent}: sudo apt install {browser.PACKAGES}")
    said = np.concatenate([speech(), np.zeros(RATE, dtype=np.float32)])
    with (
        live(pulse_rig, tmp_path, "--voice", "off") as process,
        browser.chromium(pulse_rig.environment, tmp_path) as listener,
    ):
        listener.record("Virtual Cable Output")
        pulse_rig.play(said, "vmic")
        listener.wait_for(1.0)
        heard = listener.heard()
        ended(process)
    found = track(through_highpass(said), heard, reach=RATE // 4)
    assert found.frames > 100
    # A browser beside a busy program drops some; of another sound or of silence, next to no frame would be found.
    assert found.bad_frames < found.frames / 2, found.bad_at


def test_soft_speech_is_raised_and_noise_stays_behind_the_gate(pulse_rig: PulseServer, tmp_path: Path) -> None:
    noise = 0.03 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    said = np.concatenate([noise, 0.2 * speech(), noise])
    wanted = ["--voice", "off", "--speech-gate", "--speech-level-db", "-23"]
    with live(pulse_rig, tmp_path, "--block-ms", "100", *wanted) as process:
        with pulse_rig.record("vcable_source") as cable:
            pulse_rig.play(said, "vmic")
            cable.wait_for(1.0)
        status = ended(process)
    sounding = np.flatnonzero(np.abs(cable.samples) > 1e-6)
    # The pauses within the speech are silent, too; where the rig loses sound, noise may open the gate for a moment.
    assert len(sounding) < len(speech()), "4 s of noise around it"
    assert np.sqrt(np.mean(cable.samples[sounding[0] : sounding[-1]] ** 2)) > 0.3 * np.sqrt(np.mean(speech() ** 2))
    assert status["gate_gain_db"] == -100.0


def test_it_ends_at_once_and_lets_go_of_the_devices(pulse_rig: PulseServer, tmp_path: Path) -> None:
    with live(pulse_rig, tmp_path, "--voice", "off") as process:
        started = time.monotonic()
        ended(process)
        assert time.monotonic() - started < 10.0
    assert not pulse_rig.pactl("list", "short", "sink-inputs").strip()


def test_callbacks_come_before_rendering(pulse_rig: PulseServer, tmp_path: Path) -> None:
    ask = [sys.executable, "-c", "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(4))"]
    granted = subprocess.run(ask, capture_output=True, check=False).returncode == 0
    with live(pulse_rig, tmp_path, "--voice", "off") as process:
        (audio,) = spawned_by(process.pid)
        threads = [int(path.name) for path in Path(f"/proc/{audio}/task").iterdir()]
        priorities = {thread: os.sched_getparam(thread).sched_priority for thread in threads}
        ended(process)
    rendering = priorities.pop(audio)
    assert rendering == (2 if granted else 0)
    assert sum(priority == 4 for priority in priorities.values()) >= (2 if granted else 0)  # microphone and cable


def test_a_session_that_is_killed_says_how_far_it_came(pulse_rig: PulseServer, tmp_path: Path) -> None:
    view = tmp_path / "view.svg"
    with live(pulse_rig, tmp_path, "--voice", "off", "--screenshot", str(view)) as process:
        (audio,) = spawned_by(process.pid)
        os.kill(audio, signal.SIGKILL)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the audio process ended by itself (exit code -9)" in errors
    assert json.loads(out)["blocks"] > 0
    assert "Virtual&#160;Microphone" in view.read_text(encoding="utf-8")


@pytest.mark.rig
def test_it_comes_back_when_the_sound_server_does(tmp_path: Path) -> None:
    from pulse import RIG, pulse_server

    folder = tmp_path / "server"
    with pulse_server(folder, RIG) as rig:
        process = subprocess.Popen(
            command(*DEVICES, "--json", "--voice", "off", "--block-ms", "20"),
            env=environment(rig, tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for_streams(rig, process)
    time.sleep(3.0)  # several attempts to open what is not there
    assert process.poll() is None, process.communicate()  # it waits
    with pulse_server(folder, RIG) as rig:
        wait_for_streams(rig, process)
        with rig.record("vcable_source") as cable:
            rig.play(np.concatenate([speech()] * 2), "vmic")
            cable.wait_for(0.5)
        assert np.abs(cable.samples).max() > 0.1
        status = ended(process)
    assert status["state"] == "stopped"
    assert status["interrupted_ms"] > 3000  # without a server
    assert status["recording_error"] == ""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--input", "Nonsense", "--output", "Virtual Cable"], "no input is called 'Nonsense'"),
        (
            ["--input", "Virtual Microphone", "--output", "Virtual Microphone Feed"],
            "hears the output",
        ),
        (["--input", "Virtual Microphone", "--output", "Virtual Cable", "--voice", "nobody"], "no voice"),
        ([*DEVICES, "--block-ms", "30"], "block_ms is 30"),
        ([*DEVICES, "--block-ms", "1020"], "block_ms is 1020; it must be a multiple of 20 from 20 to 1000"),
        ([*DEVICES, "--exclusive"], "has no exclusive mode"),
        ([*DEVICES, "--channel", "1"], "'Virtual Microphone' has no channel 1, it has one channel, 0"),
        ([*DEVICES, "--monitor", "vcable"], "name headphones to hear yourself on"),
    ],
)
def test_bad_input_is_one_sentence(pulse_rig: PulseServer, tmp_path: Path, options: list[str], said: str) -> None:
    done = subprocess.run(
        command(*options),
        env=environment(pulse_rig, tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
