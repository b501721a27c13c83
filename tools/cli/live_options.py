"""Options of a live session, which `live` and `serve` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...models.voice import F0_METHODS
from ...realtime.session.state import PARAMETERS
from .options import parameter_option, together, voice_options, voice_params

if TYPE_CHECKING:
    from ..live.options import LiveOptions


class _BlockMs(click.ParamType[int | None]):
    """A length of blocks in ms, or "auto", which is None to the command."""

    name = "block length"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither auto nor a number of milliseconds, such as 40", param, ctx)


live_options = together(
    click.option("--input", "source", help="Microphone: name, part of it, number in `altervox devices`, or default."),
    click.option(
        "--output", help="Output for the voice: name, part of it, number, or default (the only virtual cable)."
    ),
    click.option("--monitor", help="A second output to hear yourself on: name, part of it, or number."),
    parameter_option(PARAMETERS["monitor_gain_db"]),
    voice_options,
    parameter_option(PARAMETERS["gain_db"]),
    click.option(
        "--f0-method",
        type=click.Choice(list(F0_METHODS)),
        default="auto",
        show_default=True,
        help="Pitch tracker: rmvpe is the published network, downloaded once; auto and rmvpe-small are the one that "
        "ships.",
    ),
    click.option(
        "--block-ms",
        type=_BlockMs(),
        default="auto",
        metavar="MS|auto",
        show_default=True,
        help="Block size in ms, a multiple of 20. Smaller blocks have less latency and cost more; auto chooses the "
        "smallest that this computer can afford.",
    ),
    click.option("--lookahead-ms", type=int, help="Lookahead of an RVC voice in ms (default 60)."),
    click.option("--context-ms", type=int, help="Context of an RVC voice in ms (default 1000)."),
    click.option(
        "--threads",
        type=int,
        help="Threads that compute an RVC or exported voice on a CPU, 1 or 2 (default 1). Two are faster where two "
        "processors are idle.",
    ),
    click.option(
        "--device-buffer-ms",
        type=click.FloatRange(2, 200),
        help="Device buffer in ms: smaller means less latency, larger outlasts longer pauses of the system. "
        "Default: 15 with PulseAudio and PipeWire, else what the system suggests.",
    ),
    click.option(
        "--prefill-ms",
        type=click.FloatRange(1, 250),
        help="Output held ready for slow blocks, in ms. Default: measured at the start.",
    ),
    click.option("--exclusive", is_flag=True, help="Open the devices in exclusive mode (WASAPI, Core Audio)."),
    click.option("--channel", type=click.IntRange(min=0), default=0, show_default=True, help="Microphone channel."),
    click.option(
        "--denoise", is_flag=True, help="Suppress noise in the microphone with RNNoise; adds 20 ms of latency."
    ),
    parameter_option(PARAMETERS["input_gain_db"]),
    click.option(
        "--speech-level-db",
        type=click.FloatRange(-40, -10),
        help="Slowly bring speech in the microphone to this RMS level, such as -23; changes it by 18 dB at most.",
    ),
    click.option(
        "--speech-gate",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        is_flag=False,
        flag_value=0.8,
        metavar="[P]",
        help="Gate that opens for speech only, where RNNoise finds it with probability P (0.8 if not given). Keyboard "
        "and fan noise do not open it; whispering may not either.",
    ),
    click.option("--allow-loop", is_flag=True, help="Accept a microphone that hears the output."),
    click.option("--share-output", is_flag=True, help="Accept an output that another altervox plays into."),
    click.option(
        "--record", type=click.Path(path_type=Path, file_okay=False), help="Record input and output to WAV files here."
    ),
    click.option("--hot-keys", is_flag=True, help="Enable global hot keys: Ctrl+Alt+B bypass, M mute, V next voice."),
    click.option(
        "--hot-key",
        "hot_key",
        multiple=True,
        metavar="ACTION=KEYS",
        help="A global hot key of your own, such as mute=ctrl+alt+m. Actions: bypass, mute, next-voice, and talk "
        "(push-to-talk).",
    ),
)


def read_live_options(options: dict[str, Any]) -> tuple[LiveOptions, dict[str, str]]:
    """What the options of a live session say, and the bindings of hot keys.

    Args:
        options: What click passes, these options and no others.

    Raises:
        ParameterError: Values do not fit one another, or a hot key is unknown.
    """
    from ...kernels.errors import ParameterError
    from ...models.library import lengths_of
    from ...realtime.config import LIVE_BLOCK_MS, StreamConfig, check_lengths
    from ...realtime.session.settings import ChainConfig, SessionSettings
    from ...realtime.session.state import SessionState
    from ..live.hotkeys import DEFAULT_BINDINGS, parse_bindings
    from ..live.options import LiveOptions

    bindings = (DEFAULT_BINDINGS if options.pop("hot_keys") else {}) | parse_bindings(options.pop("hot_key"))
    lengths = {
        name: value for name in ("lookahead_ms", "context_ms", "threads") if (value := options.pop(name)) is not None
    }
    if options["block_ms"] is not None:
        lengths["block_ms"] = options["block_ms"]
    bound, backend = lengths_of(options["voice"]), options.pop("backend")
    for name in bound.keys() & lengths.keys():
        if bound[name] != lengths[name]:
            option = "--" + name.replace("_", "-")
            raise ParameterError(
                f"{options['voice']} was exported for {option} {bound[name]}, not {lengths[name]}: leave {option} out, "
                "or export the voice again"
            )
    limits = StreamConfig.LIMITS if "block_ms" in bound else {**StreamConfig.LIMITS, "block_ms": LIVE_BLOCK_MS}
    check_lengths(lengths, {name: limits[name] for name in lengths})
    config = StreamConfig(**{**bound, **lengths}, **({"backend": backend} if backend is not None else {}))
    session = SessionSettings(
        state=SessionState(
            voice=options.pop("voice"),
            params=voice_params(options, f0_method=options.pop("f0_method")),
            muted="talk" in bindings,  # until the key is pressed
            **{name: options.pop(name) for name in ("input_gain_db", "gate_db", "gain_db", "monitor_gain_db")},
        ),
        config=config,
        device=options.pop("device"),
        chain=ChainConfig(
            suppress_noise=options.pop("denoise"),
            speech_level_db=options.pop("speech_level_db"),
            speech_gate=options.pop("speech_gate"),
        ),
        record_folder=options.pop("record"),
    )
    return LiveOptions(session=session, **options), bindings
