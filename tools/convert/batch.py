"""Convert files one after the other, each from end to end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...kernels.errors import AltervoxError, AudioFileError, BaseModelError, ParameterError, VoiceError
from ...kernels.level import soft_limit
from ..machine import peak_mib
from .plan import Job
from .reader import open_audio
from .writer import accepted_rate, container_of, kept_subtype, open_writer

if TYPE_CHECKING:
    from ...kernels.types import AnyFloatArray, Float64Array
    from ...models.voice import Voice

log = logging.getLogger(__name__)

_MEASURABLE_S = 1.0  # of sound: a speed measured over less says little

Converter = Callable[[Iterator["Float64Array"], int], Iterator["AnyFloatArray"]]
"""Takes blocks of mono audio and their rate in Hz, and gives blocks of another voice."""

Progress = Callable[[float, float | None], None]
"""Called with seconds of audio done and in total (None if unknown)."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of a file.

    Attributes:
        job: The file.
        seconds: Duration of the audio.
        rtf: Processing time, preparation included, divided by the duration; below 1 is faster than real time.
        speed: Times real time after the first block; None if the file is too short.
        peak_mib: Peak resident memory of the process so far; None if the system does not report it.
    """

    job: Job
    seconds: float
    rtf: float
    speed: float | None
    peak_mib: float | None


def convert_file(
    job: Job,
    voice: Voice,
    convert: Converter,
    repair: bool = False,
    progress: Progress | None = None,
    track: int | None = None,
) -> Conversion:
    """Convert one file.

    Args:
        job: The file.
        voice: The voice.
        convert: `realtime.files.convert_stream` of this voice.
        repair: Replace NaN and infinite samples with silence.
        progress: Called with the progress.
        track: Which audio track, from 1; None for the one that the file prefers.

    Raises:
        AltervoxError: it cannot be read, converted or written; the output is as it was before.
    """
    from ...realtime.files import output_rate

    if job.refused:
        raise AudioFileError(job.refused)
    started = time.perf_counter()
    first_out: tuple[float, int] | None = None  # when the first sound was written, and how many samples
    read = 0
    with open_audio(job.source, track) as source:
        container = container_of(job.target)

        def counted() -> Iterator[Float64Array]:
            nonlocal read
            for block in source.blocks(repair):
                read += len(block)
                yield block
                if progress:
                    progress(read / source.sample_rate, source.estimated_s)

        rate = output_rate(voice, source.sample_rate)
        stream = convert(counted(), source.sample_rate)
        if voice.uses:  # else it is a copy, to the bit
            stream = limited(stream, voice.name)
        written_rate = accepted_rate(container, rate)
        if written_rate != rate:
            from ...models.resample import resampled

            log.warning("%s: this format takes no %d Hz, so it is written at %d Hz", job.target, rate, written_rate)
            stream = resampled(stream, rate, written_rate)
        subtype = kept_subtype(container, source.subtype)
        expected_frames = round(source.estimated_s * written_rate) if source.estimated_s else None
        with open_writer(job.target, container, subtype, written_rate, expected_frames) as writer:
            for block in stream:
                writer.write(block)
                first_out = first_out or (time.perf_counter(), writer.frames)
            _check_length(writer.frames, read, source.sample_rate, rate, written_rate)
        seconds = read / source.sample_rate
        ended = time.perf_counter()
        speed = None
        if first_out is not None and (after_s := (writer.frames - first_out[1]) / written_rate) >= _MEASURABLE_S:
            speed = after_s / (ended - first_out[0])
    return Conversion(job, seconds, (ended - started) / seconds, speed, peak_mib())


def limited(stream: Iterator[AnyFloatArray], voice_name: str) -> Iterator[AnyFloatArray]:
    """Bends what is beyond +-0.9 so that nothing is clipped."""
    for block in stream:
        if not np.isfinite(block).all():
            raise VoiceError(f"the voice {voice_name} rendered NaN or infinite samples; its file may be damaged")
        yield soft_limit(np.asarray(block, dtype=np.float32))


def _check_length(written: int, read: int, rate_in: int, rate: int, written_rate: int) -> None:
    """Raises RuntimeError unless what was written lasts as long as what was read; it was rendered at `rate`."""
    from ...models.voice import rescaled_length

    expected = rescaled_length(rescaled_length(read, rate_in, rate), rate, written_rate)
    if written != expected:
        raise RuntimeError(f"{written} samples were rendered where {expected} last as long as the input")


def convert_all(
    jobs: list[Job],
    voice: Voice,
    convert: Converter,
    repair: bool,
    report: Callable[[Job, Conversion | AltervoxError], None],
    progress: Callable[[Job], AbstractContextManager[Progress | None]],
    track: int | None = None,
) -> int:
    """Convert files one after the other; one that fails does not stop the rest. Returns the number of failures.

    Raises:
        ParameterError: the voice refuses a parameter, as it would for every file.
        BaseModelError: a base model that the voice needs cannot be obtained.
    """
    failures = 0
    for job in jobs:
        result: Conversion | AltervoxError
        try:
            with progress(job) as advance:
                result = convert_file(job, voice, convert, repair, advance, track)
        except (ParameterError, BaseModelError):
            raise
        except AltervoxError as error:
            failures += 1
            result = error
        except OSError as error:  # such as a disk that has gone
            failures += 1
            result = AudioFileError(f"{job.source} could not be converted: {error.strerror or error}")
        except Exception as error:  # a fault of altervox that this file brings out; the others may be spared
            failures += 1
            result = AltervoxError(
                f"{job.source}: internal error, please report it: {type(error).__name__}: {error} "
                "(altervox -v shows where)"
            )
            result.__cause__ = error
        report(job, result)
    return failures
