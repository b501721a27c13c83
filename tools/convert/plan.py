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

_LONGEST_NAME = 255  # bytes of a file's name; characters on Windows


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

    A file from a folder that cannot be converted is refused alone; what is wrong with one that was named is raised.

    Args:
        inputs: Files, and folders of which every audio file is taken; without an output, all but earlier results.
        output: A file for one input, else a folder; None puts each result beside its input.
        voice_name: Part of the names that are made up.
        to_folder: Whether the output is a folder even if it does not exist yet.

    Raises:
        AudioFileError: a folder holds no audio.
        ParameterError: outputs of files that were named would collide, or one would replace an input or a folder, or
            has an unknown format or too long a name.
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
            if output is None:  # else each result would be converted, too, when the folder is converted again
                results = {_beside(file, voice_name) for file, _ in inside}
                inside = [(file, refused) for file, refused in inside if file not in results]
            found += [(file, file.relative_to(path), refused) for file, refused in inside]
            from_folders.update(file for file, _ in inside)
        else:
            found.append((path, Path(path.name), ""))
    if output is None:
        jobs = [Job(p, _beside(p, voice_name), refused) for p, _, refused in found]
    elif to_folder or _is_folder(output) or len(inputs) > 1 or _is_folder(inputs[0]):
        is_file = os.path.lexists(output) or (not to_folder and output.suffix.lower() in CONTAINERS)
        if not _is_folder(output) and is_file:
            raise ParameterError(f"output {output} names a file, where a folder is needed; name a folder, ending in /")
        jobs = [Job(p, (output / name).with_suffix(".wav"), refused) for p, name, refused in found]
    else:
        container_of(output)
        jobs = [Job(found[0][0], output)]
    return _possible(jobs, from_folders)


def _beside(source: Path, voice_name: str) -> Path:
    """The result of a file where no output was named."""
    return source.with_name(f"{source.stem}.{voice_name}.wav")


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


def _possible(jobs: list[Job], from_folders: set[Path]) -> list[Job]:
    """The jobs, those refused whose target cannot be written or is another file's: of two, the later one.

    Raises:
        ParameterError: the user named that file.
    """
    sources = {_identity(job.source): job.source for job in jobs if not job.refused}
    taken: dict[object, Path] = {}
    kept = []
    for job in jobs:
        if job.refused:
            kept.append(job)
            continue
        identity = _identity(job.target)
        refused = _unusable(job.target)
        if identity in sources:
            refused = f"output {job.target} is the input {sources[identity]} too; name another output"
        elif identity in taken:
            refused = (
                f"{taken[identity]} and {job.source} would both be written to {job.target}; convert them one by one"
            )
        if refused and job.source not in from_folders:
            raise ParameterError(refused)
        if not refused:
            taken[identity] = job.source
        kept.append(replace(job, refused=refused))
    return kept


def _unusable(target: Path) -> str:
    """Why a file cannot be written there, as far as its name tells: it takes its place only when it is complete."""
    length = len(target.name if os.name == "nt" else os.fsencode(target.name))
    if length > _LONGEST_NAME:
        return f"output {target} has a name of {length} bytes, and {_LONGEST_NAME} is the most; name another output"
    return f"output {target} is a folder; name another output" if _is_folder(target) else ""


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
