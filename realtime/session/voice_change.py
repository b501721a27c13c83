"""Another voice for a running session: built on a thread of its own, the newest wish first."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...kernels.errors import AltervoxError
from ..audio.priority import lower_thread_priority

if TYPE_CHECKING:
    from ..engine import Engine

log = logging.getLogger(__name__)

# What voice files and networks raise; anything else is a mistake of ours and may end the thread.
_FAILURES = (AltervoxError, ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, ValueError)


class VoiceChange:
    """Builds the voice that was asked for last. Whoever asks does not wait.

    Args:
        build: Makes an engine for a voice's name; takes long.
        take_over: Told the name and the engine, unless another voice is wanted by then.

    Attributes:
        cause: Why the last one could not be had; empty while all is well.
    """

    def __init__(self, build: Callable[[str], Engine], take_over: Callable[[str, Engine], None]) -> None:
        self.cause = ""
        self._build = build
        self._take_over = take_over
        self._lock = threading.Lock()
        self._wanted: list[str] = []  # in the order of the wishes; only the last one counts
        self._thread: threading.Thread | None = None

    def want(self, voice: str) -> None:
        """Go over to a voice as soon as it is built."""
        with self._lock:
            self._wanted.append(voice)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()

    def _work(self) -> None:
        lower_thread_priority()
        while True:
            with self._lock:
                if not self._wanted:
                    self._thread = None
                    return
                voice = self._wanted[-1]
                self._wanted.clear()
            try:
                engine = self._build(voice)
                if not self._wanted:
                    self._take_over(voice, engine)
                self.cause = ""
            except (
                AltervoxError,
                ArithmeticError,
                LookupError,
                MemoryError,
                OSError,
                RuntimeError,
                ValueError,
            ) as error:
                self.cause = f"{voice}: {error}" if str(error) else f"{voice}: {type(error).__name__}"
                log.warning("%s", self.cause)
