"""A private PulseAudio server: a virtual microphone and a virtual cable on a machine without sound hardware.

The server has its own folder, socket, home and runtime folder: it neither sees nor disturbs the user's sound system.

    with pulse_server(folder, RIG) as rig:
        with rig.record("vcable.monitor") as heard:
            rig.play(samples, "vmic")
        mistakes = compare(samples, heard.samples)

    .venv/bin/python tests/support/pulse.py

runs one by hand and prints what leads a terminal to it.

Needs Debian's pulseaudio, pulseaudio-utils, libasound2-plugins and libportaudio2. Runs as root, too, and without D-Bus.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray

RATE = 48_000
FRAME = RATE // 100  # 10 ms
CLOCK_MS = 5
NEAR = 960  # samples by which a delay usually changes at most from one stretch to the next
TRACKED_HZ = 2000.0  # below which a fraction of a sample makes no difference
PROGRAMS = ("pulseaudio", "pactl", "parec", "pacat")
PACKAGES = "pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"
# The sink `vmic` is what a test speaks into, the source `vmic_source` the microphone that altervox then hears; the sink
# `vcable` is what altervox plays into, `vcable_source` what Discord would listen to.
RIG = (
    "module-null-sink sink_name=vmic rate=48000 channels=1 format=float32le"
    " sink_properties=\"device.description='Virtual Microphone Feed'\"",
    "module-remap-source master=vmic.monitor source_name=vmic_source channels=1 remix=no"
    " source_properties=\"device.description='Virtual Microphone'\"",
    "module-null-sink sink_name=vcable rate=48000 channels=2 format=float32le"
    " sink_properties=\"device.description='Virtual Cable'\"",
    "module-remap-source master=vcable.monitor source_name=vcable_source"
    " source_properties=\"device.description='Virtual Cable Output'\"",
)


def missing() -> str:
    """What of the rig's software is not installed, empty if nothing."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if not list(Path("/usr/lib").glob("**/alsa-lib/libasound_module_pcm_pulse.so")):
        absent.append("ALSA's pulse plugin")
    if not list(Path("/usr/lib").glob("**/libportaudio.so.2")):
        absent.append("libportaudio")
    return ", ".join(absent)


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that names a sound server or changes how clients behave."""
    foreign = ("PULSE_", "ALSA_", "PIPEWIRE_", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY")
    return {key: value for key, value in os.environ.items() if not key.startswith(foreign)}


@contextmanager
def running(command: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A background process, ended at the end. Waiting for it also reaps it: no zombie is taken for a live process."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Recording:
    """What a source gives, as it comes: mono, 48 kHz."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._parts: list[bytes] = []
        self._length = 0
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while part := os.read(descriptor, 65536):
            self._parts.append(part)
            self._length += len(part) // 4

    @property
    def length(self) -> int:
        """Samples so far."""
        return self._length

    @cached_property
    def samples(self) -> NDArray[np.float32]:
        """All of it, [N]; for when the recording is over."""
        assert not self._thread.is_alive(), "the recording still runs"
        return np.frombuffer(b"".join(self._parts), np.float32)

    def newest(self, seconds: float) -> NDArray[np.float32]:
        """The last of it so far, while it goes on."""
        heard = b"".join(self._parts)
        return np.frombuffer(heard, np.float32, len(heard) // 4)[-round(seconds * RATE) :]

    def wait_for(self, seconds: float, timeout: float = 60.0) -> None:
        """Until that much more has been recorded."""
        goal, end = self.length + round(seconds * RATE), time.monotonic() + timeout
        while self.length < goal:
            assert time.monotonic() < end, f"only {self.length} of {goal} samples came"
            time.sleep(0.01)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join(60)


@dataclass(frozen=True)
class PulseServer:
    """A running server.

    Attributes:
        environment: What a process needs to reach this server and no other; the whole of its environment.
    """

    folder: Path
    environment: dict[str, str]

    @property
    def variables(self) -> dict[str, str]:
        """What leads to this server, of the environment: for a process that has another one already."""
        return {key: self.environment[key] for key in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_SERVER")}

    def pactl(self, *arguments: str) -> str:
        command = ["pactl", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def names(self, kind: str) -> list[str]:
        """Names of the "sinks" or "sources"."""
        return [line.split("\t")[1] for line in self.pactl("list", "short", kind).splitlines()]

    @contextmanager
    def record(self, source: str) -> Iterator[Recording]:
        """Record a source, such as `vcable.monitor`. It has begun when this gives it."""
        command = ["parec", "--raw", "--format=float32le", "--channels=1", f"--rate={RATE}"]
        command += [f"--latency-msec={CLOCK_MS}", "--device", source]
        with subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as process:
            recording = Recording(process)
            try:
                recording.wait_for(0.2)
                yield recording
            finally:
                recording.stop()

    def play(self, samples: NDArray[Any], sink: str) -> None:
        """Play mono samples of 48 kHz into a sink; returns when they have been played."""
        command = ["pacat", "--raw", "--format=float32le", "--channels=1", f"--rate={RATE}", "--latency-msec=200"]
        data = np.asarray(samples, np.float32).tobytes()
        subprocess.run([*command, "--device", sink], env=self.environment, input=data, timeout=120, check=True)


@contextmanager
def pulse_server(folder: Path, modules: Sequence[str] = ()) -> Iterator[PulseServer]:
    """Start a server with these modules, and stop it at the end.

    Null sinks wake only every 2 s as long as nobody asks for less: ALSA's plugin for PulseAudio does not. What plays
    would get its callbacks in bursts. A reader with a low latency on each of them keeps the time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("runtime", "home"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    socket = folder / "native"
    script = folder / "server.pa"
    lines = [f"module-native-protocol-unix socket={socket} auth-anonymous=1", *modules]
    script.write_text(".fail\n" + "".join(f"load-module {line}\n" for line in lines), encoding="utf-8")
    environment = {
        **clean_environment(),
        "HOME": str(folder / "home"),
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
        "XDG_CONFIG_HOME": str(folder / "home" / ".config"),
        "PULSE_SERVER": f"unix:{socket}",
    }
    daemon = ["pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"]
    daemon += ["--disallow-module-loading=no", "--log-target=stderr", "--log-level=info"]
    # Where memory is shared, PulseAudio 16 may abort when a client is killed: see `memblock_free` in its log.
    daemon += ["--disable-shm=yes"]
    log = folder / "server.log"
    with ExitStack() as stack:
        process = stack.enter_context(running(daemon, environment, log))
        server = PulseServer(folder, environment)
        wait_until_it_answers(server, process, log)
        for sink in server.names("sinks"):
            clock = ["parec", "--raw", f"--latency-msec={CLOCK_MS}", "--device", f"{sink}.monitor"]
            stack.enter_context(running(clock, environment, log))
        _wait_for_clocks(server)
        yield server


def wait_until_it_answers(server: PulseServer, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    ask = ["pactl", "info"]
    while subprocess.run(ask, env=server.environment, capture_output=True, check=False).returncode != 0:
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        assert process.poll() is None, f"the sound server has ended: {said}"
        assert time.monotonic() < end, f"the sound server does not answer: {said}"
        time.sleep(0.05)


def _wait_for_clocks(server: PulseServer) -> None:
    """Until every null sink has taken over the latency that its reader asks for; losses are frequent before."""
    end = time.monotonic() + 60
    while "configured 2000000 usec" in server.pactl("list", "sinks"):
        assert time.monotonic() < end, "the null sinks keep their latency of 2 s"
        time.sleep(0.05)


@dataclass(frozen=True)
class Comparison:
    """How a recording differs from what was played.

    Attributes:
        lag: Samples of the recording before what was played begins.
        gain: Of the recording over what was played: the median over the frames.
        correlation: Over the whole length, after alignment.
        bad_frames: Frames of 10 ms, of those that are not silent, whose difference is louder than -40 dB of the frame.
        frames: Frames that are not silent.
        missing: Samples that the recording lacks at its end.
    """

    lag: int
    gain: float
    correlation: float
    bad_frames: int
    frames: int
    missing: int


def compare(played: NDArray[Any], heard: NDArray[Any]) -> Comparison:
    """Find what was played in a recording, and count the frames that are not the same but for the gain.

    A lost or repeated stretch hardly shows in the correlation of the whole; it shows in the frames. What repeats itself
    (a tone, the same clip twice) has no clear lag: use speech or noise.
    """
    reference, found = np.asarray(played, np.float64), np.asarray(heard, np.float64)
    size = 1 << (len(reference) + len(found)).bit_length()
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(reference, size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)[: len(found)]))
    found = found[lag : lag + len(reference)]
    length = len(found)
    reference = reference[:length]
    norms = float(np.linalg.norm(reference) * np.linalg.norm(found)) + 1e-20
    correlation = float(reference @ found) / norms
    frames = length // FRAME
    a = reference[: frames * FRAME].reshape(frames, FRAME)
    b = found[: frames * FRAME].reshape(frames, FRAME)
    power = np.sum(a * a, axis=1)
    loud = power > FRAME * 1e-4
    gains = np.sum(a * b, axis=1)[loud] / power[loud]
    gain = float(np.median(gains)) if gains.size else 0.0  # not of the whole: what is lost would change it
    bad = loud & (np.sum((gain * a - b) ** 2, axis=1) > 1e-4 * gain**2 * power)
    return Comparison(lag, gain, correlation, int(bad.sum()), int(loud.sum()), len(played) - length)


@dataclass(frozen=True)
class Tracking:
    """How a recording follows what was played when two clocks lie in between.

    Attributes:
        bad_frames: Frames of 10 ms, of those that are not silent, that are not there within -10 dB of their level.
        frames: Frames that are not silent.
        lags: Delay at each stretch of 50 ms that is not silent, in samples.
        stretches: First frame of each of these stretches.
        bad_at: Where the bad frames are, in frames.
    """

    bad_frames: int
    frames: int
    lags: NDArray[np.float64]
    stretches: NDArray[np.int64]
    bad_at: list[int]


def harmonic_strength(heard: NDArray[np.float32], f0_hz: float) -> float:
    """How much stronger the harmonics of that F0 are, where a recording is loudest, than what lies between them."""
    loud = heard[np.argmax(np.convolve(heard**2, np.ones(4800), "same")) - 4800 :][:9600]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(len(loud)), RATE))
    at, between = (
        [spectrum[round(f0_hz * (k + off)) - 3 : round(f0_hz * (k + off)) + 4].max() for k in range(2, 12)]
        for off in (0.0, 0.5)
    )
    return float(np.median(at) / np.median(between))


def track(played: NDArray[Any], heard: NDArray[Any], reach: int = 960) -> Tracking:
    """Follow what was played through a recording whose delay changes slowly, as under a drifting clock.

    Each stretch of 50 ms is looked for within `reach` samples of where the last one was, the first one of where most of
    the whole is, to a fraction of a sample.
    What is lost, repeated, faded or replaced by silence does not match anywhere there. A constant gain does not count.
    """
    lowpass = scipy.signal.butter(6, TRACKED_HZ, fs=RATE, output="sos")
    reference, found = (scipy.signal.sosfiltfilt(lowpass, np.asarray(x, np.float64)) for x in (played, heard))
    found = np.pad(found, (reach, reach + len(reference)))
    stretch = 5 * FRAME
    lag = float(compare(played, heard).lag)
    lags, stretches, aligned, gains = [], [], [], []
    for at in range(0, len(reference) - stretch + 1, stretch):
        x = reference[at : at + stretch]
        if np.sum(x * x) < stretch * 1e-6:
            continue
        for span in (min(NEAR, reach), reach):  # widely only where it is not found near by
            first = at + round(lag) + reach - span  # the padding before it is the reach back
            window = found[max(first, 0) : max(first, 0) + stretch + 2 * span]
            best, fraction = _likest(x, window)
            y = _shifted(window[best : best + stretch], fraction)
            if np.dot(x, y) > 0.7 * np.sqrt(np.dot(x, x) * np.dot(y, y)):
                lag = max(first, 0) - at - reach + best + fraction
                break
        lags.append(lag)
        stretches.append(at // FRAME)
        aligned.append((x.reshape(-1, FRAME), y.reshape(-1, FRAME)))
        gains.append(np.dot(x, y) / np.dot(x, x))
    gain, bad_at, frames = float(np.median(gains)), [], 0
    for first_frame, (a, b) in zip(stretches, aligned, strict=True):
        power = np.sum(a * a, axis=1)
        loud = power > FRAME * 1e-4
        bad = loud & (np.sum((gain * a - b) ** 2, axis=1) > 0.1 * gain**2 * power)
        frames += int(loud.sum())
        bad_at += [first_frame + int(k) for k in np.flatnonzero(bad)]
    return Tracking(len(bad_at), frames, np.array(lags), np.array(stretches), bad_at)


def _likest(x: NDArray[np.float64], window: NDArray[np.float64]) -> tuple[int, float]:
    """Where in a window a stretch is found best, and by which fraction of a sample it lies later."""
    places = len(window) - len(x) + 1
    size = 1 << (len(window) + len(x)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(window, size) * np.conj(np.fft.rfft(x, size)), size)[:places]
    sums = np.concatenate(([0.0], np.cumsum(window**2)))
    likeness /= np.sqrt(sums[len(x) :] - sums[:places] + 1e-9)
    best = int(np.argmax(likeness))
    if not 0 < best < places - 1:
        return best, 0.0
    a, b, c = likeness[best - 1 : best + 2]
    return best, 0.5 * (a - c) / (a - 2.0 * b + c) if a - 2.0 * b + c < 0 else 0.0


def _shifted(x: NDArray[np.float64], fraction: float) -> NDArray[np.float64]:
    """A stretch taken a fraction of a sample later; its ends are held, as they would wrap around."""
    padded = np.pad(x, 64, mode="edge")
    turn = np.exp(2j * np.pi * np.fft.rfftfreq(len(padded)) * fraction)
    return np.fft.irfft(np.fft.rfft(padded) * turn, len(padded))[64:-64]


def enter(server: PulseServer, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Let this process use the server and a settings folder of the test's own."""
    for name, value in {**server.variables, "ALTERVOX_HOME": str(home), "ALSA_CONFIG_PATH": ""}.items():
        monkeypatch.setenv(name, value)


def stand(start: Callable[[Path, Sequence[str]], AbstractContextManager[PulseServer]]) -> None:
    """Run the rig until Ctrl-C, and print what another terminal has to be told to use it."""
    with tempfile.TemporaryDirectory() as folder, start(Path(folder), RIG) as server:
        for name, value in server.variables.items():
            print(f"export {name}={shlex.quote(value)}")
        print("# Paste this into another terminal; Ctrl-C here ends the rig.", flush=True)
        signals = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        signal.sigwait(signals)


if __name__ == "__main__":
    stand(pulse_server)
