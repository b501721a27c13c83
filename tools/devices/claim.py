"""One session per output: two that play into one cable would be heard mixed."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ...kernels.errors import AudioDeviceError
from ...models.paths import runtime_folder
from ...realtime.audio.devices import AudioDevice

_LOCKED_BYTE = 1 << 20  # far behind what is written: Windows lets nobody read what is locked

_TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


@contextmanager
def claimed(output: AudioDevice) -> Iterator[None]:
    """Keep other sessions of altervox off an output, as long as the context lasts or until this process ends.

    The claim is a lock on a file, which the system lets go of with the process, whatever its end. Where no such file
    can be made or locked, nothing is claimed.

    Raises:
        AudioDeviceError: Another session plays into it.
    """
    try:
        path = _path(output)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = path.open("r+" if path.exists() else "w+", encoding="ascii", errors="replace")
    except OSError:
        yield
        return
    with file:
        if not _lock(file):
            owner = file.read(20).strip()
            raise AudioDeviceError(
                f"another altervox{f' (process {owner})' if owner.isdecimal() else ''} already plays into "
                f"{output.name!r}: stop it, choose another output with --output, or let both be heard with "
                "--share-output"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _path(output: AudioDevice) -> Path:
    """Lock file of an output on this sound server; another server may have one of the same name."""
    server = os.environ.get("PULSE_SERVER", "")
    digest = hashlib.sha256(f"{output.stable_name}\n{server}".encode(errors="surrogateescape")).hexdigest()[:16]
    return runtime_folder() / f"output-{digest}.lock"


def _lock(file: IO[str]) -> bool:
    """Whether nobody else has it, as far as the file system can tell."""
    try:
        if sys.platform == "win32":  # not run on Windows yet
            import msvcrt

            os.lseek(file.fileno(), _LOCKED_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(file.fileno(), 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _TAKEN
    return True
