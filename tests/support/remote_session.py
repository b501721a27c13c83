"""A session in memory for the remote protocol: the real state and status, without sound and without a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from altervox.kernels.errors import AltervoxError, UnknownAudioDeviceError
from altervox.models.library import VoiceInfo
from altervox.realtime.audio.commands import Change, SetBlock
from altervox.realtime.audio.devices import AudioDevice
from altervox.realtime.serve.port import StartRequest
from altervox.realtime.session.state import SessionState
from altervox.realtime.session.status import Latency, Status

VOICES = ("off", "woman", "man", "robot", "Ännie 🎤")


def voice(name: str) -> VoiceInfo:
    """A line of the list of voices."""
    return VoiceInfo(name, "dsp", None, f"sounds like {name}", None)


def device(name: str, inputs: int = 0, outputs: int = 0, is_primary: bool = True) -> AudioDevice:
    """A device of the list."""
    return AudioDevice(
        index=0,
        name=name,
        host_api="PulseAudio",
        system_name=name,
        inputs=inputs,
        outputs=outputs,
        default_rate=48000.0,
        low_input_latency_s=0.01,
        low_output_latency_s=0.01,
        is_default_input=bool(inputs),
        is_default_output=False,
        is_primary=is_primary,
        is_monitor=False,
        cable="Virtual Cable" if "Cable" in name else "",
        loops=(),
        listening_name="",
        portaudio_name=name,
        portaudio_host_api="ALSA",
    )


class MemorySession:
    """A `RemoteSession` whose state is real and whose sound is not.

    Args:
        voices: Names of the voices that there are.
        runs: Whether it runs from the start.
        can_start: Whether clients may start it.

    Attributes:
        calls: Names of the slow calls and of `record` that were made, in their order.
        slow_s: How long each slow call takes.
        error: Raised by the next calls that may fail; None for none.
        lists: The voices that there are; may be changed.
    """

    def __init__(self, voices: Sequence[str] = VOICES, runs: bool = True, can_start: bool = True) -> None:
        self.calls: list[str] = []
        self.slow_s = 0.0
        self.error: Exception | None = None
        self.lists: list[VoiceInfo] = [voice(name) for name in voices]
        self._can_start = can_start
        self._lock = threading.RLock()
        self._state = SessionState()
        self._status = Status(state="stopped")
        self._heard: list[Callable[[str], None]] = []
        if runs:
            self.start(StartRequest())
            self.calls.clear()

    @property
    def can_start(self) -> bool:
        return self._can_start

    def state(self) -> SessionState:
        return self._state

    def status(self) -> Status:
        return self._status

    def do(self, command: Change, by: str) -> SessionState:
        with self._lock:
            if isinstance(command, SetBlock):
                self.calls.append(f"block {command.block_ms}")
                self.report(by, block_ms=float(command.block_ms or 0))
                return self._state
            if self.error is not None:
                raise self.error
            self._state = self._state.after(command, [info.name for info in self.lists])
            self.report(by, voice=self._state.voice)
            return self._state

    def record(self, on: bool, by: str) -> None:
        self.calls.append(f"record {on}")
        self.report(by, recording=("/home/somebody/Music/in.wav",) if on else ())

    def listen(self, heard: Callable[[str], None]) -> Callable[[], None]:
        self._heard.append(heard)
        return lambda: self._heard.remove(heard)

    def voices(self) -> Sequence[VoiceInfo]:
        self._slow("voices")
        return tuple(self.lists)

    def devices(self) -> Sequence[AudioDevice]:
        self._slow("devices")
        return (
            device("Microphone", inputs=1),
            device("Virtual Cable", outputs=2),
            device("Headphones", outputs=2),
            device("hw:0,0", inputs=1, outputs=2, is_primary=False),
        )

    def start(self, request: StartRequest) -> None:
        self._slow("start")
        if request.input not in (None, "Microphone"):
            raise UnknownAudioDeviceError(f"there is no microphone {request.input!r}")
        self.report(
            "start",
            state="running",
            voice=self._state.voice,
            input_device=request.input or "Microphone",
            output_device=request.output or "Virtual Cable",
            monitor_device=request.monitor or "",
            sample_rate=48000,
            block_ms=float(request.block_ms or 40),
            latency=Latency(total=90.0),
            block_histogram=(0,) * 20,
        )

    def stop(self) -> None:
        self._slow("stop")
        self.report("stop", state="stopped")

    def measure(self) -> Mapping[str, object]:
        self._slow("measure")
        return {"latency_ms": 21.5}

    def report(self, by: str = "", **changes: Any) -> None:
        """Have another status, as the audio process sends it."""
        with self._lock:
            self._status = replace(self._status, session=self._state, **changes)
        for heard in list(self._heard):
            heard(by)

    def _slow(self, name: str) -> None:
        self.calls.append(name)
        time.sleep(self.slow_s)
        if self.error is not None:
            raise self.error


FAILURE = AltervoxError("the microphone 'USB' cannot be opened; see /home/somebody/.cache/altervox/log.txt")
