"""Another voice for a running session: built on a thread of its own, the newest request first."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine import Engine

log = logging.getLogger(__name__)

VOICE_CHANGE = "voice-change"  # name of the thread that builds
SHOWN_S = 15.0  # how long the cause of a failed change is reported


class VoiceChange:
    """Builds the voice that was requested last, without making the caller wait.

    Args:
        build: Builds an engine for a voice's name; slow, and may raise anything.
        take_over: Called with the name and the engine unless another voice was requested meanwhile; may raise anything.
        prepare_thread: Called once on the thread that builds voices.
    """

    def __init__(
        self,
        build: Callable[[str], Engine],
        take_over: Callable[[str, Engine], None],
        prepare_thread: Callable[[], object] = lambda: None,
    ) -> None:
        self._build = build
        self._take_over = take_over
        self._prepare_thread = prepare_thread
        self._lock = threading.Lock()
        self._wanted: str | None = None  # only the newest request counts
        self._thread: threading.Thread | None = None
        self._cause = ""
        self._cause_until_s = 0.0

    @property
    def cause(self) -> str:
        """Why the last change failed, for `SHOWN_S` after it did or until one succeeds; else empty."""
        return self._cause if time.monotonic() < self._cause_until_s else ""

    @property
    def is_busy(self) -> bool:
        """Whether a voice is being built."""
        return self._thread is not None

    def want(self, voice: str) -> None:
        """Request a voice; it is swapped in as soon as it is built."""
        with self._lock:
            self._wanted = voice
            if self._thread is None:
                thread = threading.Thread(target=self._work, name=VOICE_CHANGE, daemon=True)
                thread.start()
                self._thread = thread  # once it runs: where no thread can be started, the next request tries again

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            self._prepare_thread()
        while True:
            with self._lock:
                voice, self._wanted = self._wanted, None
                if voice is None:
                    self._thread = None
                    return
            self._change_to(voice)

    def _change_to(self, voice: str) -> None:
        try:
            engine = self._build(voice)
            if self._wanted is None:
                self._take_over(voice, engine)
            self._cause = ""
        except Exception as error:
            self._cause = f"{voice}: {error}" if str(error) else f"{voice}: {type(error).__name__}"
            self._cause_until_s = time.monotonic() + SHOWN_S
            log.warning("%s", self._cause, exc_info=log.isEnabledFor(logging.DEBUG))
