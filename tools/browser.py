"""Opens a page in the user's browser."""

from __future__ import annotations

import os
import sys


def opened(address: str) -> bool:
    """Open a page; returns whether there is a browser on a desktop for it."""
    import webbrowser

    has_desktop = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(has_desktop) and webbrowser.open(address)  # without a desktop it may be one that takes the terminal
