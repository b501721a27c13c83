"""The command line of `altervox live`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ...models.voice import STREAMING_F0_METHODS, VoiceParams
from .options import INPUT_GAIN_RANGE_DB, voice_options, within

# What is used with --measure; that it takes devices which hear one another goes without saying.
_MEASURE_OPTIONS = ("measure", "source", "output", "device_buffer_ms", "channel", "exclusive", "allow_loop", "as_json")


@click.command()
@click.option("--input", "source", help="Microphone: name, part of it, number in `altervox devices`, or default.")
@click.option("--output", help="Where the voice goes; default: the one virtual cable.")
@click.option("--monitor", help="An output to hear yourself on, beside the cable.")
@click.option("--monitor-gain-db", type=within("gain_db"), default=0.0, help="Of the monitor.")
@voice_options
@click.option("--gain-db", type=within("gain_db"), default=0.0, show_default=True, help="Of the output.")
@click.option(
    "--f0-method",
    type=click.Choice(STREAMING_F0_METHODS),
    default="auto",
    show_default=True,
    help="How pitch is found: rmvpe is the published network, fetched once; the others are the one that ships.",
)
@click.option("--block-ms", type=int, help="Audio per step, a multiple of 20; 40 unless told.")
@click.option("--lookahead-ms", type=int, help="How long an RVC voice waits for what follows.")
@click.option("--context-ms", type=int, help="The past that an RVC voice looks at.")
@click.option(
    "--device-buffer-ms",
    type=click.FloatRange(2, 200),
    help="How much sound each device holds: less is less delay, more outlasts longer pauses of the system. "
    "15 with PulseAudio and PipeWire, else what the system suggests.",
)
@click.option("--prefill-ms", type=click.FloatRange(1, 250), help="Output held ready; else measured at the start.")
@click.option("--exclusive", is_flag=True, help="Keep other programs off the devices (WASAPI, Core Audio).")
@click.option("--channel", type=click.IntRange(min=0), default=0, help="Of the microphone, from 0.")
@click.option("--denoise", is_flag=True, help="Suppress the microphone's noise with RNNoise; 20 ms more delay.")
@click.option("--input-gain-db", type=click.FloatRange(*INPUT_GAIN_RANGE_DB), default=0.0, help="Of the microphone.")
@click.option(
    "--speech-level-db",
    type=click.FloatRange(-40, -10),
    help="Bring the microphone's speech slowly to this RMS level, such as -23, by 18 dB at most.",
)
@click.option(
    "--speech-gate",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    is_flag=False,
    flag_value=0.8,
    metavar="[P]",
    help="Silence unless RNNoise hears speech, with a probability of P (0.8 unless told): typing does not open it.",
)
@click.option("--allow-loop", is_flag=True, help="Take a microphone that hears the output.")
@click.option("--record", type=click.Path(path_type=Path, file_okay=False), help="Record input and output here.")
@click.option("--measure", is_flag=True, help="Measure the delay of the devices instead: see below.")
@click.option("--hot-keys", is_flag=True, help="Keys that act while a game has the focus: Ctrl+Alt+B, M, V.")
@click.option(
    "--hot-key",
    "hot_key",
    multiple=True,
    metavar="ACTION=KEYS",
    help="One of your own, such as mute=ctrl+alt+m; talk=f8 is push-to-talk. Others: bypass, next-voice.",
)
@click.option("--screenshot", type=click.Path(path_type=Path, dir_okay=False), help="Save the last view as SVG.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Stop after so long.")
@click.option("--json", "as_json", is_flag=True, help="Print statistics as JSON at the end, for programs.")
@click.pass_context
def live(
    context: click.Context,
    /,
    measure: bool,
    hot_keys: bool,
    hot_key: tuple[str, ...],
    screenshot: Path | None,
    seconds: float | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Change your voice while you speak: from the microphone into a virtual cable, until Ctrl-C.

    \b
      altervox live                                      default microphone, the one virtual cable
      altervox live --voice robot --monitor headphones   hear yourself too
      altervox live --measure --output speakers          play sweeps, find them in the microphone, tell the delay

    With --measure the input has to hear the output: a wire, a loudspeaker beside the microphone, or the other end of a
    cable. What is found is remembered, and shown as part of the delay whenever these two devices are used with the same
    rate and --device-buffer-ms.
    """
    from ..live.command import LiveOptions
    from ..live.command import live as run
    from ..live.command import measure as run_measure
    from ..live.hotkeys import DEFAULT_BINDINGS, parse_bindings

    params = VoiceParams(
        pitch_semitones=options.pop("pitch"),
        formant_semitones=options.pop("formant"),
        **{
            name: options.pop(name)
            for name in ("index_rate", "protect", "rms_mix", "gain_db", "gate_db", "speaker", "f0_method")
        },
    )
    if measure:
        _refuse_beside_measure(context)
        return run_measure(LiveOptions(**options), as_json)
    bindings = (DEFAULT_BINDINGS if hot_keys else {}) | parse_bindings(hot_key)
    return run(LiveOptions(**options), params, seconds, as_json, screenshot, bindings)


def _refuse_beside_measure(context: click.Context) -> None:
    unused = [
        option.opts[0]
        for option in context.command.params
        if option.name not in _MEASURE_OPTIONS
        and context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    ]
    if unused:
        raise click.UsageError(f"--measure has no use for {', '.join(unused)}: leave out the one or the other", context)
