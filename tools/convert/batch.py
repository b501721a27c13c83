"""Convert files: which input goes where, and one file from end to end."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...kernels.errors import AltervoxError, AudioFileError, ParameterError, VoiceError
from ...kernels.level import soft_limit
from ..machine import peak_mib
from .reader import EXTENSIONS, open_audio
from .writer import CONTAINERS, accepted_rate, container_of, kept_subtype, open_writer

if TYPE_CHECKING:
    from ...kernels.types import AnyFloatArray, Float64Array
    from ...models.voice import Voice, VoiceParams

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


def plan(inputs: list[Path], output: Path | None, voice_name: str, to_folder: bool = False) -> list[Job]:
    """Which file goes where.

    Args:
        inputs: Files, and folders of which every audio file is taken.
        output: A file for one input, else a folder; None puts each result beside its input.
        voice_name: Part of the names that are made up.
        to_folder: Whether the output is a folder even if there is none of that name yet.

    Raises:
        AudioFileError: a folder holds no audio.
        ParameterError: outputs would collide, would replace an input, or have an unknown format.
    """
    found: list[tuple[Path, Path]] = []  # the file, and its name within the folder that was given
    for path in inputs:
        if path.is_dir():
            inside = _audio_files(path, output)
            if not inside:
                raise AudioFileError(f"{path} holds no audio files; they are known by endings such as .wav and .mp3")
            found += [(p, p.relative_to(path)) for p in inside]
        else:
            found.append((path, Path(path.name)))
    if output is None:
        jobs = [Job(p, p.with_name(f"{p.stem}.{voice_name}.wav")) for p, _ in found]
    elif to_folder or output.is_dir() or len(inputs) > 1 or inputs[0].is_dir():
        if not output.is_dir() and (output.exists() or (not to_folder and output.suffix.lower() in CONTAINERS)):
            raise ParameterError(f"output {output} names a file, where a folder is needed; name a folder, ending in /")
        jobs = [Job(p, output / name.with_suffix(".wav")) for p, name in found]
    else:
        jobs = [Job(found[0][0], output)]
    _refuse_collisions(jobs)
    return jobs


def _audio_files(folder: Path, output: Path | None) -> list[Path]:
    """Every audio file in a folder and below, but for hidden ones and those in an output folder inside of it."""
    results = output.resolve() if output is not None else None
    skip_results = results is not None and results != folder.resolve()
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in EXTENSIONS
        and not path.name.startswith(".")
        and path.is_file()
        and not (skip_results and results in path.resolve().parents)
    ]


def _refuse_collisions(jobs: list[Job]) -> None:
    sources = {_identity(job.source): job.source for job in jobs}
    taken: dict[object, Path] = {}
    for job in jobs:
        container_of(job.target)
        identity = _identity(job.target)
        if identity in sources:
            raise ParameterError(f"output {job.target} is the input {sources[identity]} too; name another by -o")
        if identity in taken:
            raise ParameterError(
                f"{taken[identity]} and {job.source} would both be written to {job.target}; convert them one by one"
            )
        taken[identity] = job.source


def _identity(path: Path) -> object:
    """Equal for two names of one file, by links or by case where the system ignores it."""
    full = path.resolve()  # ".." leads back from a folder too that is yet to be made
    try:
        status = full.stat()
    except OSError:  # there is none yet, or it cannot be looked at
        status = None
    if status is not None and status.st_ino:  # some file systems on Windows have no such number
        return status.st_dev, status.st_ino
    return str(full) if sys.platform == "linux" else str(full).casefold()


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

        def counted() -> Iterator[Float64Array]:
            nonlocal read
            for block in source.blocks(repair):
                read += len(block)
                yield block
                if progress:
                    progress(read / source.sample_rate, source.estimated_s)

        rate = voice.output_rate(source.sample_rate)
        stream: Iterator[AnyFloatArray] = voice.convert(counted(), source.sample_rate, params)
        if not _is_copy(voice):
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
            _check_length(writer.frames, read, source.sample_rate, rate, written_rate)
        seconds = read / source.sample_rate
    return Conversion(job, seconds, (time.perf_counter() - started) / seconds, peak_mib())


def _is_copy(voice: Voice) -> bool:
    """Whether the output is what came in, to the bit."""
    return voice.kind == "dsp" and voice.name == "off"


def limited(stream: Iterator[AnyFloatArray], voice_name: str) -> Iterator[AnyFloatArray]:
    """Bends what is beyond +-0.9 so that nothing is clipped."""
    for block in stream:
        if not np.isfinite(block).all():
            raise VoiceError(f"the voice {voice_name} rendered samples that are no number; its file may be damaged")
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
    params: VoiceParams,
    repair: bool,
    report: Callable[[Job, Conversion | AltervoxError], None],
    progress: Callable[[Job], AbstractContextManager[Progress | None]],
) -> int:
    """Convert files one after the other; one that fails does not stop the rest. Returns the number of failures.

    Raises:
        ParameterError: the voice refuses a parameter, so it would for every file.
    """
    failures = 0
    for job in jobs:
        result: Conversion | AltervoxError
        try:
            with progress(job) as advance:
                result = convert_file(job, voice, params, repair, advance)
        except ParameterError:
            raise
        except AltervoxError as error:
            failures += 1
            result = error
        report(job, result)
    return failures
