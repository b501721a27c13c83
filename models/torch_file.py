"""PyTorch's files (`.pth`, `.pt`, `.bin`) as plain data: nothing in them runs, and no size in them is believed.

Such a file is a pickle beside raw tensors, and a pickle is a program. `torch.load(weights_only=True)` bounds what it
may call, but not what that costs: 60 bytes can ask for gigabytes. Here the program is read by an interpreter that
builds dictionaries, lists, numbers, texts and tensors, imports nothing and calls nothing. Objects of packages that
trainers use become `Opaque`; any other object is refused by name. See `altervox.models.limits`.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..kernels.errors import CheckpointError
from ..kernels.printable import printable
from .limits import MAX_PICKLE_BYTES, MAX_ZIP_DIRECTORY_BYTES

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_MEMORY_FACTOR = 2  # bytes of all storages, and of all tensors, by bytes of the file
_MOST_ARGUMENTS = 8  # looked at of a call
_MOST_DIMENSIONS = 8  # of a tensor
_LONGEST_NAME = 200  # characters of a class and its module
_KEYS_BELOW = 1 << 60  # whole numbers as keys
_DTYPES = {
    "torch.HalfStorage": torch.float16,
    "torch.FloatStorage": torch.float32,
    "torch.DoubleStorage": torch.float64,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
# Objects that trainers leave in checkpoints. They are data: whatever they would do when made does not happen here.
_INERT = re.compile(
    r"(fairseq|omegaconf|hydra|argparse|enum|typing|collections|pathlib|datetime|zoneinfo|decimal|fractions|uuid"
    r"|numpy\.random|torch\.(nn|optim|distributions))\..+"
    r"|numpy\._?core\.(multiarray\.(scalar|_reconstruct)|numeric\._frombuffer)"
    r"|torch\.(_utils\._rebuild_\w+|_tensor\._rebuild_from_type_v2|storage\.\w+Storage|serialization\._get_layout)"
    r"|numpy\.(dtype|ndarray|matrix|bool_?|[uif]\w*\d+|str_|bytes_|float|int)"
    r"|torch\.(Size|device|Tensor|Generator|q?u?int\d+\w*|b?float\d+\w*|complex\d+|bool|half|double|long|per_\w+|\w*Storage)"
    r"|builtins\.(set|frozenset|list|dict|tuple|bytearray|bytes|str|int|float|bool|complex|slice|range|object)"
    r"|copyreg\._reconstructor|_codecs\.encode"
)
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_EMPTY: dict[str, Callable[[], Any]] = {
    **{"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_TUPLE": tuple},
    **{"EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_DICT": dict},
}
_SMALL_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DAMAGE = (
    *(ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, EOFError, OSError, RuntimeError),
    *(NotImplementedError, MemoryError, struct.error, zlib.error),
)


@dataclass(frozen=True, slots=True)
class Opaque:
    """Stands for an object of which only the name of its class was read."""

    name: str


@dataclass(slots=True)
class _NumpyType:
    code: str
    order: str = "<"


class _ForbiddenError(Exception):
    """The pickle names something that is not data."""


def read_torch_file(path: Path) -> Any:
    """Read what `torch.save` wrote, in its present or its older format.

    Returns:
        Dictionaries, lists, tuples, texts, numbers, CPU tensors, and `Opaque` for everything else. Numbers of NumPy are
        plain numbers. Containers may hold themselves, or one another many times: never recurse into them unbounded.

    Raises:
        CheckpointError: the file is damaged, costs more than its size allows, or holds more than data.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            return _read_zip(path, file, size) if file.read(2) == b"PK" else _read_legacy(file, size)
    except _ForbiddenError as error:
        name = printable(error, 60)
        if name.rpartition(".")[2][:1].isupper():  # a class by convention: most likely a trainer's own
            said = f"holds an object of {name}, which is more than data, so it is not opened"
        else:
            said = f"wants to run {name} when it is opened; a model has no need to, so it is not opened"
        raise CheckpointError(f"{path} {said}: get it from a source that you trust") from error
    except zipfile.BadZipFile as error:
        if "not a zip file" in str(error):  # it starts as one
            raise CheckpointError(f"{path} is cut short: the download is incomplete; download it again") from error
        raise CheckpointError(f"{path} is damaged ({printable(error, 120)}); download it again") from error
    except _DAMAGE as error:
        reason = printable(error, 120) or type(error).__name__
        raise CheckpointError(f"{path} is damaged ({reason}); download it again") from error


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """Open a zip archive whose list of files is of a bounded size, none of them packed by a method that costs memory.

    Raises:
        zipfile.BadZipFile: it is none, is cut short, or its list is too long.
        NotImplementedError: a file in it is packed in another way than by the usual method.
        ValueError: a name in it is not what the archive says it is.
    """
    archive = zipfile.ZipFile(_CarefulFile(file))
    if odd := {member.compress_type for member in archive.infolist()} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise NotImplementedError(f"method {min(odd)}")  # LZMA may ask for 4 GB to unpack a few bytes
    return archive


class _CarefulFile:
    """A file of which no more is read at once than the list of files of an honest archive."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, MAX_ZIP_DIRECTORY_BYTES + 1) if size >= 0 else MAX_ZIP_DIRECTORY_BYTES + 1)
        if len(data) > MAX_ZIP_DIRECTORY_BYTES:
            raise zipfile.BadZipFile("its list of files is too long")
        return data


def described(value: object) -> str:
    """A value from a file, for a message: short, and never following containers into one another."""
    if isinstance(value, list | tuple):
        shown = [described(v) if not isinstance(v, list | tuple | dict) else "..." for v in value[:8]]
        return f"[{', '.join(shown)}{', ...' if len(value) > 8 else ''}]"
    if isinstance(value, str):
        return repr(printable(value, 40))
    if value is None or isinstance(value, int | float):
        return printable(value, 40)
    return f"a {printable(value.name if isinstance(value, Opaque) else type(value).__name__, 40)}"


def _read_zip(path: Path, file: BinaryIO, size: int) -> Any:
    with open_zip(file) as archive:
        members = {m.filename: m for m in archive.infolist()}
        pickles = [name for name in members if re.fullmatch(r"([^/]+/)?data\.pkl", name)]
        if not pickles:
            raise CheckpointError(f"{path} is a zip archive; add it with `altervox voices add`, named .zip")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}constants.pkl" in members:
            raise CheckpointError(f"{path} is a TorchScript program; give the .pth that the trainer wrote")
        if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
            raise ValueError(f"it holds more than {MAX_PICKLE_BYTES >> 20} MB beside its tensors")
        if f"{root}byteorder" in members:
            with archive.open(f"{root}byteorder") as order:  # of whatever size it claims to be
                if order.read(9) != b"little":
                    raise ValueError("it was written on a big-endian machine")
        left = _MEMORY_FACTOR * size

        def fill(key: str, data: memoryview) -> int:
            """Read a member into the start of a buffer, or only tell its size."""
            nonlocal left
            member = members[f"{root}data/{key}"]
            if len(data):
                left -= member.file_size
                if left < 0 or len(data) > member.file_size:
                    raise ValueError("it states more than it holds")
                with archive.open(member) as source:
                    _read_into(source, data)
                    while source.read(1 << 20):  # to the end, where the checksum is compared
                        pass
            return member.file_size

        return _Interpreter(size, fill).run(io.BytesIO(archive.read(pickles[0])))


def _read_legacy(file: BinaryIO, size: int) -> Any:
    """The format before PyTorch 1.6: five pickles, then the storages one after another."""
    file.seek(0)
    pickled = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    interpreter = _Interpreter(size, None)
    if interpreter.run(pickled) != _LEGACY_MAGIC:
        raise ValueError("it is not a model file of PyTorch")
    _version, _system, payload, keys = (interpreter.run(pickled) for _ in range(4))
    file.seek(pickled.tell())
    for key in keys:
        storage = interpreter.storages[key]
        (elements,) = struct.unpack("<q", file.read(8))
        if elements != len(storage):
            raise ValueError("its storages are not as long as it states")
        _read_into(file, _bytes_of(storage))
    if len(keys) != len(interpreter.storages):
        raise ValueError("it lacks some of its tensors")
    return payload


def _read_into(source: Any, data: memoryview) -> None:
    at = 0
    while at < len(data):
        part = source.read(min(len(data) - at, 1 << 20))
        if not part:
            raise EOFError("it is cut short")
        data[at : at + len(part)] = part
        at += len(part)


def _bytes_of(storage: Tensor) -> memoryview:
    return storage.view(torch.uint8).numpy().data if len(storage) else memoryview(b"")


class _Interpreter:
    """Reads pickles without running them.

    Args:
        size: Bytes of the file.
        fill: Reads a storage by its key into memory; None if storages are filled afterwards.

    Attributes:
        storages: By key, one-dimensional.
    """

    def __init__(self, size: int, fill: Callable[[str, memoryview], int] | None) -> None:
        self._fill = fill
        self._storage_bytes = self._tensor_bytes = _MEMORY_FACTOR * size
        self._copied = MAX_PICKLE_BYTES
        self.storages: dict[str, Tensor] = {}

    def _spend(self, count: int) -> None:
        """Account for what one instruction copies: it may name the same long text or list again and again."""
        self._copied -= count
        if self._copied < 0:
            raise ValueError("it copies more than it holds")

    def run(self, pickled: BinaryIO) -> Any:
        """What a pickle builds, up to its end."""
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}

        def since_mark() -> list[Any]:
            start = marks.pop()
            items = stack[start:]
            del stack[start:]
            return items

        operand: Any
        for opcode, operand, _ in pickletools.genops(pickled):
            name = opcode.name
            if name in _VALUES:
                stack.append(_bounded(operand))
            elif name in _EMPTY:
                stack.append(_EMPTY[name]())
            elif name in _SMALL_TUPLES:
                stack[-_SMALL_TUPLES[name] :] = [tuple(stack[-_SMALL_TUPLES[name] :])]
            else:
                match name:
                    case "STOP":
                        break
                    case "PROTO" | "FRAME":
                        pass
                    case "MARK":
                        marks.append(len(stack))
                    case "POP":
                        stack.pop()
                    case "POP_MARK":
                        since_mark()
                    case "DUP":
                        stack.append(stack[-1])
                    case "PUT" | "BINPUT" | "LONG_BINPUT":
                        memo[operand] = stack[-1]
                    case "MEMOIZE":
                        memo[len(memo)] = stack[-1]
                    case "GET" | "BINGET" | "LONG_BINGET":
                        stack.append(memo[operand])
                    case "TUPLE":
                        stack.append(tuple(since_mark()))
                    case "LIST" | "FROZENSET":
                        stack.append(since_mark())
                    case "DICT":
                        items = since_mark()
                        stack.append(_set_items({}, items))
                    case "APPEND":
                        item = stack.pop()
                        _extend(stack[-1], [item])
                    case "APPENDS" | "ADDITEMS":
                        items = since_mark()
                        _extend(stack[-1], items)
                    case "SETITEM":
                        items = stack[-2:]
                        del stack[-2:]
                        _set_items(stack[-1], items)
                    case "SETITEMS":
                        items = since_mark()
                        _set_items(stack[-1], items)
                    case "GLOBAL":
                        stack.append(_named(*operand.split(" ", 1)))
                    case "STACK_GLOBAL":
                        attribute = stack.pop()
                        stack.append(_named(stack.pop(), attribute))
                    case "INST":
                        stack.append(self._call(_named(*operand.split(" ", 1)), since_mark()))
                    case "OBJ":
                        what, *items = since_mark()
                        stack.append(self._call(what, items))
                    case "REDUCE" | "NEWOBJ":
                        arguments = stack.pop()
                        stack.append(self._call(stack.pop(), arguments))
                    case "NEWOBJ_EX":
                        _options, arguments = stack.pop(), stack.pop()
                        stack.append(self._call(stack.pop(), arguments))
                    case "BUILD":
                        state = stack.pop()
                        if isinstance(stack[-1], _NumpyType) and isinstance(state, tuple) and state[1] in ("<", ">"):
                            stack[-1].order = state[1]
                    case "BINPERSID":
                        stack.append(self._storage(stack.pop()))
                    case _:
                        raise ValueError(f"it has the instruction {name}, which no model needs")
        return stack.pop()

    def _call(self, what: object, arguments: Any) -> Any:
        """What a call stands for, for those that only wrap data."""
        if not isinstance(arguments, list | tuple):
            raise ValueError("it calls something without a list of arguments")
        name = what.name if isinstance(what, Opaque) else "an object"
        match name, list(arguments[:_MOST_ARGUMENTS]):
            case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2", [
                storage,
                offset,
                size,
                stride,
                *_,
            ]:
                return self._tensor(storage, offset, size, stride)
            case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", [data, *_]:
                return data
            case "collections.OrderedDict", []:
                return {}
            case "collections.OrderedDict", [list(pairs)]:
                self._spend(len(pairs))
                return _set_items({}, [part for pair in pairs for part in (pair[0], pair[1])])
            case "torch.Size" | "builtins.set" | "builtins.frozenset" | "builtins.list", [list() | tuple() as items]:
                return items
            case "_codecs.encode", [str(text), "latin1" | "latin-1"]:
                self._spend(len(text))
                return text.encode("latin-1")
            case "numpy.dtype", [str(code), *_] if re.fullmatch(r"[biuf][1248]", code):
                return _NumpyType(code)
            case "numpy.core.multiarray.scalar" | "numpy._core.multiarray.scalar", [_NumpyType() as kind, bytes(data)]:
                return np.frombuffer(data, np.dtype(kind.order + kind.code), count=1)[0].item()
        return Opaque(name)

    def _storage(self, described_as: Any) -> Tensor | Opaque:
        """A storage by its persistent id: "storage", class, key, device, elements and, in the older format, a view."""
        if len(described_as) > _MOST_ARGUMENTS:
            raise ValueError("it describes a tensor in another way than PyTorch does")
        _, kind, key, _, elements, *view = described_as
        dtype = _DTYPES.get(kind.name)
        if dtype is None:
            return Opaque(kind.name)
        if not isinstance(key, str) or not isinstance(elements, int) or elements < 0:
            raise ValueError("it describes a tensor in another way than PyTorch does")
        if key not in self.storages:
            self._storage_bytes -= elements * dtype.itemsize
            if self._storage_bytes < 0:
                raise ValueError("it states more than it holds")
            if self._fill is not None and elements * dtype.itemsize > self._fill(key, memoryview(b"")):
                raise ValueError("it states more than it holds")
            storage = torch.empty(elements, dtype=dtype)
            if self._fill is not None:
                self._fill(key, _bytes_of(storage))
            self.storages[key] = storage
        storage = self.storages[key]
        if view and view[0] is not None:
            _, start, length = view[0]
            if not 0 <= start <= start + length <= len(storage):
                raise ValueError("a tensor lies outside of its storage")
            return storage[start : start + length]
        return storage

    def _tensor(self, storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor | Opaque:
        if isinstance(storage, Opaque):
            return storage
        if len(size) != len(stride) or len(size) > _MOST_DIMENSIONS:
            raise ValueError("a tensor has no possible shape")
        if not all(isinstance(n, int) for n in (*size, *stride, offset)):
            raise ValueError("a tensor has no possible shape")
        elements = math.prod(size)
        self._tensor_bytes -= elements * storage.element_size()
        if self._tensor_bytes < 0:
            raise ValueError("it states more than it holds")
        if min(*size, *stride, offset, 0) < 0:
            raise ValueError("a tensor has no possible shape")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if elements and last >= len(storage):
            raise ValueError("a tensor lies outside of its storage")
        return storage.as_strided(size, stride, offset) if elements else torch.empty(size, dtype=storage.dtype)


def _named(module: object, name: object) -> Opaque:
    """The name of a class or function.

    Raises:
        _ForbiddenError: it is not one that stands for data.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        raise _ForbiddenError("something without a name")
    if len(module) + len(name) > _LONGEST_NAME:
        raise _ForbiddenError(f"{module[:20]}...{name[:20]}...")
    full = f"{module}.{name}"
    full = re.sub(r"^__builtin__\.", "builtins.", re.sub(r"^copy_reg\.", "copyreg.", full))
    if not _INERT.fullmatch(full):
        raise _ForbiddenError(full)
    return Opaque(full)


def _bounded(value: Any) -> Any:
    """The value itself; a stand-in for a number of so many digits that sums, hashes and texts of it would be costly."""
    return Opaque("very large number") if isinstance(value, int) and value.bit_length() > 80 else value


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target += items
    elif not isinstance(target, Opaque):
        raise ValueError("it appends to something that is not a list")


def _set_items(target: Any, items: list[Any]) -> Any:
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing a tuple of tuples of tuples can take for ever, and whole numbers from 2^61 - 1 on can be chosen to
            # have one hash, which makes a dictionary a list to search through: such keys only keep their number.
            plain = (
                abs(key) < _KEYS_BELOW if isinstance(key, int) else key is None or isinstance(key, str | bytes | float)
            )
            target[key if plain else Opaque(f"key {len(target)}")] = value
    elif not isinstance(target, Opaque):
        raise ValueError("it sets items of something that is not a dictionary")
    return target
