"""Helper programs of the sound server, which end with this process however it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_END_S = 2.0
_STARTER = ThreadPoolExecutor(1, "programs")  # the kernel's signal comes with the end of the thread that starts one
# Whoever starts it may have ended before setpriv asked for the signal.
_UNLESS_ORPHANED = ("/bin/sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"')


def start(
    command: Sequence[str],
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that Ctrl-C does not reach, and that the kernel ends with this process.

    That holds after kill -9, too. It takes setpriv, which util-linux brings to every usual Linux; without it the
    program is left over by a kill -9, and by nothing else.

    Args:
        command: The program, and its arguments.
        stdin: Standard input, as for `Popen`.
        stdout: Standard output, as for `Popen`.
        environment: Environment variables; None for those of this process.
    """
    setpriv = shutil.which("setpriv")
    # Busybox has one, too, which knows nothing of this.
    knows = setpriv is not None and Path(setpriv).resolve().name == "setpriv"
    with_us = [str(setpriv), "--pdeathsig", "KILL", *_UNLESS_ORPHANED, str(os.getpid())] if knows else []
    return _STARTER.submit(
        subprocess.Popen[bytes],
        [*with_us, *command],
        env=environment,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ).result()


def end(process: subprocess.Popen[bytes]) -> None:
    """End it, by force if it does not listen, and wait for that."""
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def started(
    command: Sequence[str],
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program as `start` gives it, as long as the context lasts."""
    process = start(command, stdin, stdout, environment)
    try:
        yield process
    finally:
        end(process)
