"""Processes that altervox has started for sound: the audio process of a session, the workers of a server (Linux)."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulse import PulseServer


def spawned_by(parent: int | None = None) -> list[int]:
    """Process IDs of what a process, by default this one, has spawned, without other programs that it runs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            owner = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            if int(owner) == (parent or os.getpid()) and b"spawn_main" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def streams_of(rig: PulseServer, session: int) -> list[int]:
    """Numbers of the streams that a session plays: its command, too, opens some for a moment, to try the devices."""
    audio = {str(process) for process in spawned_by(session)}
    streams = json.loads(rig.pactl("--format=json", "list", "sink-inputs"))
    return [stream["index"] for stream in streams if stream["properties"].get("application.process.id") in audio]
