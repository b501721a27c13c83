"""The card of a neural voice, and the head of the file that holds it: read without torch, and without believing it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ...kernels.errors import CheckpointError
from ...kernels.printable import printable
from ..limits import MAX_DESCRIPTION_CHARACTERS, MAX_NEURAL_VOICE_BYTES

FORMAT = "altervox"  # entry of the file's metadata
FORMAT_VERSION = "1"
SUFFIX = ".safetensors"
SHIPPED = Path(__file__).parents[1] / "data" / "voices"  # the voices that ship, beside the encoder that they share
ENCODER = "encoder"  # stem of that encoder's file
BASE = "base"  # stem of the file that the training of a voice begins with
SAMPLE_RATE = 24000  # of every neural voice
USES = frozenset({"pitch_semitones", "formant_semitones", "f0_method", "seed", "block_ms"})  # see `Voice`; a mix: "mix"
MAX_HEAD_BYTES = 1 << 18  # names and shapes of tensors, and the card; a voice has 20 KB
MAX_NAME_CHARACTERS = 100
MAX_TEXT_CHARACTERS = 4000  # of one entry of the card
_MAX_METRICS = 64
_LOG2_HZ = (5.0, 10.0)  # where the mean of a voice's F0 may lie: 32 to 1024 Hz
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Credits:
    """What of a card goes along wherever the voice goes. Attributes are as in `VoiceCard`."""

    name: str
    speaker: str
    licence: str
    attribution: str
    consent: str


@dataclass(frozen=True, slots=True)
class VoiceCard:
    """What a voice says about itself. Texts may be empty where nothing else is said.

    Attributes:
        name: Name of the voice: not empty, and of printable characters.
        description: One line for lists.
        register: "lower" or "higher".
        f0_log2_mean: Mean of log2 of F0 in Hz over voiced frames.
        f0_log2_std: Standard deviation of the same.
        encoder_sha256: `encoder_digest` of the encoder that it was trained with.
        speaker: Who is heard, as the data names them.
        data: What it was trained on.
        licence: Licence of the voice.
        attribution: Whom its licence asks to name.
        consent: The agreement of the person who is heard: text, date, and who gave it.
        metrics: Measured figures.
        limits: What it is not good for.
        trained: Date, version of altervox, steps, and how long it took.
    """

    name: str
    description: str
    register: Literal["lower", "higher"]
    f0_log2_mean: float
    f0_log2_std: float
    encoder_sha256: str
    speaker: str = ""
    data: str = ""
    licence: str = ""
    attribution: str = ""
    consent: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    limits: str = ""
    trained: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError, the end of a sentence about the card, if it is no card."""
        for one in fields(self):
            value = getattr(self, one.name)
            if one.type == "str" and (not isinstance(value, str) or len(value) > MAX_TEXT_CHARACTERS):
                raise ValueError(f"{one.name} is not a text of at most {MAX_TEXT_CHARACTERS} characters")
        if not self.name or len(self.name) > MAX_NAME_CHARACTERS or not self.name.isprintable():
            raise ValueError(f"the name {printable(self.name, 60)!r} is empty, too long or holds control characters")
        if self.register not in ("lower", "higher"):
            raise ValueError(f"register is {printable(self.register, 40)!r}, not lower or higher")
        if not _is_number(self.f0_log2_mean) or not _LOG2_HZ[0] <= self.f0_log2_mean <= _LOG2_HZ[1]:
            raise ValueError(f"f0_log2_mean is {printable(self.f0_log2_mean, 40)}, not {_LOG2_HZ[0]} to {_LOG2_HZ[1]}")
        if not _is_number(self.f0_log2_std) or not 0.0 < self.f0_log2_std <= 2.0:
            raise ValueError(f"f0_log2_std is {printable(self.f0_log2_std, 40)}, not between 0 and 2")
        if not _SHA256.fullmatch(self.encoder_sha256):
            raise ValueError(f"encoder_sha256 is {printable(self.encoder_sha256, 40)!r}, no SHA-256")
        if not isinstance(self.metrics, Mapping) or len(self.metrics) > _MAX_METRICS:
            raise ValueError(f"metrics is not an object of at most {_MAX_METRICS} numbers")
        for name, value in self.metrics.items():
            if len(name) > MAX_NAME_CHARACTERS or not _is_number(value):
                raise ValueError(f"the metric {printable(name, 40)!r} is not a number")

    @property
    def credits(self) -> Credits:
        """What of it goes along wherever the voice goes."""
        return Credits(self.name, self.speaker, self.licence, self.attribution, self.consent)

    def to_json(self) -> str:
        """The text in the file."""
        return json.dumps(asdict(self), ensure_ascii=False)


def card_of(text: str) -> VoiceCard:
    """The card in a file. Entries that this version does not know are passed over.

    Raises:
        ValueError: it is no card; the message ends a sentence about it.
    """
    try:
        described = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(described, dict):
        raise ValueError("it is not a JSON object")
    known = {one.name for one in fields(VoiceCard)}
    try:
        card = VoiceCard(**{name: value for name, value in described.items() if name in known})
    except TypeError as error:
        missing = re.search(r"'(\w+)'", str(error))
        raise ValueError(f"it has no {missing.group(1) if missing else 'fields'}") from error
    return VoiceCard(**{name: _clean(name, value) for name, value in asdict(card).items()})


def read_card(path: Path) -> VoiceCard:
    """The card of a voice's file.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind or of another version.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8 + MAX_HEAD_BYTES)
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if size > MAX_NEURAL_VOICE_BYTES:
        raise CheckpointError(
            f"{path} has {size / 1e6:.0f} MB; no neural voice of altervox has more than "
            f"{MAX_NEURAL_VOICE_BYTES >> 20} MiB"
        )
    return _card_in(path, _metadata_in(path, head))


def _metadata_in(path: Path, head: bytes) -> Mapping[str, str]:
    """The metadata of a safetensors file, of which the first bytes are given.

    Raises:
        CheckpointError: it is no such file, or one that was cut off in its head.
    """
    length = int.from_bytes(head[:8], "little")
    if len(head) < 9 or head[8:9] != b"{" or length > MAX_HEAD_BYTES:
        raise CheckpointError(f"{path} is not a neural voice of altervox: it is not a safetensors file")
    if len(head) < 8 + length:
        raise CheckpointError(f"{path} is damaged: it ends within its head; get it again")
    try:
        metadata = json.loads(head[8 : 8 + length]).get("__metadata__", {})
    except (ValueError, RecursionError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged: its head is not JSON object; get it again") from error
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(f"{path} is damaged: its metadata is not text; get it again")
    return metadata


def _card_in(path: Path, metadata: Mapping[str, str]) -> VoiceCard:
    version = metadata.get(FORMAT)
    if version is None:
        raise CheckpointError(f"{path} is not a neural voice of altervox, but another safetensors file")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} is a neural voice of format {printable(version, 20)}, and this altervox reads format "
            f"{FORMAT_VERSION}: update altervox, or get the voice for this version"
        )
    try:
        return card_of(metadata.get("card", ""))
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: its card cannot be used, for {error}; get it again") from error


def _clean(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return printable(value, MAX_DESCRIPTION_CHARACTERS if name == "description" else MAX_TEXT_CHARACTERS)
    return {printable(k, MAX_NAME_CHARACTERS): float(v) for k, v in value.items()} if name == "metrics" else value


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e9  # also refuses NaN
