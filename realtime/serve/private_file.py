"""Files that only the user can read, written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_private(file: Path, text: str) -> None:
    """Write or replace a file, whose folder is made if it is missing; nobody else can read it at any time.

    Raises:
        OSError: It cannot be written; what was there before is still there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as scratch:
            scratch.write(text)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
