"""Options of what a server speaks beside its own protocol, which `serve` and `live --remote` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import together

face_options = together(
    click.option(
        "--allow-origin",
        "origins",
        multiple=True,
        metavar="ORIGIN",
        help="Let pages of another web site control the session, such as https://example.org.",
    ),
    click.option(
        "--voicemod-api",
        is_flag=True,
        help="Let programs on this computer that can control Voicemod control altervox: Stream Deck plug-ins, "
        "Companion, Streamer.bot and others. They need no token.",
    ),
    click.option(
        "--osc-in",
        is_flag=False,
        flag_value="9001",
        metavar="[[HOST:]PORT]",
        help="Let OSC control the session: avatars in VRChat, TouchOSC and others on this computer. The UDP port is "
        "9001 if not given.",
    ),
    click.option(
        "--osc-out",
        multiple=True,
        metavar="[HOST:]PORT",
        help="Send what changes as OSC to this port, such as 9000 for VRChat; may be given several times.",
    ),
    click.option(
        "--osc-map",
        type=click.Path(path_type=Path, dir_okay=False),
        help="TOML file that says which parameters of an avatar control what, and which avatar has which voice.",
    ),
)


def read_face_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take these options out of a command's, as fields of `ServerSettings`.

    Args:
        options: What click passes; these options are removed.

    Raises:
        ParameterError: Values do not fit one another, or a file cannot be read.
    """
    from ...kernels.errors import ParameterError
    from ...realtime.serve.osc.settings import Endpoint, OscMap, OscSettings

    listens, sends, path = (options.pop(name) for name in ("osc_in", "osc_out", "osc_map"))
    if path is not None and not (listens or sends):
        raise ParameterError(f"--osc-map {path}: give --osc-in or --osc-out, too")
    osc = OscSettings(
        Endpoint.read(listens, "--osc-in") if listens else None,
        tuple(Endpoint.read(text, "--osc-out") for text in sends),
        OscMap() if path is None else OscMap.read(path),
    )
    return {
        "origins": options.pop("origins"),
        "voicemod_api": options.pop("voicemod_api"),
        "osc": osc if listens or sends else None,
    }
