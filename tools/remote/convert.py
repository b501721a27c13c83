"""`altervox remote convert`: a file through an audio session of a server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ...kernels.printable import printable
from ...realtime.serve.audio.spec import GREATEST_RATE, LEAST_RATE
from ...realtime.serve.errors import RemoteError
from ..convert.command import terminable
from ..convert.plan import plan
from ..convert.reader import open_audio
from ..convert.writer import AudioWriter, accepted_rate, container_of, kept_subtype, open_writer
from .command import assignments, read_fields
from .connection import Connection, as_failure
from .show import show_json

if TYPE_CHECKING:
    from ...kernels.types import AnyFloatArray
    from ...realtime.serve.audio.client import RemoteAudio


def convert(
    connection: Connection,
    source: Path,
    target: Path,
    voice: str,
    values: Sequence[str],
    pace: str,
    block_ms: str,
    as_json: bool,
) -> int:
    """Convert a file on a server, and say how that went.

    Args:
        connection: The server.
        source: The file.
        target: Path of the result.
        voice: Name of the voice; empty for the server's default.
        values: Parameters as they were written, such as "pitch=3".
        pace: "live" sends the file in real time, "fast" as fast as the server allows.
        block_ms: Block size of the engine, as it was written.
        as_json: Whether to print JSON.

    Raises:
        AltervoxError: the file cannot be read or written, or the server refuses; nothing is left behind then.
    """
    from ...models.resample import resampled

    job = plan([source], target, voice)[0]
    with terminable(), open_audio(job.source) as audio:
        container = container_of(job.target)
        rate = min(max(audio.sample_rate, LEAST_RATE), GREATEST_RATE)
        if accepted_rate(container, rate) != rate:
            rate = min(accepted_rate(container, rate), GREATEST_RATE)
        given = [("rate", str(rate)), ("voice", voice), ("pace", pace), ("block_ms", block_ms), *assignments(values)]
        fields = read_fields("audio.open", [(name, value) for name, value in given if value])
        blocks = resampled(audio.blocks(), audio.sample_rate, rate)
        expected = round(audio.estimated_s * rate) if audio.estimated_s else None
        began_s = time.perf_counter()
        with open_writer(job.target, container, kept_subtype(container, audio.subtype), rate, expected) as writer:
            try:
                result = asyncio.run(_converted(connection, fields, blocks, writer))
            except RemoteError as error:
                raise as_failure(error) from None
            seconds, wall_s = writer.frames / rate, time.perf_counter() - began_s
    result |= {"seconds": round(seconds, 3), "wall_s": round(wall_s, 3)}
    if as_json:
        show_json(result)
        return 0
    click.echo(
        f"{printable(job.target)}: {seconds:.1f} s in {wall_s:.1f} s, voice {printable(result['voice'])}, reported "
        f"latency {result['latency_ms']:.0f} ms"
    )
    if result["late_blocks"] or result["dropped_samples"]:
        lost = f"{result['late_blocks']} late blocks, {result['dropped_samples']} samples dropped"
        click.echo(f"altervox: some of it is silent ({lost}): take --pace fast, or longer blocks", err=True)
    return 0


async def _converted(
    connection: Connection, fields: dict[str, Any], blocks: Iterable[AnyFloatArray], writer: AudioWriter
) -> dict[str, Any]:
    options = {"voice": "", "pace": "fast", "block_ms": 20, **fields}
    async with connection.client().audio(**options) as audio:
        sending = asyncio.create_task(_send(audio, blocks))
        try:
            async for chunk in audio:
                if chunk.position > writer.frames:
                    writer.write(np.zeros(chunk.position - writer.frames, dtype=np.float32))
                writer.write(chunk.samples)
                if sending.done():
                    sending.result()  # the file may be damaged farther on
        finally:
            sending.cancel()
            await asyncio.wait([sending])
        if not sending.cancelled() and (error := sending.exception()) is not None:
            raise error
        state = await audio.get()
    shown = ("session", "voice", "rate", "block_ms", "pace", "latency_ms", "late_blocks", "dropped_samples", "p99_ms")
    return {name: state[name] for name in shown}


async def _send(audio: RemoteAudio, blocks: Iterable[AnyFloatArray]) -> None:
    """Send all blocks; in real time if the session is live."""
    rate, size = int(audio.facts["rate"]), int(audio.facts["frame_samples"])
    began_s = time.perf_counter()
    try:
        for block in blocks:
            for at in range(0, len(block), size):
                if audio.is_live:
                    await asyncio.sleep(max(began_s + audio.sent / rate - time.perf_counter(), 0.0))
                await audio.send(block[at : at + size])
    finally:
        await audio.finish()  # what waits for the output must not wait for ever
