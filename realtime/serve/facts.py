"""What clients get to know of a session: the data of the topics, without paths of the file system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...kernels.printable import printable
from ..session.state import PARAMETERS, SessionState
from ..session.status import Status
from .arguments import KEYS
from .holds import VOICE, Hold
from .voice_names import VoiceNames

if TYPE_CHECKING:
    from ..audio.devices import AudioDevice

METERS = (
    "input_peak_db",
    "output_peak_db",
    "gate_gain_db",
    "gate_db",
    "f0_hz",
    "output_f0_hz",
    "input_is_silent",
)
_NO_STATS = {  # they are in the topics state and meters
    *("state", "causes", "revision", "voice", "voice_requested", "recording", "recording_error", "input_device"),
    *("output_device", "monitor_device", "sample_rate", *METERS, *PARAMETERS),
}
_LONGEST = 4000  # characters of a message that are looked at
# Spaces belong to a path where it is quoted, or where backslashes, which are in no sentence, separate its parts.
_FOLDERS = re.compile(
    r"(?<=['\"])(?:[A-Za-z]:[\\/]|~?/(?!/)|\\\\)[^'\"]*[\\/]"
    r"|(?<![\w/\\.])(?:[A-Za-z]:\\|\\\\)(?:[^\\/:*?\"'<>|]+\\)*"
    r"|(?<![\w/\\.])(?:[A-Za-z]:)?~?/(?!/)(?:[^\s\\/'\":;,()]+/)*"
)


def state_data(
    state: SessionState, status: Status, holds: Sequence[Hold], voices: VoiceNames, can_start: bool
) -> dict[str, Any]:
    """Data of the topic `state`. `holds` stay as they are: `sendable` adds their remaining time."""
    runs = status.state != "stopped"
    return {
        "session": status.state,
        "voice": voices.shown(state.voice),
        "sounding": voices.shown(status.voice) if runs and status.voice else "",
        "loading": runs and status.is_loading,
        **{key: state[name] for name, key in KEYS.items()},
        "recording": runs and bool(status.recording),
        "recording_error": without_folders(status.recording_error),
        "causes": [without_folders(cause) for cause in status.causes],
        "input_device": printable(status.input_device),
        "output_device": printable(status.output_device),
        "monitor_device": printable(status.monitor_device),
        "sample_rate": status.sample_rate,
        "block_ms": status.block_ms,
        "longer_block_ms": status.longer_block_ms,
        "holds": tuple(holds),
        "can_start": can_start,
    }


def sendable(data: dict[str, Any], voices: VoiceNames, now_s: float) -> dict[str, Any]:
    """Data of the topic `state`, or a part of it, as it is sent."""
    if "holds" not in data:
        return data
    return {**data, "holds": [_hold_json(hold, voices, now_s) for hold in data["holds"]]}


def _hold_json(hold: Hold, voices: VoiceNames, now_s: float) -> dict[str, Any]:
    values = {KEYS.get(name, name): value for name, value in hold.values.items()}
    if VOICE in values:
        values[VOICE] = voices.shown(str(values[VOICE]))
    return {"id": hold.id, "by": hold.by, "values": values, "remaining_s": round(max(hold.ends_s - now_s, 0.0), 1)}


def meters_data(status: Status) -> dict[str, Any]:
    """Data of the topic `meters`."""
    return {
        "input_peak_db": round(status.input_peak_db, 1),
        "output_peak_db": round(status.output_peak_db, 1),
        "gate_gain_db": round(status.gate_gain_db, 1),
        "gate_db": status.session.gate_db,
        "f0_hz": round(status.f0_hz, 1),
        "output_f0_hz": round(status.output_f0_hz, 1),
        "input_is_silent": status.input_is_silent,
    }


def stats_data(status: Status) -> dict[str, Any]:
    """Data of the topic `stats`: keys as in the statistics of `altervox live --json`."""
    return {key: value for key, value in status.as_json().items() if key not in _NO_STATS}


def devices_json(devices: Sequence[AudioDevice]) -> dict[str, list[dict[str, object]]]:
    """The list of devices as it is sent: those that people choose from."""
    primary = [device for device in devices if device.is_primary]
    return {
        "inputs": [_device_json(d, d.is_default_input) for d in primary if d.inputs],
        "outputs": [_device_json(d, d.is_default_output) for d in primary if d.outputs],
    }


def _device_json(device: AudioDevice, is_default: bool) -> dict[str, object]:
    return {
        "name": printable(device.name),
        "is_default": is_default,
        "is_cable": device.is_virtual_cable,
        "listening_name": printable(device.listening_name),
    }


def without_folders(text: str) -> str:
    """A message for people, with the last part of each path only."""
    if not text:  # as nearly always, and this is asked after every command
        return ""
    text = text[:_LONGEST]
    text = text.replace(str(Path.home()), "~") if len(str(Path.home())) > 1 else text
    return printable(_FOLDERS.sub("", text), 1000)
