"""System packages that altervox needs on Linux, and the line that installs the missing ones."""

from __future__ import annotations

import ctypes.util
import os
import shutil
from pathlib import Path

_PLUGIN = "libasound_module_pcm_pulse.so"
_PLUGIN_FOLDERS = ("/usr/lib/alsa-lib", "/usr/lib64/alsa-lib", *map(str, Path("/usr/lib").glob("*/alsa-lib")))


def missing_packages() -> list[str]:
    """Debian's and Ubuntu's names of the missing packages that a session with a virtual cable needs."""
    folders = [os.environ["ALSA_PLUGIN_DIR"]] if "ALSA_PLUGIN_DIR" in os.environ else _PLUGIN_FOLDERS
    there = {
        "pulseaudio-utils": bool(shutil.which("pactl") and shutil.which("parec")),
        "libportaudio2": ctypes.util.find_library("portaudio") is not None,
        "libasound2-plugins": any((Path(folder) / _PLUGIN).exists() for folder in folders),
    }
    return [name for name, is_there in there.items() if not is_there]


def how_to_install_packages() -> str:
    """The line that installs the missing packages."""
    return f"sudo apt install {' '.join(missing_packages())} (not Debian or Ubuntu: pactl, PortAudio, alsa-plugins)"
