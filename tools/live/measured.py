"""Measured latencies of pairs of devices, kept in the settings folder for their rates, buffer sizes and mode."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ...kernels.errors import OutputError
from ...realtime.audio.settings import StreamSpec
from ..devices.choose import settings_folder


def measured_delay_ms(source: StreamSpec, output: StreamSpec) -> float | None:
    """The stored latency of these two devices; None if they were not measured."""
    key = conditions(source, output)
    for entry in _entries():
        delay = entry.get("delay_ms")
        if isinstance(delay, int | float) and _is_for(entry, key):
            return float(delay)
    return None


def conditions(source: StreamSpec, output: StreamSpec) -> dict[str, str | float | bool | None]:
    """Properties that the latency of the devices depends on, by their JSON names."""
    return {
        "input": source.device.stable_name,
        "output": output.device.stable_name,
        "input_rate": source.rate,
        "output_rate": output.rate,
        "input_buffer_ms": source.buffer_ms,
        "output_buffer_ms": output.buffer_ms,
        "exclusive": source.exclusive,
    }


def _is_for(entry: dict[str, Any], key: dict[str, str | float | bool | None]) -> bool:
    """Whether an entry is for these properties; a missing key does not count as None."""
    return all(name in entry and entry[name] == value for name, value in key.items())


def _path() -> Path:
    return settings_folder() / "delays.json"


def _entries() -> list[dict[str, Any]]:
    """The stored entries; a damaged file counts as empty, since measuring again replaces it."""
    try:
        noted = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [entry for entry in noted if isinstance(entry, dict)] if isinstance(noted, list) else []


def remember(source: StreamSpec, output: StreamSpec, delay_ms: float) -> None:
    """Store a measured latency in place of an earlier one.

    Raises:
        OutputError: the settings folder cannot be written.
    """
    key, path = conditions(source, output), _path()
    others = [entry for entry in _entries() if not _is_for(entry, key)]
    entry = {**key, "delay_ms": round(delay_ms, 2), "measured": time.strftime("%Y-%m-%d")}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"delays.json.{os.getpid()}.part")
        part.write_text(json.dumps([*others, entry], ensure_ascii=False, indent=1), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): set ALTERVOX_HOME to a folder of yours"
        ) from None
