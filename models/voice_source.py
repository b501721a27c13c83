"""What a user gives as a voice: a `.pth`, a folder with one, or the `.zip` in which such voices are passed around.

A `.zip` is read for two members, which are written under names of our own, so nothing in it decides where a file goes.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from ..kernels.errors import CheckpointError, OutputError, VoiceError
from ..kernels.printable import printable
from .limits import MAX_FOLDER_FILES, MAX_INDEX_BYTES, MAX_MODEL_BYTES, MAX_ZIP_MEMBERS
from .torch_file import open_zip

_CHUNK = 1 << 20  # bytes
_TRAINING_FILE = re.compile(r"[GD]_(\d+|latest)\.pth", re.IGNORECASE)  # as RVC's trainer names them
_NOT_VOICES = {
    ".safetensors": (
        "a .safetensors file",
        "give that file itself if it is a neural voice, and the .pth of an RVC voice",
    ),
    ".onnx": ("an .onnx file", "give the .pth that it was exported from, or the whole folder of `altervox export`"),
    ".zip": ("another zip", "unpack it and add what is inside"),
    ".rar": ("a RAR archive", "unpack it and add what is inside"),
    ".7z": ("a 7z archive", "unpack it and add what is inside"),
    ".index": ("an .index only", "give it together with the .pth of the voice"),
    ".pt": ("a .pt file", "a voice is a .pth with `weight` and `config`"),
    ".ckpt": ("a .ckpt file", "a voice is a .pth with `weight` and `config`"),
}
_ZIP_DAMAGE = (zipfile.BadZipFile, EOFError, RuntimeError, zlib.error, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class VoiceFiles:
    """The files of one voice.

    Attributes:
        weights: The `.pth`.
        index: The `.index` that goes with it, if there is one.
        remark: One sentence about which index was chosen where that is not plain, or "".
        names: Names of these files in messages, by path: the user does not know the temporary folders.
    """

    weights: Path
    index: Path | None
    remark: str = ""
    names: dict[str, str] = field(default_factory=dict)

    def told(self, message: object) -> str:
        """A message with the files called as the user knows them."""
        text = str(message)
        for path, name in self.names.items():
            text = text.replace(path, name)
        return text


def files_beside(weights: Path) -> VoiceFiles:
    """A `.pth` and the index in the same folder that goes with it."""
    try:
        with os.scandir(weights.parent) as entries:
            names = [PurePath(entry.name) for entry, _ in zip(entries, range(MAX_FOLDER_FILES), strict=False)]
    except OSError:
        names = []
    alone = sum(_is_voice(name) for name in names) <= 1
    found, remark = _index_for(weights.stem, sorted(name for name in names if _is_index(name)), alone)
    return VoiceFiles(weights, weights.parent / found if found else None, remark)


def files_in(folder: Path) -> VoiceFiles:
    """The one voice in a folder or below it, and the index that goes with it.

    Raises:
        VoiceError: it holds no voice, several, or more files than one voice has.
    """
    names: list[PurePath] = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        names += [Path(place, name).relative_to(folder) for name in files]
        if len(names) + len(folders) > MAX_FOLDER_FILES:
            raise VoiceError(f"{folder} holds more than {MAX_FOLDER_FILES:,} files; give the folder of one voice")
    names = sorted(name for name in names if not _is_litter(name) and (folder / name).is_file())
    voice, index, remark = _chosen(str(folder), names, "give the path of one")
    return VoiceFiles(folder / voice, folder / index if index else None, remark)


@contextmanager
def voice_files(source: Path) -> Iterator[VoiceFiles]:
    """The files of a voice given as a file, a folder or a `.zip`, for as long as they are needed.

    Raises:
        VoiceError: it holds no voice or several, or the archive is damaged or unsafe.
        OutputError: the archive cannot be unpacked.
    """
    if source.is_dir():
        yield files_in(source)
    elif source.suffix.lower() != ".zip":
        yield files_beside(source)
    else:
        with tempfile.TemporaryDirectory(prefix="altervox-", ignore_cleanup_errors=True) as scratch:
            files = _unpacked(source, Path(scratch))
            try:
                yield files
            except CheckpointError as error:
                raise CheckpointError(files.told(error)) from error


def _chosen(source: str, names: Sequence[PurePath], several: str) -> tuple[PurePath, PurePath | None, str]:
    """The voice among file names, its index and a remark."""
    voices = [name for name in names if _is_voice(name)]
    if len(voices) > 1:
        shown = ", ".join(printable(name, 60) for name in voices[:5])
        more = ", ..." if len(voices) > 5 else ""
        raise VoiceError(f"{source} holds {len(voices)} voices ({shown}{more}); {several}")
    if not voices:
        raise VoiceError(f"{source} holds no .pth of a voice{_instead(names)}")
    index, remark = _index_for(voices[0].stem, [name for name in names if _is_index(name)], alone=True)
    return voices[0], index, remark


def _instead(names: Sequence[PurePath]) -> str:
    """What there is where a voice was looked for, and the way out."""
    if not names:
        return ": it is empty"
    for suffix, (what, way_out) in _NOT_VOICES.items():
        if any(name.suffix.lower() == suffix for name in names):
            return f", but {what}; {way_out}"
    if any(name.suffix.lower() == ".pth" for name in names):
        return ", but training files (such as G_2333.pth); take the smaller .pth from the trainer's `weights` folder"
    return f", but {', '.join(printable(name.name, 30) for name in names[:3])}; give the .pth itself"


def _index_for(stem: str, found: Sequence[PurePath], alone: bool) -> tuple[PurePath | None, str]:
    """The index of a voice among several, and one sentence if the choice is not plain.

    Named for the voice goes before other names, `added_*` (which holds vectors) before `trained_*` (which does not).

    Args:
        stem: Name of the voice's file without its ending.
        found: Names of index files.
        alone: Whether there is no other voice that they could belong to.
    """
    title = re.sub(r"_e\d+(_s\d+)?$|_\d+e(_\d+s)?$", "", stem, flags=re.IGNORECASE).casefold()
    as_a_word = re.compile(rf"(?<![^\W_]){re.escape(title)}(?![^\W_])")
    named = [name for name in found if as_a_word.search(name.stem.casefold())]
    fitting = named or (found if alone else [])
    added = [name for name in fitting if name.name.lower().startswith("added_")]
    best = added or fitting
    if len(best) > 1:
        shown = ", ".join(printable(name, 60) for name in best[:4])
        return None, f"{len(best)} index files fit {printable(stem, 60)} ({shown}) and none is used; leave one of them"
    if best and named and any(name not in named for name in found):
        return best[0], f"of {len(found)} index files {printable(best[0], 60)} is used, which is named for the voice"
    return (best[0] if best else None), ""


def _is_voice(name: PurePath) -> bool:
    is_other = name.name.startswith("._") or _TRAINING_FILE.fullmatch(name.name)
    return name.suffix.lower() == ".pth" and not is_other


def _is_index(name: PurePath) -> bool:
    return name.suffix.lower() == ".index" and not name.name.startswith("._")


def _is_litter(name: PurePath) -> bool:
    """What systems leave beside files."""
    return "__MACOSX" in name.parts or name.name.startswith("._") or name.name in (".DS_Store", "Thumbs.db")


def _unpacked(source: Path, scratch: Path) -> VoiceFiles:
    try:
        file = source.open("rb")
    except OSError as error:
        raise VoiceError(f"{source} cannot be read: {error.strerror}") from error
    try:
        with file, open_zip(file) as archive:
            members = _safe_members(source, archive.infolist())
            several = "unpack it and give the path of one"
            voice, index, remark = _chosen(str(source), [name for name, _ in members], several)
            by_name = dict[PurePath, zipfile.ZipInfo](reversed(members))
            names = {}
            for name, limit in ((voice, MAX_MODEL_BYTES), (index, MAX_INDEX_BYTES)):
                if name is not None:
                    target = scratch / f"voice{name.suffix.lower()}"
                    _unpack(source, archive, by_name[name], target, limit)
                    names[str(target)] = f"{source}: {printable(name, 80)}"
    except UnicodeDecodeError as error:
        raise VoiceError(f"{source} holds a file name that is not UTF-8; unpack it and add the folder") from error
    except NotImplementedError as error:
        raise VoiceError(
            f"{source} is packed in a way that is unknown ({error}); unpack it and add the folder"
        ) from error
    except _ZIP_DAMAGE as error:
        reason = printable(error, 100) or type(error).__name__
        raise VoiceError(f"{source} is not a complete zip archive ({reason}); download it again") from error
    return VoiceFiles(scratch / "voice.pth", scratch / "voice.index" if index else None, remark, names)


def _safe_members(source: Path, found: list[zipfile.ZipInfo]) -> list[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """The files in an archive by their names, without what systems leave there."""
    if len(found) > MAX_ZIP_MEMBERS:
        raise VoiceError(f"{source} holds {len(found)} files; a voice has a handful")
    members = []
    for member in found:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:", str(name)) or is_link:
            raise VoiceError(
                f"{source} is unsafe: {printable(member.filename, 80)!r} would be written outside of its folder"
            )
        if member.flag_bits & 1:
            raise VoiceError(f"{source} is encrypted; unpack it and add the folder")
        if not member.is_dir() and name.name and not _is_litter(name):
            members.append((name, member))
    return members


def _unpack(source: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, limit: int) -> None:
    """Write one member to a file of ours, checking its size and checksum on the way."""
    if member.file_size > limit:
        raise VoiceError(
            f"{source} unpacks to {member.file_size / 1e9:.1f} GB; such a file has less than {limit / 1e9:.0f}"
        )
    try:
        with target.open("wb") as unpacked:
            for part in _parts(archive, member):
                unpacked.write(part)
    except OSError as error:
        raise OutputError(f"{source} cannot be unpacked: {error.strerror}") from error


def _parts(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(member) as packed:
            while part := packed.read(_CHUNK):
                yield part
    except OSError as error:  # not of the disk that is written to
        raise zipfile.BadZipFile(str(error)) from error
