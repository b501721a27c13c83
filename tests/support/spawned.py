"""Processes that altervox has started for sound: the audio process of a session, the workers of a server (Linux)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def spawned_by(parent: int | None = None) -> list[int]:
    """Process IDs of what a process, by default this one, has spawned, without other programs that it runs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            owner = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            if int(owner) == (parent or os.getpid()) and b"spawn_main" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found
