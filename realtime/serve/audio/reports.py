"""What is reported to clients about audio sessions."""

from __future__ import annotations

from typing import Any

from ..arguments import by_key
from ..facts import without_folders
from ..voice_names import VoiceNames
from .session import AudioSession

LISTED = ("voice", "late_blocks", "dropped_samples", "p99_ms", "latency_ms", "load", "cause")


def fixed_facts(session: AudioSession) -> dict[str, Any]:
    """What does not change during a session."""
    spec = session.spec
    return {
        "session": spec.number,
        "rate": spec.rate,
        "format": spec.format,
        "block_ms": spec.block_ms,
        "pace": "live" if spec.is_live else "fast",
    }


def state_of(session: AudioSession, voices: VoiceNames) -> dict[str, Any]:
    """What the event `audio` says of a session."""
    report = session.report
    return {
        "voice": voices.shown(report.get("voice", session.voice)),
        "sounding": voices.shown(report.get("sounding", session.voice)),
        "loading": report.get("loading", False),
        **by_key(report.get("values", session.values)),
        "late_blocks": report.get("late_blocks", 0),
        "dropped_samples": session.all_dropped_samples,
        "p50_ms": report.get("p50_ms", 0.0),
        "p99_ms": report.get("p99_ms", 0.0),
        "latency_ms": session.latency_ms,
        "load": round(session.load, 3),
        "cause": without_folders(report.get("cause", "")),
    }


def listed(session: AudioSession, voices: VoiceNames) -> dict[str, Any]:
    """A session in the list of all sessions."""
    state = state_of(session, voices)
    return {
        **fixed_facts(session),
        **{name: state[name] for name in LISTED},
        "client": session.by,
        "is_connected": session.connection is not None,
    }
