"""The user's voices: find, add, remove, load.

The library is a folder of folders, one for each voice: `voice.pth` and an optional `voice.index`, `voice.safetensors`
of a neural voice, or the files of an exported voice; and `voice.json` with what lists show.
"""

from __future__ import annotations

import difflib
import json
import logging
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..kernels.errors import CheckpointError, OutputError, UnknownVoiceError, VoiceError
from ..kernels.printable import printable
from .dsp.presets import DSP_VOICES
from .exclusive import alone
from .export import manifest as exported
from .limits import MAX_DESCRIPTION_CHARACTERS
from .neural import card as neural
from .paths import expanded, library_folder, training_state, voices_folder
from .pictures import remove_picture
from .voice import Voice, VoiceKind

if TYPE_CHECKING:
    from .export.voice import ExportedVoice
    from .neural.voice import NeuralVoice
    from .retrieval import FeatureIndex
    from .voice_source import VoiceFiles

log = logging.getLogger(__name__)

_FORBIDDEN = set('/\\:*?"<>|')  # in a file name, on one system or another
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])(\..*)?", re.IGNORECASE)
_LONGEST_NAME = 200  # bytes
_LONGEST_PART = 255  # bytes of a part of a path: to look for a longer one is an error
_MOST_DESCRIBED = 1 << 16  # bytes of a voice.json
_RESERVED_SPEAKERS = 109  # RVC's trainers make room for so many, whatever number was trained
_ADDING = ".adding-"  # start of the names of folders that are not voices yet


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A line of the list of voices.

    Attributes:
        name: Name of the voice.
        kind: Kind of the voice, which decides how it is rendered.
        sample_rate: Hz, None if it follows the input.
        description: One line.
        path: Folder of the voice; None for an embedded one.
    """

    name: str
    kind: VoiceKind
    sample_rate: int | None
    description: str
    path: Path | None


def list_voices() -> list[VoiceInfo]:
    """Embedded voices first, then the library's, by name. A damaged folder is listed as what it is."""
    embedded = [VoiceInfo(v.name, v.kind, v.sample_rate, v.description, None) for v in DSP_VOICES.values()]
    embedded += [_shipped_info(name, file) for name, file in shipped_neural_voices().items()]
    folder = voices_folder()
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return embedded + [_info(path) for path in found if path.is_dir() and not path.name.startswith(".")]


def load_voice(name_or_path: str | Path, device: str = "auto") -> Voice:
    """Load a voice.

    Args:
        name_or_path: A built-in voice, a voice of the library, or the path of a `.pth`, of a folder with one, of the
            `.safetensors` of a neural voice, or of an exported voice. Or two neural voices to mix, such as "a+b".
        device: "auto", "cpu", "cuda", "cuda:0" or "mps".

    Raises:
        UnknownVoiceError: there is no such voice; the message names the nearest.
        CheckpointError: its file is damaged, unsafe or of another kind.
        VoiceError: two voices cannot be mixed.
        DeviceError: there is no such device.
    """
    name = str(name_or_path)
    if name in DSP_VOICES:
        return DSP_VOICES[name]
    _check_path(name)
    neural_file = _neural_file(name)
    if neural_file is not None:
        return _load_neural(name, neural_file)
    stored = voices_folder() / name
    if _is_plain_name(name) and (stored / "voice.pth").is_file():
        return _load_rvc(name, stored / "voice.pth", device)
    export = _export_of(name)
    if export is not None:
        return _load_exported(export)
    path = expanded(name_or_path)
    if path.is_dir():
        return _load_rvc(path.name, path, device)
    mixed = name.split("+")
    if len(mixed) > 1 and all(mixed) and not path.exists():
        if len(mixed) > 2:
            raise VoiceError(
                f"{printable(name, 60)} names {len(mixed)} voices, and a mix is of two, such as clara+edgar"
            )
        return _mix(*(load_voice(one, device) for one in mixed))
    if path.is_file() or path.suffix.lower() in (".pth", ".pt") or len(path.parts) > 1:
        return _load_rvc(path.stem, path, device)
    raise _unknown(name)


def _unknown(name: str) -> UnknownVoiceError:
    return UnknownVoiceError(f"there is no voice {printable(name, 60)!r}{_nearest(name)}; `altervox voices` lists them")


def _check_path(name: str) -> None:
    """Raises UnknownVoiceError for what is neither a name nor a path on any system."""
    if any(len(part.encode(errors="replace")) > _LONGEST_PART for part in Path(name).parts):
        raise _unknown(name)


def shipped_neural_voices() -> dict[str, Path]:
    """The files of the neural voices that ship, by name."""
    return {
        path.stem: path
        for path in sorted(neural.SHIPPED.glob(f"*{neural.SUFFIX}"))
        if path.stem not in (neural.ENCODER, neural.BASE)
    }


def _neural_file(name: str) -> Path | None:
    """The file of a neural voice by its name, or at a path; None if there is none."""
    shipped = shipped_neural_voices().get(name)
    stored = voices_folder() / name / f"voice{neural.SUFFIX}"
    if shipped is None and _is_plain_name(name) and stored.is_file():
        return stored
    path = expanded(name)
    is_path = path.suffix.lower() == neural.SUFFIX and (path.exists() or "+" not in name)
    return path if shipped is None and is_path else shipped


def _load_neural(name: str, file: Path) -> NeuralVoice:
    from .neural.voice import NeuralVoice

    return NeuralVoice.from_file(file.stem if Path(name).suffix.lower() == neural.SUFFIX else name, file)


def _mix(first: Voice, second: Voice) -> NeuralVoice:
    from .neural.voice import NeuralVoice

    if isinstance(first, NeuralVoice) and isinstance(second, NeuralVoice):
        return first.mixed_with(second)
    other = second if isinstance(first, NeuralVoice) else first
    raise VoiceError(
        f"{first.name}+{second.name} cannot be mixed, for {other.name} is of kind {other.kind}: give two neural "
        "voices; `altervox voices` tells the kinds"
    )


def lengths_of(name_or_path: str | Path) -> Mapping[str, int]:
    """The lengths of `StreamConfig` that a voice is bound to, found without loading it; empty for any that is not.

    Raises:
        CheckpointError: it is an exported voice, and its manifest cannot be used.
    """
    name = str(name_or_path)
    _check_path(name)
    export = None if name in DSP_VOICES else _export_of(name)
    return {} if export is None else exported.read_manifest(export).lengths


def _export_of(name: str) -> Path | None:
    """The folder of an exported voice of the library or at a path; None if that is none."""
    stored = voices_folder() / name
    if _is_plain_name(name) and (stored / exported.FILE_NAME).is_file():
        return stored
    path = expanded(name)
    return path if (path / exported.FILE_NAME).is_file() else None


def _load_exported(folder: Path) -> ExportedVoice:
    from .export.voice import ExportedVoice

    voice = ExportedVoice(folder.resolve().name, folder)
    voice.check_streams()
    return voice


def add_voice(source: Path, name: str | None = None) -> VoiceInfo:
    """Copy a voice into the library.

    Args:
        source: A `.pth`, a folder with one, or a `.zip` with one; an `.index` beside it in a folder or zip comes along.
            Or the `.safetensors` of a neural voice, or the folder of an exported voice.
        name: Name of the voice; None takes the name of the file, or that of a neural voice where its file has the name
            that all have in the library.

    Raises:
        VoiceError: the source holds no voice or several, the name is taken or unusable, or the zip is unsafe.
        CheckpointError: the file is not a voice.
        OutputError: the library cannot be written.
    """
    from .checkpoint import read_voice
    from .voice_source import voice_files

    source = expanded(source)
    if not source.exists():
        raise VoiceError(f"{source} does not exist; give a .pth, a .safetensors, a folder or a .zip")
    if source.is_file() and source.suffix.lower() == neural.SUFFIX:
        return _add_neural(source, name)
    if (source / exported.FILE_NAME).is_file():
        return _add_exported(source, name)
    with voice_files(source) as files:
        title = name or (source.stem if source.suffix.lower() == ".zip" else files.weights.stem)
        target = _free_place(title)
        checkpoint = read_voice(files.weights)
        checkpoint.synthesizer()  # refuses weights that do not fit their config
        has_index = _usable_index(files, checkpoint.feature_width) is not None
        parts = [f"RVC {checkpoint.version}", "with pitch" if checkpoint.has_f0 else "without pitch"]
        parts += [f"{checkpoint.speakers} speakers"] if checkpoint.speakers not in (1, _RESERVED_SPEAKERS) else []
        parts += ["index"] if has_index else []
        parts += [checkpoint.info] if checkpoint.info else []
        info = VoiceInfo(title, "rvc", checkpoint.sample_rate, ", ".join(parts), target)
        copies = {"voice.pth": files.weights} | ({"voice.index": files.index} if has_index and files.index else {})
        _put_into_library(copies, info, target)
    return info


def _add_neural(source: Path, name: str | None) -> VoiceInfo:
    """Copy a neural voice into the library, every weight checked."""
    is_from_library = source.name == f"voice{neural.SUFFIX}"
    title = name or (neural.read_card(source).name if is_from_library else source.stem)
    target, voice = _free_place(title), _load_neural(title, source)
    info = VoiceInfo(title, "neural", voice.sample_rate, voice.description, target)
    _put_into_library({f"voice{neural.SUFFIX}": source}, info, target)
    return info


def _add_exported(source: Path, name: str | None) -> VoiceInfo:
    """Copy an exported voice into the library, every graph checked."""
    from .export.folder import read_graph

    voice = _load_exported(source)
    title = name or voice.name
    target, stored = _free_place(title), [graph.stored for graph in voice.manifest.graphs.values()]
    for graph in voice.manifest.graphs:
        read_graph(source, voice.manifest, graph)
    info = VoiceInfo(title, "exported", voice.sample_rate, voice.description, target)
    _put_into_library({file: source / file for file in (exported.FILE_NAME, *(s.file for s in stored))}, info, target)
    return info


def _put_into_library(copies: Mapping[str, Path], info: VoiceInfo, target: Path) -> None:
    try:
        with alone(library_folder(), "another altervox is adding a voice; waiting for it"):
            _free_place(info.name)
            _copy(copies, info, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error


def replace_neural(source: Path, name: str) -> None:
    """Move another file into the place of a neural voice's.

    Raises:
        CheckpointError: it is not a neural voice.
        OutputError: the library cannot be written.
    """
    card, folder = neural.read_card(source), voices_folder() / name
    info = VoiceInfo(name, "neural", neural.SAMPLE_RATE, card.description, folder)
    try:
        with alone(library_folder(), "another altervox is adding a voice; waiting for it"):
            source.replace(folder / f"voice{neural.SUFFIX}")
            _describe(info, folder)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error


def check_free(name: str) -> None:
    """Raises VoiceError unless a voice of that name can be added."""
    _free_place(name, "")


def _free_place(title: str, how: str = " by --name") -> Path:
    """The folder for a voice of that name; `how` another one is given goes into the message.

    Raises:
        VoiceError: the name is taken or unusable.
    """
    if not _is_plain_name(title):
        raise VoiceError(
            f"{printable(title, 60)!r} cannot be a voice's name; give one without {' '.join(sorted(_FORBIDDEN))}{how}, "
            "of no more than 100 characters, and none that Windows reserves, such as con or nul"
        )
    mixed = title.split("+")
    if len(mixed) == 2 and all(_neural_file(one) for one in mixed):
        raise VoiceError(f"{title!r} is a mix of two voices; give another name{how}")
    if title in DSP_VOICES or title in shipped_neural_voices():
        raise VoiceError(f"{title!r} is a built-in voice; give another name{how}")
    target = voices_folder() / title
    if target.exists():
        raise VoiceError(f"there is a voice {title!r} already; remove it first or give another name{how}")
    return target


def _copy(copies: Mapping[str, Path], info: VoiceInfo, target: Path) -> None:
    """Put a voice into the library, whole or not at all. Only one process does so at a time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left_over in target.parent.glob(f"{_ADDING}*"):  # by a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_ADDING, dir=target.parent) as scratch:
        half_made = Path(scratch) / "voice"
        half_made.mkdir()
        for name, source in copies.items():
            shutil.copyfile(source, half_made / name)
        _describe(info, half_made)
        half_made.rename(target)


def _describe(info: VoiceInfo, folder: Path) -> None:
    described = {k: v for k, v in asdict(info).items() if k != "path"}
    (folder / "voice.json").write_text(json.dumps(described, ensure_ascii=False, indent=1), "utf-8")


def remove_voice(name: str) -> None:
    """Delete a voice of the library, and what a training that was stopped has learnt of its speaker.

    Of a voice that is a link to a folder, the folder stays.

    Raises:
        UnknownVoiceError: there is no such voice.
        VoiceError: it is a built-in one.
        OutputError: it cannot be deleted.
    """
    if name in DSP_VOICES or name in shipped_neural_voices():
        raise VoiceError(f"{name!r} is a built-in voice and stays")
    if not _is_plain_name(name):
        raise _unknown(name)
    path, state = voices_folder() / name, training_state(name)
    if not path.is_dir() and not state.exists():
        raise _unknown(name)
    for found, remove in ((state, Path.unlink), (path, Path.unlink if path.is_symlink() else shutil.rmtree)):
        try:
            if found.exists():
                remove(found)
        except OSError as error:
            raise OutputError(f"{found} cannot be removed: {error.strerror or error}") from error
    remove_picture(name)


def _shipped_info(name: str, file: Path) -> VoiceInfo:
    try:
        description = neural.read_card(file).description
    except CheckpointError:
        description = "damaged: install altervox again"
    return VoiceInfo(name, "neural", neural.SAMPLE_RATE, description, None)


def _info(path: Path) -> VoiceInfo:
    name = printable(path.name, 100)
    try:
        with (path / "voice.json").open("rb") as file:
            described = json.loads(file.read(_MOST_DESCRIBED))
        rate, description = int(described["sample_rate"]), described["description"]
        if not 0 < rate < 1_000_000 or not isinstance(description, str):
            raise ValueError("not what altervox writes")
        kinds: dict[object, VoiceKind] = {"exported": "exported", "neural": "neural"}
        kind: VoiceKind = kinds.get(described.get("kind"), "rvc")
        return VoiceInfo(name, kind, rate, printable(description, MAX_DESCRIPTION_CHARACTERS), path)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return VoiceInfo(name, "rvc", None, "damaged: remove it and add it again", path)


def _load_rvc(name: str, path: Path, device: str) -> Voice:
    """The voice of a `.pth`, or of a folder with one."""
    from .checkpoint import read_voice
    from .compute_device import choose_device
    from .rvc.voice import RvcVoice
    from .voice_source import files_beside, files_in

    where = choose_device(device)
    files = files_in(path) if path.is_dir() else files_beside(path)
    checkpoint = read_voice(files.weights)
    return RvcVoice(name, checkpoint, _usable_index(files, checkpoint.feature_width), where, files.weights)


def _usable_index(files: VoiceFiles, width: int) -> FeatureIndex | None:
    """The vectors that go with a voice; None, and one warning, where they cannot be used."""
    from .index_file import read_index

    if files.remark:
        log.warning(files.told(files.remark))
    if files.index is None:
        return None
    try:
        return read_index(files.index, width)
    except CheckpointError as error:
        log.warning("%s; the voice goes on without its index", files.told(error))
        return None


def _is_plain_name(name: str) -> bool:
    """Whether a name can be a folder's on every system."""
    plain = bool(name) and all(c.isprintable() and c not in _FORBIDDEN for c in name) and name == name.strip(" .")
    return plain and len(name) <= 100 and len(name.encode()) <= _LONGEST_NAME and not _RESERVED.fullmatch(name)


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), [v.name for v in list_voices()], n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
