"""The user's voices: find, add, remove, load.

The library is a folder of folders, one for each RVC voice: `voice.pth`, an optional `voice.index`, and `voice.json`
with what lists show.
"""

from __future__ import annotations

import difflib
import json
import logging
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..kernels.errors import AltervoxError, OutputError, UnknownVoiceError, VoiceError
from .dsp.presets import DSP_VOICES
from .paths import voices_folder
from .voice import Voice, VoiceKind

if TYPE_CHECKING:
    from .retrieval import FeatureIndex

log = logging.getLogger(__name__)

MAX_ZIP_BYTES = 4 << 30  # unpacked
MAX_ZIP_MEMBERS = 1000
_FORBIDDEN = set('/\\:*?"<>|')  # in a file name, on one system or another


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A line of the list of voices.

    Attributes:
        name: How the user calls it.
        kind: What it is made of.
        sample_rate: Hz, None if it follows the input.
        description: One line.
        path: Its folder, None for an embedded voice.
    """

    name: str
    kind: VoiceKind
    sample_rate: int | None
    description: str
    path: Path | None


def list_voices() -> list[VoiceInfo]:
    """Embedded voices first, then the library's, by name. A damaged folder is listed as what it is."""
    embedded = [VoiceInfo(v.name, v.kind, v.sample_rate, v.description, None) for v in DSP_VOICES.values()]
    folder = voices_folder()
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return embedded + [_info(path) for path in found if path.is_dir() and not path.name.startswith(".")]


def load_voice(name_or_path: str | Path, device: str = "auto") -> Voice:
    """Load a voice.

    Args:
        name_or_path: An embedded voice, a voice of the library, or the path of a `.pth` or of a folder with one.
        device: "auto", "cpu", "cuda", "cuda:0" or "mps".

    Raises:
        UnknownVoiceError: there is no such voice; the message names the nearest.
        CheckpointError: its file is damaged, unsafe or of another kind.
        DeviceError: there is no such device.
    """
    name = str(name_or_path)
    if name in DSP_VOICES:
        return DSP_VOICES[name]
    stored = voices_folder() / name
    if _is_plain_name(name) and (stored / "voice.pth").is_file():
        return _load_rvc(name, stored / "voice.pth", device)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _load_rvc(path.name, _only_voice_file(path), device)
    if path.is_file() or path.suffix.lower() in (".pth", ".pt") or len(path.parts) > 1:
        return _load_rvc(path.stem, path, device)
    raise UnknownVoiceError(f"there is no voice {name!r}{_nearest(name)}; `altervox voices` lists them")


def add_voice(source: Path, name: str | None = None) -> VoiceInfo:
    """Copy a voice into the library.

    Args:
        source: A `.pth`, a folder with one, or a `.zip` with one; an `.index` beside it in a folder or zip comes along.
        name: What to call it; None takes the file's own name.

    Raises:
        VoiceError: the source holds no voice or several, the name is taken or unusable, or the zip is unsafe.
        CheckpointError: the file is not a voice.
        OutputError: the library cannot be written.
    """
    from .checkpoint import read_voice

    source = source.expanduser()
    if not source.exists():
        raise VoiceError(f"{source} does not exist; give a .pth, a folder or a .zip")
    with _unpacked(source) as place:
        weights = _only_voice_file(place) if place.is_dir() else place
        title = name or (source.stem if source.suffix.lower() == ".zip" else weights.stem)
        if not _is_plain_name(title):
            raise VoiceError(
                f"{title!r} cannot be a voice's name; give one without {' '.join(sorted(_FORBIDDEN))} by --name"
            )
        if title in DSP_VOICES:
            raise VoiceError(f"{title!r} is an embedded voice; give another name by --name")
        target = voices_folder() / title
        if target.exists():
            raise VoiceError(f"there is a voice {title!r} already; remove it first or give another name by --name")
        checkpoint = read_voice(weights)
        checkpoint.synthesizer()  # refuses weights that do not fit their config
        index = _index_beside(weights) if place.is_dir() else None
        parts = [f"RVC {checkpoint.version}", "with pitch" if checkpoint.has_f0 else "without pitch"]
        parts += [f"{checkpoint.speakers} speakers"] if checkpoint.speakers > 1 else []
        parts += ["index"] if index else []
        parts += [checkpoint.info] if checkpoint.info else []
        info = VoiceInfo(title, "rvc", checkpoint.sample_rate, ", ".join(parts), target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".adding-", dir=target.parent) as scratch:
                half_made = Path(scratch) / "voice"
                half_made.mkdir()
                shutil.copyfile(weights, half_made / "voice.pth")
                if index:
                    shutil.copyfile(index, half_made / "voice.index")
                described = {k: v for k, v in asdict(info).items() if k != "path"}
                (half_made / "voice.json").write_text(json.dumps(described, ensure_ascii=False, indent=1), "utf-8")
                half_made.rename(target)
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {error.strerror}") from error
    return info


def remove_voice(name: str) -> None:
    """Delete a voice of the library.

    Raises:
        UnknownVoiceError: there is no such voice.
        VoiceError: it is an embedded one.
    """
    if name in DSP_VOICES:
        raise VoiceError(f"{name!r} is an embedded voice and stays")
    path = voices_folder() / name
    if not _is_plain_name(name) or not path.is_dir():
        raise UnknownVoiceError(f"there is no voice {name!r}{_nearest(name)}; `altervox voices` lists them")
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed: {error.strerror}") from error


def _info(path: Path) -> VoiceInfo:
    try:
        described = json.loads((path / "voice.json").read_text("utf-8"))
        return VoiceInfo(path.name, "rvc", int(described["sample_rate"]), str(described["description"]), path)
    except (OSError, ValueError, KeyError, TypeError):
        return VoiceInfo(path.name, "rvc", None, "damaged: remove it and add it again", path)


def _load_rvc(name: str, path: Path, device: str) -> Voice:
    from .checkpoint import read_voice
    from .compute_device import choose_device
    from .rvc.voice import RvcVoice

    where = choose_device(device)
    checkpoint = read_voice(path)
    index = _index_beside(path)
    features = _read_index(index, checkpoint.weight["enc_p.emb_phone.weight"].shape[1]) if index else None
    return RvcVoice(name, checkpoint, features, where, path)


def _read_index(path: Path, width: int) -> FeatureIndex | None:
    """The vectors of a faiss index, None (and one warning) where they cannot be used."""
    try:
        from .index_file import read_index

        return read_index(path, width)
    except AltervoxError as error:
        log.warning("%s; the voice goes on without its index", error)
        return None


def _index_beside(weights: Path) -> Path | None:
    """The retrieval index in the same folder: of the same name, or the only one, `added_*` before `trained_*`."""
    found = sorted(weights.parent.glob("*.index"))
    same = [p for p in found if weights.stem in p.stem]
    added = [p for p in (same or found) if p.name.startswith("added_")]
    chosen = same if len(same) == 1 else added or same or found
    return chosen[0] if len(chosen) == 1 else None


def _only_voice_file(folder: Path) -> Path:
    """The one `.pth` in a folder or below it that is not a training file by its name."""
    found = [
        p
        for p in sorted(folder.rglob("*"))
        if p.suffix.lower() == ".pth" and p.is_file() and not p.name.startswith(("G_", "D_", "._"))
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise VoiceError(f"{folder} holds no .pth of a voice")
    names = ", ".join(str(p.relative_to(folder)) for p in found[:5])
    raise VoiceError(f"{folder} holds {len(found)} voices ({names}); give the path of one")


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    """The folder that a `.zip` unpacks to, for as long as it is needed; any other source as it is."""
    if source.is_dir() or source.suffix.lower() != ".zip":
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="altervox-") as scratch:
        try:
            with zipfile.ZipFile(source) as archive:
                _refuse_unsafe(source, archive)
                archive.extractall(scratch)
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise VoiceError(f"{source} is no complete zip archive ({error}); download it again") from error
        except OSError as error:
            raise OutputError(f"{source} cannot be unpacked: {error.strerror}") from error
        yield Path(scratch)


def _refuse_unsafe(source: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if len(members) > MAX_ZIP_MEMBERS:
        raise VoiceError(f"{source} holds {len(members)} files; a voice has a handful")
    size = sum(m.file_size for m in members)
    if size > MAX_ZIP_BYTES:
        raise VoiceError(f"{source} unpacks to {size / 1e9:.1f} GB; a voice has less than 4")
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or is_link:
            raise VoiceError(f"{source} is unsafe: {member.filename!r} would be written outside of its folder")
        if member.flag_bits & 1:
            raise VoiceError(f"{source} is encrypted; unpack it and add the folder")


def _is_plain_name(name: str) -> bool:
    """Whether a name can be a folder's on every system."""
    printable = bool(name) and all(c.isprintable() and c not in _FORBIDDEN for c in name)
    return printable and len(name) <= 100 and name == name.strip(" .")


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), [v.name for v in list_voices()], n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
