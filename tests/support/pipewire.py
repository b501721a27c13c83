"""A private PipeWire server with the interface of `pulse.py`: PipeWire, its session manager and its PulseAudio server.

    with pipewire_server(folder, RIG) as rig:
        ...

Needs Debian's pipewire, pipewire-pulse, wireplumber and dbus-daemon, and none of them running. What it gives may be
louder or softer than what was played, by a constant: it mixes one channel into two and back.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pulse
from pulse import PulseServer, clean_environment, running

PROGRAMS = ("dbus-daemon", "pipewire", "pipewire-pulse", "wireplumber")
PACKAGES = "dbus pipewire pipewire-pulse wireplumber"


def missing() -> str:
    """What of the rig's software is not installed, empty if nothing."""
    return ", ".join(filter(None, [*(name for name in PROGRAMS if shutil.which(name) is None), pulse.missing()]))


@contextmanager
def pipewire_server(folder: Path, modules: Sequence[str] = ()) -> Iterator[PulseServer]:
    """Start a server with these modules of PulseAudio's, and stop it at the end."""
    for name in ("runtime", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    bus = f"unix:path={folder / 'bus'}"
    environment = {
        **clean_environment(),
        "HOME": str(folder / "home"),
        "XDG_RUNTIME_DIR": str(folder / "runtime"),
        "XDG_CONFIG_HOME": str(folder / "home" / ".config"),
        "PULSE_SERVER": f"unix:{folder / 'runtime' / 'pulse' / 'native'}",
        "DBUS_SESSION_BUS_ADDRESS": bus,
        "DBUS_SYSTEM_BUS_ADDRESS": bus,  # no system service is asked for anything
    }
    server, log = PulseServer(folder, environment), folder / "server.log"
    bus_daemon = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={bus}"]
    with ExitStack() as stack:
        for command, sign in ((bus_daemon, "bus"), (["pipewire"], "runtime/pipewire-0"), (["wireplumber"], "")):
            process = stack.enter_context(running(command, environment, log))
            end = time.monotonic() + 30
            while sign and not (folder / sign).exists():
                assert process.poll() is None, f"{command[0]} has ended: {log.read_text(errors='replace')[-2000:]}"
                assert time.monotonic() < end, f"{command[0]} makes no {sign}"
                time.sleep(0.02)
        process = stack.enter_context(running(["pipewire-pulse"], environment, log))
        pulse.wait_until_it_answers(server, process, log)
        for module in modules:
            server.pactl("load-module", *module.split(" ", 1))
        yield server


if __name__ == "__main__":
    pulse.stand(pipewire_server)
