"""Which tests may be skipped, and that no other is.

Tests marked `gpu`, `windows` or `macos` are skipped where there is no such thing. Under CI any other skip is a failure:
a test that quietly does not run protects nothing.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Generator

import pytest

EXCUSES = ("gpu", "windows", "macos")


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _excuse(item: pytest.Item) -> str | None:
    return next((name for name in EXCUSES if item.get_closest_marker(name)), None)


def _refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid} was skipped without a marker out of {', '.join(EXCUSES)}: {reason}"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not _has_gpu():
        pytest.skip("there is no CUDA device")
    if item.get_closest_marker("windows") and sys.platform != "win32":
        pytest.skip("this is not Windows")
    if item.get_closest_marker("macos") and sys.platform != "darwin":
        pytest.skip("this is not macOS")


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
