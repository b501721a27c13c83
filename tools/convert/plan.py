"""Which file of the inputs goes where."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...kernels.errors import AudioFileError, ParameterError
from .reader import EXTENSIONS
from .writer import CONTAINERS, check_name, container_of


@dataclass(frozen=True, slots=True)
class Job:
    """One file to convert.

    Attributes:
        source: The file.
        target: Path of the result.
        refused: Why the file cannot be converted, if that is known already; otherwise empty.
    """

    source: Path
    target: Path
    refused: str = ""


def plan(inputs: list[Path], output: Path | None, voice_name: str, to_folder: bool = False) -> list[Job]:
    """Which file goes where.

    Args:
        inputs: Files, and folders of which every audio file is taken.
        output: A file for one input, else a folder; None puts each result beside its input.
        voice_name: Part of the names that are made up.
        to_folder: Whether the output is a folder even if it does not exist yet.

    Raises:
        AudioFileError: a folder holds no audio.
        ParameterError: outputs of files that were named would collide, or one would replace an input, or has an unknown
            format.
    """
    if output is not None:
        check_name(output)
    found: list[tuple[Path, Path, str]] = []  # the file, its name within the folder that was given, and a refusal
    from_folders: set[Path] = set()
    for path in inputs:
        if _is_folder(path):
            inside = list(_audio_files(path, output))
            if not inside:
                raise AudioFileError(f"{path} holds no audio files; they are known by endings such as .wav and .mp3")
            found += [(file, file.relative_to(path), refused) for file, refused in inside]
            from_folders.update(file for file, _ in inside)
        else:
            found.append((path, Path(path.name), ""))
    if output is None:
        jobs = [Job(p, p.with_name(f"{p.stem}.{voice_name}.wav"), refused) for p, _, refused in found]
    elif to_folder or _is_folder(output) or len(inputs) > 1 or _is_folder(inputs[0]):
        is_file = os.path.lexists(output) or (not to_folder and output.suffix.lower() in CONTAINERS)
        if not _is_folder(output) and is_file:
            raise ParameterError(f"output {output} names a file, where a folder is needed; name a folder, ending in /")
        jobs = [Job(p, (output / name).with_suffix(".wav"), refused) for p, name, refused in found]
    else:
        container_of(output)
        jobs = [Job(found[0][0], output)]
    return _without_collisions(jobs, from_folders)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it cannot be looked at, or the name is too long: reading it says so
        return False


def _audio_files(folder: Path, output: Path | None) -> Iterator[tuple[Path, str]]:
    """Every audio file in a folder and below, but for hidden ones and those in an output folder inside of it.

    A folder that cannot be looked into comes with the reason.
    """
    results = os.path.realpath(output) if output is not None else None
    unreadable: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=unreadable.append):
        folders.sort()
        folders[:] = [name for name in folders if os.path.realpath(Path(place, name)) != results]
        for name in sorted(files):
            path = Path(place, name)
            if path.suffix.lower() in EXTENSIONS and not name.startswith("."):
                yield path, ""
    for error in unreadable:
        yield Path(error.filename), f"{error.filename} cannot be read: {error.strerror}"


def _without_collisions(jobs: list[Job], from_folders: set[Path]) -> list[Job]:
    """The jobs; of two files that would be written to one place, the later one is refused if a folder brought it.

    Raises:
        ParameterError: the user named that file, or an output is an input too.
    """
    sources = {_identity(job.source): job.source for job in jobs if not job.refused}
    taken: dict[object, Path] = {}
    kept = []
    for job in jobs:
        if job.refused:
            kept.append(job)
            continue
        identity = _identity(job.target)
        if identity in sources:
            raise ParameterError(f"output {job.target} is the input {sources[identity]} too; name another output")
        if identity in taken:
            said = f"{taken[identity]} and {job.source} would both be written to {job.target}; convert them one by one"
            if job.source not in from_folders:
                raise ParameterError(said)
            kept.append(replace(job, refused=said))
            continue
        taken[identity] = job.source
        kept.append(job)
    return kept


def _identity(path: Path) -> object:
    """Equal for two names of one file, by links or by case where the system ignores it."""
    full = os.path.realpath(path)  # unlike Path.resolve, it bears links that lead in a circle
    try:
        status = Path(full).stat()
    except (OSError, ValueError):  # there is none yet, or it cannot be looked at
        status = None
    if status is not None and status.st_ino:  # some file systems on Windows have no such number
        return status.st_dev, status.st_ino
    return full if sys.platform == "linux" else full.casefold()
