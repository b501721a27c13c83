"""`python -m altervox.realtime.audio` compiles what a live session needs, so that the first one starts quickly."""

from __future__ import annotations

from ..session.settings import SessionSettings
from ..session.warm_up import AUTO_BLOCKS_MS, warmed_up
from . import session  # noqa: F401  # kernels whose types are named are compiled on import

warmed_up(SessionSettings(), AUTO_BLOCKS_MS[0])
