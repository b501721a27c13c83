"""`altervox bench accuracy`: what a stream loses against the whole signal, by look-ahead, as Markdown tables."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from .audio_reader import open_audio

FloatArray = NDArray[np.float32]
LOOKAHEADS_MS = (40, 60, 80, 100, 150, 400)
_BLOCK_MS = 20


def bench_accuracy(recording: Path) -> int:
    """Print the tables for a recording of speech. Returns the exit code."""
    from ..models.resample import resampled

    with open_audio(recording) as source:
        blocks = list(source.blocks())
        rate = source.sample_rate
    speech_24k = np.concatenate(list(resampled(blocks, rate, 24000)))
    click.echo(f"{recording.name}, {len(speech_24k) / 24000:.1f} s, blocks of {_BLOCK_MS} ms\n")
    _dsp_f0(speech_24k)
    _generator()
    return 0


def _dsp_f0(audio: FloatArray) -> None:
    """F0 and voicing of the DSP stage against WORLD's analysis of the whole."""
    from ..kernels.f0_world import hold_f0, recent_f0, world_f0
    from ..kernels.world import HOP, analyse
    from ..models.dsp import EXTENSION_FRAMES, F0_CEILING_HZ, F0_FLOOR_HZ
    from ..realtime.dsp_stage import CONTEXT_FRAMES

    found = world_f0(audio, 24000, "dio", 5.0, F0_FLOOR_HZ, F0_CEILING_HZ)
    whole = analyse(audio, hold_f0(found, EXTENSION_FRAMES, EXTENSION_FRAMES), 0).f0_hz
    count = _BLOCK_MS // 5
    click.echo("| DSP look-ahead ms | voiced missed % | voiced wrongly % | cents p50 | cents p95 | over 50 cents % |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for lookahead in (4, 6, 8, 12, 20):
        streamed = np.zeros(len(whole) + count)
        begin, end = CONTEXT_FRAMES, len(whole) - lookahead - count
        for first in range(begin, end, count):
            window = audio[(first - CONTEXT_FRAMES) * HOP : (first + count + lookahead) * HOP]
            f0 = recent_f0(window, 24000, CONTEXT_FRAMES, count, 5.0, F0_FLOOR_HZ, F0_CEILING_HZ)
            streamed[first : first + count] = analyse(window, f0, CONTEXT_FRAMES).f0_hz
        got, want = streamed[begin:end], whole[begin:end]
        both = (got > 0) & (want > 0)
        cents = np.abs(1200 * np.log2(got[both] / want[both]))
        missed, wrong = np.mean((got == 0) & (want > 0)), np.mean((got > 0) & (want == 0))
        p50, p95 = np.percentile(cents, (50, 95))
        over = np.mean(cents > 50)
        click.echo(
            f"| {lookahead * 5} | {100 * missed:.1f} | {100 * wrong:.1f} | {p50:.1f} | {p95:.1f} | {100 * over:.1f} |"
        )
    click.echo()


def _generator() -> None:
    """Flow and decoder of a full-size RVC voice with random weights, given prior and F0, against the plain networks."""
    import torch

    from ..models.prior import HIDDEN
    from ..models.render import latent, render
    from ..models.synthesizer import Synthesizer
    from ..realtime.generator import StreamingGenerator
    from ..realtime.rvc_stage import CONTENT_WAIT_FRAMES
    from .synthetic_voices import RVC_KINDS

    width, shape = RVC_KINDS["rvc-v2-40k"]
    torch.manual_seed(0)
    net = Synthesizer(shape, width, speakers=1, has_f0=True)
    frames, per_frame, block = 160, shape.samples_per_frame, _BLOCK_MS // 10
    measured = slice(48 * per_frame, 84 * per_frame)  # away from the start, and 76 frames before the end
    m, logs = torch.randn(1, HIDDEN, frames) * 0.5, torch.randn(1, HIDDEN, frames) * 0.2 - 1.0
    f0 = (150 + 40 * np.sin(np.arange(frames) / 9)).astype(np.float32)
    with torch.inference_mode():
        for weight in net.parameters():  # to a gain of one per layer: smaller, and distant frames would not matter
            if weight.ndim > 1:
                weight.mul_(3.0**0.5)
        g = net.emb_g(torch.tensor([0]))[..., None]
        whole = render(net, latent(net, m, logs, g, 0, 0), g, f0, 0, 0.0, 0.0, 0)
        click.echo("| RVC look-ahead ms | flow and decoder: relative RMS error |")
        click.echo("| --- | --- |")
        for lookahead_ms in LOOKAHEADS_MS:
            right = lookahead_ms // 10 - CONTENT_WAIT_FRAMES
            generator = StreamingGenerator(net, block, tail_frames=0)
            parts = []
            for start in range(0, measured.stop // per_frame, block):
                seen = slice(start, start + block + right)
                parts.append(generator.step(m[..., seen], logs[..., seen], f0[seen], g, start, 0.0, 0))
            error = np.concatenate(parts)[measured] - whole[measured]
            click.echo(f"| {lookahead_ms} | {np.sqrt(np.sum(error**2) / np.sum(whole[measured] ** 2)):.1e} |")
