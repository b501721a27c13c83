"""Runs `altervox` in this process, or in a real one, and makes the sound files that the tests convert."""

from __future__ import annotations

import io
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np
import soundfile
from altervox.tools.cli.main import main
from altervox.tools.convert.source import AudioSource
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data"
MALE = DATA / "librivox_male.wav"
FEMALE = DATA / "alsa_female.wav"
COMMAND = [sys.executable, "-m", "altervox.tools"]


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaints(self) -> list[str]:
        """The lines in which altervox speaks to the user."""
        return [line for line in self.err.splitlines() if line.startswith("altervox: ")]


def altervox(*arguments: object, module: str = "") -> Outcome:
    """The command line, or that of another module, in this process: without starting Python and loading torch again."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    interrupt = signal.getsignal(signal.SIGINT)
    root.handlers = []  # pytest's own would keep the command from making its handler
    code: object = None
    try:
        with (
            redirect_stdout(streams[0]),
            redirect_stderr(streams[1]),
            patch.object(sys, "argv", ["altervox", *map(str, arguments)]),
        ):
            runpy.run_module(module, run_name="__main__") if module else main()
    except SystemExit as end:
        code = end.code
    finally:
        root.handlers = handlers
        root.setLevel(level)
        signal.signal(signal.SIGINT, interrupt)  # some commands handle it until they end
    assert isinstance(code, int)
    texts = []
    for stream in streams:
        stream.seek(0)
        texts.append(stream.read())
    return Outcome(code, *texts)


def altervox_process(
    *arguments: object, module: str = "altervox.tools", timeout: float = 60, **options: Any
) -> Outcome:
    """The command line, or that of another module, in a process of its own."""
    environment = {**os.environ, "PYTHONUTF8": "1", **options.pop("env", {})}
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        timeout=timeout,
        check=False,
        **options,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def speech(seconds: float = 2.0, rate: int = 16000) -> NDArray[np.float64]:
    """The start of a recording at a rate of 16 kHz or another, [N]."""
    import soxr

    samples, own_rate = soundfile.read(MALE)
    samples = np.tile(samples, int(np.ceil(seconds * own_rate / len(samples))))
    resampled: NDArray[np.float64] = soxr.resample(samples, own_rate, rate)
    return resampled[: round(seconds * rate)]


def read_audio(path: Path, track: int | None = None, repair: bool = False) -> tuple[np.ndarray, AudioSource]:
    """All of a file's sound in mono, and the file as it was read."""
    from altervox.tools.convert.reader import open_audio

    with open_audio(path, track) as source:
        return np.concatenate(list(source.blocks(repair))), source


def write_ffmpeg(
    path: Path,
    samples: NDArray[np.floating[Any]],
    rate: int,
    codec: str,
    *,
    layout: str = "mono",
    video: bool = False,
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Encode samples [channels, N] or [N]; with `video`, beside a short black picture track."""
    planes = np.atleast_2d(np.asarray(samples, dtype=np.float32))
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata or {})
        picture: Any = container.add_stream("mpeg4", rate=10) if video else None
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        if picture is not None:
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
            for _ in range(5):
                container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), "uint8"))))
            container.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        formats = stream.codec_context.codec.audio_formats or [av.AudioFormat("s16")]
        size = stream.codec_context.frame_size or None
        resampler = av.AudioResampler(formats[0].name, layout, rate, size)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def lag(late: NDArray[Any], early: NDArray[Any]) -> int:
    """By how many samples the first signal comes after the second, where they are most alike."""
    size = 1 << int(len(late) + len(early)).bit_length()
    spectrum = np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size))
    at = int(np.argmax(np.fft.irfft(spectrum, size)))
    return at if at < size // 2 else at - size


def envelope(samples: NDArray[Any], rate: int) -> NDArray[np.float64]:
    """Loudness over 10 ms, every millisecond, less its mean."""
    power = np.convolve(samples.astype(np.float64) ** 2, np.ones(rate // 100) / (rate // 100), mode="same")
    loudness = np.sqrt(power[:: rate // 1000])
    return np.asarray(loudness - loudness.mean())


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes: writing more fails, as on a full disk (Python ignores the signal)."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def left_over(folder: Path) -> list[Path]:
    """Half-written files."""
    return [p for p in folder.rglob("*") if p.name.endswith(".part")]
