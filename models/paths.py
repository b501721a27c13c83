"""Where altervox keeps voices and base models: the platform's data folder, or `ALTERVOX_HOME`."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def library_folder() -> Path:
    """The library."""
    home = os.environ.get("ALTERVOX_HOME")
    return Path(home).expanduser() if home else platformdirs.user_data_path("altervox", appauthor=False)


def voices_folder() -> Path:
    """One folder for each RVC voice."""
    return library_folder() / "voices"


def base_folder() -> Path:
    """Content encoder and pitch network."""
    return library_folder() / "base"
