"""Which tests may be skipped, and that no other is; which run alone; the sound servers that tests use.

Tests marked `gpu`, `windows`, `macos` or `linux` are skipped where there is no such thing. Under CI any other skip is
a failure: a test that quietly does not run protects nothing.

Tests that use a sound server or an X server are marked `rig` by their fixture: `python run.py test` runs them when all
others are over, a few at a time, for they mostly wait. Those that say `alone` measure latency or losses in real time:
they come last, one after the other.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pulse import PulseServer

EXCUSES = ("gpu", "windows", "macos", "linux")
RIG_FIXTURES = {"pulse_rig", "rig", "desk", "pipewire_rig", "display"}
# What the source of a module with such tests holds: a parameter that is such a fixture, or the mark.
SIGNS = {
    "rig": re.compile(rf"\b({'|'.join(RIG_FIXTURES)}): (PulseServer|Display|object)\b|\bmark\.rig\b"),
    "alone": re.compile(r"\bmark\.alone\b"),
}

# Before any test imports torch or NumPy: threads that wait for one another are many times slower than one, as soon as
# another test or another program has a processor.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# On no machine half precision because AMX makes it faster there: tests compare with float32.
os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_BF16"
# nohup, and a shell's `&`, have it ignored, also by every process that a test starts in order to interrupt it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def pulse_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseServer]:
    """A private PulseAudio server with a virtual microphone and a virtual cable: see support/pulse.py."""
    from pulse import PACKAGES, RIG, missing, pulse_server

    absent = missing()
    if absent:
        # Not left to the rule about skips: those who use this are marked `linux`, and that excuses a skip.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {absent}: sudo apt install {PACKAGES}")
    with pulse_server(tmp_path_factory.mktemp("pulse"), RIG) as server:
        yield server


@pytest.fixture
def pipewire_rig(tmp_path: Path) -> Iterator[PulseServer]:
    """The same rig on PipeWire: see support/pipewire.py."""
    from pipewire import PACKAGES, missing, pipewire_server
    from pulse import RIG

    absent = missing()
    if absent:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {absent}: sudo apt install {PACKAGES}")
    with pipewire_server(tmp_path / "pipewire", RIG) as server:
        yield server


@pytest.fixture
def rig(pulse_rig: PulseServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PulseServer:
    """The server, used by the test's own process."""
    from pulse import enter

    enter(pulse_rig, monkeypatch, tmp_path / "home")
    return pulse_rig


@pytest.fixture
def desk(pulse_rig: PulseServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PulseServer]:
    """A server with a microphone and headphones and no cable; what stands in for them is no null sink."""
    from pulse import enter, pulse_server

    modules = [
        "module-sine-source source_name=sine",
        f"module-pipe-sink sink_name=headphones file={tmp_path / 'fifo'}"
        " sink_properties=\"device.description='Headphones'\"",
    ]
    with pulse_server(tmp_path / "desk", modules) as server:
        enter(server, monkeypatch, tmp_path / "home")
        yield server


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _excuse(item: pytest.Item) -> str | None:
    return next((name for name in EXCUSES if item.get_closest_marker(name)), None)


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was skipped without a marker out of {', '.join(EXCUSES)}: {reason}"


def _holds(path: Path, mark: str) -> bool:
    return SIGNS[mark].search(path.read_text(encoding="utf-8")) is not None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only the few modules with such tests are wanted, importing all others would take longer than some tests."""
    mark = config.option.markexpr.split(" ")[0]
    is_module = mark in SIGNS and collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    return True if is_module and not _holds(collection_path, mark) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    if RIG_FIXTURES & set(getattr(item, "fixturenames", ())) and not item.get_closest_marker("alone"):
        item.add_marker("rig")
    for mark, sign in SIGNS.items():
        assert not item.get_closest_marker(mark) or _holds(item.path, mark), f"{item.path} lacks {sign.pattern}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not _has_gpu():
        pytest.skip("there is no CUDA device")
    if item.get_closest_marker("windows") and sys.platform != "win32":
        pytest.skip("this is not Windows")
    if item.get_closest_marker("macos") and sys.platform != "darwin":
        pytest.skip("this is not macOS")
    if item.get_closest_marker("linux") and not sys.platform.startswith("linux"):
        pytest.skip("this is not Linux")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    excuse = _excuse(item)
    if report.skipped and not hasattr(report, "wasxfail"):
        if excuse:
            report.user_properties.append(("excuse", excuse))
        elif os.environ.get("CI"):
            _refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and os.environ.get("CI"):
        _refuse(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    excuses = Counter(dict(getattr(report, "user_properties", [])).get("excuse") for report in skipped)
    counts = ", ".join(f"{name} {excuses[name]}" for name in EXCUSES)
    terminalreporter.write_line(f"skipped: {len(skipped)} ({counts}, other {excuses[None]})")
