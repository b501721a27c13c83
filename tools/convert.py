"""Convert files: which input goes where, and one file from end to end."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.errors import AltervoxError, AudioFileError, ParameterError
from ..kernels.level import soft_limit
from .audio_reader import EXTENSIONS, MonoBlock, open_audio
from .audio_writer import accepted_rate, container_of, kept_subtype, open_writer

if TYPE_CHECKING:
    from ..models.voice import FloatArray, Voice, VoiceParams

log = logging.getLogger(__name__)

Progress = Callable[[float, float | None], None]
"""Called with seconds of audio done and in total (None if unknown)."""


@dataclass(frozen=True, slots=True)
class Job:
    """One file to convert."""

    source: Path
    target: Path


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of a file.

    Attributes:
        job: The file.
        seconds: Its length.
        rtf: Processing time over length; below 1 is faster than real time.
        peak_mib: Peak resident memory of the process so far, None where the system does not tell.
    """

    job: Job
    seconds: float
    rtf: float
    peak_mib: float | None


def plan(inputs: list[Path], output: Path | None, voice_name: str) -> list[Job]:
    """Which file goes where.

    Args:
        inputs: Files, and folders of which every audio file is taken.
        output: A file for one input, else a folder; None puts each result beside its input.
        voice_name: Part of the names that are made up.

    Raises:
        AudioFileError: a folder holds no audio.
        ParameterError: outputs would collide, or would replace an input.
    """
    found: list[tuple[Path, Path]] = []  # the file, and its name within the folder that was given
    for path in inputs:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
            if not inside:
                raise AudioFileError(f"{path} holds no audio files")
            found += [(p, p.relative_to(path)) for p in inside]
        else:
            found.append((path, Path(path.name)))
    # Path() drops a closing slash, so a folder that is yet to be made is known by having no ending.
    to_folder = output is not None and (output.is_dir() or len(found) > 1 or any(p.is_dir() for p in inputs))
    if output is None:
        jobs = [Job(p, p.with_name(f"{p.stem}.{voice_name}.wav")) for p, _ in found]
    elif to_folder:
        if output.is_file() or output.suffix.lower() in EXTENSIONS:
            raise ParameterError(f"output {output} names a file, but there are {len(found)} inputs; name a folder")
        jobs = [Job(p, output / name.with_suffix(".wav")) for p, name in found]
    else:
        jobs = [Job(found[0][0], output)]
    _refuse_collisions(jobs)
    return jobs


def _refuse_collisions(jobs: list[Job]) -> None:
    sources = {_identity(job.source): job.source for job in jobs}
    taken: dict[object, Path] = {}
    for job in jobs:
        container_of(job.target)
        identity = _identity(job.target)
        if identity in sources:
            raise ParameterError(f"output {job.target} is the input {sources[identity]} too; name another output")
        if identity in taken:
            raise ParameterError(
                f"{taken[identity]} and {job.source} would both be written to {job.target}; rename one"
            )
        taken[identity] = job.source


def _identity(path: Path) -> object:
    """Equal for two names of one file, by links or by case where the system ignores it."""
    try:
        status = path.stat()
    except OSError:
        return str(path.absolute())
    return status.st_dev, status.st_ino


def convert_file(
    job: Job, voice: Voice, params: VoiceParams, repair: bool = False, progress: Progress | None = None
) -> Conversion:
    """Convert one file.

    Raises:
        AltervoxError: it cannot be read, converted or written; the output is as it was before.
    """
    started = time.perf_counter()
    container = container_of(job.target)
    read = 0
    with open_audio(job.source) as source:
        total_s = source.expected_frames / source.sample_rate if source.expected_frames else None

        def counted() -> Iterator[MonoBlock]:
            nonlocal read
            for block in source.blocks(repair):
                read += len(block)
                yield block
                if progress:
                    progress(read / source.sample_rate, total_s)

        # "off" copies: its output is what came in, to the bit.
        is_copy = voice.name == "off"
        rate = voice.output_rate(source.sample_rate)
        stream: Iterator[FloatArray] = voice.convert(counted(), source.sample_rate, params)
        if not is_copy:
            stream = (soft_limit(np.asarray(block, dtype=np.float32)) for block in stream)
        written_rate = accepted_rate(container, rate)
        if written_rate != rate:
            from ..models.resample import resampled

            log.info("%s: %s takes no %d Hz, written at %d Hz", job.target, container.name, rate, written_rate)
            stream = resampled(stream, rate, written_rate)
        subtype = kept_subtype(container, source.subtype)
        expected = round(total_s * written_rate) if total_s else None
        with open_writer(job.target, container, subtype, written_rate, expected) as writer:
            for block in stream:
                writer.write(block)
            _check_length(writer.frames, read, source.sample_rate, written_rate, resampled_twice=written_rate != rate)
        seconds = read / source.sample_rate
    return Conversion(job, seconds, (time.perf_counter() - started) / seconds, peak_mib())


def _check_length(written: int, read: int, rate_in: int, rate_out: int, resampled_twice: bool) -> None:
    from ..models.voice import rescaled_length

    expected = rescaled_length(read, rate_in, rate_out)
    if abs(written - expected) > (1 if resampled_twice else 0):
        raise RuntimeError(f"{written} samples were rendered where {expected} last as long as the input")


def convert_all(
    jobs: list[Job],
    voice: Voice,
    params: VoiceParams,
    repair: bool,
    report: Callable[[Job, Conversion | AltervoxError], None],
    progress: Callable[[Job], Progress | None],
) -> int:
    """Convert files one after the other; one that fails does not stop the rest. Returns the number of failures."""
    failures = 0
    for job in jobs:
        result: Conversion | AltervoxError
        try:
            result = convert_file(job, voice, params, repair, progress(job))
        except AltervoxError as error:
            # A parameter that the voice refuses would be refused for every file.
            if isinstance(error, ParameterError):
                raise
            failures += 1
            result = error
        report(job, result)
    return failures


def peak_mib() -> float | None:
    """Peak resident memory of this process in MiB, None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
