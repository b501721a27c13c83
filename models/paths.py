"""Where altervox keeps things: voices and base models in the platform's data folder, or in `ALTERVOX_HOME`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import platformdirs

from ..kernels.errors import ParameterError


def library_folder() -> Path:
    """The library.

    Raises:
        ParameterError: `ALTERVOX_HOME` names a user who is not there.
    """
    return chosen_home() or platformdirs.user_data_path("altervox", appauthor=False)


def chosen_home() -> Path | None:
    """The folder in `ALTERVOX_HOME`; None if there is none.

    Raises:
        ParameterError: it names a user who is not there.
    """
    home = os.environ.get("ALTERVOX_HOME")
    try:
        return Path(home).expanduser() if home else None
    except RuntimeError as error:
        raise ParameterError(f"ALTERVOX_HOME is {home}, and there is no such user; give the whole path") from error


def expanded(path: str | Path) -> Path:
    """A path from a user with a folder in place of its `~`; the path itself, as in shells, if there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def voices_folder() -> Path:
    """One folder for each voice."""
    return library_folder() / "voices"


def training_state(name: str) -> Path:
    """The state of a voice whose training was stopped."""
    return library_folder() / "training" / f"{name}.state"


def base_folder() -> Path:
    """Content encoder and pitch network."""
    return library_folder() / "base"


def runtime_folder() -> Path:
    """What running processes of this user tell one another.

    Raises:
        OSError: Where the system has no such folder, the one in its place belongs to somebody else.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that XDG_RUNTIME_DIR is not set: there is a folder in its place
        return platformdirs.user_runtime_path("altervox", appauthor=False)
