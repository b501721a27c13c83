"""`python -m altervox.realtime.audio` compiles what a live session needs, so that the first one starts quickly."""

from __future__ import annotations

from ..session.settings import SessionSettings
from ..session.state import SessionState
from ..session.warm_up import AUTO_BLOCKS_MS, warmed_up
from . import session  # noqa: F401  # kernels whose types are named are compiled on import

# A voice of each kind that ships: a change to it would else compile beside the rendering thread.
for voice in ("woman", "clara"):
    warmed_up(SessionSettings(state=SessionState(voice=voice)), AUTO_BLOCKS_MS[0])
