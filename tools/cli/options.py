"""The options that choose and shape a voice, alike for every command that renders one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ...models.voice import VoiceParams

Command = TypeVar("Command", bound=Callable[..., Any])

INPUT_GAIN_RANGE_DB = (-60.0, 60.0)  # of a microphone: some need far more than an output does
_DEFAULTS = VoiceParams()


def within(name: str) -> click.FloatRange:
    """The range of a parameter of `VoiceParams`."""
    low, high = VoiceParams.RANGES[name]
    return click.FloatRange(low, high)


def _amount(flag: str, name: str, description: str) -> Callable[[Command], Command]:
    """An option for a parameter, with its range and its default."""
    return click.option(
        flag, name, type=within(name), default=getattr(_DEFAULTS, name), show_default=True, help=description
    )


_OPTIONS = [
    click.option("--voice", default="woman", show_default=True, help="Name in `altervox voices`, or path of a .pth."),
    click.option("--pitch", type=within("pitch_semitones"), default=0.0, help="Semitones up or down."),
    click.option("--formant", type=within("formant_semitones"), default=0.0, help="Moves resonances; semitones."),
    _amount("--index-rate", "index_rate", "Share of retrieved features (voices with an .index)."),
    _amount("--protect", "protect", "Keeps consonants crisp with an index; 0.5 is off."),
    _amount("--rms-mix", "rms_mix", "Loudness: 0 follows the speaker, 1 is the voice's own."),
    _amount("--gate-db", "gate_db", "Silence where the input is quieter than this; -60 is off."),
    click.option("--speaker", type=click.IntRange(min=0), default=0, help="Which speaker, in voices of several."),
    click.option("--device", default="auto", show_default=True, help="Runs networks: auto, cpu, cuda, cuda:1 or mps."),
]


def voice_options(command: Command) -> Command:
    """Give a command all of them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
