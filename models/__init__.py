"""Networks, voices and checkpoints.

Names are loaded on first use, for torch takes seconds to import and a command such as `altervox --help` has no need of
it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .library import load_voice as load_voice
    from .pitch.rmvpe import RMVPE as RMVPE
    from .voice import Voice as Voice
    from .voice import VoiceParams as VoiceParams

_HOMES = {"RMVPE": "pitch.rmvpe", "Voice": "voice", "VoiceParams": "voice", "load_voice": "library"}

__all__ = ["RMVPE", "Voice", "VoiceParams", "load_voice"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
