"""Memory that is freed and needed again with every block, kept by the process in between."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_LARGEST = 32 << 20  # that glibc takes for the second


def keep_freed_memory() -> bool:
    """Let this process keep what it frees: returned to the system, large buffers come back page by page.

    A network that runs call by call frees and needs megabytes with every block; the pages cost 7 % of its time.

    Returns:
        Whether that is possible here: with glibc. Elsewhere nothing has changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST) and library.mallopt(_TRIM_THRESHOLD, 1 << 30))
