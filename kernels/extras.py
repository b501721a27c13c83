"""How an optional package is installed where altervox runs from: said in one way everywhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def how_to_install(extra: str) -> str:
    """The command that installs one of altervox's extras, such as "denoise", into the environment in use.

    It names the Python that runs, so that it also works in an environment that is not activated. A clone pins versions;
    an environment made by pipx is reached through pipx.
    """
    clone = _clone()
    if clone is not None:
        here = Path.cwd() == clone
        constraints = "constraints.txt" if here else _quoted(str(clone / "constraints.txt"))
        return f'{_python(clone)} -m pip install -c {constraints} -e "{"." if here else clone}[{extra}]"'
    if (Path(sys.prefix) / "pipx_metadata.json").exists():
        return f'pipx runpip altervox install "altervox[{extra}]"'
    return f'{_python(None)} -m pip install "altervox[{extra}]"'


def how_to_uninstall(*packages: str) -> str:
    """The command that removes packages from the environment in use."""
    names = " ".join(packages)
    if (Path(sys.prefix) / "pipx_metadata.json").exists():
        return f"pipx runpip altervox uninstall -y {names}"
    return f"{_python(_clone())} -m pip uninstall -y {names}"


def _clone() -> Path | None:
    """The folder that altervox was installed from with `pip install --editable`; None for any other installation."""
    from importlib import metadata
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    # Where the clone itself is on sys.path, its egg-info, which lacks this file, comes before what pip installed.
    origins = (installed.read_text("direct_url.json") for installed in metadata.distributions(name="altervox"))
    try:
        origin = json.loads(next(filter(None, origins), "{}"))
    except (OSError, ValueError):
        return None
    if not origin.get("dir_info", {}).get("editable"):
        return None
    folder = Path(url2pathname(urlsplit(origin["url"]).path))
    return folder if (folder / "constraints.txt").exists() else None


def _python(clone: Path | None) -> str:
    """The running interpreter, relative to the clone if that is the current folder."""
    python = Path(sys.executable)
    if clone is not None and Path.cwd() == clone and python.is_relative_to(clone):
        return str(python.relative_to(clone))
    return _quoted(str(python))


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
