"""The live path: what turns blocks of microphone audio into blocks of another voice.

Names are loaded on first use, for torch takes seconds to import and not every voice needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..models.voice import VoiceParams as VoiceParams
    from .config import StreamConfig as StreamConfig
    from .engine import Engine as Engine
    from .files import convert_stream as convert_stream
    from .files import output_rate as output_rate
    from .serve.client import RemoteClient as RemoteClient
    from .serve.errors import RemoteError as RemoteError
    from .stages.pitch import StreamingRMVPE as StreamingRMVPE
    from .swap import SwappableEngine as SwappableEngine

_HOMES = {
    "Engine": ".engine",
    "RemoteClient": ".serve.client",
    "RemoteError": ".serve.errors",
    "StreamConfig": ".config",
    "StreamingRMVPE": ".stages.pitch",
    "SwappableEngine": ".swap",
    "VoiceParams": "..models.voice",
    "convert_stream": ".files",
    "output_rate": ".files",
}

__all__ = [
    "Engine",
    "RemoteClient",
    "RemoteError",
    "StreamConfig",
    "StreamingRMVPE",
    "SwappableEngine",
    "VoiceParams",
    "convert_stream",
    "output_rate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
