"""A virtual mouth, microphone and cable for measurements, on one clock and in one recording; gone at the end.

Mouth and cable are the two channels of one null sink of the sound server: what is said and what comes out are then
recorded together, and their distance is exact to a sample. The user's server is used if one runs; else PulseAudio is
started for the purpose.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...kernels.errors import AudioDeviceError
from ...kernels.types import FloatArray
from ..devices.programs import end, start, started
from ..devices.pulse import awake, modules, pactl

RATE = 48_000
_PROGRAMS = ("pactl", "parec", "pacat")
_START_S = 10.0
_RAW = ("--raw", "--format=float32le", f"--rate={RATE}", "--client-name=altervox")
_LEFT, _RIGHT = "front-left", "front-right"


class Recording:
    """Mouth and cable as they come, in a file that has no name and goes with this process; `samples` at the end.

    Args:
        source: The source to record.
    """

    def __init__(self, source: str) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 it is open as long as its samples are used
        command = ["parec", *_RAW, "--channels=2", "--latency-msec=10", "--device", source]
        self._process = start(command, stdout=self._file.fileno())
        self.began_s = 0.0  # on the clock `time.monotonic`

    def wait_for_start(self) -> None:
        """Until the first samples are there.

        Raises:
            AudioDeviceError: none come.
        """
        latest_s = time.monotonic() + _START_S
        while not os.fstat(self._file.fileno()).st_size:
            if time.monotonic() > latest_s or self._process.poll() is not None:
                raise AudioDeviceError("the sound server gives no sound of the bench's own sink: restart the server")
            time.sleep(0.001)
        self.began_s = time.monotonic()

    def stop(self) -> None:
        """End it."""
        end(self._process)

    @property
    def frames(self) -> int:
        """Samples of each channel so far."""
        return os.fstat(self._file.fileno()).st_size // 8

    @property
    def samples(self) -> tuple[FloatArray, FloatArray]:
        """What was said, and what came out of the cable; read from the file as they are used."""
        frames = self.frames
        if not frames:
            return np.zeros(0, np.float32), np.zeros(0, np.float32)
        both = np.memmap(self._file, np.float32, "r", shape=(frames, 2))
        return both[:, 0], both[:, 1]


@dataclass(frozen=True, slots=True)
class BenchSinks:
    """Names on the server.

    Attributes:
        both: The null sink.
        mouth: Sink that speaks into the microphone.
        microphone: Source.
        cable: Sink that altervox plays into.
    """

    both: str
    mouth: str
    microphone: str
    cable: str

    @contextmanager
    def record(self) -> Iterator[Recording]:
        """Record mouth and cable; it has begun when this gives it."""
        recording = Recording(f"{self.both}.monitor")
        try:
            recording.wait_for_start()
            yield recording
        finally:
            recording.stop()

    def say(self, samples: FloatArray, seconds: float | None = None) -> subprocess.Popen[bytes]:
        """Begin to play into the microphone, once or again and again so long; who calls it waits for the process."""
        command = ["pacat", *_RAW, "--channels=1", "--latency-msec=50", "--device", self.mouth]
        process = start(command, stdin=subprocess.PIPE)
        length = samples.nbytes if seconds is None else round(seconds * RATE) * samples.itemsize
        threading.Thread(target=_feed, args=(process, samples.tobytes(), length), daemon=True).start()
        return process

    @contextmanager
    def pass_through(self) -> Iterator[None]:
        """The sound server's own tools from microphone to cable, without altervox."""
        form = [*_RAW, "--channels=1", "--latency-msec=10", "--device"]
        with (
            started(["parec", *form, self.microphone], stdout=subprocess.PIPE) as hearing,
            started(["pacat", *form, self.cable], stdin=hearing.stdout),
        ):
            yield


def _feed(process: subprocess.Popen[bytes], data: bytes, length: int) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:
        while length > 0:
            length -= pipe.write(data[:length])


@contextmanager
def bench_sinks() -> Iterator[BenchSinks]:
    """Make them, and remove them at the end, whatever that is.

    Raises:
        AudioDeviceError: this is not Linux, or there are no programs of a sound server, or it refuses.
    """
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if not sys.platform.startswith("linux") or missing:
        raise AudioDeviceError(
            f"`altervox bench live` needs PulseAudio or PipeWire on Linux, and there is no {', '.join(missing)}: "
            "sudo apt install pulseaudio-utils"
            if sys.platform.startswith("linux")
            else "`altervox bench live` needs the virtual devices of PulseAudio or PipeWire, which only Linux has: "
            "measure your own devices with `altervox live --measure`"
        )
    name = f"altervox_bench_{os.getpid()}"
    sinks = BenchSinks(name, f"{name}_mouth", f"{name}_microphone", f"{name}_cable")
    with ExitStack() as stack:
        stack.enter_context(_server())
        stack.enter_context(_removed_at_the_end(name))
        for module in _modules(sinks):
            pactl("load-module", *module)
        stack.enter_context(awake(sinks.both))
        yield sinks


def _modules(sinks: BenchSinks) -> list[tuple[str, ...]]:
    def described(kind: str, what: str) -> str:
        return f"{kind}_properties=device.description=altervox_bench_{what}"

    def one(channel: str) -> tuple[str, ...]:
        return ("channels=1", "channel_map=mono", f"master_channel_map={channel}", "remix=no")

    return [
        (
            "module-null-sink",
            f"sink_name={sinks.both}",
            f"rate={RATE}",
            "channels=2",
            "format=float32le",
            described("sink", "both"),
        ),
        (
            "module-remap-sink",
            f"master={sinks.both}",
            f"sink_name={sinks.mouth}",
            *one(_LEFT),
            described("sink", "mouth"),
        ),
        (
            "module-remap-source",
            f"master={sinks.both}.monitor",
            f"source_name={sinks.microphone}",
            *one(_LEFT),
            described("source", "microphone"),
        ),
        (
            "module-remap-sink",
            f"master={sinks.both}",
            f"sink_name={sinks.cable}",
            *one(_RIGHT),
            described("sink", "cable"),
        ),
    ]


@contextmanager
def _removed_at_the_end(name: str) -> Iterator[None]:
    """Whatever bears the name is removed by a process that waits for our end: it comes after kill -9, too."""
    command = [sys.executable, "-m", __name__, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        try:
            yield
        finally:
            process.stdin.close()
            process.wait()


def _remove(name: str) -> None:
    """Remove the modules whose arguments hold the name, the newest first."""
    with suppress(AudioDeviceError):  # the server has ended, and they with it
        for module in reversed(modules()):
            if any(name in value for value in module.arguments.values()):
                pactl("unload-module", str(module.number))


@contextmanager
def _server() -> Iterator[None]:
    """The user's sound server, else one for the purpose."""
    try:
        pactl("info")
    except AudioDeviceError as error:
        if shutil.which("pulseaudio") is None:
            raise AudioDeviceError(f"{error}; or sudo apt install pulseaudio, for the bench to start one") from None
    else:
        yield
        return
    before = os.environ.get("PULSE_SERVER")
    with tempfile.TemporaryDirectory(prefix="altervox-bench-") as scratch, ExitStack() as stack:
        socket, script = Path(scratch) / "native", Path(scratch) / "server.pa"
        script.write_text(f"load-module module-native-protocol-unix socket={socket} auth-anonymous=1\n", "utf-8")
        command = ["pulseaudio", "-n", "-F", str(script), "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1"]
        own = {**os.environ, "XDG_RUNTIME_DIR": scratch, "HOME": scratch}
        stack.enter_context(started(command, environment=own))
        os.environ["PULSE_SERVER"] = f"unix:{socket}"
        try:
            _wait_for_answer()
            yield
        finally:
            del os.environ["PULSE_SERVER"]
            if before is not None:
                os.environ["PULSE_SERVER"] = before


def _wait_for_answer() -> None:
    latest_s = time.monotonic() + _START_S
    while True:
        try:
            pactl("info")
        except AudioDeviceError:
            if time.monotonic() > latest_s:
                raise
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    sys.stdin.read()  # until the process that has the other end is over
    _remove(sys.argv[1])
