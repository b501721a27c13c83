"""Options of what a server speaks beside its own protocol, which `serve` and `live --remote` share."""

from __future__ import annotations

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
)


def read_face_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take these options out of a command's, as fields of `ServerSettings`.

    Args:
        options: What click passes; these options are removed.

    Raises:
        ParameterError: Values do not fit one another, or a file cannot be read.
    """
    return {"origins": options.pop("origins"), "voicemod_api": options.pop("voicemod_api")}
