"""Things in the library that only one process at a time may do, such as fetching a file or adding a voice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def alone(folder: Path, waiting: str) -> Iterator[None]:
    """Hold a folder's lock, which the system releases however the process ends.

    Args:
        folder: Made if it is missing; the lock is the file `.lock` in it.
        waiting: Logged when another process holds it.

    Raises:
        OSError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
