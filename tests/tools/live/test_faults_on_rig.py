"""What goes wrong with devices under one session of `altervox live`: each test does it, and expects the session back.

Mouth and cable are the two channels of one sink, so that the delay is exact; the microphones are made of what is played
to the mouths, one each, and do not hear the cable.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from spawned import spawned_by, streams_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pulse import PulseServer

    FloatArray = NDArray[np.float32]

pytestmark = pytest.mark.linux

RATE = 48000
TRIES = 8
OPENINGS_DIFFER_MS = 40.0  # on a busy machine; what piles up in a pause is more


def side(channel: str) -> str:
    return f"channels=1 channel_map=mono master_channel_map=front-{channel} remix=no"


def cable(rate: int) -> list[str]:
    return f"module-remap-sink master=both sink_name=cable rate={rate} {side('right')}".split()


MODULES = (
    "module-null-sink sink_name=speakers rate=48000",
    "module-null-sink sink_name=both rate=48000 channels=2 format=float32le",
    *(
        line
        for which in ("first", "second")
        for line in (
            f"module-remap-sink master=both sink_name=mouth_{which} {side('left')}",
            f"module-remap-source master=mouth_{which}.monitor source_name={which} channels=1",
        )
    ),
    " ".join(cable(48000)),
)


def noise(seconds: float) -> FloatArray:
    return np.random.default_rng(time.monotonic_ns()).uniform(-0.3, 0.3, int(seconds * RATE)).astype(np.float32)


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it has not come to that"
        time.sleep(0.05)


@dataclass(frozen=True)
class Session:
    """A running `altervox live` with the default microphone, and the server it runs on."""

    rig: PulseServer
    process: subprocess.Popen[bytes]

    def streams(self) -> list[int]:
        """The number of the session's stream to the cable, if it is open."""
        return streams_of(self.rig, self.process.pid)

    def wait_for_another_stream(self, before: list[int]) -> None:
        until(lambda: bool(self.streams()) and self.streams() != before)

    def hear(self, said: FloatArray, mouth: str = "mouth_first", after_s: float = 0.5) -> tuple[FloatArray, FloatArray]:
        """Say something; what was said and what came out of the cable, recorded together."""
        from pulse import Recording

        command = ["parec", "--raw", "--format=float32le", "--channels=2", f"--rate={RATE}", "--latency-msec=5"]
        with subprocess.Popen(
            [*command, "--device", "both.monitor"], env=self.rig.environment, stdout=subprocess.PIPE
        ) as process:
            recording = Recording(process)
            recording.wait_for(0.2)
            self.rig.play(said, mouth)
            recording.wait_for(2.0 * after_s)
            recording.stop()
        both = recording.samples[: recording.length // 2 * 2].reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def hears(self, mouth: str) -> bool:
        from pulse import compare

        said = noise(0.5)
        return compare(said, self.hear(said, mouth)[1]).correlation > 0.5

    def delay_ms(self) -> float:
        """From mouth to cable, once sound comes through."""
        from pulse import compare

        for _ in range(TRIES):
            said = noise(0.5)
            at_mouth, at_cable = (compare(said, heard) for heard in self.hear(said))
            if at_cable.correlation > 0.5:
                return 1000.0 * (at_cable.lag - at_mouth.lag) / RATE
        pytest.fail("nothing comes through")

    def expect_delay(self, usual_ms: float) -> None:
        """The delay is as usual again, at the latest when what the devices held on opening has been cut out."""
        delays_ms: list[float] = []
        while len(delays_ms) < TRIES:
            delays_ms.append(self.delay_ms())
            if abs(delays_ms[-1] - usual_ms) < OPENINGS_DIFFER_MS:
                return
        pytest.fail(f"delays of {np.round(delays_ms, 1)} ms; {usual_ms:.1f} before")


@pytest.fixture(scope="module")
def session(pulse_rig: PulseServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    from pulse import pulse_server

    home = tmp_path_factory.mktemp("home")
    with pulse_server(tmp_path_factory.mktemp("faults"), MODULES) as rig:
        rig.pactl("set-default-source", "first")
        rig.pactl("set-default-sink", "speakers")
        rig.environment.update(ALTERVOX_HOME=str(home), OMP_NUM_THREADS="1")
        command = [sys.executable, "-m", "altervox.tools", "live", "--output", "cable", "--voice", "off"]
        with subprocess.Popen(
            [*command, "--block-ms", "20", "--json"], env=rig.environment, stdout=subprocess.DEVNULL
        ) as process:
            running = Session(rig, process)
            try:
                until(lambda: bool(running.streams()), 60.0)
                yield running
                process.send_signal(signal.SIGTERM)
                assert process.wait(20) == 0
            finally:
                process.kill()


@pytest.fixture(scope="module")
def usual_delay_ms(session: Session) -> float:
    return session.delay_ms()


@pytest.mark.alone
def test_a_cable_that_goes_is_not_replaced_by_the_speakers(session: Session, usual_delay_ms: float) -> None:
    """And it is used again when it is back, at another rate and under another number."""
    modules = session.rig.pactl("list", "short", "modules").splitlines()
    (number,) = (line.split("\t")[0] for line in modules if "sink_name=cable" in line)
    session.rig.pactl("unload-module", number)
    until(lambda: not session.streams())
    session.rig.pactl("load-module", "module-null-sink", "sink_name=another")
    # Devices that another program lists meanwhile lack the cable, and have other numbers.
    subprocess.run(
        [sys.executable, "-m", "altervox.tools", "devices"],
        env=session.rig.environment,
        capture_output=True,
        check=True,
    )
    session.rig.pactl("load-module", *cable(44100))
    until(lambda: bool(session.streams()))
    session.expect_delay(usual_delay_ms)


@pytest.mark.alone
@pytest.mark.parametrize("device", [("suspend-sink", "cable"), ("suspend-source", "first")])
def test_a_device_that_slept_goes_on_without_more_delay(
    session: Session, usual_delay_ms: float, device: tuple[str, str]
) -> None:
    before = session.streams()
    session.rig.pactl(*device, "1")
    session.wait_for_another_stream(before)
    time.sleep(1.0)  # something piles up
    session.rig.pactl(*device, "0")
    session.expect_delay(usual_delay_ms)


@pytest.mark.alone
def test_after_a_pause_of_the_program_nothing_is_said_belatedly(session: Session, usual_delay_ms: float) -> None:
    from pulse import compare

    before = session.streams()
    (number,) = spawned_by(session.process.pid)
    stale = noise(1.5)
    os.kill(number, signal.SIGSTOP)
    try:
        session.rig.play(stale, "mouth_first")
    finally:
        os.kill(number, signal.SIGCONT)
    _, at_cable = session.hear(np.zeros(RATE // 10, dtype=np.float32), after_s=2.0)
    assert compare(stale, at_cable).correlation < 0.2
    session.wait_for_another_stream(before)
    session.expect_delay(usual_delay_ms)


def test_the_systems_default_microphone_is_followed_but_never_into_the_cable(session: Session) -> None:
    before = session.streams()
    session.rig.pactl("set-default-source", "second")
    session.wait_for_another_stream(before)
    until(lambda: session.hears("mouth_second"))
    assert not session.hears("mouth_first")
    session.rig.pactl("load-module", "module-remap-source", "master=cable.monitor", "source_name=end_of_cable")
    session.rig.pactl("set-default-source", "end_of_cable")  # to where the server moves the stream by itself
    until(lambda: session.hears("mouth_second"))
    session.rig.pactl("set-default-source", "first")
    until(lambda: session.hears("mouth_first"))


def test_a_named_microphone_is_opened_again_only_when_the_server_takes_its_stream_away(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from altervox.realtime.audio.commands import Command, SetAbsent
    from altervox.tools.devices.choose import choose_input, choose_output, list_devices
    from altervox.tools.devices.watch import DeviceWatch

    for name in (*session.rig.variables, "ALTERVOX_HOME"):
        monkeypatch.setenv(name, session.rig.environment[name])
    monkeypatch.setenv("ALSA_CONFIG_PATH", "")
    devices = list_devices(again=True)
    sent: list[Command] = []
    with DeviceWatch(choose_input(devices, "second"), [choose_output(devices, "cable")]) as watch:
        watch.start(sent.append)
        for default in ("first", "mouth_first.monitor", "second"):
            session.rig.pactl("set-default-source", default)
            time.sleep(0.3)
        assert sent == []
        session.rig.pactl("set-default-source", "first")
        until(lambda: len(sent) == 2)
    assert sent == [SetAbsent(frozenset({"PulseAudio: second"})), SetAbsent(frozenset())]
