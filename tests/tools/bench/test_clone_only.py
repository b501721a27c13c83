"""What runs from a clone only: the commands of docs/benchmarks.md exist; the wheel's modules do without them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from altervox.tools.bench import stream
from cli_runner import altervox

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
MODULES = re.findall(r"^\| `python -m (altervox\.tools\.[\w.]+)", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize("module", MODULES)
def test_the_command_exists(module: str) -> None:
    done = altervox("--help", module=module)
    assert (done.code, done.err) == (0, "")
    assert f"Usage: python -m {module} " in done.out


def test_every_folder_with_a_command_is_listed() -> None:
    mains = (ROOT / "tools").glob("*/*/__main__.py")
    assert sorted(MODULES) == sorted(".".join(["altervox", *main.relative_to(ROOT).parent.parts]) for main in mains)


def test_installed_benchmarks_are_listed_and_no_other() -> None:
    listed = re.findall(r"^\| `altervox bench (\w+)", TEXT, flags=re.MULTILINE)
    shown = re.findall(r"^  (\w+)  ", altervox("bench", "--help").out, flags=re.MULTILINE)
    assert sorted(listed) == shown


def test_without_a_clone_bench_stream_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "altervox.tools.bench.reference.repeated", None)
    assert stream.reference_maker() is None
