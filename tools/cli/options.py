"""Options that several commands share: made from the table of parameters, alike wherever they appear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ...models.parameters import EFFECT_PARAMETERS, VOICE_PARAMETERS, Parameter
from ...models.voice import VoiceParams

Command = TypeVar("Command", bound=Callable[..., Any])


def parameter_option(parameter: Parameter) -> Callable[[Command], Command]:
    """An option for a parameter, with its range, default and help. Its value is passed under the parameter's name."""
    is_whole = isinstance(parameter.default, int)
    kind = (
        click.IntRange(int(parameter.low), int(parameter.high))
        if is_whole
        else click.FloatRange(parameter.low, parameter.high)
    )
    return click.option(
        parameter.option,
        parameter.name,
        type=kind,
        default=parameter.default,
        show_default=True,
        help=f"{parameter.help}.",
    )


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """Several options as one decorator; `--help` lists them in this order."""

    def give(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return give


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
backend_option = click.option(
    "--backend",
    metavar="NAME",
    help="What runs neural networks: auto, eager, cuda-graph, onnx, or onnx-PROVIDER for an execution provider of "
    "ONNX Runtime, such as onnx-cuda or onnx-openvino.",
)
voice_options = together(  # the options that choose and shape a voice
    click.option(
        "--voice",
        default="woman",
        show_default=True,
        help="Name of a voice in `altervox voices`, a mix of two neural ones such as clara+edgar, or the path of a "
        ".pth, of a .safetensors or of an exported voice.",
    ),
    *(parameter_option(parameter) for parameter in VOICE_PARAMETERS.values()),
    parameter_option(EFFECT_PARAMETERS["gate_db"]),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="Where neural networks run: auto, cpu, cuda, cuda:1 or mps.",
    ),
    backend_option,
)


def voice_params(options: dict[str, Any], **more: Any) -> VoiceParams:
    """Take the voice's parameters out of a command's options.

    Args:
        options: What click passes; the parameters are removed.
        more: Parameters that the command has options of its own for.
    """
    return VoiceParams(**{name: options.pop(name) for name in VOICE_PARAMETERS}, **more)
