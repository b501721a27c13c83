"""The command line of `altervox remote`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import json_option

if TYPE_CHECKING:
    from ..remote.connection import Connection


@click.group()
@click.option("--url", default="", help="Address of the server; default: the one that you run on this computer.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with a token for the server; default: the owner's token of a server on this computer.",
)
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File of certificates (PEM) to trust, for a server whose certificate no authority has signed.",
)
@click.pass_context
def remote(context: click.Context, url: str, token_file: Path | None, ca: Path | None) -> None:
    """Control a live session from a terminal, a script or a hot key.

    The session is that of `altervox serve` or `altervox live --remote`, here or on another computer.

    \b
      altervox remote set pitch=3 formant=-1
      altervox remote hold voice=robot 30
      altervox remote watch --meters 10
    """
    from ..remote.connection import Connection

    context.obj = Connection(url, token_file, ca)


@remote.command()
@json_option
@click.pass_obj
def state(connection: Connection, /, as_json: bool) -> int:
    """Show the state of the session."""
    from ..remote.command import send

    return send(connection, "get", [], as_json)


@remote.command("set")
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@json_option
@click.pass_obj
def set_values(connection: Connection, /, values: tuple[str, ...], as_json: bool) -> int:
    """Set parameters, all of them or none, such as pitch=3 mute=off."""
    from ..remote.command import assignments, send

    pairs = assignments(values)
    if any(name == "voice" for name, _ in pairs):
        raise click.UsageError("a voice is not a parameter: change it with `altervox remote voice NAME`")
    return send(connection, "set", pairs, as_json)


@remote.command(context_settings={"ignore_unknown_options": True})  # for negative numbers
@click.argument("name")
@click.argument("by", metavar="AMOUNT")
@json_option
@click.pass_obj
def step(connection: Connection, /, name: str, by: str, as_json: bool) -> int:
    """Change a parameter by an amount, such as pitch -1."""
    from ..remote.command import send

    return send(connection, "step", [("name", name), ("by", by)], as_json)


@remote.command()
@click.argument("name")
@json_option
@click.pass_obj
def toggle(connection: Connection, /, name: str, as_json: bool) -> int:
    """Turn a switch on or off: mute, bypass or monitor."""
    from ..remote.command import send

    return send(connection, "toggle", [("name", name)], as_json)


@remote.command()
@click.argument("name", required=False)
@click.option("--next", "step", flag_value="1", default="", help="Change to the next voice of the list.")
@click.option("--previous", "step", flag_value="-1", help="Change to the previous voice of the list.")
@click.option("--random", is_flag=True, help="Change to any other voice.")
@json_option
@click.pass_obj
def voice(connection: Connection, /, name: str | None, step: str, random: bool, as_json: bool) -> int:
    """Change to another voice: by its NAME, or by one of the options."""
    from ..remote.command import send

    given = [("name", name), ("step", step), ("random", "true" if random else "")]
    chosen = [(key, value) for key, value in given if value]
    if len(chosen) != 1:
        raise click.UsageError("name one voice, or use one of --next, --previous and --random")
    return send(connection, "voice", chosen, as_json)


@remote.command()
@click.argument("values", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.argument("seconds")
@json_option
@click.pass_obj
def hold(connection: Connection, /, values: tuple[str, ...], seconds: str, as_json: bool) -> int:
    """Set parameters, or voice=NAME, for some SECONDS; then what was set before returns."""
    from ..remote.command import assignments, send

    return send(connection, "hold", [*assignments(values), ("seconds", seconds)], as_json)


@remote.command()
@click.argument("hold_id", required=False, metavar="[ID]")
@json_option
@click.pass_obj
def release(connection: Connection, /, hold_id: str | None, as_json: bool) -> int:
    """End a hold before its time; without an ID, every hold."""
    from ..remote.command import send

    return send(connection, "release", [("hold", hold_id)] if hold_id else [], as_json)


@remote.command()
@click.argument("on", type=click.Choice(["on", "off"]))
@json_option
@click.pass_obj
def record(connection: Connection, /, on: str, as_json: bool) -> int:
    """Begin or end a recording of input and output."""
    from ..remote.command import send

    return send(connection, "record", [("on", on)], as_json)


@remote.command()
@click.option("--input", "source", help="Microphone; its name in `altervox remote devices`.")
@click.option("--output", help="Output for the voice.")
@click.option("--monitor", help="Output to hear yourself on; empty for none.")
@click.option("--block-ms", help="Block size in ms.")
@json_option
@click.pass_obj
def start(
    connection: Connection,
    /,
    source: str | None,
    output: str | None,
    monitor: str | None,
    block_ms: str | None,
    as_json: bool,
) -> int:
    """Start the session, or start it again with other devices; ends once sound runs."""
    from ..remote.command import send

    given = [("input", source), ("output", output), ("monitor", monitor), ("block_ms", block_ms)]
    return send(connection, "start", [(name, value) for name, value in given if value is not None], as_json)


@remote.command()
@json_option
@click.pass_obj
def stop(connection: Connection, /, as_json: bool) -> int:
    """Stop the session and free its devices."""
    from ..remote.command import send

    return send(connection, "stop", [], as_json)


@remote.command()
@click.argument("ms", metavar="MS|longer")
@json_option
@click.pass_obj
def block(connection: Connection, /, ms: str, as_json: bool) -> int:
    """Change the block size, or take the longer one that is offered because blocks are late."""
    from ..remote.command import send

    return send(connection, "block", [("longer", "true")] if ms == "longer" else [("ms", ms)], as_json)


@remote.command()
@json_option
@click.pass_obj
def measure(connection: Connection, /, as_json: bool) -> int:
    """Measure the latency of the devices of a stopped session."""
    from ..remote.command import send

    return send(connection, "measure", [], as_json)


@remote.command()
@click.option("--meters", "meters_hz", type=click.FloatRange(0, 20), default=0.0, help="Show levels HZ times a second.")
@json_option
@click.pass_obj
def watch(connection: Connection, /, meters_hz: float, as_json: bool) -> int:
    """Show changes as they happen, until Ctrl-C."""
    from ..remote.watch import watch as run

    return run(connection, meters_hz, as_json)


@remote.command()
@json_option
@click.pass_obj
def voices(connection: Connection, /, as_json: bool) -> int:
    """List the voices that there are."""
    from ..remote.command import show_lists

    return show_lists(connection, "voices", ("name", "kind", "description"), as_json)


@remote.command()
@json_option
@click.pass_obj
def devices(connection: Connection, /, as_json: bool) -> int:
    """List microphones, outputs and virtual cables of the server's computer."""
    from ..remote.command import show_lists

    return show_lists(connection, "devices", ("name", "is_default", "is_cable", "listening_name"), as_json)


@remote.command()
@click.option("--open", "should_open", is_flag=True, help="Open it in the browser of this computer.")
@click.pass_obj
def panel(connection: Connection, /, should_open: bool) -> int:
    """Print an address that opens the panel; it works once."""
    from ..remote.command import panel as run

    return run(connection, should_open)


@remote.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option("--voice", default="", help="Voice of the server; its name in `altervox remote voices`.")
@click.option(
    "--pace",
    type=click.Choice(["fast", "live"]),
    default="fast",
    show_default=True,
    help="As fast as the server allows; or in real time, where late blocks are skipped as in a live session.",
)
@click.option("--block-ms", default="20", show_default=True, help="Block size in ms, 20 to 1000; long ones cost less.")
@json_option
@click.pass_obj
def convert(
    connection: Connection,
    /,
    source: Path,
    values: tuple[str, ...],
    target: Path,
    voice: str,
    pace: str,
    block_ms: str,
    as_json: bool,
) -> int:
    """Convert a sound file on the server, in an audio session.

    \b
      altervox remote convert in.wav -o out.wav --voice robot pitch=3
    """
    from ..remote.convert import convert as run

    return run(connection, source, target, voice, values, pace, block_ms, as_json)


@remote.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["control", "audio", "control+audio"]),
    default="control",
    show_default=True,
    help="What to ask for: to change the sound, to have audio converted, or both.",
)
@click.pass_obj
def pair(connection: Connection, /, name: str, role: str) -> int:
    """Ask the user at a server for a token, under a NAME, and keep it in the token file.

    \b
      altervox remote --url wss://192.168.1.5:7788 --token-file pc.token pair "my phone"
    """
    from ..remote.command import pair as run

    return run(connection, name, role)


@remote.group(invoke_without_command=True)
@json_option
@click.pass_context
def clients(context: click.Context, /, as_json: bool) -> int:
    """List programs that hold a token, and those that ask for one; allow, refuse and remove them."""
    if context.invoked_subcommand is not None:
        return 0
    from ..remote.command import show_clients

    return show_clients(context.obj, as_json)


@clients.command()
@click.argument("request_id", metavar="ID")
@click.option("--role", help="view, control, audio, control+audio or admin; default: what it asks for.")
@click.pass_obj
def allow(connection: Connection, /, request_id: str, role: str | None) -> int:
    """Let a program in that asks for it; compare its code first."""
    from ..remote.command import send

    chosen = [("role", role)] if role else []
    return send(connection, "pair_answer", [("id", request_id), ("allow", "true"), *chosen], False)


@clients.command()
@click.argument("request_id", metavar="ID")
@click.pass_obj
def refuse(connection: Connection, /, request_id: str) -> int:
    """Refuse a program that asks for a token."""
    from ..remote.command import send

    return send(connection, "pair_answer", [("id", request_id), ("allow", "false")], False)


@clients.command("remove")
@click.argument("client_id", metavar="ID")
@click.pass_obj
def remove_client(connection: Connection, /, client_id: str) -> int:
    """Revoke a program's token."""
    from ..remote.command import send

    return send(connection, "client_remove", [("id", client_id)], False)


@remote.group(invoke_without_command=True)
@json_option
@click.pass_context
def audio(context: click.Context, /, as_json: bool) -> int:
    """List audio sessions of programs and browsers; end one of them."""
    if context.invoked_subcommand is not None:
        return 0
    from ..remote.command import show_lists

    columns = ("session", "client", "voice", "rate", "block_ms", "pace", "late_blocks", "dropped_samples", "load")
    return show_lists(context.obj, "audio.sessions", columns, as_json)


@audio.command("end")
@click.argument("session")
@click.pass_obj
def end_audio(connection: Connection, /, session: str) -> int:
    """End an audio session by its number."""
    from ..remote.command import send

    return send(connection, "audio.end", [("session", session)], False)


@remote.group()
def button() -> None:
    """Manage addresses that carry out one prepared command, for tools that only open a URL (`serve --url-buttons`)."""


@button.command("list")
@json_option
@click.pass_obj
def list_buttons(connection: Connection, /, as_json: bool) -> int:
    """List prepared commands."""
    from ..remote.command import show_lists

    return show_lists(connection, "buttons", ("id", "label", "cmd", "params"), as_json)


@button.command("add", context_settings={"ignore_unknown_options": True})  # for negative numbers
@click.argument("label")
@click.argument("command")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@click.pass_obj
def add_button(connection: Connection, /, label: str, command: str, values: tuple[str, ...]) -> int:
    """Prepare a COMMAND of the protocol and print its address, such as `add robot hold voice=robot seconds=30`."""
    from ..remote.command import add_button as run

    return run(connection, label, command, values)


@button.command("remove")
@click.argument("button_id", metavar="ID")
@click.pass_obj
def remove_button(connection: Connection, /, button_id: str) -> int:
    """Revoke the address of a prepared command."""
    from ..remote.command import send

    return send(connection, "button_remove", [("id", button_id)], False)
