"""`altervox doctor`: look at the machine, say what is wrong and what to do about it."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import click

from ...kernels.printable import MESSAGE_LIMIT, encodable, printable
from .check import Check, Status


def doctor(audio: Path | None, as_json: bool) -> int:
    """Print the report.

    Args:
        audio: A file to look at, too.
        as_json: Print a list for programs.

    Returns:
        1 if anything is an error, else 0.
    """
    checks = []
    for check in _all(audio):
        checks.append(check)
        if not as_json:
            # What is found names files and devices, whose names may hold escape sequences.
            click.echo(f"{_mark(check.status)} {check.check:<14} {printable(check.found, MESSAGE_LIMIT)}")
            if check.remedy:
                click.echo(f"{'':10}{printable(check.remedy, MESSAGE_LIMIT)}")
    if as_json:
        rows = [{name: encodable(text) for name, text in asdict(check).items()} for check in checks]
        click.echo(json.dumps(rows, indent=1))
    return 1 if any(check.status == "error" for check in checks) else 0


def _mark(status: Status) -> str:
    colour = {"ok": "green", "warning": "yellow", "error": "red"}[status]
    return click.style(f"{status:<8}", fg=colour)


def _all(audio: Path | None) -> Iterator[Check]:
    from .extras import onnx_check
    from .gpu import nvidia_gpus, torch_checks
    from .library import library_checks
    from .sound import device_checks

    gpus = nvidia_gpus()
    yield python_check()
    yield from torch_checks(gpus)
    yield onnx_check(bool(gpus))
    yield from library_checks()
    yield from device_checks()
    if audio is not None:
        from .audio import audio_checks

        yield from audio_checks(audio)


def python_check() -> Check:
    """Version of Python and of altervox."""
    system = f"{platform.system()} {platform.machine()}"
    found = f"Python {platform.python_version()} on {system}, altervox {version('altervox')}"
    if sys.maxsize < 2**32:
        return Check("python", "error", f"{found}, 32 bits", "install a 64-bit Python; torch has no other")
    return Check("python", "ok", found)
