"""PyTorch's files from somebody else: what is in them, and what hostile ones may cost."""

from __future__ import annotations

import datetime
import io
import os
import pathlib
import pickle
import random
import resource
import struct
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from altervox.kernels.errors import AltervoxError, CheckpointError
from altervox.models.torch_file import Opaque, described, read_torch_file

TENSORS = {
    "half": torch.arange(6).half().reshape(2, 3),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "slice": torch.arange(10.0)[4:7],
    "double": torch.full((2,), 0.1, dtype=torch.float64),
    "bfloat16": torch.ones(3, dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 4),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("new_format", [True, False])
def test_tensors_and_plain_data_are_what_torch_reads(new_format: bool, tmp_path: Path) -> None:
    payload = {
        "weight": OrderedDict(TENSORS),
        "config": [1, (2.5, True), None, "text \N{SNOWMAN}", {3: -(2**40)}, b"bytes"],
    }
    torch.save(payload, tmp_path / "a.pth", _use_new_zipfile_serialization=new_format)
    read = read_torch_file(tmp_path / "a.pth")
    assert read["config"] == payload["config"]
    assert list(read["weight"]) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert read["weight"][name].dtype == tensor.dtype
        assert torch.equal(read["weight"][name], tensor)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_inert_data_is_no_accusation(protocol: int, tmp_path: Path) -> None:
    payload = {
        "numbers": [np.int64(300), np.float32(0.5), np.bool_(True), np.dtype(">i4").type(5)],
        "array": np.arange(5),
        "path": pathlib.PurePosixPath("/somewhere/else"),
        "when": datetime.datetime(2024, 1, 2, 3),
        "set": {1, 2},
        "size": torch.Size([2, 3]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
    }
    torch.save(payload, tmp_path / "a.pth", pickle_protocol=protocol)
    read = read_torch_file(tmp_path / "a.pth")
    assert read["numbers"] == [300, 0.5, True, 5]
    assert isinstance(read["path"], Opaque)
    assert isinstance(read["array"], Opaque)
    assert sorted(read["set"]) == [1, 2]
    assert list(read["size"]) == [2, 3]


class _Call:
    def __init__(self, what: Callable[..., Any], *arguments: Any) -> None:
        self._reduced = what, arguments

    def __reduce__(self) -> Any:
        return self._reduced


@pytest.mark.parametrize(
    "what", [print, eval, subprocess.run, getattr, os.system, torch.load, torch.hub.load, pickle.loads]
)
def test_what_would_run_is_refused_by_name(what: Callable[..., Any], tmp_path: Path) -> None:
    torch.save({"a": _Call(what, "x")}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"wants to run .+, so it is not opened"):
        read_torch_file(tmp_path / "a.pth")


def test_a_class_of_a_trainer_is_no_accusation(tmp_path: Path) -> None:
    pickled = b"\x80\x02ctrainer.settings\nSettings\n)\x81."
    with pytest.raises(
        CheckpointError, match=r"holds an object of trainer\.settings\.Settings, which is more than data"
    ):
        read_torch_file(archive(tmp_path / "a.pth", pickled, {}))


def test_a_quantised_tensor_is_refused_without_warnings(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"a": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)}, tmp_path / "a.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_torch_file(tmp_path / "a.pth")["a"] == Opaque("torch._utils._rebuild_qtensor")


def archive(path: Path, pickled: bytes, storages: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", packing) as written:
        written.writestr("a/data.pkl", pickled)
        for key, data in storages.items():
            written.writestr(f"a/data/{key}", data)
    return path


def tensor_pickle(elements: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """A dictionary with one float32 tensor of a storage of that many elements, called "0"."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", elements) if obj == "STORAGE" else None

    buffer = io.BytesIO()
    rebuilt = _Call(torch._utils._rebuild_tensor_v2, "STORAGE", offset, size, stride, False, OrderedDict())
    Pickler(buffer, 2).dump({"a": rebuilt})
    return buffer.getvalue()


def repeated(call: bytes, times: int, argument: bytes) -> bytes:
    """A list of what a call gives again and again for the same memoised argument."""
    return b"\x80\x02" + argument + b"q\x010" + call + b"q\x000]" + b"h\x00h\x01\x85Ra" * times + b"."


def memoised_text(length: int) -> bytes:
    return b"X" + struct.pack("<I", length) + b"x" * length


HUGE = 1 << 31
MANY = 60_000
HOSTILE: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "stride 0": (tensor_pickle(1, (HUGE,), (0,)), {"0": bytes(4)}),
    "storage beyond its member": (tensor_pickle(HUGE, (HUGE,), (1,)), {"0": bytes(4)}),
    "no member": (tensor_pickle(HUGE, (1,), (1,)), {}),
    "beyond the storage": (tensor_pickle(4, (2, 2), (2, 3)), {"0": bytes(16)}),
    "negative stride": (tensor_pickle(4, (2,), (-1,), 1), {"0": bytes(16)}),
    "negative offset": (tensor_pickle(4, (2,), (1,), -1), {"0": bytes(16)}),
    "wild offset": (tensor_pickle(4, (2,), (1,), 1 << 62), {"0": bytes(16)}),
    "wild stride": (tensor_pickle(4, (2,), (1 << 70,)), {"0": bytes(16)}),
    "fewer strides": (tensor_pickle(4, (2, 2), (1,)), {"0": bytes(16)}),
    "huge memo": (b"\x80\x02}r\xff\xff\xff\x7f.", {}),
    "huge text": (b"\x80\x02X\xff\xff\xff\x7fabc.", {}),
    "huge number": (b"\x80\x02}K\x01\x8b\x00\x00\x01\x00" + b"\xff" * 65536 + b"s.", {}),
    "deep": (b"\x80\x02" + b"]" * 500_000 + b"a" * 499_999 + b".", {}),
    "key that takes for ever to hash": (b"\x80\x02})" + b"q\x00h\x00\x86" * 200 + b"Ns.", {}),
    "bytearray of gigabytes": (b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.", {}),
    "storage called": (b"\x80\x02ctorch\nFloatStorage\nJ\xff\xff\xff\x7f\x85R.", {}),
    "stack runs out": (b"\x80\x02sss.", {}),
    "holds itself": (b"\x80\x02]q\x00h\x00a.", {}),
    "extension": (b"\x80\x02\x82\x01.", {}),
    "text encoded again and again": (
        b"\x80\x02" + memoised_text(1 << 20) + b"X\x06\x00\x00\x00latin1\x86q\x010c_codecs\nencode\nq\x000]"
        b"" + b"h\x00h\x01Ra" * MANY + b".",
        {},
    ),
    "pairs taken again and again": (
        repeated(b"ccollections\nOrderedDict\n", MANY, b"](" + b"K\x01K\x02\x86" * MANY + b"e"),
        {},
    ),
    "many arguments again and again": (
        b"\x80\x02(" + b"N" * 500_000 + b"tq\x010ccollections\nOrderedDict\nq\x000]" + b"h\x00h\x01Ra" * MANY + b".",
        {},
    ),
    "long name again and again": (
        b"\x80\x02X\x07\x00\x00\x00fairseqq\x000"
        + memoised_text(1 << 20)
        + b"q\x010]"
        + b"h\x00h\x01\x93a" * MANY
        + b".",
        {},
    ),
    "keys of one hash": (
        b"\x80\x02}("
        + b"".join(b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") + b"N" for i in range(1, MANY))
        + b"u.",
        {},
    ),
    "texts as a shape": (tensor_pickle(1, ("x", HUGE), (1, 1)), {"0": bytes(4)}),  # type: ignore[arg-type]
    "countless dimensions": (tensor_pickle(1, (1,) * 1000, (1,) * 1000), {"0": bytes(4)}),
}
CHILD = """
import resource, sys, time
from pathlib import Path
from altervox.kernels.errors import AltervoxError
from altervox.models.torch_file import described, read_torch_file
for path in sys.argv[1:]:
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        described(read_torch_file(Path(path)))
        said = "read"
    except AltervoxError as error:
        said = "refused"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(said, grown // 1024, time.process_time() - start, path)
"""


def test_small_hostile_files_cost_little(tmp_path: Path) -> None:
    paths = [archive(tmp_path / f"{i}.pth", *content) for i, content in enumerate(HOSTILE.values())]
    paths.append(archive(tmp_path / "bomb.pth", *(tensor_pickle(1 << 26, (1 << 26,), (1,)), {"0": bytes(1 << 28)}), 8))
    paths.append(archive(tmp_path / "pickle bomb.pth", b"\x80\x02" + b"]" * (1 << 27) + b".", {}, 8))
    bomb = archive(tmp_path / "byte order bomb.pth", b"\x80\x02}.", {}, 8)
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as written, written.open("a/byteorder", "w") as member:
        for _ in range(1 << 8):
            member.write(bytes(1 << 20))
    paths.append(bomb)
    old = tmp_path / "old.pth"
    torch.save({"a": torch.ones(4)}, old, _use_new_zipfile_serialization=False)
    old.write_bytes(old.read_bytes().replace(struct.pack("<q", 4), struct.pack("<q", 1 << 40)))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, [*paths, old])], capture_output=True, text=True, timeout=120, check=True
    )
    rows = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert len(rows) == len(paths) + 1, done.stderr
    for (said, mib, seconds, path), name in zip(
        rows, [*HOSTILE, "bomb", "pickle bomb", "byte order bomb", "old"], strict=True
    ):
        assert int(mib) < 200, (name, path)
        assert float(seconds) < 5.0, name
        harmless = {"deep", "huge memo", "huge number", "key that takes for ever to hash", "bytearray of gigabytes"}
        harmless |= {"storage called", "holds itself", "many arguments again and again", "keys of one hash"}
        assert said == ("read" if name in harmless else "refused"), name


def test_random_damage_is_named(tmp_path: Path) -> None:
    rng, path = random.Random(5), tmp_path / "a.pth"
    for new_format in (True, False):
        torch.save({"weight": dict(TENSORS), "config": [1, 2, "x"]}, path, _use_new_zipfile_serialization=new_format)
        good, refused = path.read_bytes(), list[str]()
        for _ in range(150):
            bad = bytearray(good)
            for _ in range(rng.choice((1, 2, 8))):
                bad[rng.randrange(len(bad))] = rng.randrange(256)
            path.write_bytes(bad[: rng.choice((len(bad), len(bad), rng.randrange(len(bad))))])
            try:
                read_torch_file(path)
            except AltervoxError as error:
                refused.append(str(error))
        assert 30 < len(refused) < 150
        assert all(said.isprintable() for said in refused)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20


def test_values_are_described_without_following_them() -> None:
    doubled: Any = []
    for _ in range(100):
        doubled = [doubled, doubled]
    assert len(described(doubled)) < 100
    assert described("\x1b[31mred\n" * 100).isprintable()
    assert described(Opaque("torch.x")) == "a torch.x"
