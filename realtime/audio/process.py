"""The audio process: device callbacks and the rendering loop, and nothing else that could delay them."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
from dataclasses import replace
from multiprocessing.connection import Connection
from types import FrameType

from ...kernels.errors import AltervoxError
from ..processes import ORPHANED_S, end_with_owner
from ..session.status import Status
from .devices import part_from_libraries
from .settings import LiveSettings

log = logging.getLogger(__name__)

_SWITCH_INTERVAL_S = 0.0005  # of Python's threads: a callback must not wait 5 ms, the default, for its turn


def run_audio_process(preload: bool, commands: Connection, statuses: Connection) -> None:
    """Run a session until it is stopped or its owner is gone; the last status holds the cause of a failure.

    Args:
        preload: Whether to load what voices need before the settings have come.
        commands: Connection that delivers the `LiveSettings` first and `Command`s after them.
        statuses: Connection that `Status` records are sent to.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # Before torch is loaded, whenever that is: two threads on busy processors are several times slower than one.
    os.environ["OMP_NUM_THREADS"] = "1"
    stopping = threading.Event()
    end_with_owner(stopping.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the owner says what to do

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, stop)
    status = Status()
    is_clean = True
    try:
        gc.disable()  # what is loaded now stays: to look for garbage in it takes a tenth of the time
        from ...kernels.denormals import flush_denormals
        from ...kernels.heap import keep_freed_memory
        from .session import LiveSession

        flush_denormals()
        keep_freed_memory()
        if preload:
            _preload()
        gc.freeze()
        gc.enable()
        settings = commands.recv()
        if not isinstance(settings, LiveSettings):  # it is to end before it has begun
            raise EOFError
        os.environ.update(settings.environment)
        if settings.log_level >= logging.WARNING:
            part_from_libraries()
        logging.basicConfig(level=max(settings.log_level, logging.WARNING), format="altervox: audio: %(message)s")
        logging.getLogger("altervox").setLevel(settings.log_level)
        session = LiveSession(settings, commands, statuses, stopping)
        try:
            session.run()
        finally:
            status = session.last_status
            is_clean = session.is_idle
        status = replace(status, state="stopped")
    except (EOFError, BrokenPipeError):
        status = replace(status, state="stopped")  # nobody reads the status any more
    except AltervoxError as error:
        log.debug("traceback", exc_info=error)
        status = replace(status, state="failed", causes=(str(error),))
    except Exception as error:  # out of memory, a driver's error, a mistake of ours
        log.warning("the audio process failed", exc_info=error)
        status = replace(status, state="failed", causes=(f"{type(error).__name__}: {error}",))
    finally:
        _send_last(statuses, status)
    if not is_clean:  # a thread is in the middle of building a voice, and the interpreter must not end under it
        logging.shutdown()
        os._exit(0)


def _preload() -> None:
    """Load what all voices that change anything need, while the owner looks for devices."""
    from ..stages import dsp  # noqa: F401


def _send_last(statuses: Connection, status: Status) -> None:
    """Send the last status, unless the owner does not read it."""
    sender = threading.Thread(target=_try_to_send, args=(statuses, status), daemon=True)
    sender.start()
    sender.join(ORPHANED_S)


def _try_to_send(statuses: Connection, status: Status) -> None:
    try:
        statuses.send(status)
    except OSError as error:
        log.debug("nobody reads the last status: %s", error)
