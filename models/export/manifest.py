"""What a folder of exported graphs says about itself: `manifest.json`, read without believing it.

Nothing here needs torch, so the command line can ask a folder for its lengths.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ...kernels.errors import CheckpointError
from ...kernels.printable import printable
from ..limits import MAX_DESCRIPTION_CHARACTERS
from ..neural.card import MAX_NAME_CHARACTERS, MAX_TEXT_CHARACTERS, Credits

FILE_NAME = "manifest.json"
FORMAT = "altervox-export"
FORMAT_VERSION = 2
LENGTHS = ("block_ms", "lookahead_ms", "context_ms", "crossfade_ms")
GRAPHS = {  # by kind: those that are always there, and those that may be
    "rvc": (("content", "prior", "generator"), ("rmvpe", "retrieval")),
    "neural": (("voice", "rmvpe"), ()),
    "rmvpe": (("rmvpe",), ()),
}
GRU_FORMS = ("onnx", "unrolled")

MAX_MANIFEST_BYTES = 1 << 20
MAX_GRAPH_BYTES = (2 << 30) - 1  # what protobuf can hold
MAX_FIXTURE_BYTES = 1 << 28
MAX_BATCH = 1024
MAX_SPEAKERS = 1 << 16
MAX_MS = 1 << 20
_MAX_TENSORS = 32  # of one graph, in or out
_FILE = re.compile(r"[a-z0-9_]{1,40}\.(onnx|npz)")
_TENSOR = re.compile(r"[a-z0-9_]{1,40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DTYPES = ("float32", "int32", "int64")


@dataclass(frozen=True, slots=True)
class Tensor:
    """Shape and type, by NumPy's name, of one tensor."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of the folder.

    Attributes:
        file: Name.
        size_bytes: Size.
        sha256: SHA-256 of what it holds.
    """

    file: str
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> StoredFile:
        """The entry of a file."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path.name, path.stat().st_size, digest)


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph.

    Attributes:
        stored: The `.onnx` file.
        graph_sha256: SHA-256 of the graph without its metadata, which repeats it.
        inputs: Its inputs, in order.
        outputs: Its outputs, in order.
        carries: Inputs that hold what it remembers, each with the output that replaces it after a run.
    """

    stored: StoredFile
    graph_sha256: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    carries: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a folder.

    Attributes:
        kind: One of `GRAPHS`.
        name: Name of the voice or network.
        description: One line about it.
        sample_rate: Sample rate in Hz of the output; for a pitch network that of the input.
        speakers: How many speakers a voice has.
        lengths: `LENGTHS` in ms, for which the graphs were made.
        batch: Streams that each run computes.
        opset: Version of ONNX's operators.
        gru: One of `GRU_FORMS`.
        graphs: By name.
        fixtures: Inputs and outputs of real blocks for each graph, and audio before and after all of them.
        versions: Of altervox and what made the graphs.
        f0_log2: Mean and standard deviation of log2 of F0 in Hz, of a neural voice or of both of a mix; else empty.
        parity: Largest differences between the graphs and the networks that they were made from.
        credits: What the card of a neural voice, or each card of a mix, tells; else, and in older folders, empty.
    """

    kind: str
    name: str
    description: str
    sample_rate: int
    speakers: int
    lengths: Mapping[str, int]
    batch: int
    opset: int
    gru: str
    graphs: Mapping[str, Graph]
    fixtures: Mapping[str, StoredFile]
    versions: Mapping[str, str]
    f0_log2: tuple[tuple[float, float], ...]
    parity: Mapping[str, float]
    credits: tuple[Credits, ...] = ()

    @property
    def has_f0(self) -> bool:
        """Whether there is a pitch network."""
        return "rmvpe" in self.graphs

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(_plain(self), indent=1, ensure_ascii=False) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder.

    Raises:
        CheckpointError: there is none, it is of another version, or it says what no manifest says.
    """
    path = folder / FILE_NAME
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): give the folder of an export") from error
    if len(raw) > MAX_MANIFEST_BYTES:
        raise CheckpointError(f"{path} has more than {MAX_MANIFEST_BYTES:,} bytes and is not a manifest of altervox")
    try:
        described = json.loads(raw)
        if not isinstance(described, dict) or described.get("format") != FORMAT:
            raise _WrongError(f"it does not say that it is of the format {FORMAT}")
        version = described.get("format_version")
        if version != FORMAT_VERSION or isinstance(version, bool):
            raise CheckpointError(
                f"{folder} has version {printable(version, 20)} of the export format, and this altervox reads version "
                f"{FORMAT_VERSION}: export the voice again"
            )
        return _manifest(described)
    except (_WrongError, ValueError, RecursionError) as error:
        reason = printable(error, 200) or type(error).__name__
        raise CheckpointError(f"{path} is not a valid manifest ({reason}): export the voice again") from error


class _WrongError(Exception):
    """What is wrong with a manifest."""


def _plain(manifest: Manifest) -> dict[str, Any]:
    graphs = {
        name: {
            **_stored(graph.stored),
            "graph_sha256": graph.graph_sha256,
            "inputs": {k: {"shape": list(t.shape), "dtype": t.dtype} for k, t in graph.inputs.items()},
            "outputs": {k: {"shape": list(t.shape), "dtype": t.dtype} for k, t in graph.outputs.items()},
            "carries": dict(graph.carries),
        }
        for name, graph in manifest.graphs.items()
    }
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": manifest.kind,
        "name": manifest.name,
        "description": manifest.description,
        "sample_rate": manifest.sample_rate,
        "speakers": manifest.speakers,
        "lengths": dict(manifest.lengths),
        "batch": manifest.batch,
        "opset": manifest.opset,
        "gru": manifest.gru,
        "graphs": graphs,
        "fixtures": {name: _stored(stored) for name, stored in manifest.fixtures.items()},
        "versions": dict(manifest.versions),
        **({"f0_log2": [list(one) for one in manifest.f0_log2]} if manifest.kind == "neural" else {}),
        "parity": dict(manifest.parity),
        **({"credits": [asdict(one) for one in manifest.credits]} if manifest.credits else {}),
    }


def _stored(stored: StoredFile) -> dict[str, Any]:
    return {"file": stored.file, "bytes": stored.size_bytes, "sha256": stored.sha256}


class _Entries:
    """The entries of one object, each taken once; what is left over is refused."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise _WrongError(f"{where} is not an object")
        self._left, self._where = dict(value), where

    def take(self, name: str) -> Any:
        if name not in self._left:
            raise _WrongError(f"{self._where} lacks {name}")
        return self._left.pop(name)

    def whole(self, name: str, low: int, high: int) -> int:
        value = self.take(name)
        if type(value) is not int or not low <= value <= high:
            raise _WrongError(
                f"{name} of {self._where} is {printable(value, 40)}, not a whole number of {low} to {high}"
            )
        return value

    def text(self, name: str, pattern: re.Pattern[str] | None = None, limit: int = 200) -> str:
        value = self.take(name)
        if not isinstance(value, str) or len(value) > limit or (pattern and not pattern.fullmatch(value)):
            raise _WrongError(f"{name} of {self._where} is {printable(value, 40)!r}")
        return value

    def one_of(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in choices:
            raise _WrongError(f"{name} of {self._where} is {printable(value, 40)!r}, not one of {', '.join(choices)}")
        return value

    def objects(self, name: str, limit: int) -> dict[str, Any]:
        value = self.take(name)
        if not isinstance(value, dict) or len(value) > limit:
            raise _WrongError(f"{name} of {self._where} is not an object of at most {limit} entries")
        return value

    def done(self) -> None:
        if self._left:
            raise _WrongError(f"{self._where} has the unknown entry {printable(next(iter(self._left)), 40)!r}")


def _manifest(described: dict[str, Any]) -> Manifest:
    entries = _Entries(described, "the manifest")
    entries.take("format")
    entries.take("format_version")
    kind = entries.one_of("kind", tuple(GRAPHS))
    lengths = _Entries(entries.take("lengths"), "lengths")
    batch = entries.whole("batch", 1, MAX_BATCH)
    graphs = {name: _graph(value, name, batch) for name, value in entries.objects("graphs", 8).items()}
    needed, optional = GRAPHS[kind]
    for name in needed:
        if name not in graphs:
            raise _WrongError(f"it has no graph {name}")
    for name in graphs:
        if name not in needed + optional:
            raise _WrongError(f"it has the unknown graph {printable(name, 40)!r}")
    manifest = Manifest(
        kind=kind,
        name=printable(entries.text("name"), 100),
        description=printable(entries.text("description"), MAX_DESCRIPTION_CHARACTERS),
        sample_rate=entries.whole("sample_rate", 8000, 192_000),
        speakers=entries.whole("speakers", 1, MAX_SPEAKERS),
        lengths={name: lengths.whole(name, 0, MAX_MS) for name in LENGTHS},
        batch=batch,
        opset=entries.whole("opset", 1, 1000),
        gru=entries.one_of("gru", GRU_FORMS),
        graphs=graphs,
        fixtures={
            name: _stored_file(_Entries(value, f"the fixture {printable(name, 40)}"), MAX_FIXTURE_BYTES)
            for name, value in entries.objects("fixtures", 16).items()
        },
        versions={printable(name, 40): printable(value, 40) for name, value in entries.objects("versions", 16).items()},
        f0_log2=_f0_log2(entries.take("f0_log2")) if kind == "neural" else (),
        parity=_numbers(entries.objects("parity", 64)),
        credits=_credits(entries.take("credits")) if "credits" in described else (),
    )
    lengths.done()
    entries.done()
    return manifest


def _f0_log2(value: object) -> tuple[tuple[float, float], ...]:
    voices: list[Any] = value if isinstance(value, list) and len(value) in (1, 2) else [0]
    for one in voices:
        is_pair = isinstance(one, list) and len(one) == 2 and all(type(x) in (int, float) for x in one)
        if not is_pair or not (5.0 <= one[0] <= 10.0 and 0.0 < one[1] <= 2.0):
            raise _WrongError(f"f0_log2 is {printable(value, 60)}")
    return tuple((float(mean), float(deviation)) for mean, deviation in voices)


def _credits(value: object) -> tuple[Credits, ...]:
    if not isinstance(value, list) or len(value) > 2:
        raise _WrongError("credits is not a list for at most 2 voices")
    found = []
    for one in value:
        entries = _Entries(one, "credits")
        limits = {field.name: MAX_TEXT_CHARACTERS for field in fields(Credits)} | {"name": MAX_NAME_CHARACTERS}
        texts = {name: printable(entries.text(name, limit=limit), limit) for name, limit in limits.items()}
        entries.done()
        found.append(Credits(**texts))
    return tuple(found)


def _graph(value: object, name: str, batch: int) -> Graph:
    entries = _Entries(value, f"the graph {printable(name, 40)}")
    graph = Graph(
        inputs=_tensors(entries.objects("inputs", _MAX_TENSORS), batch),
        outputs=_tensors(entries.objects("outputs", _MAX_TENSORS), batch),
        carries=entries.objects("carries", _MAX_TENSORS),
        graph_sha256=entries.text("graph_sha256", _SHA256),
        stored=_stored_file(entries, MAX_GRAPH_BYTES),
    )
    for source, target in graph.carries.items():
        known = isinstance(target, str) and source in graph.inputs and target in graph.outputs
        if not known or graph.inputs[source] != graph.outputs[target]:
            raise _WrongError(
                f"the graph {printable(name, 40)} carries {printable(target, 40)} into {printable(source, 40)}"
            )
    return graph


def _tensors(values: dict[str, Any], batch: int) -> dict[str, Tensor]:
    found = {}
    for name, value in values.items():
        if not _TENSOR.fullmatch(name):
            raise _WrongError(f"{printable(name, 40)!r} is not the name of a tensor")
        entries = _Entries(value, name)
        shape, dtype = entries.take("shape"), entries.one_of("dtype", _DTYPES)
        entries.done()
        sizes = shape if isinstance(shape, list) and 2 <= len(shape) <= 4 else [0]
        if not all(type(size) is int and 0 < size < 1 << 31 for size in sizes) or math.prod(sizes) > 1 << 28:
            raise _WrongError(f"{name} has the shape {printable(shape, 60)}")
        if sizes[0] != batch:
            raise _WrongError(f"{name} has the shape {printable(shape, 60)} in a batch of {batch}")
        found[name] = Tensor(tuple(sizes), dtype)
    return found


def _stored_file(entries: _Entries, most_bytes: int) -> StoredFile:
    stored = StoredFile(
        entries.text("file", _FILE), entries.whole("bytes", 1, most_bytes), entries.text("sha256", _SHA256)
    )
    entries.done()
    return stored


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    for name, value in values.items():
        if type(value) not in (int, float) or not math.isfinite(value):
            raise _WrongError(f"parity of {printable(name, 40)} is {printable(value, 40)}")
    return {printable(name, 60): float(value) for name, value in values.items()}
